//! Retries of failed requests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};

use crate::bugs::{Bug, is_planted};
use crate::error::Error;
use crate::message::target::Origin;

/// The policy for retries of failed requests.
///
/// Chapter [10](../../tutorial/ch10.html) of the book teaches its use.
///
/// A session retries a request if all of the following hold:
///
/// - It got no response (the name had no address, connecting failed, the connection ended early,
///   the head timed out), or a response with the status 408, 429, 502, 503 or 504.
///   [`statuses`](Self::statuses) and [`when`](Self::when) change this rule.
/// - Its method is idempotent (RFC 9110, 9.2.2), or the server has certainly not processed the request
///   ([`Error::is_not_processed`]), or the policy allows [`any_method`](Self::any_method).
/// - It has no body, its body can be produced again, or its body has not been read.
/// - The server's [budget](Self::budget) allows another retry.
///
/// # Bodies
///
/// A session also retries a request if the body of its final response ends early, stalls
/// ([`read_timeout`](crate::SessionBuilder::read_timeout)) or fails with an I/O error:
///
/// - If the response has a strong validator (RFC 9110, 8.8.1) and the session does not decode the body,
///   the next request asks for the rest of the body, with `Range` and `If-Range`. If the server sends the
///   whole body of the same version instead, the session skips the bytes that the caller has.
/// - Otherwise, the session requests the whole body again, if the caller can discard what it has.
///   [`bytes`](crate::Response::bytes), `text`, `json` and [`save_to`](crate::Response::save_to) can, and
///   [`chunk_or_restart`](crate::Response::chunk_or_restart) reports the restart to the caller.
///   [`chunk`](crate::Response::chunk) and `into_stream` return the error after the first byte.
/// - If the next response has another status or media type, the first error is final.
///
/// Bytes of two versions are never mixed.
///
/// # Pauses
///
/// Before each retry, the session pauses. The pause is a random part of a span that doubles with
/// each retry ("full jitter"). The pause is never shorter than the response's `Retry-After`. If the
/// pause would end after the request's [`timeout`](crate::SessionBuilder::timeout), the session returns
/// the failure instead.
///
/// `Retry-After` in a response with the status 429 or 503 delays all requests of the session to the
/// host, not only the retry. A request that would wait longer than its
/// [`queue_timeout`](crate::SessionBuilder::queue_timeout) or, without one, longer than its timeout
/// fails at once, with a timeout of the phase `queue`.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::Retry;
///
/// let retry = Retry::new(3).delays(Duration::from_millis(50), Duration::from_secs(2));
/// # let _ = retry;
/// ```
#[doc(alias("RetryOptions", "backoff"))]
#[derive(Clone)]
pub struct Retry {
    at_most: usize,
    min_delay: Duration,
    max_delay: Duration,
    any_method: bool,
    statuses: Cow<'static, [u16]>,
    decide: Option<Decide>,
    budget: Option<RetryBudget>,
}

/// A rule of the caller: whether to retry an outcome.
type Decide = Arc<dyn Fn(&AttemptOutcome<'_>) -> bool + Send + Sync>;

/// The statuses that a later request may not get.
const TRANSIENT_STATUSES: [u16; 5] = [408, 429, 502, 503, 504];

impl Retry {
    /// Creates a policy that retries a request up to `at_most` times. 0 means no retries.
    ///
    /// A [`budget`](Self::budget) for each server may allow fewer retries, and only some
    /// [`statuses`](Self::statuses) are retried.
    pub fn new(at_most: usize) -> Self {
        Self {
            at_most,
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(10),
            any_method: false,
            statuses: Cow::Borrowed(&TRANSIENT_STATUSES),
            decide: None,
            budget: Some(RetryBudget::default()),
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

    /// Sets the statuses that are retried. Default 408, 429, 502, 503 and 504. Errors are retried as
    /// before.
    ///
    /// ```
    /// use inflight_core::Retry;
    ///
    /// // This server answers 500 while it starts.
    /// let retry = Retry::new(3).statuses([500, 502, 503]);
    /// # let _ = retry;
    /// ```
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Sets which outcomes are retried: those for which `decide` returns `true`. It replaces the rule
    /// for statuses and errors, and not the other rules.
    ///
    /// The session calls `decide` on the task of the request, after each attempt whose outcome is not a
    /// redirect. So `decide` must not block.
    ///
    /// ```
    /// use inflight_core::{ErrorKind, Retry};
    ///
    /// // Retries everything but an unknown host.
    /// let retry = Retry::new(5).when(|outcome| match outcome.error() {
    ///     Some(error) => error.kind() != ErrorKind::Resolve,
    ///     None => outcome.status().is_some_and(|status| status.is_server_error()),
    /// });
    /// # let _ = retry;
    /// ```
    pub fn when(
        mut self,
        decide: impl Fn(&AttemptOutcome<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.decide = Some(Arc::new(decide));
        self
    }

    /// Sets the budget for the retries to each server, or removes it. Default
    /// [`RetryBudget::default`].
    ///
    /// If the budget of a server is exhausted, the outcome is final. Its error and its response report
    /// this ([`Error::is_retry_budget_exhausted`],
    /// [`Response::is_retry_budget_exhausted`](crate::Response::is_retry_budget_exhausted)), and
    /// observers receive [`Step::RetryBudgetExhausted`](crate::Step::RetryBudgetExhausted).
    ///
    /// Without a budget, a server that fails gets up to `at_most` retries for each request, so its load
    /// multiplies when it can least bear it. Use this only if few requests are sent, for example in a
    /// test.
    pub fn budget(mut self, budget: impl Into<Option<RetryBudget>>) -> Self {
        self.budget = budget.into();
        self
    }

    /// Returns whether a later request may get another status: 408, 429, 502, 503 or 504.
    ///
    /// With [`Error::is_transient`] and [`retry_after`](Self::retry_after), a program can decide whether and
    /// when to repeat a request after the session has used up its retries.
    pub fn is_transient_status(status: StatusCode) -> bool {
        TRANSIENT_STATUSES.contains(&status.as_u16())
    }

    /// Returns the pause that `Retry-After` requires: a number of seconds, or the time until a date (RFC
    /// 9110, 10.2.3). Returns zero for any other value, and without this header.
    ///
    /// A date is relative to the response's `Date`, because the clock of the server may differ from the clock of the
    /// client.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use inflight_core::Retry;
    /// use inflight_core::http::{HeaderMap, header::RETRY_AFTER};
    ///
    /// let headers = HeaderMap::from_iter([(RETRY_AFTER, "120".parse()?)]);
    /// assert_eq!(Retry::retry_after(&headers), Duration::from_secs(120));
    /// # Ok::<(), inflight_core::http::header::InvalidHeaderValue>(())
    /// ```
    pub fn retry_after(headers: &HeaderMap) -> Duration {
        let value = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let Some(value) = value else {
            return Duration::ZERO;
        };
        let value = value.trim();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number that is too large means a very long pause.
            return Duration::from_secs(value.parse().unwrap_or(u64::MAX));
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

    /// Reduces the number of retries that are left.
    pub(crate) fn spend(&mut self, retries: usize) {
        self.at_most = self.at_most.saturating_sub(retries);
    }

    /// Returns the plan for the retries of one request.
    pub(crate) fn plan(&self) -> RetryPlan {
        let delays = ExponentialBuilder::default()
            .with_factor(2.0)
            .with_min_delay(self.min_delay)
            .with_max_delay(self.max_delay.max(self.min_delay))
            .with_max_times(self.at_most);
        RetryPlan(delays.build())
    }

    pub(crate) fn is_off(&self) -> bool {
        self.at_most == 0
    }

    /// Returns whether the policy retries this outcome, if a retry is left.
    fn applies_to(&self, outcome: &AttemptOutcome<'_>) -> bool {
        if let Some(decide) = &self.decide {
            return decide(outcome);
        }
        match outcome.result {
            Ok((status, _)) => self.statuses.contains(&status.as_u16()),
            Err(error) => error.is_transient(),
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("at_most", &self.at_most)
            .field("statuses", &self.statuses)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// The outcome of an attempt, for [`Retry::when`]: a response whose body has not been read, or an error.
///
/// For an example, see [`Retry::when`].
#[derive(Debug)]
pub struct AttemptOutcome<'a> {
    method: &'a Method,
    result: Result<(StatusCode, &'a HeaderMap), &'a Error>,
}

impl AttemptOutcome<'_> {
    /// Returns the method of the request.
    pub fn method(&self) -> &Method {
        self.method
    }

    /// Returns the status of the response. `None` if there is no response.
    pub fn status(&self) -> Option<StatusCode> {
        self.result.ok().map(|(status, _)| status)
    }

    /// Returns the headers of the response. `None` if there is no response.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.result.ok().map(|(_, headers)| headers)
    }

    /// Returns the error. `None` if there is a response.
    pub fn error(&self) -> Option<&Error> {
        self.result.err()
    }
}

/// A limit on the retries to each server (a scheme, a host and a port), so that retries do not overload a
/// server that fails. All requests of a session share it.
///
/// Chapter [10](../../tutorial/ch10.html) of the book teaches its use.
///
/// The default is 10 retries, and 20 more for each 100 requests. So even if every request fails, retries
/// add only a fifth to the load of the server.
///
/// For an example, see [`RetryBudget::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    burst: u32,
    percent: u32,
}

impl RetryBudget {
    /// Creates a budget of `burst` retries, and `percent` more for each 100 requests. At most `burst`
    /// retries are saved.
    ///
    /// ```
    /// use inflight_core::{Retry, RetryBudget};
    ///
    /// // Every request may be retried once on average.
    /// let retry = Retry::new(5).budget(RetryBudget::new(20, 100));
    /// # let _ = retry;
    /// ```
    pub fn new(burst: u32, percent: u32) -> Self {
        Self { burst, percent }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(10, 20)
    }
}

/// The retries that one request has left.
pub(crate) struct RetryPlan(ExponentialBackoff);

impl RetryPlan {
    /// Returns the pause before the next retry, or `None` if the request must not be retried.
    pub(crate) fn next_pause<B>(
        &mut self,
        retry: &Retry,
        method: &Method,
        outcome: Result<&http::Response<B>, &Error>,
    ) -> Option<Duration> {
        let is_unprocessed = outcome
            .as_ref()
            .is_err_and(|error| error.is_not_processed());
        let may_repeat = retry.any_method || method.is_idempotent() || is_unprocessed;
        if !may_repeat && !is_planted(Bug::RetriedUnrepeatable) {
            return None;
        }
        let result = outcome.map(|response| (response.status(), response.headers()));
        if !retry.applies_to(&AttemptOutcome { method, result }) {
            return None;
        }
        let span = self.0.next()?;
        let retry_after = outcome.map_or(Duration::ZERO, |response| {
            Retry::retry_after(response.headers())
        });
        Some(span.mul_f64(fastrand::f64()).max(retry_after))
    }
}

/// Returns the pause that the response requires for all requests to its host. It is zero unless the status is
/// 429 or 503 (RFC 6585, 4, and RFC 9110, 15.6.4).
pub(crate) fn requested_pause<B>(response: &http::Response<B>) -> Duration {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Retry::retry_after(response.headers())
        }
        _ => Duration::ZERO,
    }
}

/// The retries that servers have had in excess of their requests' share, in hundredths of a retry. A
/// server whose budget is full has no entry.
#[derive(Default)]
pub(crate) struct RetryBudgets(Mutex<HashMap<Origin, u32>>);

/// The cost of a retry. A request adds the budget's percentage of it.
const RETRY_COST: u32 = 100;

/// The largest number of servers that have less than a full budget. If one more server needs a retry,
/// all budgets become full again.
const MAX_ORIGINS: usize = 4096;

impl RetryBudgets {
    /// Adds the share of one request to the server's budget.
    pub(crate) fn deposit(&self, origin: &Origin, retry: &Retry) {
        let Some(budget) = retry.budget else { return };
        let mut spent = self.lock();
        if let Some(used) = spent.get_mut(origin) {
            *used = used.saturating_sub(budget.percent);
            if *used == 0 {
                spent.remove(origin);
            }
        }
    }

    /// Withdraws a retry from the server's budget. Returns `false` if the budget is exhausted.
    pub(crate) fn withdraw(&self, origin: &Origin, retry: &Retry) -> bool {
        let Some(budget) = retry.budget else {
            return true;
        };
        let mut spent = self.lock();
        if spent.len() >= MAX_ORIGINS && !spent.contains_key(origin) {
            spent.clear();
        }
        let used = spent
            .get(origin)
            .copied()
            .unwrap_or(0)
            .saturating_add(RETRY_COST);
        let is_covered = used <= budget.burst.saturating_mul(RETRY_COST);
        if is_covered {
            spent.insert(origin.clone(), used);
        }
        is_covered
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::guard::AddressGuard;
    use crate::error::ErrorKind;

    fn after(value: &str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        Retry::retry_after(&headers)
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
        for huge in ["18446744073709551615", "18446744073709551616"] {
            assert_eq!(after(huge), Duration::from_secs(u64::MAX));
        }
    }

    #[test]
    fn a_date_in_retry_after_is_relative_to_the_date_of_the_response() {
        let mut headers = HeaderMap::new();
        let date = |date: &str| date.parse().unwrap();
        headers.insert(DATE, date("Wed, 21 Oct 2015 07:28:00 GMT"));
        headers.insert(RETRY_AFTER, date("Wed, 21 Oct 2015 07:28:09 GMT"));
        assert_eq!(Retry::retry_after(&headers), Duration::from_secs(9));
        headers.insert(DATE, date("Wed, 21 Oct 2015 07:28:10 GMT"));
        assert_eq!(Retry::retry_after(&headers), Duration::ZERO);
    }

    #[test]
    fn the_budget_of_a_server_is_ten_retries_and_a_fifth_of_the_requests_to_it() {
        let budgets = RetryBudgets::default();
        let retry = Retry::new(1);
        let [a, b] = ["http://a/", "http://b/"].map(|url| Origin::of(&url.parse().unwrap()));
        let withdrawn = |origin| {
            let results = std::iter::repeat_with(|| budgets.withdraw(origin, &retry));
            results.take_while(|has_retry| *has_retry).count()
        };
        assert_eq!(withdrawn(&a), 10);
        // Requests to one server do not add to the budget of another.
        for _ in 0..1000 {
            budgets.deposit(&b, &retry);
        }
        assert_eq!((withdrawn(&a), withdrawn(&b)), (0, 10));
        for _ in 0..100 {
            budgets.deposit(&a, &retry);
        }
        assert_eq!(withdrawn(&a), 10);
        for _ in 0..25 {
            budgets.deposit(&a, &retry);
        }
        assert_eq!(withdrawn(&a), 5);
    }

    #[test]
    fn requests_share_the_budget_of_their_server_whatever_their_own_settings() {
        let budgets = RetryBudgets::default();
        let origin = Origin::of(&"http://a/".parse().unwrap());
        let small = Retry::new(1).budget(RetryBudget::new(2, 100));
        assert!(budgets.withdraw(&origin, &Retry::new(1)));
        assert!(budgets.withdraw(&origin, &small));
        assert!(!budgets.withdraw(&origin, &small));
        assert!(budgets.withdraw(&origin, &Retry::new(1)));
        assert!(budgets.withdraw(&origin, &Retry::new(1).budget(None)));
        budgets.deposit(&origin, &small);
        budgets.deposit(&origin, &small);
        assert!(budgets.withdraw(&origin, &small));
        let none = Retry::new(1).budget(RetryBudget::new(0, 100));
        assert!(!budgets.withdraw(&origin, &none));
    }

    type Failed = Result<http::Response<()>, Error>;

    fn is_retried(retry: &Retry, method: &Method, outcome: &Failed) -> bool {
        let pause = retry.plan().next_pause(retry, method, outcome.as_ref());
        pause.is_some()
    }

    fn answered(status: u16) -> Failed {
        Ok(http::Response::builder().status(status).body(()).unwrap())
    }

    #[test]
    fn the_longest_pause_doubles_until_no_retry_is_left() {
        let retry = Retry::new(3).delays(Duration::from_millis(100), Duration::from_millis(300));
        let mut plan = retry.plan();
        let failed: Failed = Err(Error::new(ErrorKind::Connect));
        let mut next_pause = || plan.next_pause(&retry, &Method::GET, failed.as_ref());
        for longest in [100, 200, 300] {
            let pause = next_pause().unwrap();
            assert!(pause <= Duration::from_millis(longest), "{pause:?}");
        }
        assert_eq!(next_pause(), None);
    }

    #[test]
    fn requests_that_must_not_be_repeated_are_not_retried() {
        let failed: Failed = Err(Error::new(ErrorKind::Connect));
        let retry = Retry::new(3);
        assert!(!is_retried(&retry, &Method::POST, &failed));
        assert!(is_retried(
            &retry.clone().any_method(),
            &Method::POST,
            &failed
        ));
        let refused: Failed = Err(Error::new(ErrorKind::Protocol));
        assert!(!is_retried(&retry, &Method::GET, &refused));
        let guarded = AddressGuard::public().check(([127, 0, 0, 1], 80).into());
        let guarded: Failed = Err(guarded.unwrap_err().into());
        assert!(!is_retried(&retry, &Method::GET, &guarded));
        assert!(!is_retried(&retry, &Method::GET, &answered(404)));
        assert!(is_retried(&retry, &Method::GET, &answered(503)));
    }

    #[test]
    fn statuses_and_when_replace_the_default_rule() {
        let retry = Retry::new(3).statuses([404]);
        assert!(is_retried(&retry, &Method::GET, &answered(404)));
        assert!(!is_retried(&retry, &Method::GET, &answered(503)));
        assert!(is_retried(
            &retry,
            &Method::GET,
            &Err(Error::new(ErrorKind::Connect))
        ));
        let retry = retry.when(|outcome| {
            outcome.status().is_some_and(|status| status == 200)
                || outcome
                    .error()
                    .is_some_and(|error| error.kind() == ErrorKind::Protocol)
        });
        assert!(is_retried(&retry, &Method::GET, &answered(200)));
        assert!(!is_retried(&retry, &Method::GET, &answered(404)));
        assert!(is_retried(
            &retry,
            &Method::GET,
            &Err(Error::new(ErrorKind::Protocol))
        ));
        assert!(!is_retried(&retry, &Method::POST, &answered(200)));
    }
}
