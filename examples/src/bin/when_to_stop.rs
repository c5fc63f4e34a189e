//! Ends requests: by timeouts, by dropping a future, by a deadline, by closing the session, and by Ctrl-C:
//! `just run when_to_stop`.
//!
//! `just picture when_to_stop` draws what each request waited for and how it ended.
#![allow(clippy::print_stdout, reason = "a program")]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{or, zip};
use inflight::observe::{Connection, Event, Step};
use inflight::{
    Error, ErrorKind, JobErrorKind, Phase, RequestBuilder, SessionBuilder, gather, unblock,
};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};
use inflight_examples::{picture_format, print_picture};
use inflight_origin::Origin;
use inflight_origin::script::ScriptedServer;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    inflight::block_on(async {
        let experiments = [
            timeouts(&origin).await?,
            drop_future().await?,
            until_deadline(&origin).await?,
            close_session(&origin).await?,
        ];
        if picture_format().is_some() {
            print_picture(&draw(&experiments));
            return Ok(());
        }
        for experiment in &experiments {
            println!("{}:", experiment.name);
            experiment
                .report
                .iter()
                .for_each(|line| println!("  {line}"));
        }
        fetch_until_ctrl_c(&origin).await
    })
}

/// What an experiment printed, and what its requests did.
struct Experiment {
    name: &'static str,
    report: Vec<String>,
    requests: Vec<Timeline>,
    /// What happened at which time since the start of the first request.
    mark: Option<(Duration, &'static str)>,
}

const TIMEOUT: Duration = Duration::from_millis(150);

async fn timeouts(origin: &Origin) -> Result<Experiment, Failure> {
    let log = Log::default();
    // ANCHOR: timeouts
    // This address accepts no connection and does not refuse one either.
    let silent = ScriptedServer::unaccepting_address()?;
    let impatient = log.observe(inflight::builder()).connect_timeout(TIMEOUT);
    let impatient = impatient.build()?;
    let session = log.observe(inflight::builder()).build()?;
    let single = log.observe(inflight::builder()).max_in_flight(1).build()?;
    let requests = [
        // The session `single` has one permit. The first of its requests holds it for 400 ms.
        single
            .get(origin.url("/page/1?delay_ms=400"))
            .name("first permit"),
        single
            .get(origin.url("/page/2"))
            .name("queue_timeout")
            .queue_timeout(TIMEOUT),
        impatient.get(silent.url("/")).name("connect_timeout"),
        // The server never sends a head.
        session
            .get(origin.url("/hang"))
            .name("head_timeout")
            .head_timeout(TIMEOUT),
        // The server sends a head and 16 bytes of the body, and then nothing.
        session
            .get(origin.url("/hang-body"))
            .name("read_timeout")
            .read_timeout(TIMEOUT),
        // The server sends a byte every 50 ms, for 5 s.
        session
            .get(origin.url("/drip?delay=0.1&numbytes=100&duration=5"))
            .name("timeout")
            .timeout(3 * TIMEOUT),
        // The server sends a byte every 50 ms, for 0.6 s. No wait for a byte is longer than 450 ms.
        session
            .get(origin.url("/drip?delay=0.1&numbytes=12&duration=0.6"))
            .name("in time")
            .read_timeout(3 * TIMEOUT),
    ];
    // ANCHOR_END: timeouts
    let jobs = requests.map(RequestBuilder::text);
    let mut report = Vec::new();
    // ANCHOR: errors
    for result in gather(jobs).settled().await.results {
        if let Err(error) = result {
            let error = Error::from(error);
            report.push(error.to_string());
            if let Some(cause) = error.source() {
                report.push(format!("  cause: {cause}"));
            }
            report.push(format!("  remedy: {}", remedy(&error)));
        }
    }
    // ANCHOR_END: errors
    Ok(Experiment {
        name: "timeouts",
        report,
        requests: log.requests(),
        mark: None,
    })
}

// ANCHOR: remedy
fn remedy(error: &Error) -> &'static str {
    match error.phase() {
        Some(Phase::Queue) => "raise the limit of the session, or wait longer",
        Some(Phase::Connect) => {
            "check that the server is running and that a firewall lets you through"
        }
        Some(Phase::Head) => "wait longer, or ask for less",
        Some(Phase::Body) => "fetch the page again",
        Some(Phase::Total) => {
            "set `timeout(None)` and a `read_timeout`, if the response may be long"
        }
        _ => "report the error",
    }
}
// ANCHOR_END: remedy

async fn drop_future() -> Result<Experiment, Failure> {
    // This server counts only the request of this experiment.
    let origin = Origin::start()?;
    let log = Log::default();
    let session = log.observe(inflight::builder()).build()?;
    // ANCHOR: drop
    let page = session.get(origin.url("/hang")).text();
    let sleep = session.runtime().sleep(TIMEOUT);
    let page = async { Some(page.await) };
    let nothing = async {
        sleep.await;
        None
    };
    let result = or(page, nothing).await;
    // ANCHOR_END: drop
    let dropped = log.elapsed();
    // The client of the backend `smol` closes the connection much later.
    let has_ended = move || origin.wait_for(Duration::from_secs(1), |stats| stats.aborted == 1);
    let (Ok(stats) | Err(stats)) = unblock(session.runtime(), has_ended).await?;
    Ok(Experiment {
        name: "a dropped future",
        report: vec![format!(
            "{}; the server saw {} request end early",
            result.map_or("no page", |_| "a page"),
            stats.aborted
        )],
        requests: log.requests(),
        mark: Some((dropped, "dropped")),
    })
}

async fn until_deadline(origin: &Origin) -> Result<Experiment, Failure> {
    let log = Log::default();
    let session = log.observe(inflight::builder()).max_in_flight(4).build()?;
    let urls = (0..20).map(|page| {
        let delay = 80 + page * 3 % 5 * 20;
        origin.url(&format!("/page/{page}?delay_ms={delay}"))
    });
    // ANCHOR: until
    let jobs = urls.map(|url| session.get(url).text());
    let deadline = session.runtime().sleep(2 * TIMEOUT);
    let settled = gather(jobs).limit(6).until(deadline).settled().await;
    // ANCHOR_END: until
    let returned = log.elapsed();
    // ANCHOR: sent
    let (mut arrived, mut in_flight, mut waiting) = (0, 0, 0);
    for result in &settled.results {
        match result.as_ref().map_err(|error| error.kind()) {
            Ok(_) => arrived += 1,
            Err(JobErrorKind::DeadlineExceeded { sent: true }) => in_flight += 1,
            Err(JobErrorKind::DeadlineExceeded { sent: false }) => waiting += 1,
            Err(_) => {}
        }
    }
    let never_started = settled.never_started.unwrap_or(0);
    // ANCHOR_END: sent
    Ok(Experiment {
        name: "until",
        report: vec![format!(
            "{arrived} pages arrived, {in_flight} were in flight, {waiting} waited for a permit, \
             {never_started} never started"
        )],
        requests: log.requests(),
        mark: Some((returned, "the deadline")),
    })
}

async fn close_session(origin: &Origin) -> Result<Experiment, Failure> {
    let log = Log::default();
    let session = log.observe(inflight::builder()).build()?;
    // ANCHOR: close
    let urls = [origin.url("/page/1?delay_ms=200"), origin.url("/hang")];
    let jobs = urls.map(|url| session.get(url).text());
    let grace = 2 * TIMEOUT;
    let (settled, ()) = zip(gather(jobs).settled(), session.close(grace)).await;
    let late = session.get(origin.url("/page/2")).text().await;
    // ANCHOR_END: close
    let results = settled
        .results
        .into_iter()
        .map(|result| result.map_err(Error::from));
    let report = results.chain([late]).map(|result| match result {
        Ok(page) => format!("a page of {} characters", page.chars().count()),
        Err(error) => error.to_string(),
    });
    Ok(Experiment {
        name: "close",
        report: report.collect(),
        requests: log.requests(),
        mark: Some((grace, "the grace period ends")),
    })
}

// ANCHOR: ctrl_c
/// Returns a future that completes when the user presses Ctrl-C. A second Ctrl-C ends the program immediately.
fn ctrl_c() -> Result<impl Future<Output = ()>, ctrlc::Error> {
    let (sender, receiver) = async_channel::bounded::<()>(1);
    ctrlc::set_handler(move || {
        // `close` returns false if the channel is closed already.
        if !sender.close() {
            std::process::exit(130);
        }
    })?;
    Ok(async move {
        // The channel carries no messages, so `recv` waits until it is closed.
        let _ = receiver.recv().await;
    })
}
// ANCHOR_END: ctrl_c

// ANCHOR: partial
async fn fetch_until_ctrl_c(origin: &Origin) -> Result<(), Failure> {
    let session = inflight::session()?;
    let urls = (0..1000).map(|page| origin.url(&format!("/page/{page}?delay_ms=100")));
    let jobs = urls.map(|url| session.get(url).text());
    let stop = ctrl_c()?;
    println!("1000 pages: press Ctrl-C to stop");
    press_ctrl_c_after(Duration::from_secs(1));
    let settled = gather(jobs).limit(5).until(stop).settled().await;
    let pages = settled
        .results
        .iter()
        .filter(|result| result.is_ok())
        .count();
    session.close(Duration::from_secs(1)).await;
    match settled.is_cut_off {
        true => println!("  stopped with {pages} pages"),
        false => println!("  all {pages} pages have arrived"),
    }
    Ok(())
}
// ANCHOR_END: partial

/// Sends this program the signal of Ctrl-C, in case nobody presses it. On Windows, nothing happens.
fn press_ctrl_c_after(time: Duration) {
    thread::spawn(move || {
        thread::sleep(time);
        let id = std::process::id().to_string();
        // `kill` is built into the shell, and a program only on some systems. Without a shell, the program fetches
        // all pages.
        let _ = Command::new("sh")
            .args(["-c", "kill -INT $0", &id])
            .status();
    });
}

/// What a request waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Permit,
    Connection,
    Head,
    Body,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Finished,
    TimedOut,
    Failed,
    Cancelled,
}

/// What a request waited for, and how it ended. The times are since the start of the experiment's first request.
#[derive(Clone)]
struct Timeline {
    name: String,
    /// Each wait with its start. A wait ends when the next one starts.
    waits: Vec<(Duration, Wait)>,
    end: Option<(Duration, Outcome)>,
}

/// Records the requests of an experiment, in the order in which they start.
#[derive(Clone, Default)]
struct Log {
    started: Arc<OnceLock<Instant>>,
    requests: Arc<Mutex<Vec<Timeline>>>,
}

impl Log {
    /// Returns the time since the start of the first request.
    fn elapsed(&self) -> Duration {
        self.started.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Records the requests of this session.
    fn observe(&self, session: SessionBuilder) -> SessionBuilder {
        let log = self.clone();
        // The ids of requests are unique in a session only.
        let rows = Mutex::new(BTreeMap::new());
        session.observe(move |event: &Event<'_>| {
            let started = log.started.get_or_init(|| event.at);
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            let mut requests = log.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let row = *rows.entry(event.request).or_insert_with(|| {
                requests.push(Timeline::new(event));
                requests.len() - 1
            });
            requests[row].record(event, event.at.saturating_duration_since(*started));
        })
    }

    /// Returns the requests so far. A client may still report events of a request that has ended.
    fn requests(&self) -> Vec<Timeline> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.clone()
    }
}

impl Timeline {
    fn new(event: &Event<'_>) -> Self {
        Self {
            name: event.route.unwrap_or_default().to_owned(),
            waits: Vec::new(),
            end: None,
        }
    }

    fn record(&mut self, event: &Event<'_>, at: Duration) {
        if self.end.is_some() {
            return;
        }
        match event.step {
            Step::Queued => self.waits.push((at, Wait::Permit)),
            Step::Sending => self.waits.push((at, Wait::Connection)),
            // The client does not report when it has a connection.
            Step::Connected(Connection::Unknown) => self.set_wait(Wait::Head),
            Step::Connected(_) => self.waits.push((at, Wait::Head)),
            Step::Head { .. } => self.waits.push((at, Wait::Body)),
            Step::Done { .. } => self.end = Some((at, Outcome::Finished)),
            Step::Failed { error } => {
                if error.phase() == Some(Phase::Head) {
                    self.set_wait(Wait::Head);
                }
                let outcome = match error.kind() {
                    ErrorKind::Timeout => Outcome::TimedOut,
                    ErrorKind::Closed => Outcome::Cancelled,
                    _ => Outcome::Failed,
                };
                self.end = Some((at, outcome));
            }
            Step::Cancelled => self.end = Some((at, Outcome::Cancelled)),
            _ => {}
        }
    }

    fn ended_with(&self, outcome: Outcome) -> bool {
        self.end.is_some_and(|(_, end)| end == outcome) && !self.waits.is_empty()
    }

    /// Corrects what the request waits for.
    fn set_wait(&mut self, wait: Wait) {
        if let Some((_, last)) = self.waits.last_mut() {
            *last = wait;
        }
    }
}

const PERMIT: Series = Series::new("waits for a permit", Colour::Muted).hollow();
const CONNECTION: Series = Series::new("connects", Colour::Orange);
const HEAD: Series = Series::new("waits for the head", Colour::Green);
const BODY: Series = Series::new("reads the body", Colour::Blue);
const TIMED_OUT: Series = Series::new("timed out", Colour::Vermillion);
const FAILED: Series = Series::new("failed", Colour::Purple);
const CANCELLED: Series = Series::new("cancelled", Colour::Ink);

fn draw(experiments: &[Experiment]) -> Figure {
    let chart = Waterfall::new("ms since the first request of the group");
    let chart = experiments.iter().fold(chart, |chart, experiment| {
        let rows = experiment.requests.iter().filter_map(draw_request);
        let group = Group::new(experiment.name).rows(rows);
        chart.group(match experiment.mark {
            Some((at, label)) => group.mark(at, label),
            None => group,
        })
    });
    let groups: Vec<_> = experiments.iter().map(describe).collect();
    let title = "What each request waited for, and where a timeout, a drop, a deadline or the end of its session stopped it";
    let description = format!(
        "{} groups of bars on one time scale, one row for each request. The colour of a bar shows what the request \
         waited for. A point at the end of a row shows that the request did not finish. {}",
        experiments.len(),
        groups.join(" ")
    );
    Figure::new("when-to-stop", title, description, chart)
}

/// Describes a group of bars: how many requests ended in each way, and when something ended them.
fn describe(experiment: &Experiment) -> String {
    let outcomes = [
        (Outcome::Finished, "finished"),
        (Outcome::TimedOut, "timed out"),
        (Outcome::Failed, "failed"),
        (Outcome::Cancelled, "cancelled"),
    ];
    let counts: Vec<_> = outcomes
        .into_iter()
        .filter_map(|(outcome, name)| {
            let requests = experiment.requests.iter();
            let count = requests
                .filter(|request| request.ended_with(outcome))
                .count();
            (count > 0).then(|| format!("{count} {name}"))
        })
        .collect();
    let timeouts = experiment.requests.iter().filter_map(|request| {
        let (at, _) = request
            .end
            .filter(|_| request.ended_with(Outcome::TimedOut))?;
        Some(format!(", {} after {} ms", request.name, at.as_millis()))
    });
    let timeouts: String = timeouts.collect();
    let mark = experiment
        .mark
        .map(|(at, label)| format!(", a line \"{label}\" at {} ms", at.as_millis()));
    let (name, counts) = (experiment.name, counts.join(", "));
    format!("{name}: {counts}{timeouts}{}.", mark.unwrap_or_default())
}

/// Returns a row, or `None` for a request that did not wait.
fn draw_request(request: &Timeline) -> Option<Row> {
    let (end, outcome) = request.end?;
    // A closed session refuses a request before it waits for anything.
    request.waits.first()?;
    let ends = request.waits.iter().skip(1).map(|(start, _)| *start);
    let waits = request.waits.iter().zip(ends.chain([end]));
    let row = waits.fold(Row::new(&*request.name), |row, ((start, wait), end)| {
        let series = match wait {
            Wait::Permit => PERMIT,
            Wait::Connection => CONNECTION,
            Wait::Head => HEAD,
            Wait::Body => BODY,
        };
        match *start < end {
            true => row.bar(*start, end, series),
            false => row,
        }
    });
    Some(match outcome {
        Outcome::Finished => row,
        Outcome::TimedOut => row.point(end, TIMED_OUT),
        Outcome::Failed => row.point(end, FAILED),
        Outcome::Cancelled => row.point(end, CANCELLED),
    })
}
