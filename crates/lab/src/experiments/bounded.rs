//! Many pages, so many at a time: a client with a cap of its own does not keep up with the limit.

use super::{async_cells, with_again};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::pages::{self, Shape};
use crate::worker::{Failure, Setup, Turn};

const PAGES: u64 = 512;
const DELAY_MS: u64 = 20;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "bounded",
    title: "A bounded gather",
    question: "Do 512 pages take no longer than the limit on those in flight makes them, or is there a hidden cap below it?",
    variable: Some(Variable {
        name: "limit of pages in flight",
        unit: "",
        logarithmic: true,
    }),
    metrics: &[Metric {
        name: "wall",
        what: "time until the last page",
        unit: "ms",
        better: Better::Lower,
        limit: Some(Limit {
            at: least,
            what: "the delays that follow each other",
        }),
    }],
    verified: "every page, byte for byte",
    contenders: || with_again(async_cells()),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![64.0, 256.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            points: vec![8.0, 64.0, 256.0],
            rounds: 20,
        },
    },
    work: Work {
        about: |_, limit| least(limit) + 50.0,
        ..Work::of(worker)
    },
};

fn least(limit: f64) -> f64 {
    (PAGES as f64 / limit).ceil() * DELAY_MS as f64
}

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    pages::wall_turns(setup, |limit| Shape {
        pages: PAGES,
        limit: limit as u64,
        delay_ms: DELAY_MS,
    })
}
