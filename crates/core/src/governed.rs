//! What the session's policy holds an exchange to while it lasts.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_lock::SemaphoreGuardArc;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use crate::body::Body;
use crate::error::{Error, Phase};
use crate::fetch::BoxFuture;
use crate::runtime::Runtime;

/// The one timer of an exchange. It starts its runtime's timer at its first poll: an exchange
/// that never waits never pays for it.
pub(crate) struct Alarm {
    pub(crate) deadline: Option<Instant>,
    sleep: Option<SyncWrapper<BoxFuture<'static, ()>>>,
    runtime: Arc<dyn Runtime>,
}

impl Alarm {
    pub(crate) fn new(timeout: Option<Duration>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            // A time too far away to be represented is no limit.
            deadline: timeout.and_then(|timeout| runtime.now().checked_add(timeout)),
            sleep: None,
            runtime,
        }
    }

    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| self.runtime.now() >= deadline)
    }

    /// The output of `work`, unless the time is over first.
    pub(crate) async fn bound<F: Future>(&mut self, work: F) -> Result<F::Output, Error> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll(cx).map(|()| Err(Error::timeout(Phase::Total))),
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let runtime = &self.runtime;
        let sleep = self.sleep.get_or_insert_with(|| {
            let left = deadline.saturating_duration_since(runtime.now());
            SyncWrapper::new(runtime.sleep(left))
        });
        sleep.get_mut().as_mut().poll(cx)
    }
}

/// A response's body under the session's policy: within the exchange's time, and in flight
/// until it ends.
pub(crate) struct Governed {
    body: Body,
    alarm: Alarm,
    permit: Option<SemaphoreGuardArc>,
    pieces: u32,
    over: bool,
}

impl Governed {
    pub(crate) fn new(body: Body, alarm: Alarm, permit: Option<SemaphoreGuardArc>) -> Self {
        Self {
            body,
            alarm,
            permit,
            pieces: 0,
            over: false,
        }
    }

    /// Asks the clock at every eighth piece: a clock costs more than handing a piece on.
    fn is_overdue(&mut self) -> bool {
        self.pieces = self.pieces.wrapping_add(1);
        self.pieces.is_multiple_of(8) && self.alarm.is_over()
    }

    fn end(&mut self) {
        self.over = true;
        self.body = Body::empty();
        self.permit = None;
        self.alarm.sleep = None;
    }
}

impl http_body::Body for Governed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            // A peer that is never slow enough to wait for is held to the time as well.
            Poll::Ready(Some(Ok(_))) if self.is_overdue() => {
                self.end();
                Poll::Ready(Some(Err(Error::timeout(Phase::Total))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if http_body::Body::is_end_stream(&self.body) {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                self.end();
                Poll::Ready(end)
            }
            Poll::Pending => {
                ready!(self.alarm.poll(cx));
                self.end();
                Poll::Ready(Some(Err(Error::timeout(Phase::Total))))
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
