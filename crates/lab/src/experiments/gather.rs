//! Many pages at once.

use super::{cells, with_peers};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::pages::{self, Shape};
use crate::worker::{Failure, Setup, Turn};

const DELAY_MS: u64 = 100;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "gather",
    title: "Many pages at once",
    question: "How much longer than one page do n pages take, fetched at once?",
    variable: Some(Variable {
        name: "pages at once",
        unit: "",
        logarithmic: true,
    }),
    metrics: &[
        Metric {
            name: "wall",
            what: "time until the last page",
            unit: "ms",
            better: Better::Lower,
            limit: Some(Limit {
                at: |_| DELAY_MS as f64,
                what: "the page's delay",
            }),
        },
        Metric {
            name: "cpu",
            what: "CPU time of the client",
            unit: "ms",
            better: Better::Lower,
            limit: None,
        },
    ],
    verified: "every page, byte for byte",
    contenders: || with_peers("gather", cells(&["reqwest"])),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![100.0, 1000.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            points: vec![1.0, 10.0, 100.0, 1000.0, 5000.0],
            rounds: 20,
        },
    },
    work: Work {
        // A thread for each call: beyond these the pools queue, which `offload` is about.
        takes: |effort, program, x| {
            let most = match effort {
                Effort::Quick => 100.0,
                Effort::Full => 500.0,
            };
            !program.ends_with("/ureq") || x <= most
        },
        about: |_, x| 105.0 + 0.06 * x,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    pages::turns(setup, |x| Shape {
        pages: x as u64,
        limit: x as u64,
        delay_ms: DELAY_MS,
    })
}
