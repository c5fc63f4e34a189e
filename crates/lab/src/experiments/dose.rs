//! The heartbeat gap as a function of the page's delay.

use super::blocking::GAP;
use super::contenders::{named, with_duplicate};
use crate::experiment::{Effort, Execution, Experiment, Limit, Metric, Plan, Variable};
use crate::worker::stall::StallBenchmark;
use crate::worker::{Benchmark, Failure, WorkerConfig};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "dose",
    title: "Heartbeat gap by delay",
    question: "Does a blocking call stall the event loop for the whole delay of the server?",
    variable: Some(Variable {
        name: "the page's delay",
        unit: "ms",
        logarithmic: true,
    }),
    metrics: &[Metric {
        limit: Some(Limit {
            at: |delay| delay,
            what: "for calls inside the task: the page's delay",
        }),
        ..GAP
    }],
    verified: "the page, byte for byte",
    contenders: || {
        with_duplicate(named(&[
            "tokio: inline",
            "tokio: offloaded",
            "tokio: async",
            "smol: inline",
            "smol: offloaded",
            "smol: async",
            "async-std: inline",
            "async-std: offloaded",
            "async-std: async",
        ]))
    },
    plan: |effort| Plan {
        points: vec![10.0, 30.0, 100.0, 300.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 30,
        },
    },
    execution: Execution {
        includes: |effort, program, _| effort == Effort::Full || program.starts_with("tokio: "),
        estimated_ms: |_, delay| delay + 5.0,
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    Ok(StallBenchmark::new(config, 1)?.into_benchmark(|delay| (1, delay as u64)))
}
