//! A turn of an experiment, in this process.

use std::collections::BTreeMap;

use inflight_lab::experiments;
use inflight_lab::worker::{Ask, Setup};
use inflight_origin::Origin;

/// The metrics of the second turn.
pub(crate) fn metrics(
    experiment: &str,
    contender: &str,
    x: f64,
    iterations: u64,
) -> BTreeMap<String, f64> {
    let origin = Origin::start().unwrap();
    let setup = Setup {
        experiment: experiment.to_owned(),
        contender: contender.to_owned(),
        origin: origin.url(""),
    };
    let worker = experiments::find(experiment).unwrap().work.worker;
    let mut turn = worker(&setup).unwrap();
    let ask = Ask { x, iterations };
    turn(ask).unwrap();
    turn(ask).unwrap().metrics
}
