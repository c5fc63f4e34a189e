//! Conversion of isahc's responses to inflight's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::io::AsyncRead;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Version};
use http_body::{Frame, SizeHint};
use inflight_core::bytes::Bytes;
use inflight_core::{Body, Error, ErrorKind, Framing};
use isahc::AsyncBody;

use crate::error;

/// Converts isahc's response to inflight's. `method` is the method of the request.
pub(crate) fn convert(
    method: &Method,
    response: http::Response<AsyncBody>,
) -> Result<http::Response<Body>, Error> {
    // Refuses a `Content-Length` that does not fit in a `u64`, which libcurl accepts. Like libcurl, `Framing`
    // expects no body after a 204 or a 304.
    let framing = Framing::of_response(&response, *method == Method::HEAD)?;
    let (head, body) = response.into_parts();
    let left = match framing {
        Framing::NoBody => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    };
    let body = match left {
        Some(0) => Body::empty(),
        _ => Body::wrap(ResponseBody {
            body,
            buffer: vec![0; left.unwrap_or(BUFFER).min(BUFFER) as usize],
            left,
            rejects_empty: left.is_none() && has_unannounced_end(head.version, &head.headers),
        }),
    };
    // Drops isahc's extensions, which hold the request's body.
    let mut converted = http::Response::new(body);
    *converted.status_mut() = head.status;
    *converted.version_mut() = head.version;
    *converted.headers_mut() = head.headers;
    Ok(converted)
}

/// Returns `true` if an HTTP/1.1 response without a length ends with the connection, but has no `Connection`
/// header. A server should announce this end with `Connection: close` (RFC 9112, section 9.6). Without the header,
/// the head itself may be incomplete.
///
/// The function accepts any value of the `Connection` header. It cannot detect that a head was cut off after
/// this header.
fn has_unannounced_end(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && !headers.contains_key(TRANSFER_ENCODING)
        && !headers.contains_key(CONNECTION)
}

/// The size of libcurl's buffer, in bytes.
const BUFFER: u64 = 16 * 1024;

struct ResponseBody {
    body: AsyncBody,
    left: Option<u64>,
    buffer: Vec<u8>,
    /// Whether it is an error if the body ends before its first byte. If the connection closes inside the
    /// head, libcurl treats the head as complete and discards a `Content-Length` that it has already read.
    rejects_empty: bool,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let result = match ready!(Pin::new(&mut this.body).poll_read(cx, &mut this.buffer)) {
            Ok(0) if this.rejects_empty || this.left.is_some_and(|left| left > 0) => {
                Err(Error::new(ErrorKind::Incomplete))
            }
            Ok(0) => return Poll::Ready(None),
            Ok(n) => Ok(Frame::data(Bytes::copy_from_slice(&this.buffer[..n]))),
            Err(error) => Err(error::from_body_read(error)),
        };
        this.rejects_empty = false;
        match &result {
            Ok(frame) => {
                let n = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.left = this.left.map(|left| left.saturating_sub(n));
            }
            Err(_) => {
                this.left = Some(0);
                this.body = AsyncBody::empty();
            }
        }
        Poll::Ready(Some(result))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
