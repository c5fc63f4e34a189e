//! A blocking call on an event loop with one thread.

use super::contenders::owned_names;
use crate::experiment::{ChartStyle, Effort, Execution, Experiment, Metric, PeerWork, Plan};
use crate::peers;
use crate::worker::stall::StallBenchmark;
use crate::worker::{Benchmark, Failure, WorkerConfig};

pub(super) const DELAY_MS: u64 = 100;

/// The largest gap of a heartbeat, which is a task that wakes every millisecond. A large gap shows that the
/// event loop was stalled.
pub(super) const GAP: Metric = Metric::new("gap", "largest gap of a 1 ms heartbeat", "ms")
    .with_chart_style(ChartStyle::BarsFromZero);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "blocking",
    title: "A blocking call on one worker",
    question: "How long does an event loop with one thread stall while it fetches a page with a delay of 100 ms?",
    variable: None,
    metrics: &[GAP],
    verification: "the page, byte for byte",
    programs: || {
        owned_names(&[
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
        ])
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 6,
            Effort::Full => 50,
        },
    },
    execution: Execution {
        peers: Some(PeerWork {
            names: &[peers::AIOHTTP, peers::REQUESTS],
            mistake: None,
            arguments: || format!("--work heart --delay-ms {DELAY_MS}"),
        }),
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    Ok(StallBenchmark::new(config, 1)?.into_benchmark(GAP.name, |_| (1, DELAY_MS)))
}
