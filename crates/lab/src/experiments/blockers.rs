//! How many blocking calls it takes to stop a pool of workers.

use super::blocking::GAP;
use super::{named, with_again};
use crate::experiment::{Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::stall::Patient;
use crate::worker::{Failure, Setup, Turn};

const DELAY_MS: u64 = 100;
const WORKERS: usize = 2;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "blockers",
    title: "Blocking calls on two workers",
    question: "How many calls that block does a pool of two threads bear before its other tasks stand still?",
    variable: Some(Variable {
        name: "calls that block at once",
        unit: "",
        logarithmic: true,
    }),
    metrics: &[Metric {
        limit: Some(Limit {
            at: |blockers| {
                if blockers < WORKERS as f64 {
                    0.0
                } else {
                    DELAY_MS as f64
                }
            },
            what: "nothing while a worker is left, then the page's delay",
        }),
        ..GAP
    }],
    verified: "every page, byte for byte",
    contenders: || with_again(named(&["tokio", "smol", "async-std"])),
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
    work: Work {
        about: |_, blockers| 110.0 * (blockers / WORKERS as f64).ceil(),
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    Ok(Patient::of(setup, WORKERS)?.turns(|blockers| (blockers as u64, DELAY_MS)))
}
