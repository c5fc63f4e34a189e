//! An HTTP/2 server with control over each frame, to end streams and connections at unusual points.
//!
//! The server uses TLS and offers only HTTP/2, so every client that supports HTTP/2 uses HTTP/2.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use inflight_origin::tls::{Authority, CertificateKind, Tls};

use crate::test_server::TestServer;

/// The length of the client's connection preface (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// The server closes a connection on which the client sends nothing for this long.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

// Types and flags of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Error codes of streams and connections (section 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;

/// `:status: 200`, by its index in HPACK's static table.
const OK: &[u8] = &[0x88];

/// A server that calls the same function for every connection.
pub(crate) struct Http2Server {
    server: TestServer,
    authority: Authority,
}

impl Http2Server {
    /// Starts a server that calls `serve` for each connection, and closes the connection when `serve`
    /// returns.
    pub(crate) fn start(
        serve: impl Fn(&mut Http2Peer) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let authority = Authority::new()?;
        let tls = authority.server(CertificateKind::Valid)?;
        let server =
            TestServer::start(move |conn| serve(&mut Http2Peer::accept(conn.stream, &tls)?))?;
        Ok(Self { server, authority })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.server.https_url(path)
    }

    /// Returns the certificate that a client has to trust, as PEM.
    pub(crate) fn certificate(&self) -> String {
        self.authority.pem()
    }
}

/// A request: the id of its stream, and whether it has a body.
#[derive(Clone, Copy)]
pub(crate) struct Http2Request {
    pub(crate) stream: u32,
    pub(crate) has_body: bool,
}

/// The server's side of a connection.
pub(crate) struct Http2Peer {
    stream: Box<dyn Stream>,
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

impl Http2Peer {
    fn accept(stream: TcpStream, tls: &Tls) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut stream = Box::new(tls.secure(stream, &["h2"])?);
        stream.read_exact(&mut [0; PREFACE])?;
        let mut peer = Self { stream };
        peer.send(SETTINGS, 0, 0, &[])?;
        Ok(peer)
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)?;
        self.stream.flush()
    }

    /// Returns the next request once it is complete, or `None` if the client has closed the
    /// connection.
    pub(crate) fn next_request(&mut self) -> io::Result<Option<Http2Request>> {
        loop {
            let mut head = [0; 9];
            match self.stream.read_exact(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                result => result?,
            }
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload)?;
            let stream = u32::from_be_bytes(stream);
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[])?,
                PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload)?,
                DATA | HEADERS if flags & END_STREAM != 0 => {
                    let has_body = kind == DATA;
                    return Ok(Some(Http2Request { stream, has_body }));
                }
                _ => {}
            }
        }
    }

    /// Sends a complete response with the status 200 and this body.
    pub(crate) fn answer(&mut self, stream: u32, body: &str) -> io::Result<()> {
        self.send_head(stream)?;
        self.send_data(stream, body, true)
    }

    /// Sends the head of a response with the status 200.
    pub(crate) fn send_head(&mut self, stream: u32) -> io::Result<()> {
        self.send(HEADERS, END_HEADERS, stream, OK)
    }

    /// Sends a complete response with the status 200, this many fields of about 1 KiB each, and no
    /// body.
    pub(crate) fn send_large_head(&mut self, stream: u32, fields: usize) -> io::Result<()> {
        /// The largest frame that every peer accepts (section 4.2).
        const MAX_FRAME: usize = 16_384;
        let mut block = OK.to_vec();
        for _ in 0..fields {
            // A literal field without indexing: the name `x` and a value of 1,000 bytes. The length is
            // encoded as 127 plus 873 in groups of seven bits (RFC 7541, sections 5.1 and 6.2.2).
            block.extend_from_slice(&[0, 1, b'x', 0x7f, 0xe9, 0x06]);
            block.extend_from_slice(&[b'v'; 1000]);
        }
        let chunks: Vec<_> = block.chunks(MAX_FRAME).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            let is_last = n + 1 == chunks.len();
            let (kind, flags) = match n {
                0 => (HEADERS, END_STREAM),
                _ => (CONTINUATION, 0),
            };
            let end = if is_last { END_HEADERS } else { 0 };
            self.send(kind, flags | end, stream, chunk)?;
        }
        Ok(())
    }

    /// Sends a chunk of a body. If `last` is true, ends the stream.
    pub(crate) fn send_data(&mut self, stream: u32, chunk: &str, last: bool) -> io::Result<()> {
        let flags = if last { END_STREAM } else { 0 };
        self.send(DATA, flags, stream, chunk.as_bytes())
    }

    /// Resets a stream.
    pub(crate) fn reset(&mut self, stream: u32, reason: u32) -> io::Result<()> {
        self.send(RST_STREAM, 0, stream, &reason.to_be_bytes())
    }

    /// Sends GOAWAY. The frame states that no stream after `last` was or will be processed.
    pub(crate) fn go_away(&mut self, last: u32, reason: u32) -> io::Result<()> {
        let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload)
    }

    /// Reads requests and sends no responses, until the client closes the connection.
    pub(crate) fn read_to_close(&mut self) -> io::Result<()> {
        while self.next_request()?.is_some() {}
        Ok(())
    }
}
