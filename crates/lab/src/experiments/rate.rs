//! An open loop: requests start at a fixed rate, whether or not earlier responses have arrived.

use super::contenders::owned_names;
use crate::experiment::{ChartStyle, Effort, Execution, Experiment, Metric, Plan, Variable};
use crate::worker::open_loop::{self, Load};
use crate::worker::pages::{ContenderClient, REQWEST};
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig};

const DELAY_MS: u64 = 10;

/// The maximum number of requests in flight. At the highest rate, a client that keeps up with the rate has
/// about a tenth of this number in flight.
const MAX_IN_FLIGHT: u64 = 1000;

const fn latency(name: &'static str, label: &'static str) -> Metric {
    Metric::new(name, label, "ms").with_limit("the page's delay", |_| DELAY_MS as f64)
}

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "rate",
    title: "Latency at a fixed request rate",
    question: "How long does a page take from its scheduled time, at a fixed number of requests per second?",
    variable: Some(Variable {
        name: "requests per second",
        unit: "1/s",
    }),
    metrics: &[
        latency(
            "p99",
            "99th percentile of the latency from the scheduled time",
        )
        .with_chart_style(ChartStyle::MarkedKnees),
        latency("p50", "median of the latency from the scheduled time"),
        latency(
            "p999",
            "99.9th percentile of the latency from the scheduled time",
        ),
        Metric::new("done", "completed pages per second", "1/s")
            .higher_is_better()
            .with_target("the request rate", |rate| rate),
    ],
    verification: "every page, byte for byte",
    programs: || {
        owned_names(&[
            "tokio/hyper",
            "smol/hyper",
            "smol/isahc",
            "async-std/surf",
            "threads/ureq",
            REQWEST,
        ])
    },
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![1000.0, 4000.0],
            rounds: 2,
        },
        Effort::Full => Plan {
            points: vec![500.0, 1000.0, 2000.0, 4000.0, 6000.0, 8000.0, 12_000.0],
            rounds: 8,
        },
    },
    execution: Execution {
        // An iteration is a request.
        iterations: |effort, rate| (seconds(effort) * rate) as u64,
        ..Execution::new(worker)
    },
};

/// Returns the duration of a turn in seconds.
fn seconds(effort: Effort) -> f64 {
    match effort {
        Effort::Quick => 0.4,
        Effort::Full => 2.0,
    }
}

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let client = ContenderClient::new(config)?;
    let origin = config.origin.clone();
    Ok(Box::new(move |params| {
        let load = Load {
            rate: params.x,
            requests: params.iterations,
            max_in_flight: MAX_IN_FLIGHT,
            delay_ms: DELAY_MS,
        };
        let recorder = open_loop::run(&client, &origin, load)?;
        let metrics = [
            ("p99", recorder.quantile_ms(0.99)),
            ("p50", recorder.quantile_ms(0.5)),
            ("p999", recorder.quantile_ms(0.999)),
            ("done", recorder.throughput()),
        ];
        Ok(Measurement::new(recorder.answered(), metrics))
    }))
}
