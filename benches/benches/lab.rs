//! Runs experiments of the crate `inflight-lab` with criterion, which compares the results with those of
//! its previous run.
//!
//! An experiment compares contenders, such as backends, at several points, such as numbers of pages. Each
//! contender runs in a worker process, as in `inflight lab run`. The worker reports the metrics of the
//! experiment, and the benchmark passes the first metric to criterion.
//!
//! The definitions are in `inflight-lab`. The workers of this benchmark and those of `inflight lab run` are
//! different programs that run the same code.
//!
//! By default, the benchmark shows how a blocking call stalls an event loop, and what a request costs in each cell,
//! which is a runtime with a client. This takes about a minute. With `INFLIGHT_BENCH=full` in the environment, it runs every experiment that criterion can measure. It then uses the points and the
//! contenders of `inflight lab run --effort quick`. `lab run` runs the first contender twice, to measure the
//! noise, and the benchmark runs it once.

#![allow(clippy::print_stdout, reason = "a program")]

use std::ffi::OsString;
use std::time::Duration;

use criterion::{Criterion, SamplingMode};
use inflight::Cell;
use inflight_lab::experiment::{Effort, Experiment, ProcessLifetime};
use inflight_lab::experiments;
use inflight_lab::machine_load::{self, BUSY_CORES};
use inflight_lab::process::{CommandLines, OriginProcess, Worker};
use inflight_lab::worker::{Parameters, WorkerConfig};

type Failure = Box<dyn std::error::Error>;

/// The runtimes on which the benchmark shows the stalled loop.
const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];

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
    if let Some(cores) = machine_load::other_cores(Duration::from_secs(1))
        && cores >= BUSY_CORES
    {
        println!("Warning: the machine is busy: other programs use {cores:.1} cores.");
    }
    let criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
        .configure_from_args();
    let mut suite = Suite {
        criterion,
        command_lines,
        origin,
    };
    if std::env::var_os("INFLIGHT_BENCH").is_some_and(|value| value == "full") {
        for experiment in experiments::all().iter().filter(|one| is_measurable(one)) {
            for x in (experiment.plan)(Effort::Quick).points {
                suite.measure(experiment, x, &programs(experiment, x))?;
            }
        }
    } else {
        for (name, contenders) in default_selection() {
            let experiment = experiments::find(name).ok_or("unknown experiment")?;
            suite.measure(experiment, 0.0, &contenders)?;
        }
    }
    suite.criterion.final_summary();
    Ok(())
}

/// Returns the experiments that run by default, each with its contenders. None of them has a variable.
fn default_selection() -> [(&'static str, Vec<String>); 2] {
    let stalls = RUNTIMES
        .iter()
        .flat_map(|runtime| ["inline", "async"].map(|mode| format!("{runtime}: {mode}")));
    let baseline = ["hyper-util alone", "tokio/hyper, probed"].map(str::to_owned);
    let costs = Cell::compiled()
        .map(|cell| cell.to_string())
        .chain(baseline);
    [
        ("blocking", stalls.collect()),
        ("overhead", costs.collect()),
    ]
}

/// Returns the programs that take part in an experiment at a point.
fn programs(experiment: &Experiment, x: f64) -> Vec<String> {
    let contenders = experiment.contenders().into_iter();
    contenders
        .filter(|contender| contender.name == contender.program)
        .map(|contender| contender.program)
        .filter(|program| (experiment.execution.includes)(Effort::Quick, program, x))
        .collect()
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

/// What all measurements need.
struct Suite {
    criterion: Criterion,
    command_lines: CommandLines,
    origin: OriginProcess,
}

impl Suite {
    /// Measures contenders of an experiment at a point.
    fn measure(
        &mut self,
        experiment: &Experiment,
        x: f64,
        contenders: &[String],
    ) -> Result<(), Failure> {
        let metric = experiment
            .metrics
            .first()
            .ok_or("the experiment has no metrics")?;
        let unit = time_unit(metric.unit).ok_or("the first metric is not a time")?;
        println!("\n{}: {}", experiment.title, experiment.question);
        let mut group = self.criterion.benchmark_group(match experiment.variable {
            Some(_) => format!("{} {x}: {}", experiment.name, metric.label),
            None => format!("{}: {}", experiment.name, metric.label),
        });
        group.sampling_mode(SamplingMode::Flat);
        for contender in contenders {
            let config = WorkerConfig {
                experiment: experiment.name.to_owned(),
                contender: contender.clone(),
                origin: self.origin.base().to_owned(),
            };
            // Skips contenders that cannot run here, for example because they are not installed.
            let Ok(line) = self.command_lines.worker_command(&config) else {
                continue;
            };
            let mut worker = Worker::start(&line)?;
            let mut measure = |iterations: u64| {
                let measurement = worker.measure(Parameters { x, iterations }, TIMEOUT, &|| false);
                match measurement {
                    // The metric is the time of one iteration. Criterion expects the time of all iterations.
                    Ok(measurement) => {
                        unit.mul_f64(measurement.metrics[metric.name] * iterations as f64)
                    }
                    Err(error) => panic!("{}, {contender}: {error:?}", experiment.name),
                }
            };
            group.bench_function(contender.as_str(), |bencher| {
                bencher.iter_custom(&mut measure)
            });
        }
        group.finish();
        Ok(())
    }
}
