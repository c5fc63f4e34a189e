//! Resends of a request. A session makes them even without a retry policy.

use std::time::Duration;

use http::Method;

use crate::error::Error;

/// A counter of the resends of a request. A session resends a request that the server has certainly
/// not processed, and an idempotent request whose pooled connection ended before a response.
#[derive(Default)]
pub(crate) struct Resends {
    total: u32,
    /// The number of failures after which the server may have processed the request.
    unanswered: u32,
}

impl Resends {
    /// How many resends follow without a pause. A server that closes each connection after a few requests
    /// can cause several resends in a row, and none of them needs a pause.
    const WITHOUT_PAUSE: u32 = 10;
    const MAX_PAUSE: Duration = Duration::from_millis(256);
    /// How often a request is resent after its pooled connection ended. One resend is enough for a
    /// client that then uses a new connection. isahc may need more.
    const MAX_UNANSWERED: u32 = 3;
    /// How often a request is resent in total. The pauses add up to about ten seconds.
    const MAX: u32 = 50;

    /// Returns the pause before the request is resent, or `None` if it must not be resent.
    pub(crate) fn next_pause(&mut self, error: &Error, method: &Method) -> Option<Duration> {
        if !error.is_not_processed() {
            self.unanswered += 1;
            let may_resend = error.has_dead_connection() && method.is_idempotent();
            if !may_resend || self.unanswered > Self::MAX_UNANSWERED {
                return None;
            }
        }
        let pause = match self.total.checked_sub(Self::WITHOUT_PAUSE) {
            None => Duration::ZERO,
            Some(n) => Duration::from_millis(1 << n.min(8)).min(Self::MAX_PAUSE),
        };
        self.total += 1;
        (self.total <= Self::MAX).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn pauses(error: &Error, method: &Method) -> Vec<u128> {
        let mut resends = Resends::default();
        let pauses = std::iter::from_fn(|| resends.next_pause(error, method));
        pauses.map(|pause| pause.as_millis()).collect()
    }

    #[test]
    fn an_unprocessed_request_is_resent_with_growing_pauses() {
        let error = Error::new(ErrorKind::Incomplete).not_processed();
        for method in [Method::GET, Method::POST] {
            let pauses = pauses(&error, &method);
            assert_eq!(pauses.len(), 50);
            assert!(pauses[..10].iter().all(|pause| *pause == 0), "{pauses:?}");
            assert_eq!(pauses[10..14], [1, 2, 4, 8]);
            assert!(pauses[18..].iter().all(|pause| *pause == 256), "{pauses:?}");
        }
    }

    #[test]
    fn after_a_dead_connection_only_idempotent_requests_are_resent() {
        let error = Error::new(ErrorKind::Incomplete).on_dead_connection();
        assert_eq!(pauses(&error, &Method::GET), [0, 0, 0]);
        assert_eq!(pauses(&error, &Method::PUT), [0, 0, 0]);
        assert!(pauses(&error, &Method::POST).is_empty());
    }

    #[test]
    fn after_other_errors_requests_are_not_resent() {
        assert!(pauses(&Error::new(ErrorKind::Incomplete), &Method::GET).is_empty());
        assert!(pauses(&Error::new(ErrorKind::Connect), &Method::GET).is_empty());
    }
}
