//! The allocations of a request.

use super::overhead;
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan, Requirement};
use crate::worker::measure::allocations;
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "allocations",
    title: "Allocations of a request",
    question: "How many allocations does a request make, with 64 requests in flight?",
    variable: None,
    metrics: &[Metric::new(
        "allocations",
        "allocations in Rust for each request (without those of libcurl, in C)",
        "1",
    )],
    verification: "status and length of every response",
    // Without peers, because their allocators do not count allocations.
    programs: overhead::programs,
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 2,
            Effort::Full => 10,
        },
    },
    execution: Execution {
        requires: Some(Requirement::CountingAllocator),
        iterations: |_, _| 1000,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let mut benchmark = overhead::worker(config)?;
    Ok(Box::new(move |params| {
        let before = allocations()?;
        let answered = benchmark(params)?.answered;
        let each = (allocations()? - before) as f64 / params.iterations.max(1) as f64;
        Ok(Measurement::new(answered, [("allocations", each)]))
    }))
}
