//! An HTTP/2 server, frame by frame: it ends streams and connections where real ones seldom do.
//!
//! It speaks over TLS and offers nothing but HTTP/2, so that every client with HTTP/2 can talk to it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use inflight_origin::tls::{Authority, Shown, Tls};

/// What a client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// A client that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);

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

/// Why a stream or a connection ends (section 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;

/// `:status: 200`, by its place in HPACK's static table.
const OK: &[u8] = &[0x88];

/// A server that does the same on every connection.
pub(crate) struct Http2Server {
    address: SocketAddr,
    authority: Authority,
}

impl Http2Server {
    /// `serve` is called with each connection and its number, on a thread of its own. The connection
    /// is closed when it returns.
    pub(crate) fn start(
        serve: impl Fn(usize, &mut Http2Peer) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let authority = Authority::new()?;
        let tls = Arc::new(authority.server(Shown::Valid)?);
        let serve = Arc::new(serve);
        // It ends with the suite's process: a thread that accepts has no other end.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (serve, tls) = (serve.clone(), tls.clone());
                thread::spawn(move || {
                    let mut peer = Http2Peer::greet(stream?, &tls)?;
                    serve(number, &mut peer)
                });
            }
        });
        Ok(Self { address, authority })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The certificate that a client has to trust, as PEM.
    pub(crate) fn certificate(&self) -> String {
        self.authority.pem()
    }
}

/// A request, as far as the server looks at it.
#[derive(Clone, Copy)]
pub(crate) struct Request {
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
    fn greet(stream: TcpStream, tls: &Tls) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
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

    /// The next request, once all of it has come; `None` when the client has closed the connection.
    pub(crate) fn next_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            let mut head = [0; 9];
            match self.stream.read_exact(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
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
                    return Ok(Some(Request { stream, has_body }));
                }
                _ => {}
            }
        }
    }

    /// Answers with 200 and this body.
    pub(crate) fn answer(&mut self, stream: u32, body: &str) -> io::Result<()> {
        self.head(stream)?;
        self.data(stream, body, true)
    }

    /// The head of a response with 200.
    pub(crate) fn head(&mut self, stream: u32) -> io::Result<()> {
        self.send(HEADERS, END_HEADERS, stream, OK)
    }

    /// A whole response with 200, without a body, whose head has so many fields of about a KiB each.
    pub(crate) fn large_head(&mut self, stream: u32, fields: usize) -> io::Result<()> {
        /// The frames that every peer accepts (section 4.2).
        const FRAME: usize = 16_384;
        let mut block = OK.to_vec();
        for _ in 0..fields {
            // A field that is not indexed: the name `x`, and 1,000 bytes, as 127 and 873 in groups of
            // seven bits (RFC 7541, sections 5.1 and 6.2.2).
            block.extend_from_slice(&[0, 1, b'x', 0x7f, 0xe9, 0x06]);
            block.extend_from_slice(&[b'v'; 1000]);
        }
        let pieces: Vec<_> = block.chunks(FRAME).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let is_last = n + 1 == pieces.len();
            let (kind, flags) = match n {
                0 => (HEADERS, END_STREAM),
                _ => (CONTINUATION, 0),
            };
            let end = if is_last { END_HEADERS } else { 0 };
            self.send(kind, flags | end, stream, piece)?;
        }
        Ok(())
    }

    /// A piece of a body, `last` or not.
    pub(crate) fn data(&mut self, stream: u32, piece: &str, last: bool) -> io::Result<()> {
        let flags = if last { END_STREAM } else { 0 };
        self.send(DATA, flags, stream, piece.as_bytes())
    }

    /// Ends a stream.
    pub(crate) fn reset(&mut self, stream: u32, reason: u32) -> io::Result<()> {
        self.send(RST_STREAM, 0, stream, &reason.to_be_bytes())
    }

    /// Says that no stream after `last` was or will be processed.
    pub(crate) fn go_away(&mut self, last: u32, reason: u32) -> io::Result<()> {
        let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload)
    }

    /// Reads until the client has closed the connection, and answers nothing.
    pub(crate) fn ignore(&mut self) -> io::Result<()> {
        while self.next_request()?.is_some() {}
        Ok(())
    }
}
