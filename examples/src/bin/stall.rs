//! Records how a call that blocks in one task stops a heartbeat in another task: `just run stall`.
//!
//! `just picture stall` draws the ticks of the heartbeat and the calls of the same runs.
#![allow(clippy::print_stdout, reason = "a program")]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use inflight::backend::Runtime;
use inflight::{Backend, BlockOn, Cell, Session, Task, unblock};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use inflight_examples::{default_cell, picture_format, print_picture};
use inflight_origin::Origin;

/// The time between two ticks of the heartbeat.
const TICK: Duration = Duration::from_millis(5);
/// How long a call takes.
const CALL: Duration = Duration::from_millis(100);
/// How long the heartbeat runs before the call and after it.
const MARGIN: Duration = Duration::from_millis(30);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A function that blocks its thread. The argument is the URL of a page that takes 100 ms.
type Call = fn(&str) -> Result<(), Failure>;

const CALLS: [(&str, Call); 3] = [
    ("thread::sleep", sleep),
    ("ureq::get", fetch),
    ("a computation", compute),
];

// ANCHOR: calls
fn sleep(_: &str) -> Result<(), Failure> {
    thread::sleep(CALL);
    Ok(())
}

/// Fetches the page with a blocking client.
fn fetch(url: &str) -> Result<(), Failure> {
    ureq::get(url).call()?.body_mut().read_to_vec()?;
    Ok(())
}

/// Computes for as long as the page takes.
fn compute(_: &str) -> Result<(), Failure> {
    let started = Instant::now();
    let mut number = 1_u64;
    while started.elapsed() < CALL {
        number = black_box(number.wrapping_mul(6_364_136_223_846_793_005));
    }
    Ok(())
}
// ANCHOR_END: calls

// ANCHOR: heartbeat
/// Sends the time of each tick, until nothing receives it.
async fn run_heartbeat(runtime: Arc<dyn Runtime>, started: Instant, ticks: Sender<Duration>) {
    while ticks.send(started.elapsed()).is_ok() {
        runtime.sleep(TICK).await;
    }
}
// ANCHOR_END: heartbeat

// ANCHOR: in_task
async fn call_in_task(call: Call, url: &str) -> Result<(), Failure> {
    call(url)?;
    Ok(())
}
// ANCHOR_END: in_task

// ANCHOR: on_pool
async fn call_on_pool(runtime: &dyn Runtime, call: Call, url: String) -> Result<(), Failure> {
    unblock(runtime, move || call(&url)).await??;
    Ok(())
}
// ANCHOR_END: on_pool

// ANCHOR: async
async fn fetch_async(session: &Session, url: &str) -> Result<(), Failure> {
    session.get(url).bytes().await?;
    Ok(())
}
// ANCHOR_END: async

/// What the other task does while the heartbeat runs.
#[derive(Clone)]
enum Work {
    InTask(Call),
    OnPool(Call),
    Async(Session),
}

impl Work {
    /// Does the work. Returns when it began and when it ended.
    async fn run(
        self,
        runtime: Arc<dyn Runtime>,
        url: String,
        started: Instant,
    ) -> Result<(Duration, Duration), Failure> {
        let begin = started.elapsed();
        match self {
            Self::InTask(call) => call_in_task(call, &url).await?,
            Self::OnPool(call) => call_on_pool(&runtime, call, url).await?,
            Self::Async(session) => fetch_async(&session, &url).await?,
        }
        Ok((begin, started.elapsed()))
    }
}

/// The events of a run, as times since its start.
struct Recording {
    ticks: Vec<Duration>,
    calls: Vec<(Duration, Duration)>,
}

impl Recording {
    fn largest_gap(&self) -> Duration {
        let gaps = self.ticks.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

/// Runs a heartbeat in one task, and the work in as many other tasks as `tasks`.
async fn record(
    runtime: &Arc<dyn Runtime>,
    work: &Work,
    tasks: usize,
    url: &str,
) -> Result<Recording, Failure> {
    let started = Instant::now();
    let (sender, ticks) = channel();
    let heartbeat = Task::spawn(runtime, run_heartbeat(runtime.clone(), started, sender));
    runtime.sleep(MARGIN).await;
    let mut times = wait_for_tick(runtime, &ticks).await;
    let spawn = |_| {
        let work = work.clone();
        Task::spawn(runtime, work.run(runtime.clone(), url.to_owned(), started))
    };
    let mut calls = Vec::new();
    for task in (0..tasks).map(spawn).collect::<Vec<_>>() {
        calls.push(task.await??);
    }
    runtime.sleep(MARGIN).await;
    drop(heartbeat);
    times.extend(ticks.try_iter());
    Ok(Recording {
        ticks: times,
        calls,
    })
}

/// Waits until the heartbeat has just ticked. Returns the times of the ticks so far.
///
/// A call that starts between two ticks stops only its own worker. But a worker of tokio keeps the task that it woke last
/// in a slot that no other worker can reach. If the timer of the heartbeat fires at the same time, the worker that takes
/// the call may have the heartbeat in this slot, so the heartbeat stops on any number of workers.
async fn wait_for_tick(runtime: &Arc<dyn Runtime>, ticks: &Receiver<Duration>) -> Vec<Duration> {
    let mut times: Vec<Duration> = ticks.try_iter().collect();
    let earlier = times.len();
    while times.len() == earlier {
        runtime.sleep(Duration::from_millis(1)).await;
        times.extend(ticks.try_iter());
    }
    times
}

/// A number of worker threads, a number of calls at once, and where the calls run.
struct Setting {
    name: String,
    workers: Option<NonZeroUsize>,
    tasks: usize,
    place: fn(Call) -> Work,
}

/// Returns the settings of a backend. The runtime `threads` has no workers: each task has its own thread.
fn settings(cell: Cell) -> Vec<Setting> {
    let rows: &[(&str, Option<NonZeroUsize>)] = match cell.runtime() {
        "threads" => &[("no workers", None)],
        _ => &[
            ("one worker", NonZeroUsize::new(1)),
            ("two workers", NonZeroUsize::new(2)),
        ],
    };
    let setting = |&(threads, workers), calls: &str, tasks, place| Setting {
        name: format!("{threads}, {calls}"),
        workers,
        tasks,
        place,
    };
    let (first, last) = (&rows[0], &rows[rows.len() - 1]);
    let mut settings: Vec<Setting> = rows
        .iter()
        .map(|row| setting(row, "one call", 1, Work::InTask as fn(Call) -> Work))
        .collect();
    settings.push(setting(last, "two calls", 2, Work::InTask));
    settings.push(setting(first, "one call in unblock", 1, Work::OnPool));
    settings
}

impl Setting {
    /// Records a run with this call.
    fn record(&self, backend: &Backend, call: Call, url: &str) -> Result<Recording, Failure> {
        let work = (self.place)(call);
        backend.block_on(record(backend.runtime(), &work, self.tasks, url))
    }
}

fn main() -> Result<(), Failure> {
    let origin = Origin::start().map_err(|error| error.to_string())?;
    let url = origin.url("/delay-ms/100");
    let cell = default_cell();
    match picture_format() {
        Some(_) => print_picture(&draw(cell, &url)?),
        None => print_table(cell, &url)?,
    }
    Ok(())
}

/// Measures each setting with each call, and prints the largest gap of the heartbeat.
fn print_table(cell: Cell, url: &str) -> Result<(), Failure> {
    println!(
        "the largest gap between two ticks of a heartbeat that ticks every {} ms, on {}:\n",
        TICK.as_millis(),
        cell.runtime()
    );
    let names = CALLS.map(|(name, _)| format!("{name:>14}"));
    println!("{:<34}{}", "", names.concat());
    let settings = settings(cell);
    for setting in &settings {
        let name = &setting.name;
        // async-std has one pool for the process, so it cannot have one worker and then two.
        let backend = match cell.start(setting.workers) {
            Ok(backend) => backend,
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        let mut gaps = String::new();
        for (_, call) in CALLS {
            let recording = setting.record(&backend, call, url)?;
            gaps += &format!("{:>11} ms", recording.largest_gap().as_millis());
        }
        println!("{name:<34}{gaps}");
    }
    let setting = &settings[0];
    let backend = cell.start(setting.workers)?;
    let work = Work::Async(backend.session()?);
    let recording = backend.block_on(record(backend.runtime(), &work, 1, url))?;
    println!(
        "{:<48}{:>11} ms",
        setting.name.replace("one call", "session.get(..).await"),
        recording.largest_gap().as_millis()
    );
    Ok(())
}

const TICKED: Series = Series::new("a tick of the heartbeat", Colour::Blue);
const SLEPT: Series = Series::new("thread::sleep", Colour::Vermillion);

/// Draws a run of each setting with `thread::sleep`.
fn draw(cell: Cell, url: &str) -> Result<Figure, Failure> {
    let mut chart = Waterfall::new("ms since the start of the heartbeat");
    let mut gaps = Vec::new();
    for setting in settings(cell) {
        // On async-std, only the settings with the first number of workers can run.
        let Ok(backend) = cell.start(setting.workers) else {
            continue;
        };
        let recording = setting.record(&backend, sleep, url)?;
        let gap = recording.largest_gap().as_millis();
        gaps.push(format!("{gap} ms ({})", setting.name));
        let heartbeat = recording.ticks.iter();
        let heartbeat = heartbeat.fold(Row::new("heartbeat"), |row, at| row.point(*at, TICKED));
        let calls = recording.calls.iter();
        let calls = calls.map(|&(begin, end)| Row::new("call").bar(begin, end, SLEPT));
        let heading = format!("{}: the largest gap is {gap} ms", setting.name);
        chart = chart.group(Group::new(heading).row(heartbeat).rows(calls));
    }
    let title = format!(
        "A heartbeat in one task, and a call of thread::sleep in another, on {}",
        cell.runtime()
    );
    let description = format!(
        "{} groups on one time scale. In each group, a row of points shows the ticks of a heartbeat every {} ms, and \
         a bar shows each call of thread::sleep, which takes {} ms. The largest gaps between two points are: {}.",
        gaps.len(),
        TICK.as_millis(),
        CALL.as_millis(),
        gaps.join(", ")
    );
    Ok(Figure::new("stall", title, description, chart))
}
