//! An observer that records when each attempt of each request was in flight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inflight::observe::{Event, Observer, Step};
use inflight_charts::{Colour, Row, Series};

/// The series of attempts that got what they requested.
pub const DONE: Series = Series::new("finished", Colour::Blue);
/// The series of the other attempts.
pub const FAILED: Series = Series::new("failed", Colour::Vermillion);

/// A record of all attempts of a session's requests. Pass a clone to `SessionBuilder::observe`.
#[derive(Clone)]
pub struct AttemptLog {
    started: Instant,
    requests: Arc<Mutex<BTreeMap<u64, RequestLog>>>,
}

/// The attempts of one request.
#[derive(Clone, Debug, Default)]
pub struct RequestLog {
    /// The name of the request, or an empty string.
    pub name: String,
    /// The URL of the first attempt.
    pub url: String,
    /// The attempts in the order in which they were sent.
    pub attempts: Vec<Attempt>,
}

/// One attempt of a request. The times count from the start of the log.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When the session passed the request to the client.
    pub start: Duration,
    /// When the last part of the response arrived, or when the attempt failed.
    pub end: Duration,
    /// Whether the response has a status below 400 and has arrived completely.
    pub is_success: bool,
}

impl AttemptLog {
    /// Creates a log whose times count from `started`, a time of the runtime's clock.
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            requests: Arc::default(),
        }
    }

    /// Returns the requests in the order in which they started.
    pub fn requests(&self) -> Vec<RequestLog> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, RequestLog>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for AttemptLog {
    fn observe(&self, event: &Event<'_>) {
        let at = event.at.saturating_duration_since(self.started);
        let mut requests = self.lock();
        let log = requests.entry(event.request).or_default();
        if let Step::Started = event.step {
            log.name = event.route.unwrap_or_default().to_owned();
            log.url = event.url.map_or(String::new(), |url| url.to_string());
        }
        match (event.step, log.attempts.last_mut()) {
            (Step::Sending, _) => log.attempts.push(Attempt {
                start: at,
                end: at,
                is_success: false,
            }),
            (Step::Head { status, .. }, Some(attempt)) => {
                attempt.end = at;
                attempt.is_success = status.as_u16() < 400;
            }
            (Step::Chunk { .. } | Step::Done { .. }, Some(attempt)) => attempt.end = at,
            (Step::Failed { .. } | Step::Cancelled, Some(attempt)) => {
                attempt.end = at;
                attempt.is_success = false;
            }
            // The head of a response has already ended an attempt that is retried because of its status.
            (Step::Retrying { error: Some(_), .. } | Step::Resending { .. }, Some(attempt)) => {
                attempt.end = at;
                attempt.is_success = false;
            }
            _ => {}
        }
    }
}

impl RequestLog {
    /// Returns a row of a picture: a bar for each attempt.
    pub fn row(&self) -> Row {
        let series = |attempt: &Attempt| if attempt.is_success { DONE } else { FAILED };
        self.add_bars(Row::new(&self.name), series)
    }

    /// Returns a row without a label: a bar of this series for each attempt.
    pub fn row_of(&self, series: Series) -> Row {
        self.add_bars(Row::new(""), |_| series)
    }

    fn add_bars(&self, row: Row, series: impl Fn(&Attempt) -> Series) -> Row {
        let bar =
            |row: Row, attempt: &Attempt| row.bar(attempt.start, attempt.end, series(attempt));
        self.attempts.iter().fold(row, bar)
    }

    /// Returns when the last attempt ended.
    pub fn end(&self) -> Duration {
        let ends = self.attempts.iter().map(|attempt| attempt.end);
        ends.max().unwrap_or_default()
    }
}
