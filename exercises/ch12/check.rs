//! Checks that the handlers of a service do not stall the event loop.
//!
//! The database replies to a query in one of three cases: when a heartbeat on the event loop has ticked, when the probe
//! has reported a stall, or when neither has happened for a long time. So the check waits for events, and a stalled
//! event loop continues after the report.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use inflight::backend::{BoxFuture, ConnectOptions, Runtime, Socket};
use inflight::probe::{Event, Frame, FutureExt, Probe, Stall};
use inflight::runtimes::Virtual;
use inflight::{BlockOn, Task, gather};
use inflight_exercises::{Reason, Verdict, require, run};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const START_REASON: &str = "the probe reported a stall of `GET /orders/{id}`, \
    in ch12::start::load_price (exercises/ch12/start.rs:36)";
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
const START_REASON: &str = "the probe reported a stall of `GET /orders/{id}`, \
    without the line: it finds lines only on Linux on x86-64";

const LABEL: &str = "GET /orders/{id}";
const ORDERS: u32 = 5;
const TICK: Duration = Duration::from_millis(1);
/// The ticks after which the database replies.
const TICKS: u64 = 3;
/// The time after which the database replies if there is neither a tick nor a report.
///
/// On a busy machine, the probe needs some seconds to load the debug information of the program.
const PATIENCE: Duration = Duration::from_secs(12);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::handle),
        || check(solution::handle),
    )
}

/// The price of an order.
fn price(order: u32) -> u32 {
    100 * order
}

/// A database whose replies arrive on channels, because its driver is not async.
#[derive(Clone, Default)]
pub struct Database(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    ticks: u64,
    queries: u32,
    waiting: Vec<Query>,
    /// Why the database replies without a tick.
    reason: Option<Reason>,
}

struct Query {
    order: u32,
    /// The number of ticks when the query arrived.
    ticks: u64,
    reply: Sender<u32>,
}

impl Database {
    /// Sends a query for the price of an order. The reply arrives on the channel.
    pub fn query(&self, order: u32) -> Receiver<u32> {
        let (reply, receiver) = channel();
        let mut state = self.lock();
        let ticks = state.ticks;
        state.queries += 1;
        state.waiting.push(Query {
            order,
            ticks,
            reply,
        });
        state.reply();
        receiver
    }

    fn tick(&self) {
        let mut state = self.lock();
        state.ticks += 1;
        state.reply();
    }

    /// Replies to all queries from now on. Keeps the first reason.
    fn stop_waiting(&self, reason: Reason) {
        let mut state = self.lock();
        state.reason.get_or_insert(reason);
        state.reply();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reply(&mut self) {
        let (ticks, is_stalled) = (self.ticks, self.reason.is_some());
        let ready = |query: &mut Query| is_stalled || ticks >= query.ticks + TICKS;
        for query in self.waiting.extract_if(.., ready) {
            // The code may have dropped the channel.
            let _ = query.reply.send(price(query.order));
        }
    }
}

/// An event loop on one thread, with a thread for each call on the blocking pool.
#[derive(Clone)]
struct EventLoop(Virtual);

impl Runtime for EventLoop {
    fn name(&self) -> &'static str {
        "virtual, with a blocking pool"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        thread::spawn(work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        self.0.connect(address, options)
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        None
    }
}

async fn run_heartbeat(clock: Virtual, database: Database) {
    loop {
        clock.sleep(TICK).await;
        database.tick();
    }
}

/// Describes the stall without times, which differ from run to run.
fn describe(stall: &Stall) -> Reason {
    let place = match stall.culprit() {
        Some(frame) => format!("in {}", place(frame)),
        None => "without the line: it finds lines only on Linux on x86-64".to_owned(),
    };
    Reason::new(format!("the probe reported a stall of `{LABEL}`, {place}"))
}

/// Returns the function and the line. The path begins with `exercises/`.
fn place(frame: &Frame) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    frame.to_string().replace(folder, "exercises/")
}

fn check(handle: impl AsyncFn(&Arc<dyn Runtime>, &Database, u32) -> String) -> Verdict {
    let clock = Virtual::new();
    let runtime: Arc<dyn Runtime> = Arc::new(EventLoop(clock.clone()));
    let database = Database::default();
    let observer = database.clone();
    let probe = Probe::builder().stacks(true).start(move |event| {
        if let Event::Stalled(stall) = event {
            observer.stop_waiting(describe(stall));
        }
    })?;
    let limit = limit_waiting(database.clone());
    let heartbeat = Task::spawn(&clock, run_heartbeat(clock.clone(), database.clone()));
    let orders = (1..=ORDERS).map(|order| {
        let response = handle(&runtime, &database, order).probed(LABEL);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let responses = clock.block_on(gather(orders).all());
    let responses = responses.map_err(|error| Reason::new(error.to_string()))?;
    drop((heartbeat, probe, limit));

    let State {
        queries, reason, ..
    } = mem::take(&mut *database.lock());
    match reason {
        Some(reason) => Err(reason),
        None => check_responses(&responses, queries),
    }
}

/// Ends the wait of every query after some time. Dropping the result ends the thread before that.
fn limit_waiting(database: Database) -> Sender<()> {
    let (running, stopped) = channel::<()>();
    thread::spawn(move || {
        if stopped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            database.stop_waiting(Reason::new(
                "the heartbeat did not tick, and the probe reported no long poll: the call blocks in another task or \
                 in `unwatched`, or a loop polls without a pause",
            ));
        }
    });
    running
}

fn check_responses(responses: &[String], queries: u32) -> Verdict {
    for (order, response) in (1..).zip(responses) {
        let expected = format!("order {order}: {} EUR", price(order) * 6 / 5);
        require(
            *response == expected,
            format_args!("the response should be \"{expected}\", and it is \"{response}\""),
        )?;
    }
    require(
        queries == ORDERS,
        format_args!("{ORDERS} orders need {ORDERS} queries, and the database received {queries}"),
    )?;
    Ok(format!(
        "{ORDERS} orders were formatted, and the heartbeat ticked while each of them waited for the database"
    ))
}
