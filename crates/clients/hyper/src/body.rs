//! Conversions between inflight's bodies and hyper's.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use inflight_core::{Body, Error};

use crate::error;

/// The body of a response whose connection a task drives.
pub(crate) struct TaskBody(pub(crate) Incoming);

impl TaskBody {
    pub(crate) fn body(incoming: Incoming) -> Body {
        match http_body::Body::is_end_stream(&incoming) {
            true => Body::empty(),
            false => Body::wrap(Self(incoming)),
        }
    }
}

impl http_body::Body for TaskBody {
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

/// The body of a request. hyper moves a request about twenty times before it writes it, so the body is in a
/// box. A request without a body needs no allocation.
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
        let is_empty = http_body::Body::is_end_stream(&body);
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

    /// Returns `None` if there is no body.
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
