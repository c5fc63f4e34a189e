//! Finds the line of a blocking call in a service: `just run axum`.
//!
//! `service.rs` contains the service, which uses axum and does not know inflight. This file starts the service,
//! sends requests, and adds a probe. `just picture axum` draws the requests and the polls of one run.
#![allow(clippy::print_stdout, reason = "a program")]

mod service;

use std::future::poll_fn;
use std::mem;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use inflight::probe::{Event, Layer, Probe};
use inflight::{Error, Session, gather};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use inflight_examples::{picture_format, print_picture};
use tokio::runtime::{Builder, Runtime};

type Failure = Box<dyn std::error::Error>;

/// How many pages the load contains, and the time between two of them.
const PAGES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(15);
/// After how many pages the load requests a report.
const REPORT_AFTER: u32 = 8;
/// The probe reports polls that last longer than this. On a busy machine, an ordinary poll may last a tenth of a second.
const THRESHOLD: Duration = Duration::from_millis(200);
/// A page that takes this long is slow.
const SLOW: Duration = Duration::from_millis(30);

fn main() -> Result<(), Failure> {
    match picture_format() {
        Some(_) => print_picture(&draw()?),
        None => print_steps()?,
    }
    Ok(())
}

fn print_steps() -> Result<(), Failure> {
    println!("1. the service");
    Load::send(service::routes())?.print();

    println!("\n2. with the layer and a probe");
    // ANCHOR: probe
    let probe = Probe::builder().threshold(THRESHOLD).start(print)?;
    // ANCHOR_END: probe
    let load = Load::send(with_layer(service::routes()))?;
    // Waits until the probe has printed all events.
    drop(probe);
    load.print();

    println!("\n3. with a probe that reads stacks");
    // ANCHOR: stacks
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .stacks(true)
        .start(print)?;
    // ANCHOR_END: stacks
    let load = Load::send(with_layer(service::routes()))?;
    drop(probe);
    load.print();

    println!("\n4. the cured service, with the same probe");
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .stacks(true)
        .start(print)?;
    let load = Load::send(with_layer(service::cured_routes()))?;
    drop(probe);
    load.print();
    Ok(())
}

// ANCHOR: print
/// Prints an event of the probe in several lines, with the paths of the program's files as in the repository.
fn print(event: &Event) {
    let text = event
        .to_string()
        .replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "examples/");
    println!(
        "{}",
        text.replace(" on thread", "\n  on thread")
            .replace("; ", ";\n  ")
    );
}
// ANCHOR_END: print

// ANCHOR: layer
/// Labels each request of the service with its method and its route.
fn with_layer(routes: Router) -> Router {
    routes.layer(Layer::new_for_http(|request: &Request| {
        request.extensions().get().map_or("-", MatchedPath::as_str)
    }))
}
// ANCHOR_END: layer

// ANCHOR: start
/// Starts a service on a runtime with one worker thread.
fn start(routes: Router) -> Result<(Runtime, SocketAddr), Failure> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async { axum::serve(listener, routes).await });
    Ok((runtime, address))
}
// ANCHOR_END: start

/// A request of the load, as times since its start.
struct Sent {
    path: String,
    begin: Duration,
    end: Duration,
}

impl Sent {
    fn is_page(&self) -> bool {
        self.path.starts_with("/pages")
    }
}

/// The requests that were sent to a service.
struct Load {
    started: Instant,
    requests: Vec<Sent>,
}

impl Load {
    /// Starts a service, and sends requests to it from another runtime.
    fn send(routes: Router) -> Result<Self, Failure> {
        let (_service, address) = start(routes)?;
        let session = inflight::session()?;
        let started = Instant::now();
        let requests = inflight::block_on(send_requests(&session, address, started))?;
        Ok(Self { started, requests })
    }

    fn print(&self) {
        println!("{}", self.summary());
    }

    fn summary(&self) -> String {
        let pages = self.requests.iter().filter(|sent| sent.is_page());
        let times: Vec<_> = pages.map(|sent| sent.end - sent.begin).collect();
        let slow = times.iter().filter(|time| **time >= SLOW).count();
        let slowest = times.iter().max().unwrap_or(&Duration::ZERO);
        format!(
            "{} pages, the slowest after {} ms; {slow} pages took {} ms or more",
            times.len(),
            slowest.as_millis(),
            SLOW.as_millis()
        )
    }
}

// ANCHOR: load
/// Requests a page every 15 ms, whether the earlier pages have arrived or not, and a report in between.
async fn send_requests(
    session: &Session,
    address: SocketAddr,
    started: Instant,
) -> Result<Vec<Sent>, Error> {
    let pages = (0..PAGES).map(|number| (PAUSE * number, format!("/pages/{number}")));
    let report = (PAUSE * REPORT_AFTER, "/reports/7".to_owned());
    let requests = pages.chain([report]).map(async |(start, path)| {
        session.runtime().sleep(start).await;
        let begin = started.elapsed();
        let url = format!("http://{address}{path}");
        session.get(url).error_for_status(true).text().await?;
        let end = started.elapsed();
        Ok::<_, Error>(Sent { path, begin, end })
    });
    Ok(gather(requests).all().await?)
}
// ANCHOR_END: load

/// When a poll of a handler began and ended.
type Poll = (Instant, Instant);

/// A value that handlers and the listener of the probe share with the program.
type Shared<T> = Arc<Mutex<Vec<T>>>;

fn lock<T>(shared: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records each poll of a handler.
async fn record_polls(State(polls): State<Shared<Poll>>, request: Request, next: Next) -> Response {
    let mut response = pin!(next.run(request));
    poll_fn(|cx| {
        let begin = Instant::now();
        let poll = response.as_mut().poll(cx);
        lock(&polls).push((begin, Instant::now()));
        poll
    })
    .await
}

const PAGE: Series = Series::new("a page in flight", Colour::Blue);
const REPORT: Series = Series::new("the report in flight", Colour::Orange);
const POLL: Series = Series::new("a poll of a handler", Colour::Ink);
const BLOCKED: Series = Series::new("a poll that the probe reported", Colour::Vermillion);

/// Draws the requests and the polls of a run with the blocking call, and of a run without it.
fn draw() -> Result<Figure, Failure> {
    let runs = [
        ("the service", service::routes()),
        ("the cured service", service::cured_routes()),
    ];
    let mut chart = Waterfall::new("ms since the first request");
    let mut descriptions = Vec::new();
    for (name, routes) in runs {
        let run = RecordedRun::record(routes)?;
        let reports = run.reports.len();
        let summary = run.load.summary();
        descriptions.push(format!(
            "{name}: {summary}; stalls that the probe reported: {reports}"
        ));
        chart = chart
            .group(run.polls(&format!("{name}: polls on its worker thread")))
            .group(run.requests(&format!("{name}: {summary}")));
    }
    let title = "The requests of a service, and the polls of its handlers";
    let description = format!(
        "Two runs on one time scale. For each run, a row of bars shows when the worker thread polled handlers, and one \
         thin bar for each request shows when it was in flight. {}.",
        descriptions.join(". ")
    );
    Ok(Figure::new("axum", title, description, chart))
}

/// The events of a run.
struct RecordedRun {
    load: Load,
    polls: Vec<Poll>,
    /// When the probe reported a stall, and how long the poll had lasted by then.
    reports: Vec<(Instant, Duration)>,
}

impl RecordedRun {
    fn record(routes: Router) -> Result<Self, Failure> {
        let (polls, reports) = (Shared::default(), Shared::default());
        let listener = reports.clone();
        let probe = Probe::builder().threshold(THRESHOLD).start(move |event| {
            if let Event::Stalled(stall) = event {
                lock(&listener).push((Instant::now(), stall.lasted));
            }
        })?;
        let routes = with_layer(routes).layer(from_fn_with_state(polls.clone(), record_polls));
        let load = Load::send(routes)?;
        drop(probe);
        let (polls, reports) = (
            mem::take(&mut *lock(&polls)),
            mem::take(&mut *lock(&reports)),
        );
        Ok(Self {
            load,
            polls,
            reports,
        })
    }

    fn polls(&self, heading: &str) -> Group {
        let since = |at: Instant| at.saturating_duration_since(self.load.started);
        let row = self
            .polls
            .iter()
            .fold(Row::new("polls"), |row, &(begin, end)| {
                // The poll was running when the probe reported it.
                let is_reported = self.reports.iter().any(|(at, _)| begin < *at && *at < end);
                let series = if is_reported { BLOCKED } else { POLL };
                row.bar(since(begin), since(end), series)
            });
        let reports = self.reports.iter();
        reports.fold(Group::new(heading).row(row), |group, (at, lasted)| {
            group.mark(
                since(*at),
                format!("report after {} ms", lasted.as_millis()),
            )
        })
    }

    fn requests(&self, heading: &str) -> Group {
        let rows = self.load.requests.iter().map(|sent| {
            let series = if sent.is_page() { PAGE } else { REPORT };
            Row::new("").bar(sent.begin, sent.end, series)
        });
        Group::new(heading).rows(rows)
    }
}
