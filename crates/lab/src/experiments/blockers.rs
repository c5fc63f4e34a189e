//! Blocking calls on a runtime with two worker threads.

use super::blocking::GAP;
use super::contenders::owned_names;
use crate::experiment::{ChartStyle, Effort, Execution, Experiment, Plan, Variable};
use crate::worker::stall::StallBenchmark;
use crate::worker::{Benchmark, Failure, WorkerConfig};

const DELAY_MS: u64 = 100;
const WORKERS: usize = 2;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "blockers",
    title: "Blocking calls on two workers",
    question: "How many concurrent blocking calls stall all tasks on two worker threads?",
    variable: Some(Variable {
        name: "calls that block at once",
        unit: "",
    }),
    metrics: &[GAP
        .with_limit(
            "zero while a worker is free, then the page's delay",
            |blockers| {
                if blockers < WORKERS as f64 {
                    0.0
                } else {
                    DELAY_MS as f64
                }
            },
        )
        .with_chart_style(ChartStyle::MarkedKnees)],
    verification: "every page, byte for byte",
    programs: || owned_names(&["tokio", "smol", "async-std"]),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![1.0, 2.0, 4.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            points: vec![1.0, 2.0, 4.0, 8.0],
            rounds: 40,
        },
    },
    execution: Execution::new(worker),
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    Ok(StallBenchmark::new(config, WORKERS)?
        .into_benchmark(GAP.name, |blockers| (blockers as u64, DELAY_MS)))
}
