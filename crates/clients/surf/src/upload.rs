//! The request as it is written: async-h1's bytes, with its head as we want it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_h1::client::Encoder;
use futures_lite::io::AsyncRead;
use http_client::Request;
use http_client::http_types::Method;
use inflight_core::Proxy;
use inflight_core::bytes::{Buf, BytesMut};
use inflight_net::Stream;
use sync_wrapper::SyncWrapper;
use tokio::io::AsyncWrite;

/// How much of a body is encoded at once, and how much of a head: the buffer is cleared each time.
const CHUNK: usize = 8 * 1024;
const HEAD_CHUNK: usize = 512;

/// Encodes a request and writes it.
pub(crate) struct Upload {
    encoder: SyncWrapper<Encoder>,
    /// The head is not encoded yet.
    head: Option<Head>,
    is_encoded: bool,
    encoded: BytesMut,
}

/// What async-h1's head is changed to.
struct Head {
    /// async-h1 announces an empty body where no body is expected (RFC 9110, section 8.6).
    has_length: bool,
    /// For a proxy, the target is the whole URL (RFC 9112, section 3.2.2).
    origin: Option<String>,
}

impl Upload {
    /// Through `proxy`, if that reads the request.
    pub(crate) fn new(mut request: Request, proxy: Option<&Proxy>) -> Self {
        let announced = matches!(request.method(), Method::Post | Method::Put | Method::Patch);
        let url = request.url();
        let origin = proxy.map(|_| url[..surf::http::url::Position::BeforePath].to_owned());
        let authorization = proxy.and_then(|proxy| proxy.authorization()?.to_str().ok());
        if let Some(authorization) = authorization
            && request.header("proxy-authorization").is_none()
        {
            request.insert_header("proxy-authorization", authorization);
        }
        let head = Head {
            has_length: announced || request.is_empty() != Some(true),
            origin,
        };
        Self {
            encoder: SyncWrapper::new(Encoder::new(request)),
            head: Some(head),
            is_encoded: false,
            encoded: BytesMut::new(),
        }
    }

    /// Ready when all of the request is written.
    pub(crate) fn poll(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.head.is_none() && !self.encoded.is_empty() {
                let written = Pin::new(&mut *stream).poll_write(cx, &self.encoded);
                let n = ready!(written)?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.encoded.advance(n);
            }
            if self.is_encoded {
                return Pin::new(stream).poll_flush(cx);
            }
            if self.poll_encode(cx)?.is_pending() {
                // TLS may hold back what the socket did not take, and the body may wait for what
                // the server makes of it.
                ready!(Pin::new(stream).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
    }

    fn poll_encode(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let n = match &self.head {
            Some(_) => ready!(self.poll_chunk::<HEAD_CHUNK>(cx))?,
            None => ready!(self.poll_chunk::<CHUNK>(cx))?,
        };
        self.is_encoded = n == 0;
        if let Some(head) = &self.head {
            let end = self.encoded.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                let body = self.encoded.split_off(end + 4);
                self.encoded = BytesMut::from(&*head.of(&self.encoded));
                // Without a length there is no body.
                self.is_encoded = !head.has_length;
                self.encoded.unsplit(body);
                self.head = None;
            } else if self.is_encoded {
                self.head = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Upload {
    /// Encodes up to `N` bytes more; returns how many it was.
    fn poll_chunk<const N: usize>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; N];
        let n = ready!(Pin::new(self.encoder.get_mut()).poll_read(cx, &mut chunk))?;
        self.encoded.extend_from_slice(&chunk[..n]);
        Poll::Ready(Ok(n))
    }
}

impl Head {
    fn of(&self, encoded: &[u8]) -> Vec<u8> {
        let mut lines = encoded.split_inclusive(|&byte| byte == b'\n');
        let mut head = Vec::with_capacity(encoded.len() + 64);
        let request = lines.next().unwrap_or_default();
        match &self.origin {
            Some(origin) => {
                let target = request.iter().position(|&byte| byte == b' ');
                let (method, rest) = request.split_at(target.map_or(0, |space| space + 1));
                head.extend_from_slice(method);
                head.extend_from_slice(origin.as_bytes());
                head.extend_from_slice(rest);
            }
            None => head.extend_from_slice(request),
        }
        let kept = lines.filter(|line| self.has_length || *line != b"content-length: 0\r\n");
        kept.for_each(|line| head.extend_from_slice(line));
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_names_the_url_for_a_proxy_and_no_length_without_a_body() {
        let encoded = b"GET /p?q HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n";
        let head = |has_length, origin: Option<&str>| {
            let origin = origin.map(str::to_owned);
            String::from_utf8(Head { has_length, origin }.of(encoded)).unwrap()
        };
        assert_eq!(
            head(false, None),
            "GET /p?q HTTP/1.1\r\nhost: a.test\r\n\r\n"
        );
        assert_eq!(
            head(true, Some("http://a.test:81")),
            "GET http://a.test:81/p?q HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n"
        );
    }
}
