//! An open loop: requests at a rate, whatever became of those before.

use super::{named, with_again};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Variable, Work};
use crate::worker::open_loop::{self, Load};
use crate::worker::pages::Client;
use crate::worker::{Answer, Failure, Setup, Turn};

const DELAY_MS: u64 = 10;

/// At most so many under way, a tenth of which does for the highest rate as long as a client
/// keeps up with it.
const AT_ONCE: u64 = 1000;

const DELAY: Limit = Limit {
    at: |_| DELAY_MS as f64,
    what: "the page's delay",
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "rate",
    title: "Requests at a rate",
    question: "How long does a page take, from when it was due, when so many are asked for each second?",
    variable: Some(Variable {
        name: "requests a second",
        unit: "1/s",
        logarithmic: true,
    }),
    metrics: &[
        Metric {
            name: "p99",
            what: "99th percentile of the time from when a request was due to its page",
            unit: "ms",
            better: Better::Lower,
            limit: Some(DELAY),
        },
        Metric {
            name: "p50",
            what: "median of the time from when a request was due to its page",
            unit: "ms",
            better: Better::Lower,
            limit: Some(DELAY),
        },
        Metric {
            name: "p999",
            what: "99.9th percentile of the time from when a request was due to its page",
            unit: "ms",
            better: Better::Lower,
            limit: Some(DELAY),
        },
        Metric {
            name: "done",
            what: "pages each second",
            unit: "1/s",
            better: Better::Higher,
            limit: Some(Limit {
                at: |rate| rate,
                what: "as many as were asked for",
            }),
        },
    ],
    verified: "every page, byte for byte",
    contenders: || {
        with_again(named(&[
            "tokio/hyper",
            "smol/hyper",
            "smol/isahc",
            "async-std/surf",
            "threads/ureq",
            "reqwest",
        ]))
    },
    plan: |effort| match effort {
        Effort::Quick => Plan {
            points: vec![1000.0, 4000.0],
            rounds: 2,
        },
        Effort::Full => Plan {
            points: vec![500.0, 1000.0, 2000.0, 4000.0, 6000.0, 8000.0, 12_000.0],
            rounds: 8,
        },
    },
    work: Work {
        // An iteration is a request.
        iterations: |effort, rate| (seconds(effort) * rate) as u64,
        about: |effort, _| seconds(effort) * 1.2e3,
        ..Work::of(worker)
    },
};

/// How long a turn is.
fn seconds(effort: Effort) -> f64 {
    match effort {
        Effort::Quick => 0.4,
        Effort::Full => 2.0,
    }
}

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let client = Client::of(setup)?;
    let origin = setup.origin.clone();
    Ok(Box::new(move |ask| {
        let load = Load {
            rate: ask.x,
            requests: ask.iterations,
            at_once: AT_ONCE,
            delay_ms: DELAY_MS,
        };
        let seen = open_loop::run(&client, &origin, load)?;
        let metrics = [
            ("p99", seen.quantile_ms(0.99)),
            ("p50", seen.quantile_ms(0.5)),
            ("p999", seen.quantile_ms(0.999)),
            ("done", seen.each_second()),
        ];
        Ok(Answer::of(seen.answered(), metrics))
    }))
}
