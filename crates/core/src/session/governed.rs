//! What the session's policy holds an exchange to while it lasts.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use super::Session;
use super::caps::Seat;
use super::roll::Entry;
use crate::body::Body;
use crate::error::{Error, ErrorKind, Phase};
use crate::fetch::BoxFuture;
use crate::observe::Observed;

/// The moment at which a phase has taken too long.
pub(crate) type Limit = Option<(Instant, Phase)>;

/// What ends an exchange before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bell {
    /// The time of this phase is over.
    Over(Phase),
    /// The session was closed.
    Closed,
}

impl From<Bell> for Error {
    fn from(bell: Bell) -> Self {
        match bell {
            Bell::Over(phase) => Error::timeout(phase),
            Bell::Closed => Error::new(ErrorKind::Closed),
        }
    }
}

/// The one timer of an exchange, and its ear for the end of the session. An exchange that never
/// waits, or that is over before the session's next round, never pays for a timer of its own.
pub(crate) struct Alarm {
    pub(crate) deadline: Option<Instant>,
    // When it rings, and the runtime's timer.
    armed: Option<(Instant, SyncWrapper<BoxFuture<'static, ()>>)>,
    entry: Entry,
    session: Session,
}

impl Alarm {
    /// An alarm for an exchange that begins now, if the session takes it.
    pub(crate) fn start(timeout: Option<Duration>, session: Session) -> Result<Self, Error> {
        let entry = Entry::enter(&session.0.roll).ok_or(Bell::Closed)?;
        let runtime = &session.0.runtime;
        Ok(Self {
            // A time too far away to be represented is no limit.
            deadline: timeout.and_then(|timeout| runtime.now().checked_add(timeout)),
            armed: None,
            entry,
            session,
        })
    }

    /// The exchange is over.
    fn stop(&mut self) {
        self.armed = None;
        self.entry.leave(&self.session.0.roll);
    }

    pub(crate) fn now(&self) -> Instant {
        self.session.0.runtime.now()
    }

    /// When `phase`, which begins now, has taken longer than `timeout`.
    pub(crate) fn limit(&self, timeout: Option<Duration>, phase: Phase) -> Limit {
        let timeout = timeout?;
        Some((self.now().checked_add(timeout)?, phase))
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.now() >= deadline)
    }

    /// The output of `work`, unless the exchange's time is over first, or the phase's, or the
    /// session's.
    pub(crate) async fn bound<T>(
        &mut self,
        limit: Limit,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending => self.poll(cx, limit).map(|bell| Err(bell.into())),
            ready => ready,
        })
        .await
    }

    /// Lets the time pass until `moment`, unless the exchange's time is over first, or the
    /// phase's, or the session's.
    pub(crate) async fn sleep_until(&mut self, moment: Instant, limit: Limit) -> Result<(), Error> {
        let woken = poll_fn(|cx| self.poll_until(cx, Some(moment), limit)).await;
        Ok(woken?)
    }

    /// Whether it rings: while somebody waits, and only then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, limit: Limit) -> Poll<Bell> {
        match self.poll_until(cx, None, limit) {
            Poll::Ready(Err(bell)) => Poll::Ready(bell),
            // There is no moment to come.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Ready with `Ok` at `moment`, or when the alarm rings, whichever is first.
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        moment: Option<Instant>,
        limit: Limit,
    ) -> Poll<Result<(), Bell>> {
        if self.entry.poll_closed(&self.session.0.roll, cx).is_ready() {
            return Poll::Ready(Err(Bell::Closed));
        }
        let end = match (self.deadline, limit) {
            (Some(total), Some((at, _))) if at < total => limit,
            (Some(total), _) => Some((total, Phase::Total)),
            (None, limit) => limit,
        };
        let (at, outcome) = match (end, moment) {
            (Some((end, _)), Some(moment)) if moment < end => (moment, Ok(())),
            (Some((end, phase)), _) => (end, Err(Bell::Over(phase))),
            (None, Some(moment)) => (moment, Ok(())),
            (None, None) => return Poll::Pending,
        };
        self.poll_time(cx, at).map(|()| outcome)
    }

    /// Ready at this time.
    fn poll_time(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        loop {
            if let Some((rings, sleep)) = &mut self.armed
                && *rings <= at
            {
                ready!(sleep.get_mut().as_mut().poll(cx));
                let rang = *rings;
                self.armed = None;
                if rang == at {
                    return Poll::Ready(());
                }
                // It rang for a limit that has moved on since.
            }
            let session = &*self.session.0;
            if self.entry.is_called_by(at, &session.roll, &session.runtime) {
                return Poll::Pending;
            }
            let left = at.saturating_duration_since(self.now());
            let sleep = SyncWrapper::new(session.runtime.sleep(left));
            self.armed = Some((at, sleep));
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A response's body under the session's policy: within the exchange's time, and in flight
/// until it ends.
pub(crate) struct Governed {
    body: Body,
    alarm: Alarm,
    seat: Seat,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) observed: Option<Box<Observed>>,
    // When the next piece is late, while somebody waits for it.
    late: Limit,
    pieces: u32,
    over: bool,
}

impl Governed {
    pub(crate) fn new(body: Body, alarm: Alarm, mut seat: Seat) -> Self {
        seat.unread(&alarm);
        Self {
            body,
            alarm,
            seat,
            read_timeout: None,
            observed: None,
            late: None,
            pieces: 0,
            over: false,
        }
    }

    /// Asks the clock at every eighth piece: a clock costs more than handing a piece on.
    fn is_overdue(&mut self) -> bool {
        self.pieces = self.pieces.wrapping_add(1);
        self.pieces.is_multiple_of(8) && self.alarm.is_over()
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.end(Some(&error));
        Poll::Ready(Some(Err(error)))
    }

    fn end(&mut self, error: Option<&Error>) {
        self.over = true;
        if let Some(observed) = self.observed.take() {
            match error {
                Some(error) => observed.failed(error),
                None => observed.done(),
            }
        }
        self.body = Body::empty();
        self.seat = Seat::default();
        self.alarm.stop();
    }
}

impl http_body::Body for Governed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        this.seat.read();
        let frame = loop {
            let frame = Pin::new(&mut this.body).poll_frame(cx);
            match &frame {
                // Bytes have come, of which nothing could be made yet.
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                    this.late = None;
                }
                _ => break frame,
            }
        };
        match frame {
            // A peer that is never slow enough to wait for is held to the time as well.
            Poll::Ready(Some(Ok(_))) if this.is_overdue() => {
                this.fail(Error::timeout(Phase::Total))
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.late = None;
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
                if this.late.is_none() {
                    this.late = this.alarm.limit(this.read_timeout, Phase::Body);
                }
                let bell = ready!(this.alarm.poll(cx, this.late));
                this.fail(bell.into())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
