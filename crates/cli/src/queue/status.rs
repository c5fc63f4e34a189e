//! `inflight queue status`: how far a queue is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use console::Term;
use futures_lite::future::or;
use inflight_queue::Status;
use serde::Serialize;

use super::connect::{failed, open};
use crate::args;
use crate::exit::{CliError, ExitStatus, print_output};
use crate::format::Format;
use crate::output::json_line;
use crate::signal::Interrupt;

/// How often `--watch` shows the status.
const INTERVAL: Duration = Duration::from_secs(1);

/// The status as `--format jsonl` prints it.
#[derive(Serialize)]
struct StatusLine<'a> {
    total: Option<u64>,
    remaining: u64,
    in_flight: u64,
    done: u64,
    failed: &'a BTreeMap<String, u64>,
    rate: Option<f64>,
    seconds_left: Option<f64>,
    workers: Vec<WorkerLine<'a>>,
}

#[derive(Serialize)]
struct WorkerLine<'a> {
    name: &'a str,
    partitions: usize,
    in_flight: u64,
}

pub(super) async fn run(args: args::Status) -> Result<ExitStatus, CliError> {
    let queue = open(&args.connection, &args.name).await?;
    let interrupt = Interrupt::listen()?;
    let is_terminal = io::stdout().is_terminal();
    let format = args.format.unwrap_or(match is_terminal {
        true => Format::Table,
        false => Format::Jsonl,
    });
    let mut shown_lines = 0;
    loop {
        let status = queue.status().await.map_err(failed)?;
        let text = match format {
            Format::Table => table(&status),
            Format::Jsonl => {
                json_line(&StatusLine::of(&status)).map_err(|error| CliError::stdout(&error))?
            }
        };
        if format == Format::Table && is_terminal {
            // Ignored, because it only affects the drawing.
            let _ = Term::stdout().clear_last_lines(shown_lines);
            shown_lines = text.lines().count();
        }
        print_output(&text)?;
        if !args.watch || status.is_complete() {
            return Ok(ExitStatus::Success);
        }
        let interrupted = async {
            interrupt.wait().await;
            true
        };
        let waited = async {
            queue.sleep(INTERVAL).await;
            false
        };
        if or(interrupted, waited).await {
            return Ok(ExitStatus::Interrupted);
        }
    }
}

impl<'a> StatusLine<'a> {
    fn of(status: &'a Status) -> Self {
        let worker = |worker: &'a inflight_queue::WorkerStatus| WorkerLine {
            name: &worker.name,
            partitions: worker.partitions,
            in_flight: worker.in_flight,
        };
        Self {
            total: status.total,
            remaining: status.remaining,
            in_flight: status.in_flight,
            done: status.done,
            failed: &status.failed,
            rate: status.rate,
            seconds_left: seconds_left(status),
            workers: status.workers.iter().map(worker).collect(),
        }
    }
}

fn seconds_left(status: &Status) -> Option<f64> {
    Some(status.remaining as f64 / status.rate?)
}

fn table(status: &Status) -> String {
    let mut text = String::new();
    let total = match status.total {
        Some(total) => format!("{total}"),
        None => format!(
            "{} so far, not sealed",
            status.remaining.saturating_add(status.done)
        ),
    };
    let failures: Vec<_> = (status.failed.iter())
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let failed = match failures.is_empty() {
        true => "0".to_owned(),
        false => failures.join(", "),
    };
    let rate = status
        .rate
        .map_or("-".to_owned(), |rate| format!("{rate:.1}/s"));
    let left = seconds_left(status).map_or("-".to_owned(), |seconds| {
        let left = Duration::from_secs(seconds.round().min(u32::MAX.into()) as u64);
        humantime::format_duration(left).to_string()
    });
    for (name, value) in [
        ("URLs", total),
        ("done", status.done.to_string()),
        ("failed", failed),
        ("remaining", status.remaining.to_string()),
        ("in flight", status.in_flight.to_string()),
        ("rate", rate),
        ("time left", left),
        ("workers", status.workers.len().to_string()),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<10} {value}");
    }
    for worker in &status.workers {
        let _ = writeln!(
            text,
            "  {}: {} partitions, {} in flight",
            worker.name, worker.partitions, worker.in_flight
        );
    }
    text
}
