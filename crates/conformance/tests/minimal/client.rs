//! A blocking HTTP/1.1 client over sockets of the standard library.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use inflight_core::bytes::Bytes;
use inflight_core::http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use inflight_core::http::uri::Scheme;
use inflight_core::http::{HeaderValue, Method, Request, Response, Uri};
use inflight_core::{
    BlockingBody, Cancel, CancelGuard, Capabilities, ClientOptions, Error, ErrorKind,
    FetchBlocking, Framing, HttpVersions, Phase, Resolver, connect_error, host_and_port,
};

use crate::chunks::ChunkedReader;
use crate::head::read_head;

// ANCHOR: client
/// A client that opens a connection for each request.
pub(crate) struct MinimalClient {
    resolver: Resolver,
    connect_timeout: Option<Duration>,
}

impl MinimalClient {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        if options.versions == HttpVersions::Http2PriorKnowledge {
            return Err(Error::new(ErrorKind::Unsupported).with_context(NO_HTTP2));
        }
        Ok(Self {
            resolver: Resolver::new(options),
            connect_timeout: options.connect_timeout,
        })
    }
}

impl FetchBlocking for MinimalClient {
    fn fetch_blocking(
        &self,
        request: Request<BlockingBody>,
        cancel: &Cancel,
    ) -> Result<Response<BlockingBody>, Error> {
        if request.uri().scheme() == Some(&Scheme::HTTPS) {
            return Err(Error::new(ErrorKind::Unsupported).with_context(NO_TLS));
        }
        let is_head_request = request.method() == Method::HEAD;
        let stream = self.connect(request.uri(), cancel)?;
        let closer = stream.try_clone().map_err(Error::from_read)?;
        // The shutdown ends the read or the write that blocks this thread.
        let guard = cancel.on_cancel(move || drop(closer.shutdown(Shutdown::Both)));
        let sent = send(&stream, request)?;
        let mut reader = BufReader::new(stream);
        let head = read_head(&mut reader).and_then(|head| {
            let framing = Framing::of_response(&head, is_head_request)?;
            Ok((head, framing))
        });
        let (response, framing) = match (head, sent) {
            // A server may refuse an upload and close the connection. Its response then counts, unless only
            // the end of the connection shows where it ends.
            (Err(_) | Ok((_, Framing::UntilClose)), Err(error)) => return Err(error),
            (head, _) => head?,
        };
        let body = Connection {
            reader,
            _guard: guard,
        };
        Ok(response.map(|()| match framing {
            Framing::NoBody => BlockingBody::from(Bytes::new()),
            Framing::Length(length) => BlockingBody::from_reader(body.take(length), Some(length)),
            Framing::Chunked => BlockingBody::from_reader(ChunkedReader::new(body), None),
            Framing::UntilClose => BlockingBody::from_reader(body, None),
        }))
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }
}

impl MinimalClient {
    /// Connects to the first address that answers. The resolver returns only addresses that the guard allows.
    fn connect(&self, uri: &Uri, cancel: &Cancel) -> Result<TcpStream, Error> {
        let started = Instant::now();
        let (host, port) = host_and_port(uri)?;
        let timeout = self.connect_timeout;
        let addresses = self.resolver.lookup_blocking(host, port, timeout, cancel)?;
        let mut failure = Error::new(ErrorKind::Connect).with_context("no address");
        for address in addresses {
            let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
            match connect_to(address, left) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn connect_to(address: SocketAddr, timeout: Option<Duration>) -> Result<TcpStream, Error> {
    let connected = match timeout {
        None => TcpStream::connect(address),
        // The system refuses a timeout of zero.
        Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
        Some(timeout) => TcpStream::connect_timeout(&address, timeout),
    };
    connected.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Error::timeout(Phase::Connect),
        _ => connect_error(address, error),
    })
}

/// The connection of a response. The body owns it, so that the end of the body closes it.
struct Connection {
    reader: BufReader<TcpStream>,
    _guard: CancelGuard,
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
// ANCHOR_END: client

// ANCHOR: send
/// Sends a request. The outer error is one of the request's body. The inner error is one of the connection: the
/// server may have responded before it ended the connection.
fn send(stream: &TcpStream, request: Request<BlockingBody>) -> Result<Result<(), Error>, Error> {
    let (mut parts, mut body) = request.into_parts();
    let is_chunked = !body.is_empty() && !parts.headers.contains_key(CONTENT_LENGTH);
    let headers = &mut parts.headers;
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if is_chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut head = format!("{} {target} HTTP/1.1\r\n", parts.method).into_bytes();
    if !headers.contains_key(HOST) {
        let host = parts
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        head.extend_from_slice(format!("host: {host}\r\n").as_bytes());
    }
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    if let Err(error) = (&mut &*stream).write_all(&head) {
        return Ok(Err(Error::from_read(error)));
    }
    send_body(stream, &mut body, is_chunked)
}

fn send_body(
    mut stream: &TcpStream,
    body: &mut BlockingBody,
    is_chunked: bool,
) -> Result<Result<(), Error>, Error> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = body.read(&mut buffer).map_err(upload_error)?;
        let chunk = &buffer[..length];
        let written = match (is_chunked, length) {
            (true, _) => write_chunk(stream, chunk),
            (false, _) => stream.write_all(chunk),
        };
        if let Err(error) = written {
            return Ok(Err(Error::from_read(error)));
        }
        if length == 0 {
            return Ok(Ok(()));
        }
    }
}

/// Writes a chunk. The empty chunk ends the body.
fn write_chunk(mut stream: &TcpStream, chunk: &[u8]) -> io::Result<()> {
    write!(stream, "{:x}\r\n", chunk.len())?;
    stream.write_all(chunk)?;
    stream.write_all(b"\r\n")
}

/// Converts an error of the request's body. It is never an incomplete response.
fn upload_error(error: io::Error) -> Error {
    Error::find_in(&error).unwrap_or_else(|| Error::new(ErrorKind::Io).with_source(error))
}
// ANCHOR_END: send

// ANCHOR: capabilities
const NO_TLS: &str = "the client has no TLS";
const NO_HTTP2: &str = "the client speaks HTTP/1.1 only";
const ONE_REQUEST: &str = "the client opens a connection for each request";
const IN_TURN: &str = "the client sends the whole request before it reads the response";

/// Lists what the client cannot do, with the reasons.
fn capabilities() -> Capabilities {
    use inflight_core::Support::No;

    let mut capabilities = Capabilities::all("minimal 1").without_tls(NO_TLS);
    capabilities.http2 = No(NO_HTTP2);
    capabilities.http2_prior_knowledge = capabilities.http2;
    capabilities.connection_reuse = No(ONE_REQUEST);
    capabilities.unrepeatable_reuse = No(ONE_REQUEST);
    capabilities.connection_events = No(ONE_REQUEST);
    capabilities.full_duplex = No(IN_TURN);
    capabilities.response_during_upload = No(IN_TURN);
    capabilities.rare_forms = No("the client refuses folded header values");
    capabilities.strict_chunks = No("the client ignores trailers, even if they are not fields");
    capabilities.parallel_connects = No("the client tries one address after another");
    capabilities.proxies = No("the client knows no proxies");
    capabilities.socks_proxies = capabilities.proxies;
    capabilities.unix_sockets = No("the client opens TCP connections only");
    capabilities.unix_queue = capabilities.unix_sockets;
    capabilities.prompt_cancel = No("nothing ends a connect of the standard library early");
    capabilities
}
// ANCHOR_END: capabilities
