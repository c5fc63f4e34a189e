//! The body of a response, with the timeouts and the permits of its request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future;
use http::StatusCode;
use http_body::{Body as _, SizeHint};

use super::exchange::{DRAIN_TIMEOUT, MAX_DRAINED};
use super::limits::Permits;
use super::state::SessionState;
use super::timer::{ExchangeTimer, Interrupt, PhaseLimit};
use crate::error::{Error, Phase};
use crate::message::body::{Body, BodySource, PolledFrame};
use crate::observe::ObservedExchange;

/// The body of a response. It fails when a timeout passes, the session is closed, or the runtime ends.
/// The request stays in flight until the body ends.
pub(crate) struct LimitedBody {
    body: Body,
    /// The status of the response, for the observers.
    status: StatusCode,
    timer: ExchangeTimer,
    permits: Permits,
    read_timeout: Option<Duration>,
    /// When the attempt times out.
    attempt_end: Option<Instant>,
    observed: Option<Box<ObservedExchange>>,
    /// The time limit for the next chunk. Set while the reader waits for the chunk.
    chunk_limit: PhaseLimit,
    frames: u32,
    has_ended: bool,
    /// Keeps the client alive, because the client must outlive the bodies of its responses.
    session: Arc<SessionState>,
}

impl LimitedBody {
    /// Takes the body out of the response.
    pub(crate) fn new(
        response: &mut http::Response<Body>,
        session: Arc<SessionState>,
        timer: ExchangeTimer,
        mut permits: Permits,
        read_timeout: Option<Duration>,
        attempt_end: Option<Instant>,
        observed: Option<Box<ObservedExchange>>,
    ) -> Self {
        permits.mark_unread(timer.now());
        Self {
            body: std::mem::take(response.body_mut()),
            status: response.status(),
            timer,
            permits,
            read_timeout,
            attempt_end,
            observed,
            chunk_limit: None,
            frames: 0,
            has_ended: false,
            session,
        }
    }

    /// Returns the interrupt of a limit whose time is over, if there is one. Checks only every eighth frame,
    /// because reading the clock costs more than returning a frame.
    fn check_overdue(&mut self) -> Option<Interrupt> {
        self.frames = self.frames.wrapping_add(1);
        if !self.frames.is_multiple_of(8) {
            return None;
        }
        let is_attempt_over = || self.attempt_end.is_some_and(|end| self.timer.now() >= end);
        let overdue = self.timer.overdue();
        overdue.or_else(|| is_attempt_over().then_some(Interrupt::Timeout(Phase::Body)))
    }

    /// Returns the limit for a chunk whose wait starts now.
    fn next_chunk_limit(&self) -> PhaseLimit {
        let attempt = self.attempt_end.map(|at| (at, Phase::Body));
        let read = self.timer.limit(self.read_timeout, Phase::Body);
        read.into_iter().chain(attempt).min_by_key(|(at, _)| *at)
    }

    fn fail(&mut self, error: Error) -> PolledFrame {
        let error = self.session.explain(self.timer.attribute(error));
        self.end(Some(&error));
        Poll::Ready(Some(Err(error)))
    }

    fn end(&mut self, error: Option<&Error>) {
        self.has_ended = true;
        if let Some(observed) = self.observed.take() {
            match error {
                Some(error) => observed.report_failure(error),
                None => observed.report_done(self.status),
            }
        }
        self.body = Body::empty();
        self.permits = Permits::default();
        self.timer.stop();
    }
}

impl BodySource for LimitedBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        this.permits.mark_read();
        let frame = loop {
            let frame = Pin::new(&mut this.body).poll_frame(cx);
            match &frame {
                // Bytes arrived, so the read timeout starts again. The decoder needs more bytes.
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                    this.chunk_limit = None;
                }
                _ => break frame,
            }
        };
        match frame {
            // Without the check, a body whose chunks are always ready could exceed the deadline.
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(interrupt) = this.check_overdue() {
                    return this.fail(interrupt.into());
                }
                this.chunk_limit = None;
                if let (Some(observed), Some(data)) = (&mut this.observed, frame.data_ref()) {
                    observed.report_chunk(data.len());
                }
                if this.body.is_end_stream() {
                    this.end(None);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(error),
            Poll::Ready(None) => {
                this.end(None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if this.chunk_limit.is_none() {
                    this.chunk_limit = this.next_chunk_limit();
                }
                let interrupt = ready!(this.timer.poll(cx, this.chunk_limit));
                this.fail(interrupt.into())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    /// Reads the rest of the body in a task, so that the connection can be reused. If the rest is long
    /// or slow, drops the rest.
    fn discard(mut self: Pin<Box<Self>>, error: &Error) {
        if let Some(observed) = self.observed.take() {
            observed.report_failure(error);
        }
        let runtime = self.session.runtime.clone();
        let timeout = runtime.sleep(DRAIN_TIMEOUT);
        runtime.spawn(Box::pin(async move {
            let rest = Body::from_source(*Pin::into_inner(self)).collect(MAX_DRAINED);
            future::select(rest, timeout).await;
        }));
    }
}
