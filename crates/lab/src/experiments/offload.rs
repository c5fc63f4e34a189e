//! Blocking calls on a runtime's blocking pool, and the pool's size.

use super::contenders::{named, with_duplicate};
use crate::experiment::{Better, Effort, Execution, Experiment, Limit, Metric, Plan, Variable};
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
        logarithmic: true,
    }),
    metrics: &[Metric {
        name: "wall",
        what: "time until the last page",
        unit: "ms",
        better: Better::Lower,
        limit: Some(Limit {
            // tokio's pool has 512 threads, and that of smol and async-std has 500. More calls take
            // at least twice as long there. threads/ureq has no pool.
            at: |_| DELAY_MS as f64,
            what: "the page's delay, for each batch of the pool's 512 or 500 threads",
        }),
    }],
    verified: "every page, byte for byte",
    contenders: || {
        let cells = ["tokio/ureq", "smol/ureq", "async-std/ureq", "threads/ureq"];
        with_duplicate(named(&cells))
    },
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
    execution: Execution {
        estimated_ms: |_, calls| 110.0 + calls * 0.15,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    pages::wall_time_benchmark(config, |calls| PageBatch {
        pages: calls as u64,
        limit: calls as u64,
        delay_ms: DELAY_MS,
    })
}
