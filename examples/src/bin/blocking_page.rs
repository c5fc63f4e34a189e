//! Fetches pages, one of which makes a blocking call, and prints the duration and the gaps of a heartbeat as JSON:
//! `just run blocking_page`.
//!
//! The arguments are the delay of a page in ms, the number of pages, the limit, and the duration of the blocking call in
//! ms. The interactive figure of the book's first chapter calculates these results from the same four numbers.
#![allow(clippy::print_stdout, reason = "a program")]

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use inflight::{Error, Session, gather};
use inflight_origin::Origin;

/// The parameters without arguments: a delay of 100 ms, 20 pages, a limit of 10, and a blocking call of 150 ms.
const DEFAULTS: [u64; 4] = [100, 20, 10, 150];
const HEARTBEAT: Duration = Duration::from_millis(10);
/// The index of the page that makes the blocking call.
const BLOCKING_PAGE: usize = 2;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let [delay, pages, limit, blocking] = parameters()?;
    let (pages, limit) = (usize::try_from(pages)?, usize::try_from(limit)?);
    let blocking_call = Duration::from_millis(blocking);
    let origin = Origin::start()?;
    inflight::block_on(async {
        let session = inflight::session()?;
        let first_round = urls(&origin, pages, 1);
        fetch(&session, &first_round, limit, Duration::ZERO).await?;

        let heartbeat = Heartbeat::default();
        let pages = urls(&origin, pages, delay);
        let fetch = async {
            let took = fetch(&session, &pages, limit, blocking_call).await;
            heartbeat.stopped.set(true);
            took
        };
        let (mut gaps, took) = zip(heartbeat.gaps(&session), fetch).await;
        gaps.sort();
        println!(
            "{{\"total_ms\": {:.1}, \"median_gap_ms\": {:.1}, \"largest_gap_ms\": {:.1}}}",
            milliseconds(took?),
            milliseconds(gaps[gaps.len() / 2]),
            milliseconds(gaps[gaps.len() - 1])
        );
        Ok(())
    })
}

fn parameters() -> Result<[u64; 4], Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        return Ok(DEFAULTS);
    }
    let numbers = arguments.iter().map(|argument| argument.parse());
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
    let usage = "usage: blocking_page [DELAY_MS PAGES LIMIT BLOCKING_CALL_MS]";
    Ok(numbers.try_into().map_err(|_| usage)?)
}

fn urls(origin: &Origin, pages: usize, delay: u64) -> Vec<String> {
    (0..pages)
        .map(|page| origin.url(&format!("/page/{page}?delay_ms={delay}")))
        .collect()
}

// ANCHOR: fetch
/// Fetches the pages, at most `limit` at once. The third page makes a blocking call first.
async fn fetch(
    session: &Session,
    urls: &[String],
    limit: usize,
    blocking_call: Duration,
) -> Result<Duration, Error> {
    let started = Instant::now();
    let pages = urls.iter().enumerate().map(|(page, url)| async move {
        if page == BLOCKING_PAGE.min(urls.len() - 1) {
            thread::sleep(blocking_call);
        }
        session.get(url).text().await
    });
    gather(pages).limit(limit).all().await?;
    Ok(started.elapsed())
}
// ANCHOR_END: fetch

/// Ticks in the task of the gather until the gather has ended.
#[derive(Default)]
struct Heartbeat {
    stopped: Cell<bool>,
}

impl Heartbeat {
    /// Returns the gaps between two ticks: at least one, because the gather starts after the first sleep has started.
    async fn gaps(&self, session: &Session) -> Vec<Duration> {
        let mut gaps = Vec::new();
        let mut last = Instant::now();
        while !self.stopped.get() {
            session.runtime().sleep(HEARTBEAT).await;
            gaps.push(last.elapsed());
            last = Instant::now();
        }
        gaps
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
