//! How often a request asks for memory.

use super::overhead;
use crate::experiment::{Better, Effort, Experiment, Metric, Need, Plan, Work};
use crate::worker::measure::allocations;
use crate::worker::{Answer, Failure, Setup, Turn};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "allocations",
    title: "Allocations of a request",
    question: "How often does a request ask for memory, 64 of them in flight?",
    variable: None,
    metrics: &[Metric {
        name: "allocations",
        what: "allocations in Rust for each request (libcurl's own, in C, are not seen)",
        unit: "1",
        better: Better::Lower,
        limit: None,
    }],
    verified: "status and length of every answer",
    // Peers have allocators of their own.
    contenders: || super::with_again(overhead::ours()),
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 2,
            Effort::Full => 10,
        },
    },
    work: Work {
        needs: Some(Need::Allocator),
        iterations: |_, _| 1000,
        about: |_, _| 70.0,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let mut turns = overhead::worker(setup)?;
    Ok(Box::new(move |ask| {
        let before = allocations()?;
        let answered = turns(ask)?.answered;
        let each = (allocations()? - before) as f64 / ask.iterations.max(1) as f64;
        Ok(Answer::of(answered, [("allocations", each)]))
    }))
}
