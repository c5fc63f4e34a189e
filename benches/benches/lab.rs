//! Runs experiments of the crate `inflight-lab` with criterion, which compares the results with those of
//! its previous run.
//!
//! An experiment compares contenders, such as backends, at several points, such as numbers of pages. Each
//! contender runs in a worker process, as in `inflight lab run`. The worker reports the metrics of the
//! experiment, and the benchmark passes the first metric to criterion.
//!
//! By default, the benchmark runs a few contenders of three experiments. With `INFLIGHT_BENCH=full` in the
//! environment, it runs every experiment that criterion can measure. It then uses the points and the
//! contenders of `inflight lab run --effort quick`. `lab run` runs the first contender twice, to measure the
//! noise, and the benchmark runs it once.

use std::ffi::OsString;
use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use inflight_lab::experiment::{Effort, Experiment, ProcessLifetime};
use inflight_lab::experiments;
use inflight_lab::process::{CommandLines, OriginProcess, Worker};
use inflight_lab::worker::{Parameters, WorkerConfig};

type Failure = Box<dyn std::error::Error>;

/// The name of an experiment, a point (a value of its variable, or 0 if it has none), and the names of
/// contenders.
type Selection = (&'static str, f64, &'static [&'static str]);

/// The default selection.
const DEFAULT_SELECTION: [Selection; 3] = [
    ("gather", 100.0, &["tokio/hyper", "threads/ureq"]),
    ("blocking", 0.0, &["tokio: inline", "tokio: async"]),
    (
        "overhead",
        0.0,
        &["hyper-util alone", "tokio/hyper", "tokio/hyper, probed"],
    ),
];

/// The timeout of a turn, which is one measurement by a worker.
const TIMEOUT: Duration = Duration::from_secs(120);

fn main() -> Result<(), Failure> {
    let line = |command: &str| {
        let program = OsString::from(env!("CARGO_BIN_EXE_inflight-bench-process"));
        vec![program, command.into()]
    };
    let command_lines = CommandLines {
        origin: line("origin"),
        worker: line("worker"),
        counting: None,
    };
    let origin = OriginProcess::start(&command_lines.origin)?;
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
        .configure_from_args();
    if std::env::var_os("INFLIGHT_BENCH").is_some_and(|value| value == "full") {
        for experiment in experiments::all().iter().filter(|one| is_measurable(one)) {
            for x in (experiment.plan)(Effort::Quick).points {
                let contenders: Vec<String> = experiment
                    .contenders()
                    .into_iter()
                    .filter(|contender| contender.name == contender.program)
                    .map(|contender| contender.program)
                    .filter(|program| (experiment.execution.includes)(Effort::Quick, program, x))
                    .collect();
                measure(
                    &mut criterion,
                    experiment,
                    x,
                    &contenders,
                    &command_lines,
                    &origin,
                )?;
            }
        }
    } else {
        for (name, x, contenders) in DEFAULT_SELECTION {
            let experiment = experiments::find(name).ok_or("unknown experiment")?;
            measure(
                &mut criterion,
                experiment,
                x,
                contenders,
                &command_lines,
                &origin,
            )?;
        }
    }
    criterion.final_summary();
    Ok(())
}

/// Returns whether criterion can measure the experiment. The first metric must be a time, and one worker
/// process must be able to take several measurements.
fn is_measurable(experiment: &Experiment) -> bool {
    let time = experiment
        .metrics
        .first()
        .and_then(|metric| time_unit(metric.unit));
    time.is_some() && experiment.execution.process == ProcessLifetime::Reused
}

/// Returns the length of a unit of time, or `None` for other units.
fn time_unit(unit: &str) -> Option<Duration> {
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
    command_lines: &CommandLines,
    origin: &OriginProcess,
) -> Result<(), Failure> {
    let metric = experiment
        .metrics
        .first()
        .ok_or("the experiment has no metrics")?;
    let unit = time_unit(metric.unit).ok_or("the first metric is not a time")?;
    let mut group = criterion.benchmark_group(match experiment.variable {
        Some(_) => format!("{} {x}", experiment.name),
        None => experiment.name.to_owned(),
    });
    group.sampling_mode(SamplingMode::Flat);
    for contender in contenders {
        let contender = contender.as_ref();
        let config = WorkerConfig {
            experiment: experiment.name.to_owned(),
            contender: contender.to_owned(),
            origin: origin.base().to_owned(),
        };
        // Skips contenders that cannot run here, for example because they are not installed.
        let Ok(line) = command_lines.worker_command(&config) else {
            continue;
        };
        let mut worker = Worker::start(&line)?;
        group.bench_function(contender, |bencher| {
            bencher.iter_custom(|iterations| {
                let measurement = worker.measure(Parameters { x, iterations }, TIMEOUT, &|| false);
                match measurement {
                    // The metric is the time of one iteration. Criterion expects the time of all
                    // iterations.
                    Ok(measurement) => {
                        unit.mul_f64(measurement.metrics[metric.name] * iterations as f64)
                    }
                    Err(error) => panic!("{}, {contender}: {error:?}", experiment.name),
                }
            });
        });
    }
    group.finish();
    Ok(())
}
