//! Tests a function that waits for an hour, in virtual time and with mock responses: `just run virtual_time`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight::backend::Runtime;
use inflight::clients::{Mock, Reply, When};
use inflight::observe::{Event, Step};
use inflight::runtimes::Virtual;
use inflight::{BlockOn, Error, Retry, Session};
use inflight_charts::{Colour, Figure, Group, Row, Series, Waterfall};

const REQUEST: Series = Series::new("a request is sent", Colour::Blue);

// ANCHOR: poll
/// Requests the report once a minute until it is ready. This is the function under test.
async fn report(session: &Session) -> Result<String, Error> {
    loop {
        let response = session.get("http://reports.test/today").send().await?;
        if response.status() != 202 {
            return response.error_for_status()?.text().await;
        }
        session.runtime().sleep(Duration::from_secs(60)).await;
    }
}
// ANCHOR_END: poll

// ANCHOR: test
fn report_arrives_after_an_hour(log: SentLog) -> Result<(), Error> {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    // The report is not ready for 50 minutes.
    mock.on(When::get("/today").times(50), Reply::status(202));
    // Then the server is overloaded and asks for a pause of 10 minutes.
    let overloaded = Reply::status(503).header("retry-after", "600");
    mock.on(When::get("/today"), overloaded);
    mock.on(When::get("/today"), Reply::text("all is well"));

    let session = mock.session().retry(Retry::new(2)).timeout(None);
    let session = session.observe(log.observer(&runtime)).build()?;
    let text = runtime.block_on(report(&session))?;
    assert_eq!(text, "all is well");
    assert_eq!(runtime.elapsed(), Duration::from_secs(3600));
    // Panics if a rule was not used, or if a request matched no rule.
    mock.assert_all_used();
    Ok(())
}
// ANCHOR_END: test

fn main() -> Result<(), Error> {
    let log = SentLog::default();
    let started = Instant::now();
    report_arrives_after_an_hour(log.clone())?;
    let real = started.elapsed();
    let sent = log.sent(started);
    match inflight_examples::picture_format() {
        Some(_) => inflight_examples::print_picture(&draw(&sent, real)),
        None => print(&sent, real),
    }
    Ok(())
}

/// When a request was sent, by the clock of the test and by a real clock.
struct Sent {
    virtual_time: Duration,
    real_time: Duration,
}

/// Records when requests are sent.
#[derive(Clone, Default)]
struct SentLog(Arc<Mutex<Vec<(Duration, Instant)>>>);

impl SentLog {
    fn observer(&self, runtime: &Virtual) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let (log, start) = (self.clone(), runtime.now());
        move |event| {
            if let Step::Sending = event.step {
                let mut times = log.0.lock().unwrap_or_else(PoisonError::into_inner);
                times.push((event.at.duration_since(start), Instant::now()));
            }
        }
    }

    fn sent(&self, started: Instant) -> Vec<Sent> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = times.iter().map(|(virtual_time, real_time)| Sent {
            virtual_time: *virtual_time,
            real_time: real_time.duration_since(started),
        });
        sent.collect()
    }
}

fn print(sent: &[Sent], real: Duration) {
    println!(
        "{} requests in {} of virtual time",
        sent.len(),
        minutes(last(sent))
    );
    println!("the test took {} of real time", milliseconds(real));
}

fn last(sent: &[Sent]) -> Duration {
    sent.last().map_or(Duration::ZERO, |sent| sent.virtual_time)
}

fn minutes(time: Duration) -> String {
    format!("{} min", time.as_secs() / 60)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn draw(sent: &[Sent], real: Duration) -> Figure {
    let (virtual_time, real_time) = (minutes(last(sent)), milliseconds(real));
    let points = |label, time: fn(&Sent) -> Duration| {
        sent.iter()
            .fold(Row::new(label), |row, sent| row.point(time(sent), REQUEST))
    };
    let requests = sent.len();
    let heading =
        format!("{requests} requests in {virtual_time} of virtual time, which took {real_time}");
    let group = Group::new(heading)
        .row(points("virtual time", |sent| sent.virtual_time))
        .row(points("real time", |sent| sent.real_time));
    let chart = Waterfall::new("minutes since the start")
        .unit(Duration::from_secs(60))
        .group(group);
    let description = format!(
        "Two rows on one time axis. In the row \"virtual time\", {requests} requests are spread over {virtual_time}. \
         In the row \"real time\", the same requests are at one point, because the run took {real_time}."
    );
    let title = "One run on two clocks";
    Figure::new("virtual_time", title, description, chart)
}
