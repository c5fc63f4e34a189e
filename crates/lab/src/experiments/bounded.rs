//! Many pages with a limit on those in flight. It reveals clients with a lower limit of their own.

use super::contenders::{async_cells, with_duplicate};
use crate::experiment::{Better, Effort, Execution, Experiment, Limit, Metric, Plan, Variable};
use crate::worker::pages::{self, PageBatch};
use crate::worker::{Benchmark, Failure, WorkerConfig};

const PAGES: u64 = 512;
const DELAY_MS: u64 = 20;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "bounded",
    title: "A bounded gather",
    question: "Does a client reach the configured limit of pages in flight, or does it have a lower, hidden limit?",
    variable: Some(Variable {
        name: "limit of pages in flight",
        unit: "",
        logarithmic: true,
    }),
    metrics: &[Metric {
        name: "wall",
        what: "time until the last page",
        unit: "ms",
        better: Better::Lower,
        limit: Some(Limit {
            at: least,
            what: "the delay of each batch, one after another",
        }),
    }],
    verified: "every page, byte for byte",
    contenders: || with_duplicate(async_cells()),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![64.0, 256.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            points: vec![8.0, 64.0, 256.0],
            rounds: 20,
        },
    },
    execution: Execution {
        estimated_ms: |_, limit| least(limit) + 50.0,
        ..Execution::new(worker)
    },
};

fn least(limit: f64) -> f64 {
    (PAGES as f64 / limit).ceil() * DELAY_MS as f64
}

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    pages::wall_time_benchmark(config, |limit| PageBatch {
        pages: PAGES,
        limit: limit as u64,
        delay_ms: DELAY_MS,
    })
}
