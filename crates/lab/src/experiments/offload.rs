//! Blocking calls on a runtime's blocking pool, and its size.

use super::{named, with_again};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::pages::{self, Shape};
use crate::worker::{Failure, Setup, Turn};

const DELAY_MS: u64 = 100;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "offload",
    title: "Blocking calls on the blocking pool",
    question: "How many calls does a blocking pool bear before they wait for each other?",
    variable: Some(Variable {
        name: "calls at once",
        unit: "",
        logarithmic: true,
    }),
    metrics: &[Metric {
        name: "wall",
        what: "time until the last page",
        unit: "ms",
        better: Better::Lower,
        limit: Some(Limit {
            // tokio's pool has 512 threads and that of smol and async-std 500, so that more than
            // these have to take twice as long there; threads/ureq has no pool.
            at: |_| DELAY_MS as f64,
            what: "the page's delay; once more for each time that the pool of 512 or 500 threads is full",
        }),
    }],
    verified: "every page, byte for byte",
    contenders: || {
        let cells = ["tokio/ureq", "smol/ureq", "async-std/ureq", "threads/ureq"];
        with_again(named(&cells))
    },
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![100.0, 1000.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            points: vec![100.0, 500.0, 1000.0],
            rounds: 20,
        },
    },
    work: Work {
        about: |_, calls| 110.0 + calls * 0.15,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    pages::wall_turns(setup, |calls| Shape {
        pages: calls as u64,
        limit: calls as u64,
        delay_ms: DELAY_MS,
    })
}
