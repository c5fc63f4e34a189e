//! What a blocking call does to the one thread of an event loop.

use super::{named, with_peers};
use crate::experiment::{Better, Effort, Experiment, Metric, Plan, Work};
use crate::worker::stall::Patient;
use crate::worker::{Failure, Setup, Turn};

pub(crate) const DELAY_MS: u64 = 100;

/// What is measured wherever a heart beats.
pub(super) const GAP: Metric = Metric {
    name: "gap",
    what: "largest gap between two beats of a heart that beats each millisecond",
    unit: "ms",
    better: Better::Lower,
    limit: None,
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "blocking",
    title: "A blocking call on one worker",
    question: "How long does an event loop with one thread stand still while a page of 100 ms is fetched?",
    variable: None,
    metrics: &[GAP],
    verified: "the page, byte for byte",
    contenders: || {
        let ours = named(&[
            "tokio: idle",
            "tokio: inline",
            "tokio: offloaded",
            "tokio: async",
            "smol: idle",
            "smol: inline",
            "smol: offloaded",
            "smol: async",
            "async-std: idle",
            "async-std: inline",
            "async-std: offloaded",
            "async-std: async",
        ]);
        with_peers("blocking", ours)
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 6,
            Effort::Full => 50,
        },
    },
    work: Work {
        about: |_, _| 110.0,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    Ok(Patient::of(setup, 1)?.turns(|_| (1, DELAY_MS)))
}
