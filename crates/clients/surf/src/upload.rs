//! Writes a request: the head, and the body that async-h1 encodes.

use std::fmt::Write;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_h1::client::Encoder;
use futures_lite::io::AsyncRead;
use http::header::HOST;
use inflight_core::bytes::{Buf, BytesMut};
use inflight_net::Stream;
use sync_wrapper::SyncWrapper;
use tokio::io::AsyncWrite;

/// The number of bytes of a body that are encoded at once.
const CHUNK: usize = 8 * 1024;

/// Encodes a request and writes it.
pub(crate) struct Upload {
    /// Bytes that are encoded and not yet written.
    encoded: BytesMut,
    /// `None` once the whole body is encoded.
    body: Option<SyncWrapper<Encoder>>,
    /// Whether the encoder's next output begins with async-h1's head, which is dropped.
    is_in_head: bool,
}

impl Upload {
    /// Returns an upload of this head and the body of surf's request.
    pub(crate) fn new(head: &http::Request<()>, request: http_client::Request) -> Self {
        let has_body = request.is_empty() != Some(true);
        Self {
            encoded: encode(head),
            body: has_body.then(|| SyncWrapper::new(Encoder::new(request))),
            is_in_head: true,
        }
    }

    /// Writes the request. Ready when the whole request is written.
    pub(crate) fn poll(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            // Encodes before it writes, so that a small body is written together with the head.
            let is_encoded = match self.encoded.len() {
                ..CHUNK => self.poll_encode(cx)?.is_ready(),
                _ => false,
            };
            if self.encoded.is_empty() {
                // TLS may buffer bytes that the socket did not accept. Flushes them, because the caller
                // might not produce the rest of the body until the server has received these bytes.
                ready!(Pin::new(stream).poll_flush(cx))?;
                return match is_encoded {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                };
            }
            let n = ready!(Pin::new(&mut *stream).poll_write(cx, &self.encoded))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.encoded.advance(n);
        }
    }

    /// Encodes the body. Ready when the whole body or at least [`CHUNK`] bytes are encoded.
    fn poll_encode(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(body) = &mut self.body
            && self.encoded.len() < CHUNK
        {
            let mut chunk = [0; CHUNK];
            let n = ready!(Pin::new(body.get_mut()).poll_read(cx, &mut chunk))?;
            if n == 0 {
                self.body = None;
            }
            let mut chunk = &chunk[..n];
            if mem::take(&mut self.is_in_head) {
                let end = chunk.windows(4).position(|end| end == b"\r\n\r\n");
                let end = end.ok_or_else(|| io::Error::other("async-h1 encoded no head"))?;
                chunk = &chunk[end + 4..];
            }
            self.encoded.extend_from_slice(chunk);
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns the bytes of the head. `Host` comes first (RFC 9112, section 3.2).
fn encode(head: &http::Request<()>) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(256);
    bytes.extend_from_slice(head.method().as_str().as_bytes());
    // Does not fail: a `BytesMut` grows.
    let _ = write!(bytes, " {} HTTP/1.1\r\n", head.uri());
    let hosts = head.headers().iter().filter(|(name, _)| *name == HOST);
    let others = head.headers().iter().filter(|(name, _)| *name != HOST);
    for (name, value) in hosts.chain(others) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn the_encoded_head_starts_with_host_and_keeps_values_unchanged() {
        let mut head = Request::builder()
            .method("get")
            .uri("/p?q")
            .header("a", "1")
            .header("host", "a.test")
            .header("a", "2")
            .body(())
            .unwrap();
        let value = HeaderValue::from_bytes(b"\xff").unwrap();
        head.headers_mut().insert("b", value);
        let expected = b"get /p?q HTTP/1.1\r\nhost: a.test\r\na: 1\r\na: 2\r\nb: \xff\r\n\r\n";
        assert_eq!(encode(&head), expected[..]);
    }
}
