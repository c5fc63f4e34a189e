//! Pages that are fetched sequentially.

use super::contenders::owned_names;
use crate::experiment::{Effort, Execution, Experiment, Metric, PeerWork, Plan};
use crate::peers;
use crate::worker::pages::{self, PageBatch};
use crate::worker::{Benchmark, Failure, WorkerConfig};

const PAGES: u64 = 10;
const DELAY_MS: u64 = 20;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "sequential",
    title: "Sequential pages",
    question: "How much longer than the sum of their delays do ten pages take if they are fetched sequentially?",
    variable: None,
    metrics: &[Metric::new("wall", "time until the last page", "ms")
        .with_limit("the sum of the delays", |_| (PAGES * DELAY_MS) as f64)],
    verification: "every page, byte for byte",
    programs: || {
        owned_names(&[
            "tokio/hyper",
            "smol/isahc",
            "async-std/surf",
            "threads/ureq",
        ])
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 30,
        },
    },
    execution: Execution {
        peers: Some(PeerWork {
            names: &[
                peers::AIOHTTP,
                peers::REQUESTS,
                peers::GO,
                peers::AIODUCT,
                peers::TRILLIUM,
                peers::CURL,
            ],
            mistake: None,
            arguments: || format!("--work pages --pages {PAGES} --limit 1 --delay-ms {DELAY_MS}"),
        }),
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let batch = |_| PageBatch {
        pages: PAGES,
        limit: 1,
        delay_ms: DELAY_MS,
    };
    pages::benchmark(config, batch, |time| [("wall", time.wall_ms)])
}
