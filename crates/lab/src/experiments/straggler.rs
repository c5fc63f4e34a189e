//! One slow page among many, and when the pages become available.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use inflight::{Session, gather};

use super::contenders::{named, with_duplicate};
use crate::experiment::{Better, Effort, Execution, Experiment, Limit, Metric, Plan};
use crate::worker::fetch::{failed, on_worker, page, page_path, session};
use crate::worker::measure::ms;
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

const PAGES: u64 = 100;
const DELAY_MS: u64 = 20;
const SLOW_MS: u64 = 500;

/// The number of the slow page.
const SLOW_PAGE: u64 = PAGES / 2;

/// A page that has not arrived after this delay is requested again.
const HEDGE_DELAY: Duration = Duration::from_millis(50);

const LEAST: Limit = Limit {
    at: |_| DELAY_MS as f64,
    what: "a fast page's delay",
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "straggler",
    title: "One slow page among a hundred",
    question: "When are pages available if one of 101 takes 500 ms and the others take 20 ms?",
    variable: None,
    metrics: &[
        Metric {
            name: "last",
            what: "time until the last page is available",
            unit: "ms",
            better: Better::Lower,
            limit: Some(LEAST),
        },
        Metric {
            name: "most",
            what: "time until all pages but one are available",
            unit: "ms",
            better: Better::Lower,
            limit: Some(LEAST),
        },
        Metric {
            name: "first",
            what: "time until the first page is available",
            unit: "ms",
            better: Better::Lower,
            limit: Some(LEAST),
        },
        Metric {
            name: "requests",
            what: "requests sent for the 101 pages",
            unit: "",
            better: Better::Lower,
            limit: Some(Limit {
                at: |_| (PAGES + 1) as f64,
                what: "one for each page",
            }),
        },
    ],
    verified: "every page, byte for byte",
    contenders: || {
        with_duplicate(named(&[
            "tokio: all",
            "tokio: completed",
            "tokio: hedged",
            "smol: all",
            "smol: completed",
            "smol: hedged",
            "async-std: all",
            "async-std: completed",
            "async-std: hedged",
        ]))
    },
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 4,
            Effort::Full => 30,
        },
    },
    execution: Execution {
        includes: |effort, program, _| effort == Effort::Full || program.starts_with("tokio: "),
        estimated_ms: |_, _| SLOW_MS as f64 + 10.0,
        ..Execution::new(worker)
    },
};

/// The times in milliseconds at which pages became available, in ascending order, and the number of
/// requests.
struct ArrivalTimes {
    at: Vec<f64>,
    requests: u64,
}

type GatherMethod = fn(Session, String) -> BoxFuture<'static, Result<ArrivalTimes, Failure>>;

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let Some((runtime, method)) = config.contender.split_once(": ") else {
        return Err(format!("straggler has no {:?}", config.contender).into());
    };
    let method: GatherMethod = match method {
        "all" => |session, origin| all(session, origin).boxed(),
        "completed" => |session, origin| completed(session, origin).boxed(),
        "hedged" => |session, origin| hedged(session, origin).boxed(),
        _ => return Err(format!("unknown gather method {method:?}").into()),
    };
    let backend = start_backend(format!("{runtime}/hyper").parse()?, 1)?;
    let (session, origin) = (session(&backend)?, config.origin.clone());
    Ok(Box::new(move |params| {
        let mut sums = [0.0; 4];
        for _ in 0..params.iterations {
            let arrivals = on_worker(&backend, method(session.clone(), origin.clone()))?;
            let [first, .., most, last] = &*arrivals.at else {
                return Err("pages are missing".into());
            };
            if arrivals.at.len() as u64 != PAGES + 1 {
                return Err(format!("{} pages instead of {}", arrivals.at.len(), PAGES + 1).into());
            }
            let one = [*last, *most, *first, arrivals.requests as f64];
            for (sum, value) in sums.iter_mut().zip(one) {
                *sum += value;
            }
        }
        let [last, most, first, requests] = sums.map(|sum| sum / params.iterations.max(1) as f64);
        let metrics = [
            ("last", last),
            ("most", most),
            ("first", first),
            ("requests", requests),
        ];
        Ok(Measurement::new(params.iterations * (PAGES + 1), metrics))
    }))
}

fn delay_ms(number: u64) -> u64 {
    if number == SLOW_PAGE {
        SLOW_MS
    } else {
        DELAY_MS
    }
}

async fn get(session: Session, origin: String, number: u64, delay_ms: u64) -> Result<(), Failure> {
    let url = format!("{origin}{}", page_path(number, delay_ms));
    page(session, url, number).await
}

/// Returns all pages together, after the last one has arrived.
async fn all(session: Session, origin: String) -> Result<ArrivalTimes, Failure> {
    let started = Instant::now();
    let pages =
        (0..=PAGES).map(|number| get(session.clone(), origin.clone(), number, delay_ms(number)));
    let pages = gather(pages).limit(PAGES as usize + 1).all().await;
    let count = pages.map_err(failed)?.len();
    Ok(ArrivalTimes {
        at: vec![ms(started.elapsed()); count],
        requests: PAGES + 1,
    })
}

/// Yields each page when it arrives.
async fn completed(session: Session, origin: String) -> Result<ArrivalTimes, Failure> {
    let started = Instant::now();
    let pages =
        (0..=PAGES).map(|number| get(session.clone(), origin.clone(), number, delay_ms(number)));
    let mut pages = pin!(gather(pages).limit(PAGES as usize + 1).completed());
    let mut at = Vec::new();
    while let Some((_, page)) = pages.next().await {
        page.map_err(failed)?;
        at.push(ms(started.elapsed()));
    }
    Ok(ArrivalTimes {
        at,
        requests: PAGES + 1,
    })
}

/// As `completed`, but requests a late page again. The first response counts, and the other request is
/// cancelled.
async fn hedged(session: Session, origin: String) -> Result<ArrivalTimes, Failure> {
    let started = Instant::now();
    let pages = (0..=PAGES).map(|number| hedge(session.clone(), origin.clone(), number));
    let mut pages = pin!(gather(pages).limit(PAGES as usize + 1).completed());
    let (mut at, mut requests) = (Vec::new(), 0);
    while let Some((_, page)) = pages.next().await {
        requests += page.map_err(failed)?;
        at.push(ms(started.elapsed()));
    }
    Ok(ArrivalTimes { at, requests })
}

/// Fetches one page and returns the number of requests.
async fn hedge(session: Session, origin: String, number: u64) -> Result<u64, Failure> {
    let runtime = session.runtime().clone();
    let first = get(session.clone(), origin.clone(), number, delay_ms(number));
    let second = async move {
        runtime.sleep(HEDGE_DELAY).await;
        get(session, origin, number, DELAY_MS).await
    };
    let attempts = [
        first.map(|page| page.map(|()| 1)).boxed(),
        second.map(|page| page.map(|()| 2)).boxed(),
    ];
    let page = gather(attempts).first().await;
    page.map_err(|error| {
        let mut failures = error.failures.into_iter();
        failures.next().map_or("no attempt".into(), failed)
    })
}
