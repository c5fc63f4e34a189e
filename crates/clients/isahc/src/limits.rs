//! The times that a transfer is given. libcurl has one error for both; the clock tells them
//! apart.

use std::time::{Duration, Instant};

use inflight_core::{Deadline, Error, Phase};

/// Until when an exchange may connect, and until when it may take altogether.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    connect: Option<Instant>,
    total: Option<Instant>,
}

impl Limits {
    pub(crate) fn new(deadline: Option<Deadline>, connect: Option<Duration>) -> Self {
        Self {
            connect: connect.and_then(|timeout| Instant::now().checked_add(timeout)),
            total: deadline.map(|deadline| deadline.0),
        }
    }

    /// What is left to connect. libcurl takes no limit for its own of 300 s, so none is a time
    /// that nobody lives to see.
    pub(crate) fn connect(&self) -> Result<Duration, Error> {
        match [self.connect, self.total].into_iter().flatten().min() {
            Some(until) => self.left(until),
            None => Ok(Duration::from_secs(1 << 30)),
        }
    }

    /// What is left altogether. It is libcurl's only way to notice that a request was dropped
    /// whose server is silent.
    pub(crate) fn total(&self) -> Result<Option<Duration>, Error> {
        self.total.map(|until| self.left(until)).transpose()
    }

    /// libcurl counts whole milliseconds, and 0 of them is no limit: rounded up, so that it is
    /// never early.
    fn left(&self, until: Instant) -> Result<Duration, Error> {
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left + Duration::from_millis(1)),
            _ => Err(self.verdict()),
        }
    }

    /// Which of the limits has passed, when one has.
    pub(crate) fn verdict(&self) -> Error {
        let total = self.total.is_some_and(|until| Instant::now() >= until);
        let connect = self.connect.is_some_and(|until| Instant::now() >= until);
        Error::timeout(match (total, connect) {
            (false, true) => Phase::Connect,
            _ => Phase::Total,
        })
    }
}
