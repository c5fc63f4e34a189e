//! The timeouts of an exchange.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use sync_wrapper::SyncWrapper;

use super::in_flight::{InFlight, InFlightGuard};
use crate::backend::fetch::BoxFuture;
use crate::bugs::{Bug, is_planted};
use crate::error::{Error, ErrorKind, Phase};

/// When a phase times out, and which phase. `None` means no limit.
pub(crate) type PhaseLimit = Option<(Instant, Phase)>;

/// The reason why an exchange ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// This phase timed out.
    Timeout(Phase),
    /// The caller's deadline passed.
    Deadline,
    /// The session was closed.
    Closed,
    /// The runtime has ended.
    NoRuntime,
}

impl From<Interrupt> for Error {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Timeout(phase) => Error::timeout(phase),
            Interrupt::Deadline => Error::new(ErrorKind::Deadline),
            Interrupt::Closed => Error::new(ErrorKind::Closed),
            Interrupt::NoRuntime => Error::new(ErrorKind::NoRuntime),
        }
    }
}

/// A timer that interrupts an exchange at its timeout, its deadline or a phase's limit, when the session
/// closes, or when the runtime ends.
///
/// All exchanges of a session share a coarse timer. An exchange sets a timer of its own only if it
/// waits and the coarse timer would fire too late.
pub(crate) struct ExchangeTimer {
    /// When the whole exchange times out.
    timeout_end: Option<Instant>,
    /// The deadline that the caller has set.
    deadline: Option<Instant>,
    /// When the exchange began to wait for its permits. This time does not count towards the timeout.
    paused_since: Option<Instant>,
    /// When the exchange's own timer fires, and the timer.
    sleep: Option<(Instant, SyncWrapper<BoxFuture<'static, ()>>)>,
    guard: InFlightGuard,
}

impl ExchangeTimer {
    /// Returns a timer for an exchange that starts now. Fails if the session is closed.
    pub(crate) fn start(
        timeout: Option<Duration>,
        deadline: Option<Instant>,
        in_flight: &Arc<InFlight>,
    ) -> Result<Self, Error> {
        let guard = InFlightGuard::new(in_flight).ok_or(Interrupt::Closed)?;
        Ok(Self {
            // A timeout that is too long for the clock means no limit.
            timeout_end: timeout.and_then(|timeout| in_flight.runtime().now().checked_add(timeout)),
            deadline,
            paused_since: None,
            sleep: None,
            guard,
        })
    }

    /// Stops the timeout until [`resume_timeout`](Self::resume_timeout). The deadline continues.
    pub(crate) fn pause_timeout(&mut self) {
        self.paused_since = Some(self.now());
    }

    pub(crate) fn resume_timeout(&mut self) {
        if let Some(since) = self.paused_since.take() {
            let paused = self.now().saturating_duration_since(since);
            self.timeout_end = self.timeout_end.and_then(|end| end.checked_add(paused));
        }
    }

    /// Returns when the exchange ends at the latest, and how.
    pub(crate) fn end(&self) -> Option<(Instant, Interrupt)> {
        let timeout = self.timeout_end.filter(|_| self.paused_since.is_none());
        let timeout = timeout.map(|at| (at, Interrupt::Timeout(Phase::Total)));
        let is_ignored = is_planted(Bug::DeadlineInQueue) && self.paused_since.is_some();
        let deadline = self.deadline.filter(|_| !is_ignored);
        let deadline = deadline.map(|at| (at, Interrupt::Deadline));
        timeout
            .into_iter()
            .chain(deadline)
            .min_by_key(|(at, _)| *at)
    }

    pub(crate) fn now(&self) -> Instant {
        self.guard.runtime().now()
    }

    /// Returns whether `at` is before the end of the exchange.
    pub(crate) fn is_before_end(&self, at: Instant) -> bool {
        self.end().is_none_or(|(end, _)| at < end)
    }

    /// Returns the limit for a phase that starts now.
    pub(crate) fn limit(&self, timeout: Option<Duration>, phase: Phase) -> PhaseLimit {
        let timeout = timeout?;
        Some((self.now().checked_add(timeout)?, phase))
    }

    /// Fails if the caller's deadline has passed.
    pub(crate) fn check_deadline(&self) -> Result<(), Interrupt> {
        match self.deadline {
            Some(deadline) if self.now() >= deadline => Err(Interrupt::Deadline),
            _ => Ok(()),
        }
    }

    /// Changes a client's timeout to the error of the deadline, if the client timed out at the deadline.
    pub(crate) fn attribute(&self, error: Error) -> Error {
        match self.end() {
            Some((_, Interrupt::Deadline)) if error.phase() == Some(Phase::Total) => {
                Error::from(Interrupt::Deadline).with_source(error)
            }
            _ => error,
        }
    }

    /// Returns whether the session is closed and its grace period is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.guard.is_closed()
    }

    /// Returns the interrupt if the exchange should have ended by now.
    pub(crate) fn overdue(&self) -> Option<Interrupt> {
        let (end, interrupt) = self.end()?;
        (self.now() >= end).then_some(interrupt)
    }

    /// Returns the output of `work`, or the interrupt if the interrupt comes first.
    pub(crate) async fn run_within<T>(
        &mut self,
        limit: PhaseLimit,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => self.poll(cx, limit).map(|interrupt| Err(interrupt.into())),
            ready => ready,
        })
        .await
    }

    /// Waits until `moment`, or fails with the interrupt if the interrupt comes first.
    pub(crate) async fn sleep_until(
        &mut self,
        moment: Instant,
        limit: PhaseLimit,
    ) -> Result<(), Error> {
        let slept = poll_fn(|cx| self.poll_until(cx, Some(moment), limit)).await;
        Ok(slept?)
    }

    /// Polls for the interrupt. Call this method only while the exchange waits.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, limit: PhaseLimit) -> Poll<Interrupt> {
        match self.poll_until(cx, None, limit) {
            Poll::Ready(Err(interrupt)) => Poll::Ready(interrupt),
            // `poll_until` returns `Ok` only if `moment` is `Some`.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Completes with `Ok` at `moment`, or with the interrupt if the interrupt comes first.
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        moment: Option<Instant>,
        limit: PhaseLimit,
    ) -> Poll<Result<(), Interrupt>> {
        if self.guard.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(Interrupt::Closed));
        }
        if self.guard.runtime().check_running().is_err() {
            return Poll::Ready(Err(Interrupt::NoRuntime));
        }
        let limit = limit.map(|(at, phase)| (at, Interrupt::Timeout(phase)));
        let end = self.end().into_iter().chain(limit);
        let (at, outcome) = match (end.min_by_key(|(at, _)| *at), moment) {
            (Some((end, _)), Some(moment)) if moment < end => (moment, Ok(())),
            (Some((end, interrupt)), _) => (end, Err(interrupt)),
            (None, Some(moment)) => (moment, Ok(())),
            (None, None) => return Poll::Pending,
        };
        self.poll_time(cx, at).map(|()| outcome)
    }

    /// Completes at the time `at`.
    fn poll_time(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        loop {
            if let Some((fires_at, sleep)) = &mut self.sleep
                && *fires_at <= at
            {
                ready!(sleep.get_mut().as_mut().poll(cx));
                let fired_at = *fires_at;
                self.sleep = None;
                if fired_at == at {
                    return Poll::Ready(());
                }
                // The timer was set for an earlier limit.
            }
            if self.guard.ensure_woken_before(at) {
                return Poll::Pending;
            }
            let left = at.saturating_duration_since(self.now());
            let sleep = SyncWrapper::new(self.guard.runtime().sleep(left));
            self.sleep = Some((at, sleep));
        }
    }
}
