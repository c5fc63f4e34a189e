//! hyper's body as ours.

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
