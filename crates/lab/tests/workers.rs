//! Runs a worker process for each contender, with minimal work.
#![allow(clippy::print_stderr, reason = "reports experiments that cannot run")]

use std::ffi::OsString;
use std::time::Duration;

use inflight_lab::experiment::Experiment;
use inflight_lab::experiments;
use inflight_lab::process::{MeasureError, Worker};
use inflight_lab::worker::{Measurement, Parameters, WorkerConfig};
use inflight_origin::Origin;

/// The timeout of a turn. No turn of these tests takes this long.
const TIMEOUT: Duration = Duration::from_secs(60);

fn run_turn(
    experiment: &Experiment,
    program: &str,
    origin: &str,
    params: Parameters,
) -> Result<Measurement, MeasureError> {
    let config = WorkerConfig {
        experiment: experiment.name.to_owned(),
        contender: program.to_owned(),
        origin: origin.to_owned(),
    };
    let mut line = vec![
        OsString::from(env!("CARGO_BIN_EXE_inflight-lab-process")),
        "worker".into(),
    ];
    line.extend(config.to_args().map(OsString::from));
    Worker::start(&line)
        .unwrap()
        .measure(params, TIMEOUT, &|| false)
}

const SMALL: Parameters = Parameters {
    x: 1.0,
    iterations: 1,
};

#[test]
fn every_contender_reports_every_metric_of_its_experiment() {
    let origin = Origin::start().unwrap();
    let base = origin.url("");
    std::thread::scope(|scope| {
        for experiment in experiments::all() {
            if let Some(reason) = experiment.missing_requirement() {
                eprintln!("SKIPPED: {}: {reason}", experiment.name);
                continue;
            }
            let (origin, base) = (&origin, &base);
            scope.spawn(move || {
                for program in (experiment.programs)() {
                    let context = format!("{}, {program}", experiment.name);
                    let measurement = run_turn(experiment, &program, base, SMALL);
                    let measurement =
                        measurement.unwrap_or_else(|error| panic!("{context}: {error:?}"));
                    let mut names: Vec<_> = experiment
                        .worker_metrics()
                        .map(|metric| metric.name)
                        .collect();
                    names.sort_unstable();
                    let metrics = measurement.metrics;
                    assert!(metrics.keys().eq(&names), "{context}: {metrics:?}");
                    assert!(measurement.answered <= origin.stats().requests, "{context}");
                }
            });
        }
    });
}

#[test]
fn a_worker_exits_with_a_reason_on_a_wrong_response() {
    let origin = Origin::start().unwrap();
    // Below this path, the server sends wrong bodies.
    let base = origin.url("/anything");
    std::thread::scope(|scope| {
        for experiment in experiments::all() {
            let base = &base;
            scope.spawn(move || {
                // Idle contenders fetch nothing, so they cannot fail.
                let idle = |program: &String| program.ends_with("idle");
                for program in (experiment.programs)().into_iter().filter(|one| !idle(one)) {
                    match run_turn(experiment, &program, base, SMALL) {
                        Err(MeasureError::Failed(reason)) => assert_ne!(reason, "", "{program}"),
                        other => panic!("{}, {program}: {other:?}", experiment.name),
                    }
                }
            });
        }
    });
}

#[test]
fn an_unknown_experiment_or_contender_is_reported() {
    let gather = experiments::find("gather").unwrap();
    let nowhere = "http://127.0.0.1:9";
    let unknown = Experiment {
        name: "weather",
        ..*gather
    };
    for (experiment, program, word) in [
        (gather, "tokio/curl", "unknown backend"),
        (&unknown, "tokio/hyper", "no experiment"),
    ] {
        match run_turn(experiment, program, nowhere, SMALL) {
            Err(MeasureError::Failed(reason)) => assert!(reason.contains(word), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
