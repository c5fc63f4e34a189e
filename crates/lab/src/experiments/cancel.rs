//! Cancelled requests, and the time until the server sees their connections close.

use std::thread;
use std::time::{Duration, Instant};

use inflight::{Backend, Session, Task};
use inflight_origin::Origin;

use super::contenders::cells_and;
use crate::experiment::{Effort, Execution, Experiment, Metric, Plan};
use crate::worker::fetch::{fetch_page, on_worker, page_path, session};
use crate::worker::measure::{ms, open_files};
use crate::worker::{Benchmark, Failure, Measurement, WorkerConfig, start_backend};

/// The number of requests that are cancelled at once.
const REQUESTS: u64 = 8;

/// The timeout of a request. A client that ignores the cancellation closes the connection after this time.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The time after the cancellation for which descriptors may stay open. Descriptors that are open for longer
/// count as left open.
const GRACE: Duration = Duration::from_millis(200);

/// How long the benchmark waits for the server to see all connections close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of attempts. On a busy machine, some requests may reach their timeout before all
/// requests have arrived at the server.
const ATTEMPTS: usize = 10;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "cancel",
    title: "Cancelled requests",
    question: "How long after a cancel does the server see the connection close, if the server never responds and the timeout is 1 s?",
    variable: None,
    metrics: &[
        Metric::new(
            "seen",
            "time from the cancel of 8 requests until the server sees all connections close",
            "ms",
        )
        .with_limit("immediately", |_| 0.0)
        .with_timeout(TIMEOUT.as_secs() as f64 * 1e3),
        Metric::new("left", "additional open descriptors after 200 ms", "")
            .with_limit("none", |_| 0.0),
    ],
    verification: "a page before each cancel, byte for byte, and that all 8 requests arrived at the server",
    programs: || cells_and(&[]),
    plan: |effort| Plan {
        points: vec![0.0],
        rounds: match effort {
            Effort::Quick => 3,
            Effort::Full => 20,
        },
    },
    execution: Execution {
        // isahc behaves the same on all runtimes, and its turns are the slowest.
        includes: |effort, program, _| {
            effort == Effort::Full || !matches!(program, "smol/isahc" | "async-std/isahc")
        },
        ..Execution::new(worker)
    },
};

fn worker(config: &WorkerConfig) -> Result<Benchmark, Failure> {
    let backend = start_backend(config.cell()?, 1)?;
    let session = session(&backend)?;
    let origin = config.origin.clone();
    // A second test server, in this process, because the worker must wait for changes of its statistics.
    let silent_origin = Origin::start()?;
    Ok(Box::new(move |params| {
        let (mut close_time, mut left) = (0.0, 0.0);
        for _ in 0..params.iterations {
            // The first page opens the descriptors that the client keeps.
            let url = format!("{origin}{}", page_path(0, 0));
            on_worker(&backend, fetch_page(session.clone(), url, 0))?;
            let before = open_files()?;
            close_time += ms(cancel_requests(&backend, &session, &silent_origin)?);
            left += count_left_open(before)? as f64;
        }
        let each = params.iterations.max(1) as f64;
        let metrics = [("seen", close_time / each), ("left", left / each)];
        Ok(Measurement::new(params.iterations, metrics))
    }))
}

/// Cancels requests and returns the time until the server has seen all connections close.
fn cancel_requests(
    backend: &Backend,
    session: &Session,
    silent_origin: &Origin,
) -> Result<Duration, Failure> {
    for _ in 0..ATTEMPTS {
        let requests: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let hang = session.get(silent_origin.url("/hang")).timeout(TIMEOUT);
                let response = hang.send();
                Task::spawn(backend.runtime(), async { response.await.map(drop) })
            })
            .collect();
        let arrived = silent_origin.wait_for(TIMEOUT, |stats| stats.in_flight == REQUESTS);
        let cancelled = Instant::now();
        drop(requests);
        silent_origin
            .wait_for(CLOSE_TIMEOUT, |stats| stats.in_flight == 0)
            .map_err(|stats| {
                format!(
                    "{} requests are still open after the cancel",
                    stats.in_flight
                )
            })?;
        if arrived.is_ok() {
            return Ok(cancelled.elapsed());
        }
    }
    Err(
        format!("{REQUESTS} requests did not arrive within {TIMEOUT:?} in {ATTEMPTS} attempts")
            .into(),
    )
}

/// Waits until at most `before` descriptors are open, or until [`GRACE`] has passed. Returns the number of
/// additional descriptors.
fn count_left_open(before: usize) -> Result<usize, Failure> {
    let until = Instant::now() + GRACE;
    loop {
        let left = open_files()?.saturating_sub(before);
        if left == 0 || Instant::now() >= until {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
