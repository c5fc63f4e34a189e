//! Pages one after another: what nothing overlaps.

use super::{named, with_peers};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Work};
use crate::worker::pages::{self, Shape};
use crate::worker::{Failure, Setup, Turn};

pub(crate) const PAGES: u64 = 10;
pub(crate) const DELAY_MS: u64 = 20;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "sequential",
    title: "One page after another",
    question: "How much longer than their delays do ten pages take, each fetched after the one before?",
    variable: None,
    metrics: &[Metric {
        name: "wall",
        what: "time until the last page",
        unit: "ms",
        better: Better::Lower,
        limit: Some(Limit {
            at: |_| (PAGES * DELAY_MS) as f64,
            what: "the sum of the delays",
        }),
    }],
    verified: "every page, byte for byte",
    contenders: || {
        let backends = [
            "tokio/hyper",
            "smol/isahc",
            "async-std/surf",
            "threads/ureq",
        ];
        with_peers("sequential", named(&backends))
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 30,
        },
    },
    work: Work {
        about: |_, _| 220.0,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    pages::wall_turns(setup, |_| Shape {
        pages: PAGES,
        limit: 1,
        delay_ms: DELAY_MS,
    })
}
