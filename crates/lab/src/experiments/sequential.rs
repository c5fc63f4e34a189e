//! Pages that are fetched sequentially.

use super::contenders::{named, with_peers};
use crate::experiment::{Better, Effort, Execution, Experiment, Limit, Metric, Plan};
use crate::worker::pages::{self, PageBatch};
use crate::worker::{Benchmark, Failure, WorkerConfig};

pub(crate) const PAGES: u64 = 10;
pub(crate) const DELAY_MS: u64 = 20;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "sequential",
    title: "Sequential pages",
    question: "How much longer than the sum of their delays do ten pages take if they are fetched sequentially?",
    variable: None,
    metrics: &[Metric {
        name: "wall",
        what: "time until the last page",
        unit: "ms",
        better: Better::Lower,
        limit: Some(Limit {
            at: |_| (PAGES * DELAY_MS) as f64,
            what: "the sum of the delays",
        }),
    }],
    verified: "every page, byte for byte",
    contenders: || {
        let backends = [
            "tokio/hyper",
            "smol/isahc",
            "async-std/surf",
            "threads/ureq",
        ];
        with_peers("sequential", named(&backends))
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 30,
        },
    },
    execution: Execution {
        estimated_ms: |_, _| 220.0,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    pages::wall_time_benchmark(config, |_| PageBatch {
        pages: PAGES,
        limit: 1,
        delay_ms: DELAY_MS,
    })
}
