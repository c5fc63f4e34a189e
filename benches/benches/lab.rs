//! criterion's statistics on the lab's experiments: the same workers, in processes of their own, and
//! a comparison with the last time that this was run.
//!
//! Without `INFLIGHT_BENCH=full` in the environment it is a few contenders of a few experiments; with
//! it, every contender at every point of a quick run. What is measured is not the time that criterion
//! waits but what the worker tells: an experiment's first metric.

use std::ffi::OsString;
use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use inflight_lab::experiment::{Effort, Experiment, Process};
use inflight_lab::experiments;
use inflight_lab::process::{OriginProcess, Programs, Worker};
use inflight_lab::worker::{Ask, Setup};

type Failure = Box<dyn std::error::Error>;

/// An experiment, a point, and who takes part.
type Few = (&'static str, f64, &'static [&'static str]);

/// What is run without being asked for all.
const FEW: [Few; 3] = [
    ("gather", 100.0, &["tokio/hyper", "threads/ureq"]),
    ("blocking", 0.0, &["tokio: inline", "tokio: async"]),
    (
        "overhead",
        0.0,
        &["hyper-util alone", "tokio/hyper", "tokio/hyper, probed"],
    ),
];

/// A turn that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<(), Failure> {
    let line = |command: &str| {
        let own = OsString::from(env!("CARGO_BIN_EXE_inflight-bench-process"));
        vec![own, command.into()]
    };
    let programs = Programs {
        origin: line("origin"),
        worker: line("worker"),
        counting: None,
    };
    let origin = OriginProcess::start(&programs.origin)?;
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
        .configure_from_args();
    if std::env::var_os("INFLIGHT_BENCH").is_some_and(|value| value == "full") {
        for experiment in experiments::all().iter().filter(|one| is_timed(one)) {
            for x in (experiment.plan)(Effort::Quick).points {
                let contenders = (experiment.contenders)();
                let programs_of: Vec<String> = contenders
                    .into_iter()
                    .filter(|contender| contender.name == contender.program)
                    .map(|contender| contender.program)
                    .filter(|program| (experiment.work.takes)(Effort::Quick, program, x))
                    .collect();
                measure(
                    &mut criterion,
                    experiment,
                    x,
                    &programs_of,
                    &programs,
                    &origin,
                )?;
            }
        }
    } else {
        for (name, x, contenders) in FEW {
            let experiment = experiments::find(name).ok_or("an experiment was renamed")?;
            measure(
                &mut criterion,
                experiment,
                x,
                contenders,
                &programs,
                &origin,
            )?;
        }
    }
    criterion.final_summary();
    Ok(())
}

/// Whether criterion can make something of it: a time, from a process that is kept.
fn is_timed(experiment: &Experiment) -> bool {
    let time = experiment
        .metrics
        .first()
        .and_then(|metric| unit(metric.unit));
    time.is_some() && experiment.work.process == Process::Kept && !experiment.work.trace
}

fn unit(unit: &str) -> Option<Duration> {
    match unit {
        "ms" => Some(Duration::from_millis(1)),
        "us" => Some(Duration::from_micros(1)),
        _ => None,
    }
}

fn measure(
    criterion: &mut Criterion,
    experiment: &Experiment,
    x: f64,
    contenders: &[impl AsRef<str>],
    programs: &Programs,
    origin: &OriginProcess,
) -> Result<(), Failure> {
    let metric = experiment.metrics.first().ok_or("it measures nothing")?;
    let unit = unit(metric.unit).ok_or("it measures no time")?;
    let mut group = criterion.benchmark_group(match experiment.variable {
        Some(_) => format!("{} {x}", experiment.name),
        None => experiment.name.to_owned(),
    });
    group.sampling_mode(SamplingMode::Flat);
    for contender in contenders {
        let contender = contender.as_ref();
        let setup = Setup {
            experiment: experiment.name.to_owned(),
            contender: contender.to_owned(),
            origin: origin.base().to_owned(),
        };
        // A peer whose tool is not there.
        let Ok(line) = programs.of(&setup) else {
            continue;
        };
        let mut worker = Worker::start(&line)?;
        group.bench_function(contender, |bencher| {
            bencher.iter_custom(|iterations| {
                let answer = worker.turn(Ask { x, iterations }, PATIENCE, &|| false);
                match answer {
                    // The metric is of one iteration.
                    Ok(answer) => unit.mul_f64(answer.metrics[metric.name] * iterations as f64),
                    Err(no) => panic!("{}, {contender}: {no:?}", experiment.name),
                }
            });
        });
    }
    group.finish();
    Ok(())
}
