//! Blocking calls on a runtime's blocking pool, and the pool's size.

use super::contenders::owned_names;
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan, Variable};
use crate::worker::pages::{self, PageBatch};
use crate::worker::{Benchmark, Failure, WorkerConfig};

const DELAY_MS: u64 = 100;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "offload",
    title: "Blocking calls on the blocking pool",
    question: "How many concurrent calls fill a blocking pool, so that further calls wait?",
    variable: Some(Variable {
        name: "calls at once",
        unit: "",
    }),
    metrics: &[Metric::new("wall", "time until the last page", "ms")
        .with_limit("the delay", |_| DELAY_MS as f64)],
    verification: "every page, byte for byte",
    programs: || owned_names(&["tokio/ureq", "smol/ureq", "async-std/ureq", "threads/ureq"]),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![100.0, 1000.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            points: vec![100.0, 500.0, 1000.0],
            rounds: 20,
        },
    },
    execution: Execution::new(worker),
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let batch = |calls| PageBatch {
        pages: calls as u64,
        limit: calls as u64,
        delay_ms: DELAY_MS,
    };
    pages::benchmark(config, batch, |time| [("wall", time.wall_ms)])
}
