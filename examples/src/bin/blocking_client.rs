//! Fetches 100 pages that take 100 ms each, in four ways, and prints the time of each way:
//! `just run blocking_client`.
//!
//! The first argument is the number of pages. `just bench` runs this program first, because the
//! experiments take longer to compile.
#![allow(clippy::print_stdout, reason = "a program")]

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use inflight::backend::{Inline, Offload};
use inflight::{Session, gather};
use inflight_examples::ureq_session;
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let pages = match std::env::args().nth(1) {
        Some(pages) => pages.parse::<NonZeroUsize>()?.get(),
        None => 100,
    };
    let origin = Origin::start()?;
    let urls: Vec<String> = (0..pages)
        .map(|number| origin.url(&format!("/page/{number}?delay_ms=100")))
        .collect();
    inflight::block_on(compare(&urls))
}

async fn compare(urls: &[String]) -> Result<(), Failure> {
    let session = inflight::session()?;
    // `library` includes a version, such as `hyper 1`.
    let library = session.capabilities().library;
    let client = library.split(' ').next().unwrap_or(library);
    let runtime = session.runtime().clone();
    let inline = ureq_session(&runtime, |ureq, _| Inline::new(ureq))?;
    let offloaded = ureq_session(&runtime, Offload::new)?;
    println!(
        "A server on this machine waits 100 ms before it sends a page. This program fetches {} \
         pages from it on {}:",
        urls.len(),
        runtime.name()
    );

    let sequential = fetch_sequentially(&session, urls).await?;
    print_time("one after another", client, sequential);
    let blocking = fetch_gathered(&inline, urls).await?;
    print_time("gathered, blocking calls in the task", "ureq", blocking);
    let pool = fetch_gathered(&offloaded, urls).await?;
    print_time("gathered, blocking calls on other threads", "ureq", pool);
    let all = fetch_gathered(&session, urls).await?;
    print_time("gathered", client, all);

    println!(
        "`gather` with {client} took {} of the time that one page after another took.",
        percent(all, sequential)
    );
    println!(
        "`gather` with a blocking client in the task took {} of that time: each call stopped the \
         task until its page had arrived.",
        percent(blocking, sequential)
    );
    Ok(())
}

fn print_time(method: &str, client: &str, took: Duration) {
    println!("  {method:<42} {client:<6} {:>6} ms", took.as_millis());
}

fn percent(part: Duration, whole: Duration) -> String {
    format!("{:.0} %", 100.0 * part.div_duration_f64(whole))
}

// ANCHOR: sequential
async fn fetch_sequentially(session: &Session, urls: &[String]) -> Result<Duration, Failure> {
    let started = Instant::now();
    for url in urls {
        session.get(url).text().await?;
    }
    Ok(started.elapsed())
}
// ANCHOR_END: sequential

// ANCHOR: gathered
async fn fetch_gathered(session: &Session, urls: &[String]) -> Result<Duration, Failure> {
    let started = Instant::now();
    let pages = urls.iter().map(|url| session.get(url).text());
    gather(pages).limit(urls.len()).all().await?;
    Ok(started.elapsed())
}
// ANCHOR_END: gathered
