//! The body of a response, with the timeouts, the permits and the retries of its request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future;
use http_body::{Body as _, Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use super::body_retry::{Continuation, Failed, PlannedRetry, Received, Transfer};
use super::exchange::{DRAIN_TIMEOUT, MAX_DRAINED};
use super::state::SessionState;
use super::timer::{ExchangeTimer, Interrupt, PhaseLimit};
use crate::backend::fetch::BoxFuture;
use crate::bugs::{Bug, is_planted};
use crate::error::{Error, ErrorKind};
use crate::message::body::{Body, BodySource, PolledFrame, Restarts};
use crate::observe::ObservedExchange;

/// The body of a response. It fails when a timeout passes, the session is closed, or the runtime ends.
/// The request stays in flight until the body ends.
///
/// If the transfer fails and the request has retries left, the body continues with the response to a retry.
pub(crate) struct LimitedBody {
    state: State,
    read_timeout: Option<Duration>,
    /// The time limit for the next chunk. Set while the reader waits for the chunk.
    chunk_limit: PhaseLimit,
    frames: u32,
    received: Received,
    /// The bytes to skip, because the reader has received them from an earlier response.
    skipped: u64,
    has_restarted: bool,
    /// Keeps the client alive, because the client must outlive the bodies of its responses.
    session: Arc<SessionState>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all bodies are in this state, and a body is in a box already"
)]
enum State {
    Transferring(Transfer),
    Retrying(Retrying),
    Ended,
}

/// The retry of a request, until the head of its response.
type Retrying = SyncWrapper<BoxFuture<'static, Result<(Transfer, Continuation), Failed>>>;

impl LimitedBody {
    pub(super) fn new(
        mut transfer: Transfer,
        session: Arc<SessionState>,
        read_timeout: Option<Duration>,
    ) -> Self {
        transfer.permits.mark_unread(transfer.timer.now());
        Self {
            state: State::Transferring(transfer),
            read_timeout,
            chunk_limit: None,
            frames: 0,
            received: Received::default(),
            skipped: 0,
            has_restarted: false,
            session,
        }
    }

    /// Polls the transfer for a frame. An error may be followed by a retry.
    fn poll_transfer(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        let State::Transferring(transfer) = &mut self.state else {
            return Poll::Ready(None);
        };
        transfer.permits.mark_read();
        let frame = loop {
            let frame = Pin::new(&mut transfer.body).poll_frame(cx);
            match &frame {
                // Bytes arrived, so the read timeout starts again. The decoder needs more bytes.
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                    self.chunk_limit = None;
                }
                _ => break frame,
            }
        };
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                if transfer.timer.is_closed() {
                    return Poll::Ready(Some(Err(Interrupt::Closed.into())));
                }
                // Without the check, a body whose chunks are always ready could exceed the deadline.
                self.frames = self.frames.wrapping_add(1);
                // Checks only every eighth frame, because reading the clock costs more than returning a frame.
                if self.frames.is_multiple_of(8)
                    && let Some(interrupt) = transfer.overdue()
                {
                    return Poll::Ready(Some(Err(interrupt.into())));
                }
                self.chunk_limit = None;
                if let (Some(observed), Some(data)) = (&mut transfer.observed, frame.data_ref()) {
                    observed.report_chunk(data.len());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error)))
                if is_planted(Bug::TruncatedBody) && error.kind() == ErrorKind::Incomplete =>
            {
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(transfer.timer.attribute(error))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if self.chunk_limit.is_none() {
                    self.chunk_limit = transfer.chunk_limit(self.read_timeout);
                }
                let interrupt = ready!(transfer.timer.poll(cx, self.chunk_limit));
                Poll::Ready(Some(Err(interrupt.into())))
            }
        }
    }

    /// Counts the bytes of a frame, without those that the reader already has. Returns `None` if nothing is
    /// left.
    fn receive(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let Some(data) = frame.data_ref() else {
            return Some(frame);
        };
        let len = data.len() as u64;
        if self.skipped == 0 {
            self.received.bytes += len;
            return Some(frame);
        }
        let skipped = self.skipped.min(len);
        self.skipped -= skipped;
        let mut data = frame.into_data().ok()?;
        data.advance(usize::try_from(skipped).unwrap_or(data.len()));
        self.received.bytes += data.len() as u64;
        (!data.is_empty()).then(|| Frame::data(data))
    }

    /// Starts a retry after an error of the transfer, or ends the body with the error.
    fn retry_or_fail(&mut self, error: Error) -> Result<(), Error> {
        let State::Transferring(mut transfer) = std::mem::replace(&mut self.state, State::Ended)
        else {
            return Err(error);
        };
        let Some(retry) = transfer.retry.take() else {
            return Err(self.fail(error, transfer.observed));
        };
        let Transfer {
            timer, observed, ..
        } = transfer;
        let planned = retry.plan(
            error,
            self.received,
            &self.session,
            &timer,
            observed.as_deref(),
        );
        match planned {
            Ok(planned) => {
                self.chunk_limit = None;
                self.skipped = 0;
                self.state = State::Retrying(start(planned, &self.session, timer, observed));
                Ok(())
            }
            Err(error) => Err(self.fail(error, observed)),
        }
    }

    /// Ends the body with an error.
    fn fail(&mut self, error: Error, observed: Option<Box<ObservedExchange>>) -> Error {
        self.state = State::Ended;
        let error = self.session.explain(error);
        if let Some(observed) = observed {
            observed.report_failure(&error);
        }
        error
    }

    /// Ends the body after its last frame. Bytes may be missing: a part may end before the whole body does (RFC
    /// 9110, 15.3.7).
    fn end(&mut self) -> Result<(), Error> {
        if !self.has_all_bytes() {
            return self.retry_or_fail(Error::new(ErrorKind::Incomplete));
        }
        self.finish();
        Ok(())
    }

    fn has_too_many_bytes(&self) -> bool {
        let last = match &self.state {
            State::Transferring(transfer) => transfer.end,
            _ => None,
        };
        last.is_some_and(|last| self.received.bytes > last)
    }

    fn fail_too_long(&mut self) -> Error {
        let State::Transferring(transfer) = std::mem::replace(&mut self.state, State::Ended) else {
            return Error::new(ErrorKind::Protocol);
        };
        let error = Error::new(ErrorKind::Protocol)
            .with_context("the body is longer than the server declared");
        self.fail(error, transfer.observed)
    }

    fn has_all_bytes(&self) -> bool {
        let total = match &self.state {
            State::Transferring(transfer) => {
                transfer.retry.as_ref().and_then(|retry| retry.total())
            }
            _ => None,
        };
        self.skipped == 0 && total.is_none_or(|total| self.received.bytes >= total)
    }

    /// Returns whether the body is known to have no more frames.
    fn is_over(&self) -> bool {
        match &self.state {
            State::Transferring(transfer) => transfer.body.is_end_stream() && self.has_all_bytes(),
            State::Retrying(_) => false,
            State::Ended => true,
        }
    }

    fn finish(&mut self) {
        if let State::Transferring(transfer) = &mut self.state
            && let Some(observed) = transfer.observed.take()
        {
            observed.report_done(transfer.status);
        }
        self.state = State::Ended;
    }

    /// Continues with the response to a retry.
    fn continue_with(&mut self, transfer: Transfer, continuation: Continuation) {
        match continuation {
            Continuation::Continue => {}
            Continuation::Repeat => self.skipped = self.received.bytes,
            Continuation::Restart => {
                self.received.bytes = 0;
                self.has_restarted = true;
            }
        }
        self.state = State::Transferring(transfer);
    }
}

fn start(
    planned: PlannedRetry,
    session: &Arc<SessionState>,
    timer: ExchangeTimer,
    observed: Option<Box<ObservedExchange>>,
) -> Retrying {
    let session = session.clone();
    SyncWrapper::new(Box::pin(planned.run(session, timer, observed)))
}

impl BodySource for LimitedBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Ended => return Poll::Ready(None),
                State::Retrying(retrying) => match ready!(retrying.get_mut().as_mut().poll(cx)) {
                    Ok((transfer, continuation)) => {
                        this.continue_with(transfer, continuation);
                        if this.has_restarted {
                            return Poll::Ready(Some(Ok(Frame::data(Bytes::new()))));
                        }
                    }
                    Err(Failed { error, observed }) => {
                        return Poll::Ready(Some(Err(this.fail(error, observed))));
                    }
                },
                State::Transferring(_) => match ready!(this.poll_transfer(cx)) {
                    Some(Ok(frame)) => {
                        let Some(frame) = this.receive(frame) else {
                            continue;
                        };
                        if this.has_too_many_bytes() {
                            return Poll::Ready(Some(Err(this.fail_too_long())));
                        }
                        if this.is_over() {
                            this.finish();
                        }
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    Some(Err(error)) => this.retry_or_fail(error)?,
                    None => this.end()?,
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Transferring(transfer) if self.skipped == 0 => transfer.body.size_hint(),
            State::Transferring(_) | State::Retrying(_) => SizeHint::new(),
            State::Ended => SizeHint::with_exact(0),
        }
    }

    fn set_restarts(mut self: Pin<&mut Self>, restarts: Restarts) {
        let is_unread = self.received.bytes == 0;
        self.received.may_discard = match restarts {
            Restarts::Forbidden => false,
            Restarts::IfUnread => is_unread,
            Restarts::Allowed => is_unread || self.received.may_discard,
        };
    }

    fn has_restarted(mut self: Pin<&mut Self>) -> bool {
        std::mem::take(&mut self.has_restarted)
    }

    /// Reads the rest of the body in a task, so that the connection can be reused. If the rest is long
    /// or slow, drops the rest.
    fn discard(mut self: Pin<Box<Self>>, error: &Error) {
        let runtime = self.session.runtime.clone();
        let State::Transferring(transfer) = &mut self.state else {
            return;
        };
        transfer.retry = None;
        if let Some(observed) = transfer.observed.take() {
            observed.report_failure(error);
        }
        let timeout = runtime.sleep(DRAIN_TIMEOUT);
        runtime.spawn(Box::pin(async move {
            let rest = Body::from_source(*Pin::into_inner(self)).collect(MAX_DRAINED);
            future::select(rest, timeout).await;
        }));
    }
}
