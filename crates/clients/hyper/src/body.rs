//! Bodies: ours as hyper's, hyper's as ours.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use inflight_core::{Body, Error, ErrorKind};
use tokio::sync::OwnedSemaphorePermit;

use crate::error;
use crate::http2::Connection;

/// A body that comes on a connection with a task of its own.
pub(crate) struct Spawned(Incoming);

impl Spawned {
    pub(crate) fn body(incoming: Incoming) -> Body {
        match http_body::Body::is_end_stream(&incoming) {
            true => Body::empty(),
            false => Body::wrap(Self(incoming)),
        }
    }
}

/// The same over HTTP/2, where the body is a use of the connection and a stream of it.
pub(crate) struct Shared {
    body: Spawned,
    _held: Held,
}

/// What a request over HTTP/2 holds until its response is read.
#[allow(dead_code, reason = "held until it is dropped")]
pub(crate) struct Held {
    pub(crate) stream: OwnedSemaphorePermit,
    pub(crate) connection: Connection,
}

impl Shared {
    pub(crate) fn body(incoming: Incoming, held: Held) -> Body {
        match http_body::Body::is_end_stream(&incoming) {
            true => Body::empty(),
            false => Body::wrap(Self {
                body: Spawned(incoming),
                _held: held,
            }),
        }
    }
}

impl http_body::Body for Spawned {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(error::map)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() && !self.body.is_end_stream() {
            // RST_STREAM with NO_ERROR: hyper passes it on as the end of the body.
            let error = Error::new(ErrorKind::Incomplete);
            let error =
                error.with_context("the server reset the stream before the end of the body");
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body to be sent. hyper moves a request some twenty times before it is written: without a
/// body, which is most of them, a pointer is all that it moves for it.
pub(crate) struct Upload(Option<Box<Sent>>);

struct Sent {
    body: Body,
    progress: Arc<Progress>,
}

/// How far hyper is with an upload.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    is_over: AtomicBool,
    is_stopped: AtomicBool,
}

impl Progress {
    /// Whether hyper has taken all of the body, or wants no more of it.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Gives hyper nothing more.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Upload {
    pub(crate) fn new(body: Body) -> Self {
        let is_empty = http_body::Body::is_end_stream(&body);
        Self((!is_empty).then(|| {
            Box::new(Sent {
                body,
                progress: Arc::default(),
            })
        }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// `None` without a body.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        self.0.as_ref().map(|sent| sent.progress.clone())
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.progress.end();
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(sent) = &mut self.0 else {
            return Poll::Ready(None);
        };
        if sent.progress.is_stopped.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut sent.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|sent| sent.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.as_ref().map(|sent| &sent.body);
        body.map_or(SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}
