//! The body of a response, within the limits of the session.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::limits::Permits;
use super::state::SessionState;
use super::timer::{ExchangeTimer, PhaseLimit};
use crate::error::{Error, Phase};
use crate::message::body::Body;
use crate::observe::ObservedExchange;

/// The body of a response. It fails when a limit of the session is exceeded, and keeps the request in
/// flight until it ends.
pub(crate) struct LimitedBody {
    body: Body,
    timer: ExchangeTimer,
    permits: Permits,
    read_timeout: Option<Duration>,
    observed: Option<Box<ObservedExchange>>,
    /// When the next chunk is overdue. Set while the reader waits for it.
    chunk_limit: PhaseLimit,
    frames: u32,
    has_ended: bool,
    /// The client must outlive the bodies of its responses.
    _session: Arc<SessionState>,
}

impl LimitedBody {
    pub(crate) fn new(
        body: Body,
        session: Arc<SessionState>,
        timer: ExchangeTimer,
        mut permits: Permits,
        observed: Option<Box<ObservedExchange>>,
    ) -> Self {
        permits.mark_unread(timer.now());
        Self {
            body,
            timer,
            permits,
            read_timeout: session.read_timeout,
            observed,
            chunk_limit: None,
            frames: 0,
            has_ended: false,
            _session: session,
        }
    }

    /// Checks the deadline at every eighth frame, because reading the clock costs more than
    /// returning a frame.
    fn is_overdue(&mut self) -> bool {
        self.frames = self.frames.wrapping_add(1);
        self.frames.is_multiple_of(8) && self.timer.is_over()
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.end(Some(&error));
        Poll::Ready(Some(Err(error)))
    }

    fn end(&mut self, error: Option<&Error>) {
        self.has_ended = true;
        if let Some(observed) = self.observed.take() {
            match error {
                Some(error) => observed.failed(error),
                None => observed.done(),
            }
        }
        self.body = Body::empty();
        self.permits = Permits::default();
        self.timer.stop();
    }
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        this.permits.mark_read();
        let frame = loop {
            let frame = Pin::new(&mut this.body).poll_frame(cx);
            match &frame {
                // Bytes arrived, but the decoder needs more.
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                    this.chunk_limit = None;
                }
                _ => break frame,
            }
        };
        match frame {
            // Without this check, a server that always sends in time would outlast the deadline.
            Poll::Ready(Some(Ok(_))) if this.is_overdue() => {
                this.fail(Error::timeout(Phase::Total))
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.chunk_limit = None;
                if let (Some(observed), Some(data)) = (&mut this.observed, frame.data_ref()) {
                    observed.chunk(data.len());
                }
                if http_body::Body::is_end_stream(&this.body) {
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
                    this.chunk_limit = this.timer.limit(this.read_timeout, Phase::Body);
                }
                let interrupt = ready!(this.timer.poll(cx, this.chunk_limit));
                this.fail(interrupt.into())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
