//! Fetches the same 12 pages with four endings of `gather`: `just run endings`.
//!
//! `just picture endings` draws how each request ended.
#![allow(clippy::print_stdout, reason = "a program")]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use inflight::{Error, Session, gather};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use inflight_examples::{picture_format, print_picture};
use inflight_origin::Origin;

const PAGES: usize = DELAYS.len();
const LIMIT: usize = 5;
const ENOUGH: usize = 5;

// ANCHOR: pages
/// How many milliseconds the server waits before it sends each page.
const DELAYS: [u64; 12] = [150, 60, 260, 180, 90, 310, 210, 130, 330, 240, 130, 70];
/// After their delay, the server answers the requests of these pages with the status 503.
const FAILING: [usize; 3] = [1, 6, 10];
// ANCHOR_END: pages

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    let urls: Vec<String> = (0..PAGES).map(|page| page_url(&origin, page)).collect();
    let runs = inflight::block_on(async {
        let session = inflight::builder().error_for_status(true).build()?;
        Ok::<_, Error>([
            run("all", &session, &urls, fetch_all).await,
            run("settled", &session, &urls, fetch_settled).await,
            run("first", &session, &urls, fetch_first).await,
            run("completed", &session, &urls, fetch_completed).await,
        ])
    })?;
    match picture_format() {
        Some(_) => print_picture(&draw(&runs)),
        None => runs.iter().for_each(print_run),
    }
    Ok(())
}

fn page_url(origin: &Origin, page: usize) -> String {
    let delay = DELAYS[page];
    match FAILING.contains(&page) {
        true => {
            let seconds = Duration::from_millis(delay).as_secs_f64();
            origin.url(&format!(
                "/drip?code=503&numbytes=1&duration=0&delay={seconds}"
            ))
        }
        false => origin.url(&format!("/page/{page}?delay_ms={delay}")),
    }
}

/// The jobs of a gather, and the requests that they send.
struct Jobs<'a> {
    session: &'a Session,
    urls: &'a [String],
    started: Instant,
    requests: RefCell<Vec<Request>>,
}

/// When a request started, when it ended, and how. The times are since the start of the gather.
#[derive(Clone, Copy)]
struct Request {
    page: usize,
    start: Duration,
    end: Duration,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Finished,
    Failed,
    Cancelled,
}

/// Records a request when it ends. If the job is dropped before that, the outcome is still `Cancelled`.
struct Recording<'a> {
    jobs: &'a Jobs<'a>,
    page: usize,
    start: Duration,
    outcome: Outcome,
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.jobs.requests.borrow_mut().push(Request {
            page: self.page,
            start: self.start,
            end: self.jobs.started.elapsed(),
            outcome: self.outcome,
        });
    }
}

impl Jobs<'_> {
    async fn fetch(&self, page: usize) -> Result<String, Error> {
        let mut recording = Recording {
            jobs: self,
            page,
            start: self.started.elapsed(),
            outcome: Outcome::Cancelled,
        };
        let result = self.session.get(&self.urls[page]).text().await;
        recording.outcome = match result {
            Ok(_) => Outcome::Finished,
            Err(_) => Outcome::Failed,
        };
        result
    }

    fn iter(&self) -> impl Iterator<Item = impl Future<Output = Result<String, Error>>> {
        (0..self.urls.len()).map(|page| self.fetch(page))
    }
}

// ANCHOR: all
async fn fetch_all(jobs: &Jobs<'_>) -> String {
    match gather(jobs.iter()).limit(LIMIT).all().await {
        Ok(pages) => format!("{} pages", pages.len()),
        Err(error) => format!("an error, because job {} failed", error.index()),
    }
}
// ANCHOR_END: all

// ANCHOR: settled
async fn fetch_settled(jobs: &Jobs<'_>) -> String {
    let results = gather(jobs.iter()).limit(LIMIT).settled().await.results;
    let pages = results.iter().filter(|result| result.is_ok()).count();
    format!("{pages} pages and {} errors", results.len() - pages)
}
// ANCHOR_END: settled

// ANCHOR: first
async fn fetch_first(jobs: &Jobs<'_>) -> String {
    match gather(jobs.iter()).limit(LIMIT).first().await {
        Ok(page) => format!("a page of {} characters", page.chars().count()),
        Err(error) => format!("an error: {error}"),
    }
}
// ANCHOR_END: first

// ANCHOR: completed
async fn fetch_completed(jobs: &Jobs<'_>) -> String {
    let mut results = gather(jobs.iter()).limit(LIMIT).completed();
    let mut pages = Vec::new();
    while let Some((page, result)) = results.next().await {
        if result.is_ok() {
            pages.push(page);
        }
        if pages.len() == ENOUGH {
            break;
        }
    }
    format!("the pages {pages:?}")
}
// ANCHOR_END: completed

/// A gather that has returned.
struct Run {
    ending: &'static str,
    value: String,
    returned: Duration,
    requests: Vec<Request>,
}

async fn run(
    ending: &'static str,
    session: &Session,
    urls: &[String],
    fetch: impl AsyncFnOnce(&Jobs<'_>) -> String,
) -> Run {
    let jobs = Jobs {
        session,
        urls,
        started: Instant::now(),
        requests: RefCell::default(),
    };
    let value = fetch(&jobs).await;
    Run {
        ending,
        value,
        returned: jobs.started.elapsed(),
        requests: jobs.requests.into_inner(),
    }
}

impl Run {
    fn count(&self, outcome: Outcome) -> usize {
        let requests = self.requests.iter();
        requests
            .filter(|request| request.outcome == outcome)
            .count()
    }

    /// Returns how many of the requests ended in each way.
    fn outcomes(&self) -> String {
        format!(
            "{} finished, {} failed, {} cancelled, {} never started",
            self.count(Outcome::Finished),
            self.count(Outcome::Failed),
            self.count(Outcome::Cancelled),
            PAGES - self.requests.len(),
        )
    }
}

fn print_run(run: &Run) {
    println!("{}: {}", run.ending, run.value);
    println!(
        "  after {} ms: {}",
        run.returned.as_millis(),
        run.outcomes()
    );
}

const FINISHED: Series = Series::new("finished", Colour::Blue);
const FAILED: Series = Series::new("failed", Colour::Vermillion);
const CANCELLED: Series = Series::new("cancelled", Colour::Muted).hollow();

fn draw(runs: &[Run]) -> Figure {
    let chart = Waterfall::new("ms since the start of the gather");
    let chart = runs
        .iter()
        .fold(chart, |chart, run| chart.group(draw_run(run)));
    let returns: Vec<_> = runs
        .iter()
        .map(|run| {
            format!(
                "{} returns after {} ms",
                run.ending,
                run.returned.as_millis()
            )
        })
        .collect();
    let title = format!("The same {PAGES} pages: {}", returns.join(", "));
    let groups: Vec<_> = runs
        .iter()
        .map(|run| format!("{}: {}.", run.ending, run.outcomes()))
        .collect();
    let description = format!(
        "{} groups of {PAGES} rows on one time scale, with a vertical line where the gather returns. The \
         names of the rows are the numbers of the pages. No bar extends beyond the line. The row of a request that never \
         started is empty. {}",
        runs.len(),
        groups.join(" "),
    );
    Figure::new("endings", title, description, chart)
}

fn draw_run(run: &Run) -> Group {
    let heading = format!("{}: {}", run.ending, run.value);
    let rows = (0..PAGES).map(|page| {
        let request = run.requests.iter().find(|request| request.page == page);
        match request {
            Some(request) => draw_request(request),
            None => Row::new(page.to_string()),
        }
    });
    Group::new(heading).rows(rows).mark(run.returned, "returns")
}

fn draw_request(request: &Request) -> Row {
    let series = match request.outcome {
        Outcome::Finished => FINISHED,
        Outcome::Failed => FAILED,
        Outcome::Cancelled => CANCELLED,
    };
    Row::new(request.page.to_string()).bar(request.start, request.end, series)
}
