//! Tunnels through a proxy: with HTTP's method CONNECT (RFC 9110, section 9.3.6) or with SOCKS5.

use std::io;
use std::net::SocketAddr;

use http::Uri;
use inflight_core::{Error, ErrorKind, Proxy, host_and_port};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::socks::{Progress, Socks5};

/// The longest head of a proxy's response, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The largest number of fields in the head of a proxy's response.
const MAX_FIELDS: usize = 100;

/// The handshake that opens a tunnel through an HTTP or SOCKS5 proxy.
///
/// The caller first sends the [`output`](Self::take_output). Then it passes each byte that the proxy sends to
/// [`receive`](Self::receive), and sends the output after each of these bytes.
#[derive(Debug)]
pub struct TunnelHandshake<'a> {
    proxy: &'a Proxy,
    output: Vec<u8>,
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    /// HTTP's CONNECT, with the head of the response as far as it has arrived.
    Connect(Vec<u8>),
    Socks5(Socks5),
}

impl<'a> TunnelHandshake<'a> {
    /// Returns the handshake for a tunnel to the server of `uri`. The client must look up the `address` of
    /// the server if [`Proxy::resolves_names`] returns `false`. Otherwise, the proxy looks it up.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::InvalidUrl`] if the URI has no host, or if the proxy cannot use the host.
    /// - [`ErrorKind::Resolve`] if the client must look up the name of the server, and there is no `address`.
    pub fn new(proxy: &'a Proxy, uri: &Uri, address: Option<SocketAddr>) -> Result<Self, Error> {
        let (protocol, output) = match proxy.is_socks() {
            true => {
                let (handshake, greeting) = Socks5::start(proxy, uri, address)?;
                (Protocol::Socks5(handshake), greeting)
            }
            false => (
                Protocol::Connect(Vec::with_capacity(256)),
                connect_request(proxy, uri)?,
            ),
        };
        Ok(Self {
            proxy,
            output,
            protocol,
        })
    }

    /// Returns the bytes to send to the proxy, and removes them from the handshake.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes the next byte of the proxy. Returns whether the tunnel is open. Once the tunnel is open, all
    /// later bytes come from the server behind the proxy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Proxy`] if the proxy refuses the tunnel or violates the protocol.
    pub fn receive(&mut self, byte: u8) -> Result<bool, Error> {
        match &mut self.protocol {
            Protocol::Connect(head) => receive_head(self.proxy, head, byte),
            Protocol::Socks5(handshake) => match handshake.receive(self.proxy, byte)? {
                Progress::Done => Ok(true),
                Progress::Continue(output) => {
                    self.output = output;
                    Ok(false)
                }
            },
        }
    }

    /// Converts an I/O error of the connection to the proxy to an error of kind
    /// [`Proxy`](ErrorKind::Proxy).
    pub fn io_error(&self, error: io::Error) -> Error {
        self.proxy.tunnel_error(Error::from_read(error))
    }
}

fn connect_request(proxy: &Proxy, uri: &Uri) -> Result<Vec<u8>, Error> {
    let (host, port) = host_and_port(uri)?;
    let mut request =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = proxy.authorization() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    Ok(request)
}

/// Appends the next byte to the head of the response to CONNECT. Returns whether the tunnel is open.
fn receive_head(proxy: &Proxy, head: &mut Vec<u8>, byte: u8) -> Result<bool, Error> {
    let protocol_error = |context: &'static str| {
        proxy.tunnel_error(Error::new(ErrorKind::Protocol).with_context(context))
    };
    head.push(byte);
    // A recipient may skip empty lines before a head, and a line may end in LF alone (RFC 9112, section 2.2).
    if matches!(head.as_slice(), b"\r\n" | b"\n") {
        head.clear();
    }
    if !head.ends_with(b"\n\r\n") && !head.ends_with(b"\n\n") {
        return match head.len() {
            ..MAX_HEAD => Ok(false),
            _ => Err(protocol_error(
                "the head of its response is longer than 64 KiB",
            )),
        };
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let status = match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => response.code.unwrap_or_default(),
        Ok(httparse::Status::Partial) => {
            return Err(protocol_error("the head of its response is incomplete"));
        }
        Err(_) => return Err(protocol_error("its response is not HTTP")),
    };
    head.clear();
    match status {
        100..=199 => Ok(false),
        // A 2xx response has no body, even if its fields declare one. The tunnel begins after the head.
        200..=299 => Ok(true),
        407 => Err(proxy.tunnel_error("it requires other credentials (status 407)")),
        status => Err(proxy.tunnel_error(format!("it returned status {status}"))),
    }
}

/// Opens a tunnel to the server of `uri` on `stream`, a connection to the proxy: see
/// [`TunnelHandshake::new`]. Reads no byte after the proxy's last message.
pub(crate) async fn open<S>(
    proxy: &Proxy,
    stream: &mut S,
    uri: &Uri,
    address: Option<SocketAddr>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = TunnelHandshake::new(proxy, uri, address)?;
    loop {
        let output = handshake.take_output();
        let exchange = async {
            if !output.is_empty() {
                stream.write_all(&output).await?;
                stream.flush().await?;
            }
            stream.read_u8().await
        };
        let byte = exchange.await;
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
        let (opened, request, rest) = open_to("https://[::1]/secret?path", None, proxy, answer);
        (opened, String::from_utf8(request).unwrap(), rest)
    }

    /// Opens a tunnel to the server of `uri`, like `open_through`.
    fn open_to(
        uri: &str,
        address: Option<&str>,
        proxy: &str,
        answer: &[u8],
    ) -> (Result<(), Error>, Vec<u8>, Vec<u8>) {
        block_on(async {
            let (mut near, mut far) = tokio::io::duplex(64 * 1024);
            far.write_all(answer).await.unwrap();
            far.shutdown().await.unwrap();
            let proxy = Proxy::new(proxy).unwrap();
            let address = address.map(|address| address.parse().unwrap());
            let opened = open(&proxy, &mut near, &uri.parse().unwrap(), address).await;
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            drop(near);
            let mut request = Vec::new();
            far.read_to_end(&mut request).await.unwrap();
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
        for head in ["\nVia: one\n\n", "\nVia: one\n\r\n", "\n\r\n", "\r\n\n"] {
            let answer = format!("HTTP/1.1 200 OK{head}hello");
            let (opened, _, rest) = open_through("http://proxy.test", answer.as_bytes());
            opened.unwrap();
            assert_eq!(rest, b"hello", "{head:?}");
        }
    }

    #[test]
    fn empty_lines_before_a_head_are_skipped() {
        for lines in ["\r\n", "\r\n\r\n", "\n\n\n"] {
            let answer = format!("{lines}HTTP/1.1 200 OK\r\n\r\nhello");
            let (opened, _, rest) = open_through("http://proxy.test", answer.as_bytes());
            opened.unwrap();
            assert_eq!(rest, b"hello", "{lines:?}");
        }
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

    /// The reply of a SOCKS5 proxy that has opened a tunnel.
    const OPEN: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";

    #[test]
    fn a_socks5_request_contains_a_name_or_an_address() {
        let tunnel = [b"\x05\x00", OPEN, b"hello"].concat();
        for (proxy, uri, address, target) in [
            (
                "socks5h://proxy.test",
                "https://pages.test/secret",
                None,
                &b"\x03\x0apages.test\x01\xbb"[..],
            ),
            (
                "socks5h://proxy.test",
                "http://192.0.2.7:8080/",
                None,
                b"\x01\xc0\x00\x02\x07\x1f\x90",
            ),
            (
                "socks5h://proxy.test",
                "http://[::1]/",
                None,
                b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
            ),
            (
                "socks5://proxy.test",
                "http://pages.test/",
                Some("192.0.2.7:80"),
                b"\x01\xc0\x00\x02\x07\x00\x50",
            ),
            (
                "socks5://proxy.test",
                "http://pages.test/",
                Some("[::1]:80"),
                b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
            ),
        ] {
            let (opened, sent, rest) = open_to(uri, address, proxy, &tunnel);
            opened.unwrap();
            assert_eq!(
                sent,
                [b"\x05\x01\x00\x05\x01\x00", target].concat(),
                "{uri}"
            );
            assert_eq!(rest, b"hello", "{uri}");
        }
    }

    #[test]
    fn a_socks5_request_without_a_required_address_is_an_error() {
        let (opened, sent, _) = open_to("http://pages.test/", None, "socks5://proxy.test", b"");
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Resolve);
        assert!(sent.is_empty());
        let name = format!("http://{}/", "x".repeat(256));
        let (opened, sent, _) = open_to(&name, None, "socks5h://proxy.test", b"");
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidUrl);
        assert!(sent.is_empty());
    }

    #[test]
    fn the_tunnel_begins_after_a_socks5_reply_with_any_address() {
        for reply in [
            OPEN,
            b"\x05\x00\x00\x03\x0aproxy.test\x00\x50",
            b"\x05\x00\x00\x03\x00\x00\x50",
            b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        ] {
            let answer = [b"\x05\x00", reply, b"hello"].concat();
            let (opened, _, rest) =
                open_to("http://a.test/", None, "socks5h://proxy.test", &answer);
            opened.unwrap();
            assert_eq!(rest, b"hello", "{reply:?}");
            // The answer ends before the tunnel is open.
            for end in 0..2 + reply.len() {
                let (opened, ..) = open_to(
                    "http://a.test/",
                    None,
                    "socks5h://proxy.test",
                    &answer[..end],
                );
                assert_eq!(opened.unwrap_err().kind(), ErrorKind::Proxy, "{end}");
            }
        }
    }

    #[test]
    fn socks5_credentials_are_sent_only_if_the_proxy_requires_them() {
        let proxy = "socks5h://me:s%3Acret@proxy.test";
        let target = b"\x05\x01\x00\x03\x06a.test\x00\x50";
        // The version in the verdict differs between proxies.
        for version in [1, 5] {
            let answer = [b"\x05\x02", &[version, 0][..], OPEN].concat();
            let (opened, sent, _) = open_to("http://a.test/", None, proxy, &answer);
            opened.unwrap();
            let credentials = b"\x05\x02\x00\x02\x01\x02me\x07s:cret";
            let expected = [&credentials[..credentials.len() - 7], b"\x06s:cret", target].concat();
            assert_eq!(sent, expected);
        }
        let answer = [b"\x05\x00", OPEN].concat();
        let (opened, sent, _) = open_to("http://a.test/", None, proxy, &answer);
        opened.unwrap();
        assert_eq!(sent, [b"\x05\x02\x00\x02", &target[..]].concat());
    }

    #[test]
    fn socks5_refusals_are_proxy_errors_with_a_reason() {
        let (open_proxy, with_credentials) =
            ("socks5h://proxy.test", "socks5h://me:secret@proxy.test");
        let local = "socks5://proxy.test";
        for (proxy, answer, expected) in [
            (open_proxy, &b"\x05\xff"[..], "requires authentication"),
            (
                with_credentials,
                b"\x05\xff",
                "does not accept authentication",
            ),
            (open_proxy, b"\x05\x02", "method 2"),
            (with_credentials, b"\x05\x01", "method 1"),
            (
                with_credentials,
                b"\x05\x02\x01\x01",
                "refused the user name",
            ),
            (open_proxy, b"\x04", "not SOCKS5"),
            (open_proxy, b"HTTP/1.1 400 Bad Request\r\n", "http:// URL"),
            (open_proxy, b"\x05\x00\x00\x5a", "not SOCKS5"),
            (open_proxy, b"\x05\x00\x05\x01", "general failure"),
            (open_proxy, b"\x05\x00\x05\x02", "rules"),
            (open_proxy, b"\x05\x00\x05\x03", "network is unreachable"),
            (open_proxy, b"\x05\x00\x05\x04", "socks5:// URL"),
            (local, b"\x05\x00\x05\x04", "socks5h:// URL"),
            (open_proxy, b"\x05\x00\x05\x05", "refused the connection"),
            (open_proxy, b"\x05\x00\x05\x06", "TTL"),
            (open_proxy, b"\x05\x00\x05\x07", "CONNECT"),
            (local, b"\x05\x00\x05\x08", "socks5h:// URL"),
            (open_proxy, b"\x05\x00\x05\x09", "code 9"),
            (open_proxy, b"\x05\x00\x05\x00\x00\x02\x00", "type 2"),
        ] {
            let address = Some("192.0.2.7:80");
            let (opened, ..) = open_to("http://a.test/", address, proxy, answer);
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Proxy, "{answer:?}");
            let text = format!("{error:?}");
            assert!(text.contains(expected), "{text} lacks {expected}");
            assert!(
                text.contains("proxy.test") && !text.contains("secret"),
                "{text}"
            );
        }
    }
}
