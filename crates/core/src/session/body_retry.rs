//! Retries of a request whose response's body ended early. See [`LimitedBody`](super::limited_body::LimitedBody).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};

use super::exchange::{Exchange, Head};
use super::limits::Permits;
use super::policy::RequestPolicy;
use super::retry::RetryPlan;
use super::state::SessionState;
use super::template::RequestTemplate;
use super::timer::{ExchangeTimer, Interrupt, PhaseLimit};
use crate::download::representation::{RangeReply, Representation};
use crate::error::{Error, Phase};
use crate::message::body::Body;
use crate::message::response::Redirect;
use crate::message::target::{Origin, Target};
use crate::observe::{ObservedExchange, Step};

/// The body of one response, and what the request holds until the body ends.
pub(super) struct Transfer {
    pub(super) body: Body,
    /// The status of the response, for the observers.
    pub(super) status: StatusCode,
    pub(super) timer: ExchangeTimer,
    pub(super) permits: Permits,
    /// When the attempt times out.
    pub(super) attempt_end: Option<Instant>,
    /// The position at which the bytes end, if it is known.
    pub(super) end: Option<u64>,
    pub(super) observed: Option<Box<ObservedExchange>>,
    /// `None` if the request is not retried.
    pub(super) retry: Option<Box<BodyRetry>>,
}

impl Transfer {
    /// Returns the interrupt of a limit whose time is over, if there is one.
    pub(super) fn overdue(&self) -> Option<Interrupt> {
        let is_attempt_over = || self.attempt_end.is_some_and(|end| self.timer.now() >= end);
        let overdue = self.timer.overdue();
        overdue.or_else(|| is_attempt_over().then_some(Interrupt::Timeout(Phase::Body)))
    }

    /// Returns the limit for a chunk whose wait starts now.
    pub(super) fn chunk_limit(&self, read_timeout: Option<Duration>) -> PhaseLimit {
        let attempt = self.attempt_end.map(|at| (at, Phase::Body));
        let read = self.timer.limit(read_timeout, Phase::Body);
        read.into_iter().chain(attempt).min_by_key(|(at, _)| *at)
    }
}

/// What is needed to request the rest of a body, or the whole body again.
pub(super) struct BodyRetry {
    policy: Arc<RequestPolicy>,
    template: RequestTemplate,
    /// The URL of the last response.
    target: Target,
    redirects: usize,
    retries: Option<Box<RetryPlan>>,
    attempts: u32,
    first: FirstResponse,
}

/// The response whose head the caller has.
struct FirstResponse {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    content_encoding: Option<HeaderValue>,
    /// The range of the response, if the caller has requested one.
    content_range: Option<HeaderValue>,
    /// What identifies the bytes. `None` if a request cannot ask for the rest of them, for example because the
    /// session decodes the body.
    representation: Option<Representation>,
}

/// The bytes that the caller has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Received {
    pub(super) bytes: u64,
    /// Whether the caller can discard the bytes.
    pub(super) may_discard: bool,
}

/// Where the new response continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuation {
    /// At the end of the received bytes.
    Continue,
    /// At the first byte. The received bytes must be discarded.
    Restart,
    /// At the first byte. The bytes are the same, so as many as were received must be skipped.
    Repeat,
}

/// An error that ends the exchange.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) observed: Option<Box<ObservedExchange>>,
}

/// The retry of a body, as decided by [`BodyRetry::plan`].
pub(super) struct PlannedRetry {
    retry: Box<BodyRetry>,
    error: Error,
    pause: Duration,
    resume: Instant,
    received: Received,
}

impl BodyRetry {
    /// Returns the retry of a body whose head is `head`. `has_coding` is true if the session decodes the body.
    pub(super) fn new(
        policy: &Arc<RequestPolicy>,
        template: RequestTemplate,
        target: &Target,
        head: &Head,
        has_coding: bool,
    ) -> Self {
        let first = FirstResponse {
            status: head.status(),
            content_type: head.headers().get(CONTENT_TYPE).cloned(),
            content_encoding: head.headers().get(CONTENT_ENCODING).cloned(),
            content_range: head.headers().get(CONTENT_RANGE).cloned(),
            representation: representation(&template, head).filter(|_| !has_coding),
        };
        Self {
            policy: policy.clone(),
            template,
            target: target.clone(),
            redirects: 0,
            retries: None,
            attempts: 0,
            first,
        }
    }

    /// Sets what the request has used so far.
    pub(super) fn with_history(
        mut self,
        redirects: usize,
        attempts: u32,
        retries: Option<Box<RetryPlan>>,
    ) -> Self {
        (self.redirects, self.attempts, self.retries) = (redirects, attempts, retries);
        self
    }

    /// Returns the length of the whole body, if a request can ask for its rest.
    pub(super) fn total(&self) -> Option<u64> {
        self.first.representation.as_ref()?.total
    }

    /// Plans a retry after this error. Returns the error if it is final.
    pub(super) fn plan(
        mut self: Box<Self>,
        error: Error,
        received: Received,
        session: &SessionState,
        timer: &ExchangeTimer,
        observed: Option<&ObservedExchange>,
    ) -> Result<PlannedRetry, Error> {
        let error = error.with_history(self.redirects, self.attempts);
        let is_lost = received.bytes > 0 && !received.may_discard;
        if is_lost && self.first.representation.is_none() || !self.template.can_be_sent() {
            return Err(error);
        }
        let retry = &self.policy.retry;
        let plan = self.retries.get_or_insert_with(|| Box::new(retry.plan()));
        let outcome = Err::<&Head, _>(&error);
        let Some(pause) = plan.next_pause(retry, self.template.method(), outcome) else {
            return Err(error);
        };
        let resume = timer.now().checked_add(pause);
        let Some(resume) = resume.filter(|resume| timer.is_before_end(*resume)) else {
            return Err(error);
        };
        if !session
            .budgets
            .withdraw(&Origin::of(self.target.uri()), retry)
        {
            if let Some(observed) = observed {
                let error = Some(&error);
                observed.report(Step::RetryBudgetExhausted { error });
            }
            return Err(error.with_retry_budget_exhausted(true));
        }
        Ok(PlannedRetry {
            retry: self,
            error,
            pause,
            resume,
            received,
        })
    }
}

/// Returns the representation of the response's body, if a request can ask for a part of it.
fn representation(template: &RequestTemplate, head: &Head) -> Option<Representation> {
    let is_whole = head.status() == StatusCode::OK
        && template.method() == Method::GET
        && !template.has_range();
    let representation = Representation::of(String::new(), head.headers(), head.body().len());
    (is_whole && representation.validator.is_some()).then_some(representation)
}

impl PlannedRetry {
    /// Requests the rest of the body, or the whole body if the caller can discard what it has received.
    pub(super) async fn run(
        self,
        session: Arc<SessionState>,
        timer: ExchangeTimer,
        observed: Option<Box<ObservedExchange>>,
    ) -> Result<(Transfer, Continuation), Failed> {
        let Self {
            retry,
            error,
            pause,
            resume,
            received,
        } = self;
        let BodyRetry {
            policy,
            template,
            mut target,
            mut redirects,
            retries,
            attempts,
            mut first,
        } = *retry;
        let mut exchange = Exchange {
            session: &session,
            policy: &policy,
            template,
            upload: None,
            timer,
            attempt_end: None,
            permits: Permits::default(),
            head: Head::default(),
            has_coding: false,
            is_body_retry: true,
            attempts,
            retries,
            is_retry_budget_exhausted: false,
            observed,
        };
        let error_of_body = Some(&error);
        exchange.report(Step::Retrying {
            pause,
            error: error_of_body,
        });
        let continued = match exchange.timer.sleep_until(resume, None).await {
            Ok(()) => {
                let mut history = Vec::new();
                let requested =
                    first.request_rest(&mut exchange, &mut target, &mut history, received);
                let continued = requested.await;
                redirects += history.len();
                continued
            }
            Err(interrupt) => Err(Some(interrupt)),
        };
        let Exchange {
            template,
            timer,
            attempt_end,
            permits,
            mut head,
            attempts,
            retries,
            is_retry_budget_exhausted,
            observed,
            ..
        } = exchange;
        match continued {
            Ok((continuation, end)) => {
                let retry = BodyRetry {
                    policy,
                    template,
                    target,
                    redirects,
                    retries,
                    attempts,
                    first,
                };
                let transfer = Transfer {
                    status: head.status(),
                    body: std::mem::take(head.body_mut()),
                    timer,
                    permits,
                    attempt_end,
                    end: end.or_else(|| retry.total()),
                    observed,
                    retry: Some(Box::new(retry)),
                };
                Ok((transfer, continuation))
            }
            Err(last) => {
                let error = target.add_url(last.unwrap_or(error));
                let error = error
                    .with_history(redirects, attempts)
                    .with_retry_budget_exhausted(is_retry_budget_exhausted);
                Err(Failed { error, observed })
            }
        }
    }
}

impl FirstResponse {
    /// Sends requests until a response continues the body. Also returns where the response ends, if it is a
    /// part. An error is `None` if the server responded, but not with the same body.
    async fn request_rest(
        &mut self,
        exchange: &mut Exchange<'_>,
        target: &mut Target,
        history: &mut Vec<Redirect>,
        received: Received,
    ) -> Result<(Continuation, Option<u64>), Option<Error>> {
        let known = self.representation.take().filter(|_| received.bytes > 0);
        let mut range = known.as_ref().map(|known| (known, received.bytes));
        loop {
            if let Some((known, position)) = range {
                exchange.template.set_range(known.range_from(position)?);
            }
            exchange.head = Head::default();
            let sent = exchange.run(target, history).await;
            if range.is_some() {
                exchange.template.remove_range();
            }
            sent?;
            let head = &exchange.head;
            match RangeReply::classify(head, range) {
                // Without the total length, the end of the part could be mistaken for that of the body.
                RangeReply::Part { end, total }
                    if total.is_some() && self.has_same_coding(head) =>
                {
                    self.representation = known.map(|known| Representation { total, ..known });
                    return Ok((Continuation::Continue, Some(end)));
                }
                RangeReply::Complete => {
                    exchange.head = Head::new(Body::empty());
                    return Ok((Continuation::Continue, Some(received.bytes)));
                }
                // Requests the whole body once.
                RangeReply::Part { .. } | RangeReply::Mismatch if range.is_some() => range = None,
                _ => {
                    let known = known.as_ref();
                    let found = representation(&exchange.template, head);
                    let found = found.filter(|_| !exchange.has_coding);
                    let continuation = self.restart(head, received, known, found.as_ref());
                    self.representation = found;
                    return continuation.map(|how| (how, None)).ok_or(None);
                }
            }
        }
    }

    /// Returns how a response with a whole body continues the body. `None` if it does not.
    fn restart(
        &self,
        head: &Head,
        received: Received,
        known: Option<&Representation>,
        found: Option<&Representation>,
    ) -> Option<Continuation> {
        // The caller has the head of the first response, which determines the meaning of the body.
        let is_same_kind = head.status() == self.status
            && head.headers().get(CONTENT_TYPE) == self.content_type.as_ref()
            && head.headers().get(CONTENT_RANGE) == self.content_range.as_ref()
            && self.has_same_coding(head);
        if !is_same_kind {
            return None;
        }
        if received.bytes == 0 {
            return Some(Continuation::Continue);
        }
        if received.may_discard {
            return Some(Continuation::Restart);
        }
        let is_same = known.zip(found).is_some_and(|(known, found)| {
            known.validator == found.validator && known.total == found.total
        });
        is_same.then_some(Continuation::Repeat)
    }

    fn has_same_coding(&self, head: &Head) -> bool {
        head.headers().get(CONTENT_ENCODING) == self.content_encoding.as_ref()
    }
}
