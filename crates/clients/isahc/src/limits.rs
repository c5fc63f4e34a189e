//! The times that a transfer is given. libcurl has one error for both; the clock tells them
//! apart.

use std::time::{Duration, Instant};

use inflight_core::{Deadline, Error, Phase};

/// The longest time for one address while there are others to try. A lost SYN is repeated after one
/// second, and the repetition has the rest for its answer.
pub(crate) const ATTEMPT: Duration = Duration::from_millis(1300);

/// Until when an exchange may connect, and until when it may take altogether.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// What the options say.
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

    /// What is left to connect. libcurl takes no limit for its own of 300 s, so none is a time
    /// that nobody lives to see.
    pub(crate) fn connect(&self) -> Result<Duration, Error> {
        match [self.connect, self.total].into_iter().flatten().min() {
            Some(until) => self.left(until),
            None => Ok(Duration::from_secs(1 << 30)),
        }
    }

    /// The time to connect to one address if `others` are to be tried after it: its share of what is
    /// left, and at most [`ATTEMPT`]. The last address has all that is left.
    pub(crate) fn attempt(&self, others: usize) -> Result<Duration, Error> {
        let left = self.connect()?;
        if others == 0 {
            return Ok(left);
        }
        let addresses = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        // libcurl takes 0 ms for no limit.
        let share = (left / addresses).max(Duration::from_millis(1));
        Ok(share.min(ATTEMPT))
    }

    /// Whether there is still time to connect.
    pub(crate) fn may_connect(&self) -> bool {
        self.connect().is_ok()
    }

    /// Whether the time for the whole exchange is over.
    pub(crate) fn is_over(&self) -> bool {
        self.total().is_err()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_the_last_one_all_that_is_left() {
        let limits = Limits::new(None, Some(Duration::from_secs(30)));
        assert_eq!(limits.attempt(1).unwrap(), ATTEMPT);
        assert!(limits.attempt(0).unwrap() > Duration::from_secs(29));
        let limits = Limits::new(None, Some(Duration::from_secs(1)));
        let share = limits.attempt(3).unwrap();
        assert!(share <= Duration::from_millis(251), "{share:?}");
        assert!(share > Duration::from_millis(100), "{share:?}");
        assert!(limits.attempt(usize::MAX).unwrap() >= Duration::from_millis(1));
        let limits = Limits::new(None, None);
        assert_eq!(limits.attempt(1).unwrap(), ATTEMPT);
    }
}
