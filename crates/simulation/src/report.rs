//! What happened in a run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use inflight_core::{ErrorKind, Phase, Runtime};
use inflight_virtual::{Pending, Virtual};

/// What happened in a run. All times are those since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The requests that the servers received, in order.
    pub arrivals: Vec<Arrival>,
    /// The exchanges of the client, in the order of their starts.
    pub exchanges: Vec<Exchange>,
    /// When each request started, by the index of the request.
    pub starts: Vec<Option<Duration>>,
    /// The results that the gather returned, in order.
    pub outcomes: Vec<Outcome>,
    /// How many requests never started, according to the gather.
    pub never_started: Option<usize>,
    /// When the session began to close, and when it was closed.
    pub close: (Duration, Duration),
    /// How many requests were in flight according to the session when `close` returned.
    pub in_flight_after_close: usize,
    /// How many requests were in flight according to the session when the last packet had arrived.
    pub in_flight_at_end: usize,
    /// How many connections the servers accepted.
    pub connections: usize,
    /// How many connections are open at the servers now.
    pub open_connections: usize,
    /// How many connections were open at the servers when the session had closed and the last packet had arrived.
    pub open_after_close: usize,
    /// The timers of the servers and the callers that fired.
    pub timers: Vec<Timer>,
    /// When each jump of the clock began, and when it ended.
    pub jumps: Vec<(Duration, Duration)>,
    /// What the runtime still waits for at the end of the run.
    pub pending: Option<Pending>,
    /// The message of a panic, if one ended the run.
    pub panic: Option<String>,
}

/// A request that a server received.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// The number of the request.
    pub id: usize,
    /// The index of the host.
    pub host: usize,
    /// The number of the connection, from 0.
    pub connection: usize,
    /// When the server had received the head.
    pub at: Duration,
    /// The method.
    pub method: Method,
    /// Whether the request carried credentials.
    pub has_credentials: bool,
    /// How often the servers had received this request before.
    pub earlier: usize,
    /// Whether the server received the whole request with the right body.
    pub is_complete: bool,
    /// When the server had sent its whole answer.
    pub answered: Option<Duration>,
}

/// A timer that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it was due.
    pub due: Duration,
    /// When the task that waited for it continued.
    pub fired: Duration,
}

/// An exchange of the client below the session.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The name or the address of the host.
    pub host: String,
    /// When the session called the client.
    pub start: Duration,
    /// When the body had been read to its end, or the exchange was dropped.
    pub end: Option<Duration>,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The index of the request.
    pub id: usize,
    /// When the gather returned the result.
    pub at: Duration,
    /// What the caller received.
    pub result: Result,
}

/// What the caller received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Result {
    /// A response that was read to its end.
    Page {
        /// The status.
        status: u16,
        /// The value of the header `x-answer`: how often the servers had received this request before.
        answer: Option<usize>,
        /// The body.
        body: Vec<u8>,
    },
    /// An error of a request.
    Failed {
        /// Its kind.
        kind: ErrorKind,
        /// Its phase.
        phase: Option<Phase>,
    },
    /// The caller dropped the request.
    Cancelled,
    /// The gather ended before the request did.
    CutOff {
        /// Whether the request was sent.
        sent: bool,
    },
    /// The gather ended before the request started.
    NeverStarted,
    /// The job ended in a way in which no job of a simulation may end, such as a panic.
    Unexpected(String),
}

/// The report of a run that has not ended.
#[derive(Clone)]
pub(crate) struct Log {
    runtime: Virtual,
    report: Arc<Mutex<Report>>,
}

impl Log {
    pub(crate) fn new(runtime: &Virtual, requests: usize) -> Self {
        let report = Report {
            starts: vec![None; requests],
            ..Report::default()
        };
        Self {
            runtime: runtime.clone(),
            report: Arc::new(Mutex::new(report)),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.runtime.elapsed()
    }

    /// Sleeps, and records when the timer fired.
    pub(crate) async fn sleep(&self, time: Duration) {
        let due = self.now() + time;
        self.runtime.sleep(time).await;
        let fired = self.now();
        self.change(|report| report.timers.push(Timer { due, fired }));
    }

    /// Lets the clock jump forwards.
    pub(crate) fn jump(&self, by: Duration) {
        let before = self.now();
        self.runtime.advance(by);
        let after = self.now();
        self.change(|report| report.jumps.push((before, after)));
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the report.
    pub(crate) fn take(&self) -> Report {
        self.change(std::mem::take)
    }
}
