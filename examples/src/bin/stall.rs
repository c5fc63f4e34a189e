//! Measures how a blocking call stalls an event loop: `just run stall`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inflight::backend::{Fetch, Inline, Offload, Runtime};
use inflight::clients::Ureq;
use inflight::{Error, Session, gather};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let url = origin.url("/delay-ms/100");
    inflight::block_on(async {
        let session = inflight::session()?;
        let runtime = session.runtime().clone();
        println!(
            "the largest gap of a 1 ms heartbeat, on {}:",
            runtime.name()
        );

        let inline = ureq_session(&runtime, |ureq, _| Inline::new(ureq))?;
        println!(
            "ureq inside the task: {} ms",
            largest_gap(&inline, &url).await?
        );
        let offloaded = ureq_session(&runtime, Offload::new)?;
        println!(
            "ureq on the blocking pool: {} ms",
            largest_gap(&offloaded, &url).await?
        );
        println!(
            "this backend's client: {} ms",
            largest_gap(&session, &url).await?
        );
        Ok(())
    })
}

// ANCHOR: clients
/// Builds a session over ureq, a blocking client.
fn ureq_session<F: Fetch>(
    runtime: &Arc<dyn Runtime>,
    make: impl FnOnce(Ureq, Arc<dyn Runtime>) -> F + Send + 'static,
) -> Result<Session, Error> {
    let runtime = runtime.clone();
    Session::builder(move |options| Ok((make(Ureq::new(options)?, runtime.clone()), runtime)))
        .build()
}
// ANCHOR_END: clients

// ANCHOR: heartbeat
/// Returns the largest time between two heartbeats in milliseconds, while the same task fetches a page.
async fn largest_gap(session: &Session, url: &str) -> Result<u128, Error> {
    let stop = AtomicBool::new(false);
    let heartbeat = async {
        let mut largest = Duration::ZERO;
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            session.runtime().sleep(Duration::from_millis(1)).await;
            largest = largest.max(last.elapsed());
            last = Instant::now();
        }
        Ok(largest.as_millis())
    };
    let fetch = async {
        let fetched = session.get(url).bytes().await;
        stop.store(true, Ordering::Relaxed);
        fetched.map(|_| 0)
    };
    let jobs: [inflight::backend::BoxFuture<'_, Result<u128, Error>>; 2] =
        [Box::pin(heartbeat), Box::pin(fetch)];
    match gather(jobs).all().await {
        Ok(gaps) => Ok(gaps[0]),
        Err(error) => match error.into_kind() {
            inflight::JobErrorKind::Failed(error) => Err(error),
            other => {
                Err(Error::new(inflight::ErrorKind::Cancelled).with_context(format!("{other:?}")))
            }
        },
    }
}
// ANCHOR_END: heartbeat
