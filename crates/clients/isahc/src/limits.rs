//! The time limits of a transfer: one for connecting, and one for the whole exchange. libcurl reports the
//! same error for both limits, so this module compares them with the clock.

use std::time::{Duration, Instant};

use inflight_core::{Deadline, Error, Phase};

/// The longest time for one address while other addresses are left. The system resends a lost SYN after
/// one second, which leaves 0.3 s for the answer.
pub(crate) const MAX_ATTEMPT: Duration = Duration::from_millis(1300);

/// The deadlines of an exchange, for connecting and for the whole exchange.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// The connect timeout of the options.
    pub(crate) connect_timeout: Option<Duration>,
    connect: Option<Instant>,
    total: Option<Instant>,
}

impl Limits {
    pub(crate) fn new(deadline: Option<Deadline>, connect: Option<Duration>) -> Self {
        Self {
            connect_timeout: connect,
            connect: connect.and_then(|timeout| Instant::now().checked_add(timeout)),
            total: deadline.map(|deadline| deadline.0),
        }
    }

    /// Returns the remaining time to connect. Without a limit, the result is 34 years, because libcurl would
    /// otherwise use its own limit of 300 s.
    pub(crate) fn connect_time(&self) -> Result<Duration, Error> {
        match [self.connect, self.total].into_iter().flatten().min() {
            Some(until) => self.left(until),
            None => Ok(Duration::from_secs(1 << 30)),
        }
    }

    /// Returns the time to connect to one address if `others` addresses follow: an equal share of the
    /// remaining time, and at most [`MAX_ATTEMPT`]. The last address gets all of the remaining time.
    pub(crate) fn attempt_time(&self, others: usize) -> Result<Duration, Error> {
        let left = self.connect_time()?;
        if others == 0 {
            return Ok(left);
        }
        let addresses = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        // libcurl treats 0 ms as no limit.
        let share = (left / addresses).max(Duration::from_millis(1));
        Ok(share.min(MAX_ATTEMPT))
    }

    /// Returns `true` if time to connect is left.
    pub(crate) fn has_connect_time(&self) -> bool {
        self.connect_time().is_ok()
    }

    /// Returns `true` if the time for the whole exchange has passed.
    pub(crate) fn is_past_deadline(&self) -> bool {
        self.total_time().is_err()
    }

    /// Returns the remaining time for the whole exchange, or `None` if it has no limit. libcurl gets this time
    /// as its own limit, because it does not notice that the caller has dropped the request until the server
    /// sends something or the limit has passed.
    pub(crate) fn total_time(&self) -> Result<Option<Duration>, Error> {
        self.total.map(|until| self.left(until)).transpose()
    }

    /// Returns the time until `until`, plus 1 ms. libcurl cuts off fractions of a millisecond, and would
    /// time out early.
    fn left(&self, until: Instant) -> Result<Duration, Error> {
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left + Duration::from_millis(1)),
            _ => Err(self.timeout_error()),
        }
    }

    /// Returns the timeout error for the limit that has passed.
    pub(crate) fn timeout_error(&self) -> Error {
        let total = self.total.is_some_and(|until| Instant::now() >= until);
        let connect = self.connect.is_some_and(|until| Instant::now() >= until);
        Error::timeout(match (total, connect) {
            (false, true) => Phase::Connect,
            _ => Phase::Total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_gets_a_share_of_the_time_and_the_last_attempt_gets_the_rest() {
        let limits = Limits::new(None, Some(Duration::from_secs(30)));
        assert_eq!(limits.attempt_time(1).unwrap(), MAX_ATTEMPT);
        assert!(limits.attempt_time(0).unwrap() > Duration::from_secs(29));
        let limits = Limits::new(None, Some(Duration::from_secs(1)));
        let share = limits.attempt_time(3).unwrap();
        assert!(share <= Duration::from_millis(251), "{share:?}");
        assert!(share > Duration::from_millis(100), "{share:?}");
        assert!(limits.attempt_time(usize::MAX).unwrap() >= Duration::from_millis(1));
        let limits = Limits::new(None, None);
        assert_eq!(limits.attempt_time(1).unwrap(), MAX_ATTEMPT);
    }
}
