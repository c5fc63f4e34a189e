//! Many pages at once.

use inflight_origin::Stats;

use super::{cells, with_peers};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::peers;
use crate::worker::pages::{self, Shape};
use crate::worker::{Failure, Metrics, Setup, Turn};

pub(crate) const DELAY_MS: u64 = 100;

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
            name: "over",
            what: "time until the last page, as a multiple of the slowest page's at the origin",
            unit: "1",
            better: Better::Lower,
            limit: Some(Limit {
                at: |_| 1.0,
                what: "the slowest page",
            }),
        },
        Metric {
            name: "cpu",
            what: "CPU time of the client",
            unit: "ms",
            better: Better::Lower,
            limit: None,
        },
        Metric::LATE,
    ],
    verified: "every page, byte for byte",
    contenders: || with_peers("gather", cells(&["reqwest"])),
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![10.0, 100.0, 1000.0],
            rounds: 4,
        },
        Effort::Full => Plan {
            // Every contender keeps its connections from round to round, so that more than this
            // are more files than an origin may have open: `threads` goes further.
            points: vec![1.0, 10.0, 100.0, 1000.0],
            rounds: 20,
        },
    },
    work: Work {
        takes: |effort, program, x| x <= most(effort, program),
        of_origin: &[("over", over), (Metric::LATE.name, Metric::late)],
        about: |_, x| 105.0 + 0.06 * x,
        ..Work::of(worker)
    },
};

/// How many pages at once a contender is asked for at most.
fn most(effort: Effort, program: &str) -> f64 {
    match (program, effort) {
        // One after the other, a turn takes as many delays as it has pages.
        (peers::REQUESTS, Effort::Quick) => 10.0,
        (peers::REQUESTS, Effort::Full) => 100.0,
        (peers::CURL, _) => peers::CURL_LIMIT,
        // A thread for each call: beyond these the pools queue, which `offload` is about.
        (program, Effort::Quick) if program.ends_with("/ureq") => 100.0,
        (program, Effort::Full) if program.ends_with("/ureq") => 500.0,
        _ => f64::INFINITY,
    }
}

/// The slowest page took its delay and as much as the origin was late with it.
fn over(stats: &Stats, metrics: &Metrics) -> f64 {
    let slowest = DELAY_MS as f64 + stats.delays.max as f64 / 1e3;
    metrics.get("wall").map_or(f64::NAN, |wall| wall / slowest)
}

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    pages::turns(setup, |x| Shape {
        pages: x as u64,
        limit: x as u64,
        delay_ms: DELAY_MS,
    })
}
