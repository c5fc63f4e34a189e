//! Many pages, fetched concurrently.

use inflight_origin::Stats;

use super::contenders::cells_and;
use crate::experiment::{Effort, Execution, Experiment, Metric, PeerWork, Plan, Variable};
use crate::peers;
use crate::worker::pages::{self, PageBatch, REQWEST};
use crate::worker::{Benchmark, Failure, Metrics, WorkerConfig};

const DELAY_MS: u64 = 100;

/// The lateness of the origin's responses. The origin, which is the test server, measures this lateness. The
/// times of every contender include it.
pub(super) const LATENESS: Metric = Metric::new(
    "late",
    "lateness of the origin's responses, 99th percentile",
    "ms",
);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "gather",
    title: "Many pages at once",
    question: "How much longer than one page do n pages take if they are fetched concurrently?",
    variable: Some(Variable {
        name: "pages at once",
        unit: "",
    }),
    metrics: &[
        Metric::new("wall", "time until the last page", "ms")
            .with_limit("the page's delay", |_| DELAY_MS as f64),
        Metric::new(
            "over",
            "time until the last page, as a multiple of the slowest page's at the origin",
            "1",
        )
        .with_limit("the slowest page", |_| 1.0),
        Metric::new("cpu", "CPU time of the client", "ms"),
        LATENESS,
    ],
    verification: "every page, byte for byte",
    programs: || cells_and(&[REQWEST]),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![10.0, 100.0, 1000.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            // All contenders keep their connections between rounds. More pages would exceed the
            // origin's limit of open files. The experiment `threads` has more pages.
            points: vec![1.0, 10.0, 100.0, 1000.0],
            rounds: 20,
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
            mistake: Some(peers::REQUESTS),
            arguments: || format!("--work pages --pages x --limit x --delay-ms {DELAY_MS}"),
        }),
        includes: |effort, program, x| x <= largest_point(effort, program),
        origin_metrics: &[("over", ratio_to_slowest_page), (LATENESS.name, lateness)],
        ..Execution::new(worker)
    },
};

/// Returns the largest point at which a contender takes part.
fn largest_point(effort: Effort, program: &str) -> f64 {
    match (program, effort) {
        // This peer fetches the pages one after the other, so n pages take n times the delay.
        (peers::REQUESTS, Effort::Quick) => 10.0,
        (peers::REQUESTS, Effort::Full) => 100.0,
        (peers::CURL, _) => peers::CURL_LIMIT,
        // More calls would exceed the threads of the pool and wait. The experiment `offload` measures this.
        (program, Effort::Quick) if program.ends_with("/ureq") => 100.0,
        (program, Effort::Full) if program.ends_with("/ureq") => 500.0,
        _ => f64::INFINITY,
    }
}

/// Computes the metric `over`. The slowest page took the delay plus the largest lateness of the origin.
fn ratio_to_slowest_page(stats: &Stats, metrics: &Metrics) -> f64 {
    let slowest = DELAY_MS as f64 + stats.delays.max as f64 / 1e3;
    metrics.get("wall").map_or(f64::NAN, |wall| wall / slowest)
}

/// Computes the metric [`LATENESS`].
pub(super) fn lateness(stats: &Stats, _: &Metrics) -> f64 {
    stats.delays.p99 as f64 / 1e3
}

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let batch = |x| PageBatch {
        pages: x as u64,
        limit: x as u64,
        delay_ms: DELAY_MS,
    };
    pages::benchmark(config, batch, |time| {
        [("wall", time.wall_ms), ("cpu", time.cpu_ms)]
    })
}
