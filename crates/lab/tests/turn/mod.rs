//! Runs turns (measurements) of an experiment in this process.

use std::collections::BTreeMap;

use inflight_lab::experiments;
use inflight_lab::worker::{Parameters, WorkerConfig};
use inflight_origin::Origin;

/// Runs two turns of a contender and returns the metrics of the second turn. The first turn is a warm-up.
pub(crate) fn measure(
    experiment: &str,
    contender: &str,
    x: f64,
    iterations: u64,
) -> BTreeMap<String, f64> {
    let origin = Origin::start().unwrap();
    let config = WorkerConfig {
        experiment: experiment.to_owned(),
        contender: contender.to_owned(),
        origin: origin.url(""),
    };
    let worker = experiments::find(experiment).unwrap().execution.worker;
    let mut turn = worker(&config).unwrap();
    let params = Parameters { x, iterations };
    turn(params).unwrap();
    turn(params).unwrap().metrics
}
