//! Opens a tunnel through a proxy with CONNECT (RFC 9110, section 9.3.6).

use http::Uri;
use inflight_core::{Error, ErrorKind, Proxy, host_and_port};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest head of a proxy's response, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 100;

/// Opens a tunnel to the server of `uri` on `stream`, a connection to the proxy.
pub(crate) async fn open<S>(proxy: &Proxy, stream: &mut S, uri: &Uri) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (host, port) = host_and_port(uri)?;
    let mut head =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = proxy.authorization() {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(authorization.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let no_tunnel = |error: std::io::Error| proxy.tunnel_error(Error::from_read(error));
    stream.write_all(&head).await.map_err(no_tunnel)?;
    stream.flush().await.map_err(no_tunnel)?;
    loop {
        let status = read_head(stream).await;
        match status.map_err(|error| proxy.tunnel_error(error))? {
            100..=199 => {}
            // A 2xx response has no body, even if its fields declare one. The tunnel begins after the head.
            200..=299 => return Ok(()),
            407 => return Err(proxy.tunnel_error("it requires other credentials (status 407)")),
            status => return Err(proxy.tunnel_error(format!("it returned status {status}"))),
        }
    }
}

/// Reads the next head and returns its status. Reads no byte after the head, because those bytes come
/// from the server behind the tunnel.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, Error> {
    let protocol = |what| Error::new(ErrorKind::Protocol).with_context(what);
    let mut head = Vec::with_capacity(256);
    // A line may end in LF alone (RFC 9112, section 2.2).
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() == MAX_HEAD {
            return Err(protocol("the head of its response is longer than 64 KiB"));
        }
        let byte = stream.read_u8().await.map_err(Error::from_read)?;
        head.push(byte);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(&head) {
        Ok(httparse::Status::Complete(_)) => Ok(response.code.unwrap_or_default()),
        Ok(httparse::Status::Partial) => Err(protocol("the head of its response is incomplete")),
        Err(error) => Err(protocol("its response is not HTTP").with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    /// Opens a tunnel through a proxy that sends `answer`. Returns the result, the request that the
    /// proxy received, and the bytes that are left on the stream.
    fn request(proxy: &str, answer: &[u8]) -> (Result<(), Error>, String, Vec<u8>) {
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
        let (opened, sent, rest) = request("http://me:pass@proxy.test", answer);
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
        request("http://proxy.test", answer).0.unwrap();
    }

    #[test]
    fn lines_may_end_in_lf_alone() {
        let answer = b"HTTP/1.1 200 OK\nVia: one\n\nhello";
        let (opened, _, rest) = request("http://proxy.test", answer);
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
            let error = request("http://me:pass@proxy.test", answer.as_bytes())
                .0
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Proxy, "{answer:?}");
            let text = format!("{error:?}");
            assert!(text.contains(expected) && !text.contains("pass"), "{text}");
        }
    }
}
