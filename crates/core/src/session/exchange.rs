//! The exchange of one request, from the caller's request to the head of its final response.
//!
//! [`Exchange::run`] follows redirects. For each target, [`Exchange::send_until_final`] waits for permits,
//! sends the request, and resends or retries it. [`Exchange::send`] makes one attempt. This module
//! covers the phases of an exchange up to [`Phase::Head`]. The module `limited_body` covers [`Phase::Body`].

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::header::COOKIE;

use super::in_flight::WaitingGuard;
use super::limits::Permits;
use super::policy::RequestPolicy;
use super::redirect::RedirectedRequest;
use super::resend::Resends;
use super::retry::{RetryPlan, requested_pause};
use super::state::SessionState;
use super::template::RequestTemplate;
use super::timer::{ExchangeTimer, Interrupt};
use crate::backend::capabilities::Support;
use crate::backend::sent;
use crate::error::{Error, ErrorKind, Phase};
use crate::message::body::Body;
use crate::message::response::Redirect;
use crate::message::target::{Origin, Target};
use crate::message::{decode, framing};
use crate::observe::{ObservedExchange, Step};
use crate::upload::prepare::Upload;

/// The size of the largest body, in bytes, that the session reads only to reuse the connection: the body
/// of a redirect, for example. A larger body is dropped, together with its connection.
pub(super) const MAX_DRAINED: u64 = 16 << 10;

/// How long the session may read a body only to reuse the connection. After this time, opening a new
/// connection is faster.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// The context of an error after which only the partly read body prevents a resend.
const BODY_IS_CONSUMED: &str =
    "the request was not processed, but its body was partly read and cannot be sent again";

/// A response whose body has not been read.
pub(super) type Head = http::Response<Body>;

/// A request in flight.
pub(super) struct Exchange<'a> {
    pub(super) session: &'a SessionState,
    pub(super) policy: &'a RequestPolicy,
    pub(super) template: RequestTemplate,
    /// The source of the body. `None` once the body is prepared.
    pub(super) upload: Option<Box<Upload>>,
    pub(super) timer: ExchangeTimer,
    /// When the current attempt times out.
    pub(super) attempt_end: Option<Instant>,
    pub(super) permits: Permits,
    /// The last response, or an empty response if there is none. Methods store it here instead of
    /// returning it, because moving a response is expensive.
    pub(super) head: Head,
    /// Whether the body of `head` is decoded.
    pub(super) has_coding: bool,
    /// Whether the exchange requests a body again. The retry has already been taken from the budget.
    pub(super) is_body_retry: bool,
    pub(super) attempts: u32,
    /// The retries that the request has left. All its redirects share them.
    pub(super) retries: Option<Box<RetryPlan>>,
    /// Whether the last outcome was not retried because the retry budget was exhausted.
    pub(super) is_retry_budget_exhausted: bool,
    pub(super) observed: Option<Box<ObservedExchange>>,
}

impl Exchange<'_> {
    pub(super) fn report(&self, step: Step<'_>) {
        if let Some(observed) = &self.observed {
            observed.report(step);
        }
    }

    /// Sends the request and follows redirects. Sets `target` to the URL of the final response.
    pub(super) async fn run(
        &mut self,
        target: &mut Target,
        history: &mut Vec<Redirect>,
    ) -> Result<(), Error> {
        if let Some(upload) = self.upload.take() {
            let runtime = &self.session.runtime;
            let prepared = upload.prepare(self.template.request_mut(), runtime);
            Box::pin(self.timer.run_within(None, prepared)).await?;
        }
        loop {
            self.send_until_final(target).await?;
            let redirects = &self.session.redirects;
            let method = self.template.method();
            let at_most = self.policy.max_redirects;
            let next = redirects.follow(target, method, &self.head, at_most, history.len())?;
            let Some(next) = next else {
                // Decodes before `LimitedBody` wraps the body, so that the session's limits apply to the
                // decoded bytes.
                if self.policy.decompress {
                    self.has_coding = decode::decode_response(&mut self.head)?;
                }
                return Ok(());
            };
            history.push(Redirect::new(target.clone(), self.head.status()));
            *target = self.redirect(target, next).await?;
        }
    }

    /// Changes the template to the request that follows a redirect. Returns the new target.
    async fn redirect(
        &mut self,
        from: &Target,
        redirected: RedirectedRequest,
    ) -> Result<Target, Error> {
        let redirects = &self.session.redirects;
        self.template.follow(from, &redirected, redirects)?;
        let to = redirected.target.url();
        self.report(Step::Redirected { to });
        let body = std::mem::take(&mut self.head).into_body();
        if body.len().is_some_and(|len| len <= MAX_DRAINED) {
            // Ignores an error of this body, because the next request does not need the body.
            let drained = body.collect(MAX_DRAINED).map(|_| Ok(()));
            let limit = self.timer.limit(Some(DRAIN_TIMEOUT), Phase::Body);
            match Box::pin(self.timer.run_within(limit, drained)).await {
                Err(error) if error.phase() != Some(Phase::Body) => return Err(error),
                _ => {}
            }
        }
        Ok(redirected.target)
    }

    /// Sends the request to one target. Resends and retries it until the outcome is final.
    async fn send_until_final(&mut self, target: &Target) -> Result<(), Error> {
        let session = self.session;
        if let (Support::No(reason), Some("https")) =
            (session.capabilities.tls, target.uri().scheme_str())
        {
            return Err(Error::new(ErrorKind::Unsupported).with_context(reason));
        }
        let mut resends = Resends::default();
        let retry = &self.policy.retry;
        let origin = (!retry.is_off()).then(|| Origin::of(target.uri()));
        if let Some(origin) = &origin
            && !self.is_body_retry
        {
            session.budgets.deposit(origin, retry);
        }
        loop {
            self.acquire_permits(target).await?;
            let mut outcome = self.send(target).await;
            if let Err(error) = &outcome
                && let Some(pause) = self.next_resend(&mut resends, error)
            {
                if error.has_dead_connection() {
                    self.template.require_new_connection();
                }
                self.report(Step::Resending { pause, error });
                if !pause.is_zero() {
                    let resume = self.timer.now() + pause;
                    self.timer.sleep_until(resume, None).await?;
                }
                continue;
            }
            self.pause_host(origin.as_ref());
            if !self.template.can_be_sent() {
                outcome = outcome.map_err(|error| match error.is_not_processed() {
                    true => error.with_context(BODY_IS_CONSUMED),
                    false => error,
                });
            }
            let Some((pause, resume)) = self.next_retry(&outcome, origin.as_ref()) else {
                return outcome;
            };
            let error = outcome.as_ref().err();
            self.report(Step::Retrying { pause, error });
            self.head = Head::default();
            self.permits = Permits::default();
            self.timer.sleep_until(resume, None).await?;
        }
    }

    async fn acquire_permits(&mut self, target: &Target) -> Result<(), Error> {
        let session = self.session;
        if session.limits.is_unlimited() {
            return Ok(());
        }
        let _waiting = WaitingGuard::new(&session.in_flight);
        self.report(Step::Queued);
        // Boxed, so that the future of an exchange stays small in the many sessions without limits.
        let (limits, permits) = (&session.limits, &mut self.permits);
        self.timer.pause_timeout();
        Box::pin(limits.acquire(permits, target.uri(), &mut self.timer, self.policy)).await?;
        self.timer.resume_timeout();
        // Another request may have passed its permit on because its deadline, which is also this request's
        // deadline, has passed.
        self.timer
            .overdue()
            .map_or(Ok(()), |interrupt| Err(interrupt.into()))
    }

    /// Pauses all requests to the host if the last response asks for it.
    fn pause_host(&self, origin: Option<&Origin>) {
        let pause = requested_pause(&self.head);
        if let (Some(origin), false) = (origin, pause.is_zero()) {
            let now = self.timer.now();
            if let Some(until) = now.checked_add(pause) {
                self.session.limits.pause_host(origin, until, now);
            }
        }
    }

    /// Returns the pause before the request is resent, or `None` if the error is final.
    fn next_resend(&self, resends: &mut Resends, error: &Error) -> Option<Duration> {
        let pause = resends.next_pause(error, self.template.method())?;
        let resume = self.timer.now() + pause;
        (self.template.can_be_sent() && self.timer.is_before_end(resume)).then_some(pause)
    }

    /// Returns the pause before the next retry, and the time when the pause ends. `None` if the
    /// outcome is final.
    fn next_retry(
        &mut self,
        outcome: &Result<(), Error>,
        origin: Option<&Origin>,
    ) -> Option<(Duration, Instant)> {
        let retry = &self.policy.retry;
        let origin = origin.filter(|_| self.template.can_be_sent())?;
        let plan = self.retries.get_or_insert_with(|| Box::new(retry.plan()));
        let response = outcome.as_ref().map(|()| &self.head);
        let pause = plan.next_pause(retry, self.template.method(), response)?;
        // The server's `Retry-After` may exceed the range of the clock, or the deadline.
        let resume = self.timer.now().checked_add(pause)?;
        if !self.timer.is_before_end(resume) {
            return None;
        }
        if !self.session.budgets.withdraw(origin, retry) {
            self.is_retry_budget_exhausted = true;
            let error = outcome.as_ref().err();
            self.report(Step::RetryBudgetExhausted { error });
            return None;
        }
        Some((pause, resume))
    }

    /// Sends the request once. Stores the response in `head`, even if the session refuses the response.
    async fn send(&mut self, target: &Target) -> Result<(), Error> {
        let session = self.session;
        // Connections of a runtime that has ended must not be used.
        session.runtime.check_running()?;
        // A client may send the request before the timer is polled for the first time.
        self.timer.check_deadline()?;
        self.attempts += 1;
        let policy = self.policy;
        let attempt = self.timer.limit(policy.attempt_timeout, Phase::Head);
        self.attempt_end = attempt.map(|(at, _)| at);
        let head = self.timer.limit(policy.head_timeout, Phase::Head);
        let limit = head.into_iter().chain(attempt).min_by_key(|(at, _)| *at);
        let client = session.client().ok_or(Interrupt::Closed)?;
        // In a block, so that the future does not keep space for the request while it waits.
        let fetched = {
            let mut request = self.template.request(target, session, &self.timer);
            if let Some(observed) = &mut self.observed {
                observed.start_attempt(target, &mut request);
                if self.template.omits_cookies() {
                    observed.report(Step::Omitted { header: &COOKIE });
                }
            }
            client.fetch_boxed(request)
        };
        sent::record();
        let fetched = self.timer.run_within(limit, fetched).await;
        self.head = fetched.map_err(|error| self.timer.attribute(error))?;
        framing::check_head(&self.head)?;
        if let Some(observed) = &self.observed {
            observed.report_head(&self.head);
        }
        #[cfg(feature = "cookies")]
        if let Some(jar) = &session.cookies {
            jar.add_from_response(self.head.headers(), target.url());
        }
        Ok(())
    }
}
