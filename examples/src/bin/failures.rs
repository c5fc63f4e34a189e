//! Fetches a hundred pages. Three of them fail: `just run failures`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::error::Error as _;

use inflight::{Error, ErrorKind, Session, gather};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let urls: Vec<String> = (0..100).map(|number| page_url(&origin, number)).collect();
    inflight::block_on(async {
        let session = inflight::session()?;
        fetch_all(&session, &urls).await;
        fetch_settled(&session, &urls).await;
        print_failures(&session, &urls).await;
        Ok(())
    })
}

// ANCHOR: urls
fn page_url(origin: &Origin, number: u32) -> String {
    match number {
        // No server listens on this port.
        13 => "http://127.0.0.1:1/page/13".to_owned(),
        // The server has no such page.
        42 => origin.url("/status/404"),
        // The server closes the connection after 10 of 222 bytes.
        77 => origin.url("/range/222?cut=10"),
        _ => origin.url(&format!("/page/{number}?delay_ms=100")),
    }
}
// ANCHOR_END: urls

// ANCHOR: all
async fn fetch_all(session: &Session, urls: &[String]) {
    let jobs = urls.iter().map(|url| session.get(url).text());
    match gather(jobs).all().await {
        Ok(pages) => println!("all: {} pages", pages.len()),
        Err(error) => println!("all: no pages, because job {} failed", error.index()),
    }
}
// ANCHOR_END: all

// ANCHOR: settled
async fn fetch_settled(session: &Session, urls: &[String]) {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let results = gather(jobs).settled().await.results;
    let pages = results.iter().filter(|result| result.is_ok()).count();
    println!("settled: {pages} pages, {} errors", results.len() - pages);
}
// ANCHOR_END: settled

// ANCHOR: failures
async fn print_failures(session: &Session, urls: &[String]) {
    let jobs = urls
        .iter()
        .map(|url| session.get(url).error_for_status(true).text());
    for result in gather(jobs).settled().await.results {
        if let Err(error) = result {
            let error = Error::from(error);
            println!("\n{error}");
            if let Some(cause) = error.source() {
                println!("  cause: {cause}");
            }
            println!("  kind: {}, so {}", error.kind(), advice(&error));
        }
    }
}
// ANCHOR_END: failures

// ANCHOR: advice
fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Connect => "check that the server is running",
        ErrorKind::Status => "check the URL",
        ErrorKind::Incomplete => "fetch the page again",
        _ => "report the error",
    }
}
// ANCHOR_END: advice
