//! The gap against the delay.

use super::blocking::GAP;
use super::{named, with_again};
use crate::experiment::{Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::stall::Patient;
use crate::worker::{Failure, Setup, Turn};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "dose",
    title: "The gap against the delay",
    question: "Does the loop stand still for as long as the server takes?",
    variable: Some(Variable {
        name: "the page's delay",
        unit: "ms",
        logarithmic: true,
    }),
    metrics: &[Metric {
        limit: Some(Limit {
            at: |delay| delay,
            what: "of the calls inside the task: the page's delay",
        }),
        ..GAP
    }],
    verified: "the page, byte for byte",
    contenders: || {
        with_again(named(&[
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
    work: Work {
        takes: |effort, program, _| effort == Effort::Full || program.starts_with("tokio: "),
        about: |_, delay| delay + 5.0,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    Ok(Patient::of(setup, 1)?.turns(|delay| (1, delay as u64)))
}
