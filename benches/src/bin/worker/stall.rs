//! How long the event loop stands still while a page is fetched.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use inflight::clients::Ureq;
use inflight::{BlockOn, Cell, Error, Inline, Offload, Runtime, Session, Task};
use inflight_benches::process::Measured;

use crate::{Failure, Run};

/// How the page is fetched.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum How {
    /// It is not: the heartbeat alone, for as long as the page would take.
    Idle,
    /// By ureq inside `poll`.
    Inline,
    /// By ureq on the runtime's blocking pool.
    Offloaded,
    /// By the cell's async client.
    Async,
}

/// How often the heart beats when nothing is in its way.
const BEAT: Duration = Duration::from_millis(1);

/// The page's delay when nothing is fetched.
const IDLE: Duration = Duration::from_millis(100);

pub(crate) fn prepare(
    cell: Cell,
    workers: NonZeroUsize,
    how: How,
    url: String,
) -> Result<Run, Failure> {
    let backend = cell.start(Some(workers))?;
    let runtime = backend.runtime().clone();
    let session = match how {
        How::Idle | How::Async => backend.session()?,
        How::Inline => by_ureq(runtime.clone(), |ureq, _| Inline::new(ureq))?,
        How::Offloaded => by_ureq(runtime.clone(), Offload::new)?,
    };
    Ok(Box::new(move |iterations| {
        let mut measured = Measured::default();
        let started = Instant::now();
        for _ in 0..iterations {
            let (session, runtime, url) = (session.clone(), runtime.clone(), url.clone());
            // Both the heartbeat and the fetch are tasks of the runtime; its threads are all
            // that drive them, as this one only waits.
            let gap = backend.block_on(async move {
                let stop = Arc::new(AtomicBool::new(false));
                let heart = Task::spawn(&runtime, heartbeat(runtime.clone(), stop.clone()));
                let work_runtime = runtime.clone();
                let work = Task::spawn(&runtime, async move {
                    if let How::Idle = how {
                        work_runtime.sleep(IDLE).await;
                        return Ok(());
                    }
                    let response = session.get(&url).send().await?.error_for_status()?;
                    response.bytes().await.map(drop)
                });
                work.await??;
                stop.store(true, Ordering::Release);
                Ok::<_, Failure>(heart.await?)
            })?;
            measured.gap_ns += gap.as_nanos() as u64;
            measured.answered += 1;
        }
        measured.wall_ns = started.elapsed().as_nanos() as u64;
        Ok(measured)
    }))
}

fn by_ureq<F: inflight::Fetch>(
    runtime: Arc<dyn Runtime>,
    make: impl FnOnce(Ureq, Arc<dyn Runtime>) -> F + Send + 'static,
) -> Result<Session, Error> {
    Session::builder(move |options| Ok((make(Ureq::new(options)?, runtime.clone()), runtime)))
        .build()
}

/// Beats until it is stopped; answers the largest time between two beats.
async fn heartbeat(runtime: Arc<dyn Runtime>, stop: Arc<AtomicBool>) -> Duration {
    let mut largest = Duration::ZERO;
    let mut last = Instant::now();
    while !stop.load(Ordering::Acquire) {
        runtime.sleep(BEAT).await;
        let now = Instant::now();
        largest = largest.max(now - last);
        last = now;
    }
    largest
}
