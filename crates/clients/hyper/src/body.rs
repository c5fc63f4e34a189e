//! Conversions between inflight's bodies and hyper's.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http_body::{Body as _, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use inflight_core::{Body, Error, ErrorKind};

use crate::error;

/// The body of a response on a connection that a task drives. Dropping the body also drops the guard, for
/// example the permit of an HTTP/2 stream.
pub(crate) struct TaskBody<G> {
    incoming: Incoming,
    _guard: G,
}

impl<G: Send + Sync + Unpin + 'static> TaskBody<G> {
    pub(crate) fn wrap(incoming: Incoming, guard: G) -> Body {
        match incoming.is_end_stream() {
            true => Body::empty(),
            false => Body::wrap(Self {
                incoming,
                _guard: guard,
            }),
        }
    }
}

impl<G: Unpin> http_body::Body for TaskBody<G> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if frame.is_none() && !self.incoming.is_end_stream() {
            // hyper reports RST_STREAM with NO_ERROR as the end of the body.
            let error = Error::new(ErrorKind::Incomplete);
            let error =
                error.with_context("the server reset the stream before the end of the body");
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(error::from_hyper)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The body of a request. hyper moves a request about twenty times before it writes the request, so the body
/// is boxed. A request without a body needs no allocation.
pub(crate) struct Upload(Option<Box<UploadState>>);

struct UploadState {
    body: Body,
    progress: Arc<UploadProgress>,
}

/// The state of an upload, shared by hyper and the exchange.
#[derive(Debug, Default)]
pub(crate) struct UploadProgress {
    is_over: AtomicBool,
    is_stopped: AtomicBool,
}

impl UploadProgress {
    /// Returns `true` if hyper has read the whole body or dropped it.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Stops the upload.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Upload {
    pub(crate) fn new(body: Body) -> Self {
        let is_empty = body.is_end_stream();
        Self((!is_empty).then(|| {
            Box::new(UploadState {
                body,
                progress: Arc::default(),
            })
        }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the state of the upload, or `None` if there is no body.
    pub(crate) fn progress(&self) -> Option<Arc<UploadProgress>> {
        self.0.as_ref().map(|upload| upload.progress.clone())
    }
}

impl Drop for UploadState {
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
        let Some(upload) = &mut self.0 else {
            return Poll::Ready(None);
        };
        if upload.progress.is_stopped.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut upload.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|upload| upload.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.as_ref().map(|upload| &upload.body);
        body.map_or(SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}
