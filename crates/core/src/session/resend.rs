//! Resending of requests, which happens even without a retry policy.

use std::time::Duration;

use super::template::RequestTemplate;
use super::timer::ExchangeTimer;
use crate::error::Error;

/// Counts how often a request was resent, because the server has not processed it or because its
/// pooled connection ended before a response.
#[derive(Default)]
pub(crate) struct Resends {
    in_all: u32,
    unanswered: u32,
}

impl Resends {
    /// How many resends have no pause. A server that ends each connection after a few requests
    /// causes several.
    const WITHOUT_PAUSE: u32 = 10;
    const LONGEST_PAUSE: Duration = Duration::from_millis(256);
    /// How many resends an unanswered request gets. A client that then uses a new connection needs
    /// one; isahc may need more.
    const MOST_UNANSWERED: u32 = 3;
    /// How many resends a request gets in total. With their pauses they take about ten seconds.
    const MOST: u32 = 50;

    /// Returns the pause before the request is resent, or `None` if it must not be resent.
    pub(crate) fn next_pause(
        &mut self,
        error: &Error,
        template: &RequestTemplate,
        timer: &ExchangeTimer,
    ) -> Option<Duration> {
        let is_allowed = match error.is_not_processed() {
            true => true,
            false => {
                self.unanswered += 1;
                error.is_of_a_dead_connection()
                    && template.method().is_idempotent()
                    && self.unanswered <= Self::MOST_UNANSWERED
            }
        };
        if !is_allowed || !template.can_be_sent() {
            return None;
        }
        let pause = match self.in_all.checked_sub(Self::WITHOUT_PAUSE) {
            None => Duration::ZERO,
            Some(n) => Duration::from_millis(1 << n.min(8)).min(Self::LONGEST_PAUSE),
        };
        self.in_all += 1;
        let deadline = timer.deadline;
        let is_in_time = deadline.is_none_or(|deadline| timer.now() + pause < deadline);
        (is_in_time && self.in_all <= Self::MOST).then_some(pause)
    }
}
