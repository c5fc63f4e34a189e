//! Shows limits on the requests in flight, in total and for each host, and a rate: `just run how_fast`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use inflight::{Error, Session, SessionBuilder, gather, gather_with};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use inflight_examples::attempts::{AttemptLog, RequestLog};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

const PAGE: Series = Series::new("a page of the only host", Colour::Green);
const SLOW: Series = Series::new("a page of the slow host", Colour::Orange);
const FAST: Series = Series::new("a page of the fast host", Colour::Blue);

/// One host, which delays all pages by the same time.
const PAGES: u32 = 20;
const DELAY: u32 = 50;

/// A slow and a fast host.
const PAGES_OF_EACH: u32 = 12;
const SLOW_DELAY: u32 = 200;
const FAST_DELAY: u32 = 20;

/// A run with one host.
struct OneHostRun {
    name: &'static str,
    took: Duration,
    /// The most requests that the server had at once.
    peak: u64,
    requests: Vec<RequestLog>,
}

/// A run with a slow and a fast host.
struct TwoHostRun {
    name: &'static str,
    slow: Vec<RequestLog>,
    fast: Vec<RequestLog>,
}

fn main() -> Result<(), Failure> {
    let one_host = inflight::block_on(run_one_host())?;
    let two_hosts = inflight::block_on(run_two_hosts())?;
    match inflight_examples::picture_format() {
        Some(_) => inflight_examples::print_picture(&draw(&one_host, &two_hosts)),
        None => print(&one_host, &two_hosts),
    }
    Ok(())
}

// ANCHOR: paces
async fn run_one_host() -> Result<[OneHostRun; 3], Failure> {
    let no_limit = inflight::builder();
    let at_most_five = inflight::builder().max_in_flight(5);
    // 50 requests start each second, and no two of them together.
    let rate = inflight::builder().max_rate(50, 1);
    Ok([
        measure_one_host("gather: limit(5)", no_limit, 5).await?,
        measure_one_host("session: max_in_flight(5)", at_most_five, 100).await?,
        measure_one_host("session: max_rate(50, 1)", rate, 100).await?,
    ])
}

async fn fetch_all(session: &Session, urls: &[String], limit: usize) -> Result<(), Error> {
    let pages = urls.iter().map(|url| session.get(url).text());
    gather(pages).limit(limit).all().await?;
    Ok(())
}
// ANCHOR_END: paces

async fn measure_one_host(
    name: &'static str,
    builder: SessionBuilder,
    limit: usize,
) -> Result<OneHostRun, Failure> {
    let origin = Origin::start()?;
    let urls: Vec<String> = page_urls(&origin, PAGES, DELAY).collect();
    let log = AttemptLog::new(Instant::now());
    let session = builder.observe(log.clone()).build()?;
    fetch_all(&session, &urls, limit).await?;
    let requests = log.requests();
    Ok(OneHostRun {
        name,
        took: last_end(&requests),
        peak: origin.stats().peak_in_flight,
        requests,
    })
}

// ANCHOR: hosts
async fn run_two_hosts() -> Result<[TwoHostRun; 3], Failure> {
    let no_limit = inflight::builder;
    let four_to_each_host = inflight::builder().max_per_host(4);
    let fetch_four = async |session: &Session, urls: &[String]| fetch_all(session, urls, 4).await;
    let fetch_eight = async |session: &Session, urls: &[String]| fetch_all(session, urls, 8).await;
    Ok([
        measure_two_hosts("limit(4)", no_limit(), fetch_four).await?,
        measure_two_hosts("limit(8), max_per_host(4)", four_to_each_host, fetch_eight).await?,
        measure_two_hosts("limit(8), per_key(4)", no_limit(), fetch_by_host).await?,
    ])
}

async fn fetch_by_host(session: &Session, urls: &[String]) -> Result<(), Error> {
    let pages = gather_with(urls, |url| session.get(url).text());
    let pages = pages.limit(8).key(|url| host(url)).per_key(4);
    pages.all().await?;
    Ok(())
}

/// Returns the host and the port of a URL.
fn host(url: &str) -> String {
    url.split('/').nth(2).unwrap_or("").to_owned()
}
// ANCHOR_END: hosts

async fn measure_two_hosts(
    name: &'static str,
    builder: SessionBuilder,
    fetch: impl AsyncFn(&Session, &[String]) -> Result<(), Error>,
) -> Result<TwoHostRun, Failure> {
    let (slow, fast) = (Origin::start()?, Origin::start()?);
    // The list is sorted by host.
    let urls: Vec<String> = page_urls(&slow, PAGES_OF_EACH, SLOW_DELAY)
        .chain(page_urls(&fast, PAGES_OF_EACH, FAST_DELAY))
        .collect();
    let log = AttemptLog::new(Instant::now());
    fetch(&builder.observe(log.clone()).build()?, &urls).await?;
    let is_slow = |request: &RequestLog| request.url.starts_with(&slow.url("/"));
    let (slow, fast) = log.requests().into_iter().partition(is_slow);
    Ok(TwoHostRun { name, slow, fast })
}

fn page_urls(origin: &Origin, pages: u32, delay: u32) -> impl Iterator<Item = String> {
    (0..pages).map(move |page| origin.url(&format!("/page/{page}?delay_ms={delay}")))
}

fn last_end(requests: &[RequestLog]) -> Duration {
    let ends = requests.iter().map(RequestLog::end);
    ends.max().unwrap_or_default()
}

fn print(one_host: &[OneHostRun], two_hosts: &[TwoHostRun]) {
    println!("{PAGES} pages of {DELAY} ms");
    for OneHostRun {
        name, took, peak, ..
    } in one_host
    {
        println!(
            "{name:26} {:>4} ms, at most {peak:>2} at once",
            took.as_millis()
        );
    }
    println!(
        "\n{PAGES_OF_EACH} pages of {SLOW_DELAY} ms, then {PAGES_OF_EACH} pages of {FAST_DELAY} ms from another host"
    );
    for TwoHostRun {
        name, slow, fast, ..
    } in two_hosts
    {
        println!(
            "{name:26} slow host: {:>4} ms, fast host: {:>4} ms",
            last_end(slow).as_millis(),
            last_end(fast).as_millis()
        );
    }
}

fn draw(one_host: &[OneHostRun], two_hosts: &[TwoHostRun]) -> Figure {
    let chart = Waterfall::new("ms since the start");
    let chart = one_host
        .iter()
        .map(draw_one_host)
        .fold(chart, Waterfall::group);
    let chart = two_hosts
        .iter()
        .map(draw_two_hosts)
        .fold(chart, Waterfall::group);
    let one_host: Vec<String> = one_host.iter().map(OneHostRun::describe).collect();
    let two_hosts: Vec<String> = two_hosts.iter().map(TwoHostRun::describe).collect();
    let description = format!(
        "Each row is a request, drawn while it is in flight. At the top, {PAGES} pages of {DELAY} ms from one host. \
         {}. Below, {PAGES_OF_EACH} pages of {SLOW_DELAY} ms from a slow host and {PAGES_OF_EACH} pages of {FAST_DELAY} ms \
         from a fast host. {}.",
        one_host.join(". "),
        two_hosts.join(". ")
    );
    Figure::new(
        "how_fast",
        "Requests in flight under different limits",
        description,
        chart,
    )
}

impl OneHostRun {
    fn describe(&self) -> String {
        let Self {
            name, took, peak, ..
        } = self;
        format!("{name}: {} ms, at most {peak} at once", took.as_millis())
    }
}

impl TwoHostRun {
    fn describe(&self) -> String {
        format!(
            "{}: the slow host ends after {} ms, the fast host after {} ms",
            self.name,
            last_end(&self.slow).as_millis(),
            last_end(&self.fast).as_millis()
        )
    }
}

fn draw_one_host(run: &OneHostRun) -> Group {
    let rows = run.requests.iter().map(|request| request.row_of(PAGE));
    Group::new(run.describe()).rows(rows)
}

fn draw_two_hosts(run: &TwoHostRun) -> Group {
    let rows = |requests: &[RequestLog], series| -> Vec<Row> {
        let rows = requests.iter().map(|request| request.row_of(series));
        rows.collect()
    };
    Group::new(run.describe())
        .rows(rows(&run.slow, SLOW))
        .rows(rows(&run.fast, FAST))
}
