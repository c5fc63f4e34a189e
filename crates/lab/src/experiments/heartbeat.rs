//! A trace of a heartbeat while a page is fetched.

use std::time::Duration;

use super::blocking::GAP;
use super::contenders::named;
use crate::experiment::{Execution, Experiment, Plan, Variable};
use crate::worker::measure::ms;
use crate::worker::stall::StallBenchmark;
use crate::worker::{self, Benchmark, Failure, Measurement, TracePoint, WorkerConfig};

const DELAY_MS: u64 = 100;

/// How long the heartbeat runs before and after the fetch.
const MARGIN: Duration = Duration::from_millis(50);

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "heartbeat",
    title: "A heartbeat while a page is fetched",
    question: "When do the ticks of a 1 ms heartbeat occur while the event loop fetches a page with a delay of 100 ms?",
    variable: Some(Variable {
        name: "time",
        unit: "ms",
        logarithmic: false,
    }),
    metrics: &[GAP],
    verified: "the page, byte for byte",
    contenders: || named(&["idle", "inline", "offloaded", "async"]),
    plan: |_| Plan {
        points: vec![0.0],
        rounds: 1,
    },
    execution: Execution {
        estimated_ms: |_, _| 2.0 * ms(MARGIN) + DELAY_MS as f64,
        trace: true,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let benchmark = StallBenchmark::on_tokio(config)?;
    Ok(Box::new(move |_| {
        let (ticks, answered) = benchmark.measure(1, DELAY_MS, MARGIN)?;
        let point = |tick: worker::heartbeat::Tick| TracePoint {
            x: ms(tick.at),
            metrics: worker::metric_values([("gap", ms(tick.gap))]),
        };
        Ok(Measurement {
            answered,
            trace: ticks.into_iter().map(point).collect(),
            ..Measurement::default()
        })
    }))
}
