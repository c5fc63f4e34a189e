//! Requests that are given up, and when the server learns of it.

use std::thread;
use std::time::{Duration, Instant};

use inflight::{Backend, Session, Task};
use inflight_origin::Origin;

use super::{cells, with_again};
use crate::experiment::{Better, Effort, Experiment, Limit, Metric, Plan, Work};
use crate::worker::fetch::{on_worker, page, page_path, session};
use crate::worker::measure::{ms, open_files};
use crate::worker::{Answer, Failure, Setup, Turn, start};

/// How many are given up at once.
const REQUESTS: u64 = 8;

/// What a request may take. A client that learns of a cancel by its own timeout alone shows here.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is still open after so long is left open.
const GRACE: Duration = Duration::from_millis(200);

/// Longer than anything takes that ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the requests are sent anew when the machine was too busy for all of them to be at the
/// server before their timeout.
const TRIES: usize = 10;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "cancel",
    title: "Requests that are given up",
    question: "How long after a cancel does the server see the connection close, with a server that is silent and a timeout of 1 s?",
    variable: None,
    metrics: &[
        Metric {
            name: "seen",
            what: "time from the cancel of 8 requests until the server has seen each connection close",
            unit: "ms",
            better: Better::Lower,
            limit: Some(Limit {
                at: |_| 0.0,
                what: "at once",
            }),
        },
        Metric {
            name: "left",
            what: "descriptors that are open 200 ms later and were not before",
            unit: "",
            better: Better::Lower,
            limit: Some(Limit {
                at: |_| 0.0,
                what: "none",
            }),
        },
    ],
    verified: "a page before, byte for byte, and that all 8 requests were at the server",
    contenders: || with_again(cells(&[])),
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 3,
            Effort::Full => 20,
        },
    },
    work: Work {
        // isahc's thread is the same on each runtime, and it is the slow one.
        takes: |effort, program, _| {
            effort == Effort::Full || !matches!(program, "smol/isahc" | "async-std/isahc")
        },
        about: |_, _| 150.0,
        ..Work::of(worker)
    },
};

fn worker(setup: &Setup) -> Result<Turn, Failure> {
    let backend = start(setup.cell()?, 1)?;
    let session = session(&backend)?;
    let origin = setup.origin.clone();
    // Of its own, which tells each change of its counts as it happens.
    let silent = Origin::start()?;
    Ok(Box::new(move |ask| {
        let (mut seen, mut left) = (0.0, 0.0);
        for _ in 0..ask.iterations {
            // It opens whatever the client opens once and for all.
            let url = format!("{origin}{}", page_path(0, 0));
            on_worker(&backend, page(session.clone(), url, 0))?;
            let before = open_files()?;
            seen += ms(give_up(&backend, &session, &silent)?);
            left += left_open(before)? as f64;
        }
        let each = ask.iterations.max(1) as f64;
        let metrics = [("seen", seen / each), ("left", left / each)];
        Ok(Answer::of(ask.iterations, metrics))
    }))
}

/// How long after the cancel the server had seen all connections close.
fn give_up(backend: &Backend, session: &Session, silent: &Origin) -> Result<Duration, Failure> {
    for _ in 0..TRIES {
        let requests: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let hang = session.get(silent.url("/hang")).timeout(TIMEOUT);
                let response = hang.send();
                Task::spawn(backend.runtime(), async { response.await.map(drop) })
            })
            .collect();
        let came = silent.wait_for(TIMEOUT, |stats| stats.in_flight == REQUESTS);
        let cancelled = Instant::now();
        drop(requests);
        silent
            .wait_for(PATIENCE, |stats| stats.in_flight == 0)
            .map_err(|stats| format!("{} are open long after the cancel", stats.in_flight))?;
        if came.is_ok() {
            return Ok(cancelled.elapsed());
        }
    }
    Err(format!("{REQUESTS} requests did not come within {TIMEOUT:?}, {TRIES} times").into())
}

fn left_open(before: usize) -> Result<usize, Failure> {
    let until = Instant::now() + GRACE;
    loop {
        let left = open_files()?.saturating_sub(before);
        if left == 0 || Instant::now() >= until {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
