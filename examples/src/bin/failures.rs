//! Fetches a hundred pages. Three of them fail: `just run failures`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::error::Error as _;
use std::time::{Duration, Instant};

use inflight::{Error, ErrorKind, Session, gather};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use inflight_examples::{picture_format, print_picture};
use inflight_origin::Origin;

const ARRIVED: Series = Series::new("arrived", Colour::Blue);
const FAILED: Series = Series::new("failed", Colour::Vermillion);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let urls: Vec<String> = (0..100).map(|number| page_url(&origin, number)).collect();
    inflight::block_on(async {
        let session = inflight::session()?;
        if picture_format().is_some() {
            print_picture(&draw(&time_pages(&session, &urls).await?));
            return Ok(());
        }
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

/// When a page was requested, when its result arrived, and the kind of its error.
type Timed = (Duration, Duration, Option<ErrorKind>);

async fn time_pages(session: &Session, urls: &[String]) -> Result<Vec<Timed>, Error> {
    // Opens the connections, so that the times contain little more than the delays of the pages.
    let jobs = urls.iter().map(|url| session.get(url).text());
    gather(jobs).settled().await;

    let started = Instant::now();
    let jobs = urls.iter().map(async |url| {
        let begin = started.elapsed();
        let result = session.get(url).error_for_status(true).text().await;
        Ok::<_, Error>((
            begin,
            started.elapsed(),
            result.err().map(|error| error.kind()),
        ))
    });
    Ok(gather(jobs).all().await?)
}

/// Draws a row with a name for each page that failed, and below them a bar for each other page.
fn draw(pages: &[Timed]) -> Figure {
    let failed: Vec<(usize, &Timed, ErrorKind)> = (pages.iter().enumerate())
        .filter_map(|(number, page)| Some((number, page, page.2?)))
        .collect();
    let arrived: Vec<&Timed> = pages.iter().filter(|page| page.2.is_none()).collect();
    let ends = || arrived.iter().map(|(_, end, _)| end.as_millis());
    let heading = format!(
        "the other {} pages arrive after {} to {} ms",
        arrived.len(),
        ends().min().unwrap_or_default(),
        ends().max().unwrap_or_default()
    );
    let failures: Vec<String> = (failed.iter())
        .map(|(number, (_, end, _), kind)| {
            format!("page {number} ({kind}) after {} ms", end.as_millis())
        })
        .collect();
    let description = format!(
        "Two groups of bars on one time scale. Each bar reaches from the request of a page to its result. The first group \
         contains the failed pages: {}. In the second group, {heading}, and all bars are similar.",
        failures.join(", ")
    );
    let rows = failed.iter().map(|(number, (from, to, _), kind)| {
        Row::new(format!("page {number}: {kind}")).bar(*from, *to, FAILED)
    });
    let first = Group::new(format!("{} pages fail", failed.len())).rows(rows);
    let rows = arrived
        .iter()
        .map(|(from, to, _)| Row::new("").bar(*from, *to, ARRIVED));
    let chart = Waterfall::new("ms since the first request")
        .group(first)
        .group(Group::new(heading).rows(rows));
    Figure::new(
        "failures",
        "Three of a hundred pages fail",
        description,
        chart,
    )
}
