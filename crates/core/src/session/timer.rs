//! The timeouts of an exchange.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use sync_wrapper::SyncWrapper;

use super::in_flight::{InFlight, InFlightGuard};
use crate::backend::fetch::BoxFuture;
use crate::error::{Error, ErrorKind, Phase};

/// When a phase times out, and which phase. `None` means no limit.
pub(crate) type PhaseLimit = Option<(Instant, Phase)>;

/// The reason why an exchange ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// This phase timed out.
    Timeout(Phase),
    /// The session was closed.
    Closed,
    /// The runtime has ended.
    NoRuntime,
}

impl From<Interrupt> for Error {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Timeout(phase) => Error::timeout(phase),
            Interrupt::Closed => Error::new(ErrorKind::Closed),
            Interrupt::NoRuntime => Error::new(ErrorKind::NoRuntime),
        }
    }
}

/// A timer that interrupts an exchange at its deadline, at a phase's limit, when the session
/// closes, or when the runtime ends.
///
/// All exchanges of a session share a coarse timer. An exchange sets a timer of its own only if it
/// waits and the coarse timer would fire too late.
pub(crate) struct ExchangeTimer {
    /// When the whole exchange times out.
    pub(crate) deadline: Option<Instant>,
    /// When the exchange's own timer fires, and the timer.
    sleep: Option<(Instant, SyncWrapper<BoxFuture<'static, ()>>)>,
    guard: InFlightGuard,
}

impl ExchangeTimer {
    /// Returns a timer for an exchange that starts now. Fails if the session is closed.
    pub(crate) fn start(
        timeout: Option<Duration>,
        in_flight: &Arc<InFlight>,
    ) -> Result<Self, Error> {
        let guard = InFlightGuard::new(in_flight).ok_or(Interrupt::Closed)?;
        Ok(Self {
            // A timeout that is too long for the clock means no deadline.
            deadline: timeout.and_then(|timeout| in_flight.runtime().now().checked_add(timeout)),
            sleep: None,
            guard,
        })
    }

    /// Drops the timer and removes the exchange from the registry of requests in flight.
    pub(crate) fn stop(&mut self) {
        self.sleep = None;
        self.guard.end();
    }

    pub(crate) fn now(&self) -> Instant {
        self.guard.runtime().now()
    }

    /// Returns whether `at` is before the deadline of the exchange.
    pub(crate) fn is_before_deadline(&self, at: Instant) -> bool {
        self.deadline.is_none_or(|deadline| at < deadline)
    }

    /// Returns the limit for a phase that starts now.
    pub(crate) fn limit(&self, timeout: Option<Duration>, phase: Phase) -> PhaseLimit {
        let timeout = timeout?;
        Some((self.now().checked_add(timeout)?, phase))
    }

    pub(crate) fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.now() >= deadline)
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
        let end = match (self.deadline, limit) {
            (Some(total), Some((at, _))) if at < total => limit,
            (Some(total), _) => Some((total, Phase::Total)),
            (None, limit) => limit,
        };
        let (at, outcome) = match (end, moment) {
            (Some((end, _)), Some(moment)) if moment < end => (moment, Ok(())),
            (Some((end, phase)), _) => (end, Err(Interrupt::Timeout(phase))),
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
