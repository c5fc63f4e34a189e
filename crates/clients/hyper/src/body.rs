//! hyper's body as ours, and ours as hyper's.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use inflight_core::{Body, Error};

use crate::error;

pub(crate) fn received(body: Incoming) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return Body::empty();
    }
    Body::wrap(Received(body))
}

struct Received(Incoming);

impl http_body::Body for Received {
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

/// A body to be sent. hyper moves a request some twenty times before it is written: without a
/// body, which is most of them, a pointer is all that it moves for it.
pub(crate) struct Sent(Option<Box<Body>>);

impl Sent {
    pub(crate) fn new(body: Body) -> Self {
        let is_empty = http_body::Body::is_end_stream(&body);
        Self((!is_empty).then(|| Box::new(body)))
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(&mut **body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.as_ref();
        body.map_or(SizeHint::with_exact(0), |body| {
            http_body::Body::size_hint(&**body)
        })
    }
}
