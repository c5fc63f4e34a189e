//! Fetches a hundred pages on an event loop that this program contains: `just run event_loop`.
//!
//! In reading order: `executor` (polls the tasks), `reactor` (wakes them), `socket` (makes the loop a runtime of inflight),
//! `record` and `report` (what the loop did).
#![allow(clippy::print_stdout, reason = "a program")]

mod executor;
mod reactor;
mod record;
mod report;
mod socket;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use inflight::backend::Runtime;
use inflight::clients::Hyper;
use inflight::{Error, Session, Task, gather};
use inflight_examples::{picture_format, print_picture};
use inflight_origin::Origin;

use crate::executor::EventLoop;
use crate::record::Recorder;
use crate::report::Run;

const PAGES: usize = 100;
const DELAY: Duration = Duration::from_millis(100);
/// When the second run blocks the thread of the loop, and for how long.
const BLOCK_AT: Duration = Duration::from_millis(50);
const BLOCK_FOR: Duration = Duration::from_millis(200);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let urls: Vec<String> = (0..PAGES)
        .map(|page| origin.url(&format!("/page/{page}?delay_ms={}", DELAY.as_millis())))
        .collect();
    let undisturbed = measure(&urls, false)?;
    let blocked = measure(&urls, true)?;
    match picture_format() {
        Some(_) => print_picture(&report::draw(&[undisturbed, blocked])),
        None => println!("{undisturbed}\n\n{blocked}"),
    }
    Ok(())
}

/// Fetches the pages on a new event loop, and returns what the loop did.
fn measure(urls: &[String], is_blocked: bool) -> Result<Run, Failure> {
    let recorder = Recorder::default();
    let event_loop = EventLoop::new(recorder.clone())?;
    let session = session_on(Arc::new(event_loop.clone()))?;
    let start = Instant::now();
    event_loop.run(async {
        let blocking_task =
            is_blocked.then(|| Task::spawn(&event_loop, block_thread(session.runtime().clone())));
        fetch_all(&session, urls).await?;
        match blocking_task {
            Some(task) => Ok(task.await?),
            None => Ok::<_, Failure>(()),
        }
    })?;
    let heading = match is_blocked {
        false => format!("{} pages of {} ms", urls.len(), DELAY.as_millis()),
        true => format!(
            "the same pages, and a task that blocks the thread for {} ms",
            BLOCK_FOR.as_millis()
        ),
    };
    Ok(Run {
        heading,
        pages: urls.len(),
        has_blocking_task: is_blocked,
        start,
        took: start.elapsed(),
        recorded: recorder.recorded(),
    })
}

/// Returns a session whose sockets, timers and tasks belong to this runtime.
fn session_on(runtime: Arc<dyn Runtime>) -> Result<Session, Error> {
    Session::builder(|options| Ok((Hyper::new(runtime.clone(), options)?, runtime))).build()
}

// ANCHOR: fetch
/// Fetches the pages as chapter 1 does. `on` runs each page in a task of its own, so that the loop sees a hundred tasks.
async fn fetch_all(session: &Session, urls: &[String]) -> Result<Vec<String>, Error> {
    let pages = urls.iter().map(|url| session.get(url).text());
    Ok(gather(pages)
        .limit(urls.len())
        .on(session.runtime())
        .all()
        .await?)
}
// ANCHOR_END: fetch

// ANCHOR: block
/// Waits, and then makes the mistake of chapter 6.
async fn block_thread(runtime: Arc<dyn Runtime>) {
    runtime.sleep(BLOCK_AT).await;
    thread::sleep(BLOCK_FOR);
}
// ANCHOR_END: block
