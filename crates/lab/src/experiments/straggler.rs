//! One page of many that is slow, and how soon those that are there can be used.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use inflight::{Session, gather};

use super::{named, with_again};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Work};
use crate::worker::fetch::{failed, on_worker, page, page_path, session};
use crate::worker::measure::ms;
use crate::worker::{Answer, Failure, Setup, Turn, start};

const PAGES: u64 = 100;
const DELAY_MS: u64 = 20;
const SLOW_MS: u64 = 500;

/// The slow one, in their midst.
const SLOW: u64 = PAGES / 2;

/// A page that is not there after this is asked for once more, as of another server.
const HEDGE: Duration = Duration::from_millis(50);

const LEAST: Limit = Limit {
    at: |_| DELAY_MS as f64,
    what: "a quick page's delay",
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "straggler",
    title: "One slow page among a hundred",
    question: "How soon are pages at hand when one of 101 takes 500 ms and the others 20 ms?",
    variable: None,
    metrics: &[
        Metric {
            name: "last",
            what: "time until the last page is at hand",
            unit: "ms",
            better: Better::Lower,
            limit: Some(LEAST),
        },
        Metric {
            name: "most",
            what: "time until all but one are at hand",
            unit: "ms",
            better: Better::Lower,
            limit: Some(LEAST),
        },
        Metric {
            name: "first",
            what: "time until the first page is at hand",
            unit: "ms",
            better: Better::Lower,
            limit: Some(LEAST),
        },
        Metric {
            name: "requests",
            what: "requests for the 101 pages",
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
        with_again(named(&[
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
    work: Work {
        takes: |effort, program, _| effort == Effort::Full || program.starts_with("tokio: "),
        about: |_, _| SLOW_MS as f64 + 10.0,
        ..Work::of(worker)
    },
};

/// When pages were at hand, in their order, in milliseconds, and how many requests it took.
struct Seen {
    at: Vec<f64>,
    requests: u64,
}

type Way = fn(Session, String) -> BoxFuture<'static, Result<Seen, Failure>>;

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let Some((runtime, way)) = setup.contender.split_once(": ") else {
        return Err(format!("straggler has no {:?}", setup.contender).into());
    };
    let way: Way = match way {
        "all" => |session, origin| all(session, origin).boxed(),
        "completed" => |session, origin| completed(session, origin).boxed(),
        "hedged" => |session, origin| hedged(session, origin).boxed(),
        _ => return Err(format!("no way to gather is named {way:?}").into()),
    };
    let backend = start(format!("{runtime}/hyper").parse()?, 1)?;
    let (session, origin) = (session(&backend)?, setup.origin.clone());
    Ok(Box::new(move |ask| {
        let mut sums = [0.0; 4];
        for _ in 0..ask.iterations {
            let seen = on_worker(&backend, way(session.clone(), origin.clone()))?;
            let [first, .., most, last] = &*seen.at else {
                return Err("pages are missing".into());
            };
            if seen.at.len() as u64 != PAGES + 1 {
                return Err(format!("{} pages in place of {}", seen.at.len(), PAGES + 1).into());
            }
            let one = [*last, *most, *first, seen.requests as f64];
            for (sum, value) in sums.iter_mut().zip(one) {
                *sum += value;
            }
        }
        let [last, most, first, requests] = sums.map(|sum| sum / ask.iterations.max(1) as f64);
        let metrics = [
            ("last", last),
            ("most", most),
            ("first", first),
            ("requests", requests),
        ];
        Ok(Answer::of(ask.iterations * (PAGES + 1), metrics))
    }))
}

fn delay_ms(number: u64) -> u64 {
    if number == SLOW { SLOW_MS } else { DELAY_MS }
}

async fn get(session: Session, origin: String, number: u64, delay_ms: u64) -> Result<(), Failure> {
    let url = format!("{origin}{}", page_path(number, delay_ms));
    page(session, url, number).await
}

/// The pages are at hand together, when the last of them is there.
async fn all(session: Session, origin: String) -> Result<Seen, Failure> {
    let started = Instant::now();
    let pages =
        (0..=PAGES).map(|number| get(session.clone(), origin.clone(), number, delay_ms(number)));
    let pages = gather(pages).limit(PAGES as usize + 1).all().await;
    let there = pages.map_err(failed)?.len();
    Ok(Seen {
        at: vec![ms(started.elapsed()); there],
        requests: PAGES + 1,
    })
}

/// Each is at hand when it is there.
async fn completed(session: Session, origin: String) -> Result<Seen, Failure> {
    let started = Instant::now();
    let pages =
        (0..=PAGES).map(|number| get(session.clone(), origin.clone(), number, delay_ms(number)));
    let mut pages = pin!(gather(pages).limit(PAGES as usize + 1).completed());
    let mut at = Vec::new();
    while let Some((_, page)) = pages.next().await {
        page.map_err(failed)?;
        at.push(ms(started.elapsed()));
    }
    Ok(Seen {
        at,
        requests: PAGES + 1,
    })
}

/// As `completed`, and a page that is late is asked for once more; the first answer counts, and
/// the other request is cancelled.
async fn hedged(session: Session, origin: String) -> Result<Seen, Failure> {
    let started = Instant::now();
    let pages = (0..=PAGES).map(|number| hedge(session.clone(), origin.clone(), number));
    let mut pages = pin!(gather(pages).limit(PAGES as usize + 1).completed());
    let (mut at, mut requests) = (Vec::new(), 0);
    while let Some((_, page)) = pages.next().await {
        requests += page.map_err(failed)?;
        at.push(ms(started.elapsed()));
    }
    Ok(Seen { at, requests })
}

/// Answers how many requests it took.
async fn hedge(session: Session, origin: String, number: u64) -> Result<u64, Failure> {
    let runtime = session.runtime().clone();
    let first = get(session.clone(), origin.clone(), number, delay_ms(number));
    let second = async move {
        runtime.sleep(HEDGE).await;
        get(session, origin, number, DELAY_MS).await
    };
    let tries = [
        first.map(|page| page.map(|()| 1)).boxed(),
        second.map(|page| page.map(|()| 2)).boxed(),
    ];
    let page = gather(tries).first().await;
    page.map_err(|error| {
        let mut failures = error.failures.into_iter();
        failures.next().map_or("no try".into(), failed)
    })
}
