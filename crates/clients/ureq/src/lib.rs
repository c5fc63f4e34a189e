#![doc = include_str!("../README.md")]
//!
//! [`Offload`](inflight_core::Offload) makes the calls of this client asynchronous: it runs them on a
//! runtime's blocking pool. [`Inline`](inflight_core::Inline) runs them on the event loop, so they stall the
//! event loop.
//!
//! The crate opens ureq's sockets through ureq's `unversioned` transport traits, for two reasons. It tries
//! the addresses of a host in parallel (RFC 8305). It also shuts down the socket of a cancelled call from
//! another thread, which ends the call immediately, even while the call is connecting.
//!
//! In reading order: `call` (the state of the call in progress), `resolve` (name lookup), `connect`
//! (the attempts to connect), `buffers`, `socket` (ureq's transport), `secure` (TLS), `error`.

mod buffers;
mod call;
mod connect;
mod error;
mod resolve;
mod secure;
mod socket;

use std::io::{self, Read};
use std::time::{Duration, Instant};

use http::header::CONTENT_LENGTH;
use inflight_core::bytes::Bytes;
use inflight_core::{
    BlockingBody, Cancel, Capabilities, ClientOptions, Connections, Deadline, Error, ErrorKind,
    FetchBlocking, Framing, HttpVersions, NewConnection, Proxies, Resolver, Support, Trace,
    retires_connection,
};
use inflight_net::descriptors::default_max_idle;
use inflight_net::tls::Tls;
use ureq::config::{AutoHeaderValue, Config};
use ureq::{Agent, AsSendBody, SendBody};

use crate::socket::{CancellableRead, SocketConnector};

const NO_HTTP2: &str = "ureq supports only HTTP/1.1";

/// How many bytes ureq may read before a head is complete. ureq also counts the bytes of interim
/// responses and of the body, so the limit is larger than ureq's buffer of 128 KiB. The session limits the
/// size of the head.
const MAX_BUFFERED: usize = 256 << 10;

/// A client that uses ureq. It disables the features of ureq that the session provides, such as redirects.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{BlockOn, Offload, Runtime, Session};
/// use inflight_threads::Threads;
/// use inflight_ureq::Ureq;
///
/// # let origin = inflight_origin::Origin::start()?;
/// # let url = origin.url("/page/1");
/// let threads = Threads::new();
/// let runtime: Arc<dyn Runtime> = Arc::new(threads.clone());
/// let builder = Session::builder(|options| {
///     let client = Ureq::new(options)?;
///     Ok((Offload::new(client, runtime.clone()), runtime))
/// });
/// let page = threads.block_on(builder.build()?.get(url).text())?;
/// assert!(page.contains("Page 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ureq {
    agent: Agent,
    connection_counts: Connections,
    proxies: Proxies,
}

impl Ureq {
    /// Returns a client with these options.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Unsupported`] for [`HttpVersions::Http2PriorKnowledge`].
    /// - [`ErrorKind::Tls`] if a certificate among the options cannot be used.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        if options.versions == HttpVersions::Http2PriorKnowledge {
            return Err(Error::new(ErrorKind::Unsupported).with_context(NO_HTTP2));
        }
        let tls = Tls::new(options, false)?;
        let config = Config::builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(AutoHeaderValue::None)
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .max_idle_connections(options.max_idle.unwrap_or_else(default_max_idle))
            .max_idle_connections_per_host(options.max_idle_per_host)
            .max_idle_age(options.idle_timeout)
            .max_response_header_size(MAX_BUFFERED)
            .no_delay(options.nodelay)
            .timeout_connect(options.connect_timeout.map(round_up))
            .build();
        let resolver = Resolver::new(options);
        let connector = SocketConnector::new(tls, resolver.clone(), options);
        let resolver = resolve::CoreResolver {
            resolver,
            timeout: options.connect_timeout,
            is_unused: options.unix_socket.is_some(),
        };
        Ok(Self {
            agent: Agent::with_parts(config, connector, resolver),
            connection_counts: options.connections.clone(),
            proxies: options.proxies.clone(),
        })
    }

    fn run(
        &self,
        parts: http::request::Parts,
        body: impl AsSendBody,
        deadline: Option<Deadline>,
    ) -> Result<http::Response<ureq::Body>, Error> {
        call::set_proxy(self.proxies.of(&parts.uri)?);
        let request = http::Request::from_parts(parts, body);
        let left = deadline.map(|at| at.0.saturating_duration_since(Instant::now()));
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(left.map(round_up))
            .build();
        let result = self.agent.run(request);
        if result.as_ref().is_ok_and(retires_connection) {
            call::retire_connection();
        }
        result.map_err(|error| {
            let error = error::from_ureq(error);
            let is_dead = error.kind() == ErrorKind::Incomplete && !call::has_connected();
            match is_dead && !call::has_read() {
                true if !call::has_written() => error.not_processed().on_dead_connection(),
                true => error.on_dead_connection(),
                false => error,
            }
        })
    }
}

impl FetchBlocking for Ureq {
    fn fetch_blocking(
        &self,
        request: http::Request<BlockingBody>,
        cancel: &Cancel,
    ) -> Result<http::Response<BlockingBody>, Error> {
        let is_head_request = request.method() == http::Method::HEAD;
        let trace = Trace::of(&request);
        let (mut parts, body) = request.into_parts();
        let deadline = parts.extensions.remove::<Deadline>();
        let response = call::run(cancel, Some(&trace), || {
            if parts.extensions.get::<NewConnection>().is_some() {
                call::require_new_connection();
            }
            let response = match body.as_bytes() {
                // With an empty slice as the body, ureq would send `Content-Length: 0`.
                Some(_) if !parts.headers.contains_key(CONTENT_LENGTH) => {
                    self.run(parts, (), deadline)
                }
                Some(bytes) => self.run(parts, &bytes[..], deadline),
                None => {
                    let body = SendBody::from_owned_reader(UploadReader::new(body));
                    self.run(parts, body, deadline)
                }
            }?;
            if !call::has_connected() {
                self.connection_counts.record_reused(&trace);
            }
            Ok::<_, Error>(response)
        })?;
        // ureq does not report that a response has no body.
        let framing = Framing::of_response(&response, is_head_request);
        Ok(response.map(|body| {
            if matches!(framing, Ok(Framing::NoBody)) {
                return BlockingBody::from(Bytes::new());
            }
            let len = body.content_length();
            let reader = CancellableRead::new(body.into_reader(), cancel.clone());
            BlockingBody::from_reader(reader, len)
        }))
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("ureq 3.5");
        capabilities.strict_chunks = Support::No(
            "ureq accepts a plus sign or a space before a chunk's size, ignores trailers, accepts the \
             end of the connection as the end of the trailers, and waits for more bytes if a line ends \
             in LF alone. Other recipients refuse such a body",
        );
        capabilities.rare_forms = Support::No(
            "ureq refuses folded header values, a 100 (Continue) with fields, and chunk-size lines of \
             more than 20 bytes. Such responses fail",
        );
        capabilities.proxied_whole = Support::No(
            "ureq opens a tunnel with CONNECT for http URLs too. Some proxies refuse such a tunnel",
        );
        capabilities.reads_deadline = true;
        capabilities.response_during_upload =
            Support::No("ureq reads the response after it has sent the whole request");
        capabilities.http2 = Support::No(NO_HTTP2);
        capabilities.http2_prior_knowledge = capabilities.http2;
        capabilities
    }
}

/// The body of a request, for ureq. ureq reads the response only after it has read the whole body. So when
/// the upload is stopped, this reader returns zeros for the rest of the body. The transport discards these
/// zeros.
struct UploadReader {
    body: BlockingBody,
    /// The number of bytes that ureq has not read, if it is known.
    left: Option<u64>,
}

impl UploadReader {
    fn new(body: BlockingBody) -> Self {
        let left = body.len();
        Self { body, left }
    }
}

impl Read for UploadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = if call::is_upload_stopped() {
            let left = usize::try_from(self.left.unwrap_or(0)).unwrap_or(usize::MAX);
            let amount = left.min(buffer.len());
            buffer[..amount].fill(0);
            amount
        } else {
            self.body.read(buffer)?
        };
        self.left = self.left.map(|left| left.saturating_sub(amount as u64));
        Ok(amount)
    }
}

/// Adds a millisecond to the time limit, because ureq cuts off fractions of a millisecond and would time
/// out early.
fn round_up(timeout: Duration) -> Duration {
    timeout.saturating_add(Duration::from_millis(1))
}
