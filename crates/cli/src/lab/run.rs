//! `inflight lab run`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use inflight_lab::experiment::Effort;
use inflight_lab::process::{COUNTING, Programs};
use inflight_lab::runner::{self, Event, Order, Outcome, Records, ResumeError};

use super::args;
use crate::exit::{Exit, Stop, note};
use crate::progress::{Progress, Unit};
use crate::signal::Interrupt;

/// Where records are kept unless a file is named.
pub(super) const FOLDER: &str = "docs/records";

/// In how many steps the bar moves.
const STEPS: f64 = 1000.0;

pub(super) fn run(args: args::Run) -> Result<Exit, Stop> {
    let records = match args.records {
        Some(path) => Records { path },
        None => Records::in_folder(FOLDER),
    };
    let programs = programs()
        .map_err(|error| Stop::usage(format_args!("cannot find this program: {error}")))?;
    if cfg!(debug_assertions) {
        note("a build without optimisation: its figures say nothing about one with it");
    }
    let interrupt = Interrupt::listen()?;
    let progress = Progress::start(args.progress, Unit::Share);
    progress.set_total(STEPS as u64);
    let interrupted = || interrupt.has_come();
    let mut tell = |event: &Event<'_>| show(&progress, event);
    let ended = if args.resume {
        runner::resume(&records, &programs, &interrupted, &mut tell)
    } else {
        let experiments = if args.names.is_empty() {
            inflight_lab::experiments::all().iter().collect()
        } else {
            args.names
        };
        let mut order = Order::of(experiments, args.effort.map_or(Effort::Quick, Effort::from));
        order.rounds = args.rounds;
        order.seed = args.seed.unwrap_or(order.seed);
        runner::run(order, &programs, &records, &interrupted, &mut tell).map_err(ResumeError::Io)
    };
    progress.clear();
    let outcome = ended.map_err(|error| {
        let message = format!("{}: {error}", records.path.display());
        match error {
            ResumeError::Io(_) => Stop::failed(message),
            _ => Stop::usage(message),
        }
    })?;
    let mut stdout = io::stdout();
    stdout
        .write_all(summary(&outcome, &records.path).as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Stop::stdout(&error))?;
    Ok(match outcome {
        Outcome {
            interrupted: true, ..
        } => Exit::Interrupted,
        Outcome { failed, .. } if !failed.is_empty() => Exit::Failed,
        _ => Exit::Success,
    })
}

/// This program is every process of a measurement.
fn programs() -> io::Result<Programs> {
    let own = std::env::current_exe()?.into_os_string();
    let line = |command: &str| [own.clone(), OsString::from("lab"), command.into()].to_vec();
    let beside = Path::new(&own)
        .with_file_name(COUNTING)
        .with_extension(std::env::consts::EXE_EXTENSION);
    let counting = beside
        .is_file()
        .then(|| vec![beside.into(), "worker".into()]);
    Ok(Programs {
        origin: line("origin"),
        worker: line("worker"),
        counting,
    })
}

fn show(progress: &Progress, event: &Event<'_>) {
    let aside = |line: String| progress.aside(|| note(line));
    match event {
        Event::Turn(turn) => {
            progress.set_position((turn.done * STEPS) as u64);
            progress.say(|| {
                let left = Duration::from_secs(turn.left.as_secs());
                let left = humantime::format_duration(left);
                format!("{left} left: {}, {}", turn.experiment, turn.contender)
            });
        }
        Event::Thrown {
            experiment,
            reason,
            repeated,
        } => aside(format!(
            "{experiment}: a round is thrown away{}: {reason}",
            if *repeated { " and repeated" } else { "" }
        )),
        Event::Failed(failed) => aside(format!(
            "{}: {} is left out at {}: {}",
            failed.experiment, failed.contender, failed.x, failed.reason
        )),
        Event::Absent { who, reason } => aside(format!("without {who}: {reason}")),
        _ => {}
    }
}

fn summary(outcome: &Outcome, path: &Path) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} turns recorded in {}",
        outcome.turns,
        path.display()
    );
    if outcome.thrown > 0 {
        let _ = writeln!(
            text,
            "{} rounds thrown away, as the origin was late or busy",
            outcome.thrown
        );
    }
    for failed in &outcome.failed {
        let _ = writeln!(
            text,
            "{}, {} at {}: failed: {}",
            failed.experiment, failed.contender, failed.x, failed.reason
        );
    }
    if !outcome.absent.is_empty() {
        let names: Vec<&str> = outcome.absent.keys().map(String::as_str).collect();
        let _ = writeln!(text, "not there, and so not measured: {}", names.join(", "));
    }
    if outcome.interrupted {
        text.push_str("interrupted: `inflight lab run --resume` does the rest\n");
    }
    text
}
