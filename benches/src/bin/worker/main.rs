//! A measurement in a process of its own: reads a number of iterations a line, answers with what
//! it measured as a line of JSON, and ends with its input.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod in_flight;
mod overhead;
mod stall;

use std::io::BufRead;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use inflight::Cell;
use inflight_benches::process::Measured;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// The largest gap of a heartbeat while a page is fetched.
    Stall {
        /// The runtime, as in a cell's name, with the async client that fetches.
        #[arg(long)]
        cell: Cell,
        #[arg(long)]
        workers: NonZeroUsize,
        #[arg(long)]
        how: stall::How,
        #[arg(long)]
        url: String,
    },
    /// Requests one after another on 64 lines, without a delay.
    Overhead {
        #[arg(long)]
        who: overhead::Who,
        #[arg(long, default_value = "tokio/hyper")]
        cell: Cell,
        #[arg(long)]
        url: String,
    },
    /// Many requests in flight at once, an iteration each.
    InFlight {
        #[arg(long)]
        cell: Cell,
        #[arg(long)]
        url: String,
    },
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs iterations and measures them.
type Run = Box<dyn FnMut(u64) -> Result<Measured, Failure>>;

fn main() -> ExitCode {
    match work(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: Arguments) -> Result<(), Failure> {
    inflight_origin::raise_file_limit()?;
    let mut run = match arguments.job {
        Job::Stall {
            cell,
            workers,
            how,
            url,
        } => stall::prepare(cell, workers, how, url)?,
        Job::Overhead { who, cell, url } => overhead::prepare(who, cell, url)?,
        Job::InFlight { cell, url } => in_flight::prepare(cell, url)?,
    };
    for line in std::io::stdin().lock().lines() {
        let measured = run(line?.trim().parse()?)?;
        println!("{}", serde_json::to_string(&measured)?);
    }
    Ok(())
}

/// CPU time of this process so far, all threads together.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
