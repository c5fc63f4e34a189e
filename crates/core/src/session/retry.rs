//! Retries of failed requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};

use crate::error::{Error, ErrorKind, Phase};
use crate::message::target::Origin;

/// The policy for retries of failed requests.
///
/// A session retries a request if all of the following hold:
///
/// - It got no response (the name had no address, connecting failed, the connection ended early,
///   the head timed out), or a response with the status 408, 429, 502, 503 or 504.
/// - Its method is idempotent (RFC 9110, 9.2.2), or the server has certainly not processed the request
///   ([`Error::is_not_processed`]).
/// - It has no body, its body can be produced again, or its body has not been read.
///
/// A session does not retry after a final response. If reading the body fails, the caller gets the
/// error.
///
/// Before each retry, the session pauses. The pause is a random part of a span that doubles with
/// each retry ("full jitter"). The pause is never shorter than the response's `Retry-After`. If the
/// pause would end after the request's [`timeout`](crate::SessionBuilder::timeout), the session returns
/// the failure instead.
///
/// The retries to a server (a scheme, a host and a port) have a budget: a fifth of the requests to
/// the server, and ten more. So even if every request fails, retries add only a fifth to the load of
/// the server.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::Retry;
///
/// let retry = Retry::new(3).delays(Duration::from_millis(50), Duration::from_secs(2));
/// # let _ = retry;
/// ```
#[derive(Debug, Clone)]
pub struct Retry {
    at_most: usize,
    min_delay: Duration,
    max_delay: Duration,
    any_method: bool,
}

impl Retry {
    /// Creates a policy that retries a request up to `at_most` times. 0 means no retries.
    pub fn new(at_most: usize) -> Self {
        Self {
            at_most,
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(10),
            any_method: false,
        }
    }

    /// Sets the first and the longest span from which pauses are chosen. Default 100 ms and 10 s.
    pub fn delays(mut self, first: Duration, longest: Duration) -> Self {
        self.min_delay = first;
        self.max_delay = longest;
        self
    }

    /// Retries requests of every method. The server may then execute a request twice.
    pub fn any_method(mut self) -> Self {
        self.any_method = true;
        self
    }

    /// Returns the plan for the retries of one request.
    pub(crate) fn plan(&self) -> RetryPlan {
        let delays = ExponentialBuilder::default()
            .with_factor(2.0)
            .with_min_delay(self.min_delay)
            .with_max_delay(self.max_delay.max(self.min_delay))
            .with_max_times(self.at_most);
        RetryPlan {
            delays: delays.build(),
            any_method: self.any_method,
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.at_most == 0
    }
}

/// The retries that one request has left.
pub(crate) struct RetryPlan {
    delays: ExponentialBackoff,
    any_method: bool,
}

impl RetryPlan {
    /// Returns the pause before the next retry, or `None` if the request must not be retried.
    pub(crate) fn next_pause<B>(
        &mut self,
        method: &Method,
        outcome: Result<&http::Response<B>, &Error>,
    ) -> Option<Duration> {
        let is_unprocessed = outcome
            .as_ref()
            .is_err_and(|error| error.is_not_processed());
        if !(self.any_method || method.is_idempotent() || is_unprocessed) {
            return None;
        }
        let retry_after = match outcome {
            Ok(response) if is_transient_status(response.status()) => {
                retry_after(response.headers())
            }
            Err(error) if is_transient_error(error) => Duration::ZERO,
            _ => return None,
        };
        let span = self.delays.next()?;
        Some(span.mul_f64(fastrand::f64()).max(retry_after))
    }
}

/// Returns whether a later request may get a different status.
fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504)
}

/// Returns whether the request failed before a response and may succeed later.
fn is_transient_error(error: &Error) -> bool {
    match error.kind() {
        // The address guard would refuse the address every time.
        ErrorKind::Connect if error.address_refused().is_some() => false,
        ErrorKind::Resolve | ErrorKind::Connect | ErrorKind::Incomplete | ErrorKind::Io => true,
        ErrorKind::Timeout => matches!(error.phase(), Some(Phase::Connect | Phase::Head)),
        _ => false,
    }
}

/// Returns the pause that `Retry-After` requires: a number of seconds, or the time until a date (RFC
/// 9110, 10.2.3). Returns zero for any other value. A date is relative to the response's `Date`,
/// because the clock of the server may differ from the clock of the client.
fn retry_after(headers: &HeaderMap) -> Duration {
    let value = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let Some(value) = value else {
        return Duration::ZERO;
    };
    if let Ok(seconds) = value.trim().parse() {
        return Duration::from_secs(seconds);
    }
    let date = |value: &str| httpdate::parse_http_date(value).ok();
    let server_time = headers
        .get(DATE)
        .and_then(|value| date(value.to_str().ok()?));
    let now = server_time.unwrap_or_else(SystemTime::now);
    let until = date(value);
    until
        .and_then(|until| until.duration_since(now).ok())
        .unwrap_or_default()
}

/// The retry budgets of servers. They limit the load that retries add to a failing server.
#[derive(Default)]
pub(crate) struct RetryBudgets(Mutex<HashMap<Origin, u32>>);

/// The cost of a retry in the units of a budget. Each request adds one unit.
const RETRY_COST: u32 = 5;

/// The largest budget: ten retries.
const MAX_BUDGET: u32 = 10 * RETRY_COST;

/// The largest number of servers that have less than a full budget. If one more server needs a retry,
/// all budgets become full again.
const MAX_ORIGINS: usize = 4096;

impl RetryBudgets {
    /// Adds the unit of one request to the budget. Servers with a full budget have no entry.
    pub(crate) fn deposit(&self, origin: &Origin) {
        let mut budgets = self.lock();
        if let Some(left) = budgets.get_mut(origin) {
            *left += 1;
            if *left >= MAX_BUDGET {
                budgets.remove(origin);
            }
        }
    }

    /// Withdraws the cost of a retry from the budget. Returns `false` if the budget is too small.
    pub(crate) fn withdraw(&self, origin: &Origin) -> bool {
        let mut budgets = self.lock();
        if budgets.len() >= MAX_ORIGINS && !budgets.contains_key(origin) {
            budgets.clear();
        }
        let left = budgets.entry(origin.clone()).or_insert(MAX_BUDGET);
        match left.checked_sub(RETRY_COST) {
            Some(rest) => *left = rest,
            None => return false,
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::guard::AddressGuard;

    fn after(value: &str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        assert_eq!(after("7"), Duration::from_secs(7));
        let later = SystemTime::now() + Duration::from_secs(3600);
        let left = after(&httpdate::fmt_http_date(later));
        assert!(left > Duration::from_secs(3000) && left <= Duration::from_secs(3600));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Duration::ZERO);
        assert_eq!(after("soon"), Duration::ZERO);
        assert_eq!(after("-1"), Duration::ZERO);
        assert_eq!(after("18446744073709551615"), Duration::from_secs(u64::MAX));
    }

    #[test]
    fn a_date_in_retry_after_is_relative_to_the_date_of_the_response() {
        let mut headers = HeaderMap::new();
        let date = |date: &str| date.parse().unwrap();
        headers.insert(DATE, date("Wed, 21 Oct 2015 07:28:00 GMT"));
        headers.insert(RETRY_AFTER, date("Wed, 21 Oct 2015 07:28:09 GMT"));
        assert_eq!(retry_after(&headers), Duration::from_secs(9));
        headers.insert(DATE, date("Wed, 21 Oct 2015 07:28:10 GMT"));
        assert_eq!(retry_after(&headers), Duration::ZERO);
    }

    #[test]
    fn the_budget_of_a_server_is_ten_retries_and_a_fifth_of_the_requests_to_it() {
        let budgets = RetryBudgets::default();
        let [a, b] = ["http://a/", "http://b/"].map(|url| Origin::of(&url.parse().unwrap()));
        let withdrawn = |origin| {
            let results = std::iter::repeat_with(|| budgets.withdraw(origin));
            results.take_while(|has_retry| *has_retry).count()
        };
        assert_eq!(withdrawn(&a), 10);
        // Requests to one server do not add to the budget of another.
        for _ in 0..1000 {
            budgets.deposit(&b);
        }
        assert_eq!((withdrawn(&a), withdrawn(&b)), (0, 10));
        for _ in 0..100 {
            budgets.deposit(&a);
        }
        assert_eq!(withdrawn(&a), 10);
        for _ in 0..25 {
            budgets.deposit(&a);
        }
        assert_eq!(withdrawn(&a), 5);
    }

    #[test]
    fn the_longest_pause_doubles_until_no_retry_is_left() {
        let mut plan = Retry::new(3)
            .delays(Duration::from_millis(100), Duration::from_millis(300))
            .plan();
        let failed: Result<http::Response<()>, _> = Err(Error::new(ErrorKind::Connect));
        for longest in [100, 200, 300] {
            let pause = plan.next_pause(&Method::GET, failed.as_ref()).unwrap();
            assert!(pause <= Duration::from_millis(longest), "{pause:?}");
        }
        assert_eq!(plan.next_pause(&Method::GET, failed.as_ref()), None);
    }

    #[test]
    fn requests_that_must_not_be_repeated_are_not_retried() {
        let failed: Result<http::Response<()>, _> = Err(Error::new(ErrorKind::Connect));
        let mut plan = Retry::new(3).plan();
        assert_eq!(plan.next_pause(&Method::POST, failed.as_ref()), None);
        let mut plan = Retry::new(3).any_method().plan();
        assert!(plan.next_pause(&Method::POST, failed.as_ref()).is_some());
        let refused: Result<http::Response<()>, _> = Err(Error::new(ErrorKind::Protocol));
        assert_eq!(plan.next_pause(&Method::GET, refused.as_ref()), None);
        let guarded = AddressGuard::public().check(([127, 0, 0, 1], 80).into());
        let guarded: Result<http::Response<()>, _> = Err(guarded.unwrap_err().into());
        assert_eq!(plan.next_pause(&Method::GET, guarded.as_ref()), None);
        let missing = http::Response::builder().status(404).body(()).unwrap();
        assert_eq!(plan.next_pause(&Method::GET, Ok(&missing)), None);
    }
}
