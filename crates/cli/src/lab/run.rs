//! `inflight lab run`: runs experiments and records their measurements.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use inflight_lab::experiment::{Effort, Experiment};
use inflight_lab::machine_load::{self, BUSY_CORES};
use inflight_lab::process::{COUNTING_WORKER, CommandLines};
use inflight_lab::runner::{self, Event, Outcome, Records, ResumeError, RunConfig};

use super::args;
use crate::exit::{CliError, ExitStatus, print_to_stderr};
use crate::progress::{Progress, Unit};
use crate::signal::Interrupt;

/// The default folder of records. It is part of the build's output, so `cargo clean` deletes it.
pub(super) const FOLDER: &str = "target/lab";

/// How long the load of the machine is measured before a run.
const LOAD_SAMPLE: Duration = Duration::from_secs(1);

/// The number of steps of the progress bar.
const STEPS: f64 = 1000.0;

pub(super) fn run(args: args::Run) -> Result<ExitStatus, CliError> {
    let records = match args.records {
        Some(path) => Records { path },
        None => Records::in_folder(FOLDER),
    };
    let command_lines = command_lines().map_err(|error| {
        CliError::usage(format_args!(
            "cannot find the path of this program: {error}"
        ))
    })?;
    if cfg!(debug_assertions) {
        print_to_stderr("this is a debug build: its measurements do not apply to a release build");
    }
    let interrupt = Interrupt::listen()?;
    if let Some(cores) = machine_load::other_cores(LOAD_SAMPLE).filter(|cores| *cores >= BUSY_CORES)
    {
        print_to_stderr(format_args!(
            "warning: the machine is busy: other programs use {cores:.1} cores; the measurements will be marked"
        ));
    }
    let progress = Progress::start(args.progress, Unit::Steps);
    progress.set_total(STEPS as u64);
    let interrupted = || interrupt.is_received();
    let mut on_event = |event: &Event<'_>| show_event(&progress, event);
    let result = if args.resume {
        runner::resume(&records, &command_lines, &interrupted, &mut on_event)
    } else {
        let experiments = if args.names.is_empty() {
            inflight_lab::experiments::all().iter().collect()
        } else {
            args.names
        };
        let mut config =
            RunConfig::new(experiments, args.effort.map_or(Effort::Quick, Effort::from));
        config.rounds = args.rounds;
        config.seed = args.seed.unwrap_or(config.seed);
        runner::run(
            config,
            &command_lines,
            &records,
            &interrupted,
            &mut on_event,
        )
        .map_err(ResumeError::Io)
    };
    progress.clear();
    let outcome = result.map_err(|error| {
        let message = format!("{}: {error}", records.path.display());
        match error {
            ResumeError::Io(_) => CliError::failed(message),
            _ => CliError::usage(message),
        }
    })?;
    let mut stdout = io::stdout();
    stdout
        .write_all(summary(&outcome, &records.path).as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::stdout(&error))?;
    Ok(match outcome {
        Outcome {
            interrupted: true, ..
        } => ExitStatus::Interrupted,
        Outcome { failed, .. } if !failed.is_empty() => ExitStatus::Failed,
        _ => ExitStatus::Success,
    })
}

/// Returns the command lines of the processes that a measurement starts. The origin and the workers are
/// this program. The worker that counts allocations is another program in the same folder.
fn command_lines() -> io::Result<CommandLines> {
    let program = std::env::current_exe()?.into_os_string();
    let line = |command: &str| [program.clone(), OsString::from("lab"), command.into()].to_vec();
    let counting_path = Path::new(&program)
        .with_file_name(COUNTING_WORKER)
        .with_extension(std::env::consts::EXE_EXTENSION);
    let counting = counting_path
        .is_file()
        .then(|| vec![counting_path.into(), "worker".into()]);
    Ok(CommandLines {
        origin: line("origin"),
        worker: line("worker"),
        counting,
    })
}

fn show_event(progress: &Progress, event: &Event<'_>) {
    let print_line = |line: String| progress.suspend(|| print_to_stderr(line));
    match event {
        Event::Turn(turn) => {
            progress.set_position((turn.done * STEPS) as u64);
            progress.set_message(|| {
                let remaining = Duration::from_secs(turn.remaining.as_secs());
                let remaining = humantime::format_duration(remaining);
                format!("{remaining} left: {}, {}", turn.experiment, turn.contender)
            });
        }
        Event::Discarded {
            experiment,
            reason,
            repeated,
        } => print_line(format!(
            "{experiment}: a round was discarded{}: {reason}",
            if *repeated { " and repeated" } else { "" }
        )),
        Event::Failed(failed) => print_line(format!(
            "{}: {} failed at {} and is skipped there: {}",
            failed.experiment, failed.contender, failed.x, failed.reason
        )),
        Event::Unavailable { name, reason } => print_line(format!(
            "{name}{} is left out: {reason}",
            experiments_of_peer(name)
        )),
        _ => {}
    }
}

/// Returns the experiments that a peer takes part in, such as ` (in gather and overhead)`. A name that is not a peer is
/// an experiment.
fn experiments_of_peer(name: &str) -> String {
    let takes_part = |experiment: &&Experiment| experiment.peer_arguments(name).is_some();
    let experiments = inflight_lab::experiments::all().iter().filter(takes_part);
    let names: Vec<&str> = experiments.map(|experiment| experiment.name).collect();
    match &*names {
        [] => String::new(),
        names => format!(" (in {})", names.join(", ")),
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
    if outcome.discarded_rounds > 0 {
        let _ = writeln!(
            text,
            "{} rounds discarded because the server was late or busy",
            outcome.discarded_rounds
        );
    }
    for failed in &outcome.failed {
        let _ = writeln!(
            text,
            "{}, {} at {}: failed: {}",
            failed.experiment, failed.contender, failed.x, failed.reason
        );
    }
    if !outcome.unavailable.is_empty() {
        let names: Vec<&str> = outcome.unavailable.keys().map(String::as_str).collect();
        let _ = writeln!(
            text,
            "left out, see the reasons above: {}",
            names.join(", ")
        );
    }
    if let Some(cores) = outcome
        .load
        .other_cores()
        .filter(|cores| *cores >= BUSY_CORES)
    {
        let _ = writeln!(
            text,
            "the machine was busy: other programs used {cores:.1} cores on average"
        );
    }
    if outcome.interrupted {
        text.push_str("interrupted: continue with `inflight lab run --resume`\n");
    }
    text
}
