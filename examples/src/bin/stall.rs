//! Measures how a blocking call stalls an event loop: `just run stall`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use inflight::backend::{Inline, Offload};
use inflight::{Error, Session};
use inflight_examples::ureq_session;
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let url = origin.url("/delay-ms/100");
    inflight::block_on(async {
        let session = inflight::session()?;
        let runtime = session.runtime().clone();
        let inline = ureq_session(&runtime, |ureq, _| Inline::new(ureq))?;
        let offloaded = ureq_session(&runtime, Offload::new)?;

        let name = runtime.name();
        println!("the largest gap of a 1 ms heartbeat, on {name}:");
        for (client, session) in [
            ("ureq inside the task", inline),
            ("ureq on the blocking pool", offloaded),
            ("this backend's client", session),
        ] {
            println!("{client}: {} ms", largest_gap(&session, &url).await?);
        }
        Ok(())
    })
}

// ANCHOR: heartbeat
/// Fetches a page, while a heartbeat in the same task ticks every millisecond. Returns the largest gap
/// between two ticks, in ms.
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
        largest.as_millis()
    };
    let fetch = async {
        let page = session.get(url).bytes().await;
        stop.store(true, Ordering::Relaxed);
        page
    };
    let (largest_gap, page) = zip(heartbeat, fetch).await;
    page.map(|_| largest_gap)
}
// ANCHOR_END: heartbeat
