//! Tunnels through a proxy. The method CONNECT opens a tunnel (RFC 9110, section 9.3.6).

use std::io;

use http::Uri;
use inflight_core::{Error, ErrorKind, Proxy, host_and_port};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest head of a proxy's response, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The largest number of fields in the head of a proxy's response.
const MAX_FIELDS: usize = 100;

/// The handshake that opens a tunnel through a proxy. The caller sends the [`request`](Self::request) and
/// passes each byte of the response to [`receive`](Self::receive).
#[derive(Debug)]
pub struct TunnelHandshake<'a> {
    proxy: &'a Proxy,
    request: Vec<u8>,
    head: Vec<u8>,
}

impl<'a> TunnelHandshake<'a> {
    /// Returns the handshake for a tunnel to the server of `uri`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`] if the URI has no host.
    pub fn new(proxy: &'a Proxy, uri: &Uri) -> Result<Self, Error> {
        let (host, port) = host_and_port(uri)?;
        let mut request =
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        if let Some(authorization) = proxy.authorization() {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        Ok(Self {
            proxy,
            request,
            head: Vec::with_capacity(256),
        })
    }

    /// Returns the bytes to send.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes the next byte of the response. Returns whether the tunnel is open. Once the tunnel is open, all
    /// later bytes come from the server behind the proxy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Proxy`] if the proxy refuses the tunnel or its response is not HTTP.
    pub fn receive(&mut self, byte: u8) -> Result<bool, Error> {
        self.head.push(byte);
        // A line may end in LF alone (RFC 9112, section 2.2).
        if !self.head.ends_with(b"\r\n\r\n") && !self.head.ends_with(b"\n\n") {
            return match self.head.len() {
                ..MAX_HEAD => Ok(false),
                _ => Err(self.protocol_error("the head of its response is longer than 64 KiB")),
            };
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let status = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(_)) => response.code.unwrap_or_default(),
            Ok(httparse::Status::Partial) => {
                return Err(self.protocol_error("the head of its response is incomplete"));
            }
            Err(_) => return Err(self.protocol_error("its response is not HTTP")),
        };
        self.head.clear();
        match status {
            100..=199 => Ok(false),
            // A 2xx response has no body, even if its fields declare one. The tunnel begins after the head.
            200..=299 => Ok(true),
            407 => Err(self
                .proxy
                .tunnel_error("it requires other credentials (status 407)")),
            status => Err(self
                .proxy
                .tunnel_error(format!("it returned status {status}"))),
        }
    }

    /// Converts an I/O error of the connection to the proxy to an error of kind
    /// [`Proxy`](ErrorKind::Proxy).
    pub fn io_error(&self, error: io::Error) -> Error {
        self.proxy.tunnel_error(Error::from_read(error))
    }

    fn protocol_error(&self, context: &'static str) -> Error {
        let error = Error::new(ErrorKind::Protocol).with_context(context);
        self.proxy.tunnel_error(error)
    }
}

/// Opens a tunnel to the server of `uri` on `stream`, a connection to the proxy. Reads no byte after the
/// head of the proxy's response.
pub(crate) async fn open<S>(proxy: &Proxy, stream: &mut S, uri: &Uri) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = TunnelHandshake::new(proxy, uri)?;
    let sent = async {
        stream.write_all(handshake.request()).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| handshake.io_error(error))?;
    loop {
        let byte = stream.read_u8().await;
        if handshake.receive(byte.map_err(|error| handshake.io_error(error))?)? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    /// Opens a tunnel through a proxy that sends `answer`. Returns the result, the request that the
    /// proxy received, and the bytes that are left on the stream.
    fn open_through(proxy: &str, answer: &[u8]) -> (Result<(), Error>, String, Vec<u8>) {
        block_on(async {
            let (mut near, mut far) = tokio::io::duplex(64 * 1024);
            far.write_all(answer).await.unwrap();
            far.shutdown().await.unwrap();
            let proxy = Proxy::new(proxy).unwrap();
            let uri = "https://[::1]/secret?path".parse().unwrap();
            let opened = open(&proxy, &mut near, &uri).await;
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            drop(near);
            let mut request = String::new();
            far.read_to_string(&mut request).await.unwrap();
            (opened, request, rest)
        })
    }

    #[test]
    fn tunnel_begins_after_the_head_even_if_the_head_declares_a_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let (opened, sent, rest) = open_through("http://me:pass@proxy.test", answer);
        opened.unwrap();
        assert_eq!(rest, b"hello");
        assert_eq!(
            sent,
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\
             Proxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n"
        );
    }

    #[test]
    fn interim_responses_are_skipped() {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 Yes\r\n\r\n";
        open_through("http://proxy.test", answer).0.unwrap();
    }

    #[test]
    fn lines_may_end_in_lf_alone() {
        let answer = b"HTTP/1.1 200 OK\nVia: one\n\nhello";
        let (opened, _, rest) = open_through("http://proxy.test", answer);
        opened.unwrap();
        assert_eq!(rest, b"hello");
    }

    #[test]
    fn refusals_and_invalid_responses_are_proxy_errors() {
        for (answer, expected) in [
            ("HTTP/1.1 407 Who?\r\n\r\n", "407"),
            ("HTTP/1.1 503 No\r\n\r\n", "503"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
            ("HTTP/1.1 200", ""),
        ] {
            let error = open_through("http://me:pass@proxy.test", answer.as_bytes())
                .0
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Proxy, "{answer:?}");
            let text = format!("{error:?}");
            assert!(text.contains(expected) && !text.contains("pass"), "{text}");
        }
    }
}
