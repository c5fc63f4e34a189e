//! Conversions between inflight's bodies and surf's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::io::AsyncBufRead;
use futures_util::stream::{self, TryStreamExt};
use http_body::{Frame, SizeHint};
use inflight_core::bytes::Bytes;
use inflight_core::{Body, Error, ErrorKind};

/// Converts a request's body. A body of unknown length is sent in chunks.
///
/// A body that is shorter than its length is an error. http-types would accept the early end, and the server
/// would read the missing bytes from the next request on the connection.
pub(crate) fn to_surf(body: Body, len: Option<usize>) -> surf::Body {
    let mut left = len.unwrap_or(0);
    let mut chunks = body.into_stream();
    let checked = stream::poll_fn(move |cx| {
        let chunk = ready!(chunks.try_poll_next_unpin(cx));
        match &chunk {
            Some(Ok(chunk)) => left = left.saturating_sub(chunk.len()),
            None if left > 0 => return Poll::Ready(Some(Err(too_short_error()))),
            _ => {}
        }
        Poll::Ready(chunk)
    });
    surf::Body::from_reader(checked.map_err(io::Error::from).into_async_read(), len)
}

fn too_short_error() -> Error {
    Error::new(ErrorKind::Io).with_context("the request's body is shorter than its length")
}

/// Converts a response's body. The body ends at its length, with its last chunk or with the connection.
pub(crate) fn from_surf(body: surf::Body) -> Body {
    match body.len() {
        Some(0) => Body::empty(),
        // This length means that the body ends with the connection.
        Some(usize::MAX) | None => Body::wrap(ResponseBody {
            reader: Some(body.into_reader()),
            left: None,
        }),
        Some(len) => Body::wrap(ResponseBody {
            reader: Some(body.into_reader()),
            left: Some(len as u64),
        }),
    }
}

struct ResponseBody {
    // `None` after the end of the body. Dropping the reader closes the connection, unless the connection is
    // back in the pool.
    reader: Option<Box<dyn AsyncBufRead + Unpin + Send + Sync>>,
    left: Option<u64>,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(reader) = &mut self.reader else {
            return Poll::Ready(None);
        };
        let chunk = match ready!(Pin::new(&mut *reader).poll_fill_buf(cx)) {
            Ok(chunk) => Bytes::copy_from_slice(chunk),
            Err(error) => {
                self.reader = None;
                return Poll::Ready(Some(Err(Error::from_read(error))));
            }
        };
        Pin::new(reader).consume(chunk.len());
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(chunk.len() as u64);
        }
        if chunk.is_empty() || self.left == Some(0) {
            self.reader = None;
        }
        if chunk.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.reader, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}
