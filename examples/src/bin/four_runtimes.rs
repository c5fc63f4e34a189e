//! Fetches a hundred pages on each of four backends, and compares the times, the threads and the processor time:
//! `just run four_runtimes all-backends`.
//!
//! `just picture four_runtimes all-backends` draws when each page was in flight.
//!
//! Each backend runs in a process of its own, which the program starts with the backend's name and the address of
//! the server as arguments. So the threads and the processor time of one backend contain nothing of another
//! backend or of the server.
#![allow(clippy::print_stdout, reason = "a program")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use inflight::{BlockOn, Cell, Error, Session, gather};
use inflight_charts::{Colour, Figure, Series, Waterfall};
use inflight_examples::{
    Bar, bars_heading, draw_bars, last_end, picture_format, print_picture, time_page,
};
use inflight_origin::{Origin, process_cpu_time};

const BACKENDS: [&str; 4] = ["tokio", "smol", "async-std", "ureq"];
const PAGES: u32 = 100;
const DELAY: Duration = Duration::from_millis(100);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [backend, server] = &arguments[..] {
        return measure(backend.parse()?, server);
    }
    let origin = Origin::start()?;
    let mut runs = Vec::new();
    for backend in BACKENDS {
        runs.push(Run::start(backend.parse()?, &origin)?);
    }
    match picture_format() {
        Some(_) => print_picture(&draw(&runs)),
        None => print_table(&runs),
    }
    Ok(())
}

// ANCHOR: measure
/// Fetches the pages on a backend, and prints what it has measured.
fn measure(cell: Cell, server: &str) -> Result<(), Failure> {
    let cpu_before = process_cpu_time();
    let backend = cell.start(None)?;
    let session = backend.session()?;
    let bars = backend.block_on(fetch_pages(&session, server))?;
    let used = process_cpu_time()
        .zip(cpu_before)
        .map(|(after, before)| after - before);
    for (begin, end) in bars {
        println!("page {} {}", begin.as_micros(), end.as_micros());
    }
    // The backend and its threads still exist.
    for name in thread_names() {
        println!("thread {name}");
    }
    if let Some(used) = used {
        println!("cpu {}", used.as_micros());
    }
    Ok(())
}

/// Fetches all pages at once, on any backend. `time_page` returns when a page was in flight.
async fn fetch_pages(session: &Session, server: &str) -> Result<Vec<Bar>, Error> {
    let started = Instant::now();
    let pages = (0..PAGES).map(async |page| {
        let url = format!("{server}/page/{page}?delay_ms={}", DELAY.as_millis());
        time_page(session, &url, started).await
    });
    Ok(gather(pages).all().await?)
}
// ANCHOR_END: measure

/// Returns the names of the threads of this process. The list is empty on systems other than Linux.
fn thread_names() -> Vec<String> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let names = threads.flatten().map(|thread| thread.path().join("comm"));
    let names = names.flat_map(std::fs::read_to_string);
    names.map(|name| name.trim_end().to_owned()).collect()
}

/// What the process of a backend has measured.
struct Run {
    cell: Cell,
    bars: Vec<Bar>,
    threads: Vec<String>,
    cpu: Option<Duration>,
}

impl Run {
    fn start(cell: Cell, origin: &Origin) -> Result<Self, Failure> {
        let output = Command::new(std::env::current_exe()?)
            .args([cell.to_string(), origin.url("")])
            .output()?;
        if !output.status.success() {
            return Err(format!("{cell}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let mut run = Self {
            cell,
            bars: Vec::new(),
            threads: Vec::new(),
            cpu: None,
        };
        for line in String::from_utf8(output.stdout)?.lines() {
            run.read(line)?;
        }
        Ok(run)
    }

    /// Reads a line that `measure` has printed.
    fn read(&mut self, line: &str) -> Result<(), Failure> {
        let micros = |text: &str| text.parse().map(Duration::from_micros);
        match line.split_once(' ').ok_or("the line is empty")? {
            ("page", times) => {
                let (begin, end) = times.split_once(' ').ok_or("a time is missing")?;
                self.bars.push((micros(begin)?, micros(end)?));
            }
            ("thread", name) => self.threads.push(name.to_owned()),
            ("cpu", time) => self.cpu = Some(micros(time)?),
            _ => return Err(format!("unknown line: {line}").into()),
        }
        Ok(())
    }

    /// Returns the names of the threads with their numbers, without the digits at the end of a name.
    fn threads_by_name(&self) -> Vec<String> {
        let mut counts = BTreeMap::new();
        for name in &self.threads {
            let digits = |last: char| last.is_ascii_digit() || last == '-';
            *counts.entry(name.trim_end_matches(digits)).or_insert(0) += 1;
        }
        let counts = counts.into_iter();
        counts
            .map(|(name, count)| format!("{count} {name}"))
            .collect()
    }
}

fn print_table(runs: &[Run]) {
    println!("{PAGES} pages of {} ms, at once:\n", DELAY.as_millis());
    println!(
        "{:<16}{:>10}{:>10}{:>10}",
        "backend", "time", "CPU", "threads"
    );
    for run in runs {
        let cpu = run
            .cpu
            .map_or("-".to_owned(), |time| format!("{} ms", time.as_millis()));
        let total = format!("{} ms", last_end(&run.bars).as_millis());
        let threads = run.threads.len();
        println!(
            "{:<16}{total:>10}{cpu:>10}{threads:>10}",
            run.cell.to_string()
        );
    }
    println!("\nthe threads at the end of each run:");
    for run in runs {
        println!(
            "{:<16}{}",
            run.cell.to_string(),
            run.threads_by_name().join(", ")
        );
    }
}

const IN_FLIGHT: Series = Series::new("a page in flight", Colour::Blue);

/// Draws when each page was in flight.
fn draw(runs: &[Run]) -> Figure {
    let mut chart = Waterfall::new("ms since the first request of the backend");
    let mut headings = Vec::new();
    for run in runs {
        let heading = bars_heading(&run.cell.to_string(), &run.bars);
        chart = chart.group(draw_bars(&heading, &run.bars, IN_FLIGHT));
        headings.push(heading);
    }
    let title = format!(
        "{PAGES} pages of {} ms on four backends, on one scale",
        DELAY.as_millis()
    );
    let description = format!(
        "Four groups of {PAGES} bars on one time scale. Each bar shows when a page was in flight. {}.",
        headings.join("; ")
    );
    Figure::new("four-runtimes", title, description, chart)
}
