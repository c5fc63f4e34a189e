//! A blocking call on an event loop with one thread.

use super::contenders::{named, with_peers};
use crate::experiment::{Better, Effort, Execution, Experiment, Metric, Plan};
use crate::worker::stall::StallBenchmark;
use crate::worker::{Benchmark, Failure, WorkerConfig};

pub(crate) const DELAY_MS: u64 = 100;

/// The metric of all experiments with a heartbeat.
pub(super) const GAP: Metric = Metric {
    name: "gap",
    what: "largest gap of a 1 ms heartbeat",
    unit: "ms",
    better: Better::Lower,
    limit: None,
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "blocking",
    title: "A blocking call on one worker",
    question: "How long does an event loop with one thread stall while it fetches a page with a delay of 100 ms?",
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
    execution: Execution {
        estimated_ms: |_, _| 110.0,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    Ok(StallBenchmark::new(config, 1)?.into_benchmark(|_| (1, DELAY_MS)))
}
