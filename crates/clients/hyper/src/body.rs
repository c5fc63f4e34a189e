//! Conversions between inflight's bodies and hyper's.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http_body::{Body as _, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use inflight_core::{Body, Error, ErrorKind};

use crate::error;

/// The body of a response on a connection that a task drives.
pub(crate) struct TaskBody<G> {
    incoming: Incoming,
    /// Over HTTP/2, the permit of the stream. Dropping the body drops it.
    stream: Option<G>,
}

impl TaskBody<Infallible> {
    /// Wraps a body of HTTP/1.
    pub(crate) fn http1(incoming: Incoming) -> Body {
        Self {
            incoming,
            stream: None,
        }
        .wrap()
    }
}

impl<G: Send + Sync + Unpin + 'static> TaskBody<G> {
    /// Wraps the body of a stream of HTTP/2.
    pub(crate) fn http2(incoming: Incoming, stream: G) -> Body {
        Self {
            incoming,
            stream: Some(stream),
        }
        .wrap()
    }

    fn wrap(self) -> Body {
        match self.incoming.is_end_stream() {
            true => Body::empty(),
            false => Body::wrap(self),
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
        // hyper reports RST_STREAM with NO_ERROR as the end of the body. Over HTTP/1, a body in chunks is at its end
        // although `is_end_stream` is false.
        if frame.is_none() && self.stream.is_some() && !self.incoming.is_end_stream() {
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
