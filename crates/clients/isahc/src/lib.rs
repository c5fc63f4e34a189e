#![doc = include_str!("../README.md")]
//!
//! All transfers run on isahc's own threads, on every runtime. Keep this in mind when you compare runtimes.
//! This crate disables the features of isahc and libcurl that the session provides, and the core looks up
//! host names. The [`Capabilities`] list the remaining differences from other clients.
//!
//! # Behaviour of libcurl that remains
//!
//! - libcurl resends a request if the pooled connection was dead, the method is idempotent and the request
//!   has no body. libcurl sends all other requests once.
//! - If the connection ends inside a head, libcurl reports a response with an empty body. This crate detects
//!   the early end if the response would have a body and no `Transfer-Encoding`, in two cases. In the first
//!   case, the received part of the head has a `Content-Length`. In the second case, the head is HTTP/1.1, and
//!   the received part has neither `Content-Length` nor `Connection`. Reading the body then fails with
//!   [`Incomplete`](ErrorKind::Incomplete). In the second case, reading the empty body of a complete response
//!   fails too, because libcurl reports both in the same way. For the other cases see
//!   [`strict_heads`](Capabilities::strict_heads).
//! - libcurl writes its TLS keys to the file that the environment variable `SSLKEYLOGFILE` names, if the
//!   variable is set.
//!
//! In reading order: `agent` (the configuration of isahc), `descriptors` (the file descriptors that isahc
//! needs), `secure` (TLS), `limits` (the time limits of a transfer), `attempts` (a host's addresses),
//! `upload` (request bodies), `body` (response bodies), `error`.

mod agent;
mod attempts;
mod body;
mod descriptors;
mod error;
mod limits;
mod secure;
mod upload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::uri::Scheme;
use inflight_core::{
    Body, Capabilities, Ceiling, ClientOptions, ConnectOptions, Deadline, Error, ErrorKind, Fetch,
    HttpVersions, NewConnection, Proxies, Proxy, Resolver, Runtime, Support, host_and_port,
};
use inflight_net::Attempts;
use inflight_net::addresses::Address;

use crate::agent::Agents;
use crate::attempts::{PreferredAddresses, connect_timeout_error, failure_reason};
use crate::limits::Limits;
use crate::secure::TlsSettings;
use crate::upload::Upload;

const NO_PRIOR_KNOWLEDGE: &str =
    "libcurl resends requests of a dead HTTP/2 connection, even those that must be sent only once";

/// A client that uses isahc. It disables the features of isahc that the session provides, such as redirects.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{BlockOn, Runtime, Session};
/// use inflight_isahc::Isahc;
/// use inflight_smol::Smol;
///
/// # let origin = inflight_origin::Origin::start()?;
/// # let url = origin.url("/page/1");
/// let smol = Smol::global();
/// let runtime: Arc<dyn Runtime> = Arc::new(smol.clone());
/// let builder = Session::builder(|options| Ok((Isahc::new(runtime.clone(), options)?, runtime)));
/// let session = builder.build()?;
/// let page = smol.block_on(session.get(url).text())?;
/// assert!(page.contains("Page 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Isahc {
    runtime: Arc<dyn Runtime>,
    resolver: Resolver,
    connect_timeout: Option<Duration>,
    agents: Agents,
    secure: TlsSettings,
    proxies: Proxies,
    unix_socket: Option<PathBuf>,
    /// Whether the client offers HTTP/2 to TLS servers.
    http2: bool,
    preferred: PreferredAddresses,
}

impl Isahc {
    /// Returns a client that looks up names on `runtime`. Starts isahc's two threads.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Unsupported`] if `nodelay` is `false`, because isahc cannot switch `TCP_NODELAY`
    ///   off, and for options that the [`Capabilities`] exclude.
    /// - [`ErrorKind::Tls`] if a certificate among the options cannot be used.
    /// - [`ErrorKind::Io`] if the process has too few free file descriptors, or if libcurl or the threads
    ///   cannot start.
    pub fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        if !options.nodelay {
            return Err(unsupported_error("isahc cannot switch TCP_NODELAY off"));
        }
        if options.versions == HttpVersions::Http2PriorKnowledge {
            return Err(unsupported_error(NO_PRIOR_KNOWLEDGE));
        }
        Ok(Self {
            runtime,
            resolver: Resolver::new(options),
            connect_timeout: options.connect_timeout,
            agents: Agents::new(options)?,
            secure: TlsSettings::new(options)?,
            proxies: options.proxies.clone(),
            unix_socket: options.unix_socket.clone(),
            http2: options.versions == HttpVersions::PreferHttp2,
            preferred: PreferredAddresses::default(),
        })
    }

    /// Returns the addresses of `host`, in the order in which they are tried. Each request looks them up,
    /// because libcurl does not report whether the request needs a new connection. So a changed address takes
    /// effect immediately.
    async fn addresses(
        &self,
        (host, port): (&str, u16),
        limits: &Limits,
    ) -> Result<Vec<SocketAddr>, Error> {
        let found = self.resolver.lookup(&*self.runtime, host, port);
        let timeout = async {
            self.runtime.sleep(limits.connect_time()?).await;
            Err(limits.timeout_error())
        };
        let found = futures_lite::future::or(found, timeout).await?;
        Ok(self.preferred.order((host, port), found))
    }

    /// Returns `true` if the address accepts connections. libcurl reports the same error for a proxy that
    /// refuses a tunnel and for one that cannot be reached.
    async fn is_reachable(&self, address: SocketAddr, limits: &Limits) -> bool {
        let connected = self.runtime.connect(address, ConnectOptions::default());
        let connected = async { connected.await.is_ok() };
        let Ok(left) = limits.attempt_time(1) else {
            return false;
        };
        let timeout = async {
            self.runtime.sleep(left).await;
            false
        };
        futures_lite::future::or(connected, timeout).await
    }

    async fn exchange(
        &self,
        mut parts: Parts,
        body: Body,
        proxy: Option<&Proxy>,
    ) -> Result<http::Response<Body>, Error> {
        check(&parts, &body)?;
        let has_length = body.len().is_some();
        let mut upload = Upload::new(body, &parts.headers);
        if has_length {
            // isahc adds the length itself.
            parts.headers.remove(CONTENT_LENGTH);
        }
        if parts.method == Method::POST {
            // Without this header, libcurl would send the content type of a form. This value has the same
            // meaning as no content type (RFC 9110, section 8.3).
            let content_type = parts.headers.entry(CONTENT_TYPE);
            content_type.or_insert(HeaderValue::from_static("application/octet-stream"));
        }
        let limits = Limits::new(parts.extensions.remove::<Deadline>(), self.connect_timeout);
        let https = parts.uri.scheme() == Some(&Scheme::HTTPS);
        let may_be_http2 = https && self.http2;
        let is_idempotent = parts.method.is_idempotent();
        let must_be_new = parts.extensions.get::<NewConnection>().is_some();
        let client = self.agents.choose(is_idempotent && !must_be_new);

        let server = host_and_port(&parts.uri)?;
        let target = proxy.map_or(server, |proxy| (proxy.host(), proxy.port()));
        let via_proxy = |error| match proxy {
            Some(proxy) => proxy.connection_error(error),
            None => error,
        };
        let server_address = match proxy {
            Some(proxy) if !proxy.resolves_names() => {
                self.addresses(server, &limits).await?.first().copied()
            }
            _ => None,
        };
        let (mut attempts, addresses) = match &self.unix_socket {
            Some(path) => (Attempts::to_unix_socket(path), vec![(&**path).into()]),
            None => {
                let found = self.addresses(target, &limits).await.map_err(via_proxy)?;
                let addresses = found.into_iter().map(Address::from).collect();
                (Attempts::new(target.0, target.1), addresses)
            }
        };
        let mut addresses = addresses.into_iter();
        while let Some(address) = addresses.next() {
            let others = addresses.len();
            let Ok(connect) = limits.attempt_time(others) else {
                return Err(connect_timeout_error(&attempts, &limits));
            };
            let attempt = attempts.start(address.clone());
            let total = limits.total_time()?;
            let mut request =
                agent::request(&parts, &address, proxy, server_address, connect, total)?;
            if https {
                request = self.secure.apply(request, is_idempotent);
            }
            let request = request
                .body(upload.reader())
                .map_err(|error| error::from_isahc(error.into(), &limits))?;
            match upload.drive_with(client.send_async(request)).await {
                Ok(response) => {
                    if let Address::Ip(address) = address
                        && attempts.has_failed()
                    {
                        self.preferred.prefer(target, address);
                    }
                    upload.check(response.status())?;
                    return body::convert(&parts.method, response);
                }
                // Nothing was sent, so the next address is tried. A timeout is a connect timeout if the time
                // for the whole exchange has not passed.
                Err(error)
                    if error::is_connect_failure(&error)
                        || error::is_timeout(&error) && !limits.is_past_deadline() =>
                {
                    let is_out_of_time = error::is_timeout(&error) && !limits.has_connect_time();
                    if let Some(error) = descriptors::select_limit_error() {
                        return Err(error);
                    }
                    if let Some(proxy) =
                        proxy.filter(|_| https && error::is_connect_failure(&error))
                        && let Address::Ip(address) = address
                        && self.is_reachable(address, &limits).await
                    {
                        return Err(proxy.tunnel_error(TUNNEL_REFUSED));
                    }
                    attempts.record_failure(attempt, failure_reason(error));
                    if others == 0 && is_out_of_time {
                        return Err(connect_timeout_error(&attempts, &limits));
                    }
                }
                Err(error) => {
                    if let Some(proxy) = proxy.filter(|_| error::is_socks_error(&error)) {
                        return Err(proxy.tunnel_error(SOCKS_FAILED));
                    }
                    let http_proxy = proxy.filter(|proxy| https && !proxy.is_socks());
                    let tunnel = http_proxy.filter(|_| error::may_be_tunnel_error(&error));
                    let is_dead = is_idempotent && error::may_be_unprocessed(&error, may_be_http2);
                    return Err(match (error::from_isahc(error, &limits), tunnel) {
                        (error, Some(proxy)) => proxy.tunnel_error(error),
                        (error, None) if is_dead => error.on_dead_connection(),
                        (error, None) => error,
                    });
                }
            }
        }
        Err(via_proxy(attempts.all_failed_error()))
    }
}

impl Fetch for Isahc {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let proxy = self.proxies.of(&parts.uri)?.cloned();
        self.exchange(parts, body, proxy.as_ref()).await
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("isahc 2.0 over libcurl 8");
        capabilities.http2_prior_knowledge = Support::No(NO_PRIOR_KNOWLEDGE);
        capabilities.client_certificates = Support::No(secure::NO_IDENTITY);
        capabilities.unchecked_hostnames = Support::No(secure::NO_UNCHECKED_NAMES);
        capabilities.proxy_faults = Support::No(
            "libcurl uses the same error codes for a proxy that opens no tunnel and for a server that \
             closes the connection or violates HTTP. With https, inflight reports all of them as errors \
             of the proxy",
        );
        capabilities.unix_queue = Support::No(
            "libcurl does not wait if the queue of a Unix socket's listener is full. The request fails with \
             the kind connect",
        );
        capabilities.connection_events =
            Support::No("isahc does not report whether a request used a new connection");
        capabilities.tls_faults = Support::No(
            "isahc drops libcurl's message about a refused certificate, so the error does not contain the \
             reason",
        );
        capabilities.parallel_connects = Support::No(
            "libcurl gets one address for each transfer. An address that does not answer delays the \
             next attempt by up to 1.3 s",
        );
        capabilities.prompt_cancel = Support::No(
            "libcurl notices a dropped request only when the server sends something, or at the \
             request's deadline. Until then the connection stays open",
        );
        capabilities.early_head = Support::No(
            "isahc returns the head with the first byte of the body. An unexpected 101 response is \
             reported only when the server sends more, or at the timeout",
        );
        capabilities.unchanged_targets = Support::No(
            "libcurl writes the digits of percent-encodings in upper case, as in `%7E` instead of `%7e`. \
             Through a proxy, it sends an http URL without an empty query, as in `/x` instead of `/x?`. A \
             server may then reject a signed URL",
        );
        capabilities.opaque_request_headers =
            Support::No("isahc sends only ASCII in header values");
        capabilities.unrepeatable_reuse = Support::No(
            "libcurl resends requests whose pooled connection was dead, so each request with a \
             non-idempotent method opens its own connection over HTTP/1.1. A server that supports \
             only HTTP/2 does not answer such a request",
        );
        let stops = Support::No("isahc stops sending the request when the response begins");
        capabilities.full_duplex = stops;
        capabilities.response_during_upload = stops;
        capabilities.dead_connections = Support::No(
            "libcurl resends most requests whose pooled connection had ended. For the others, it does \
             not report that the connection came from the pool",
        );
        capabilities.http2_unprocessed = Support::No(
            "libcurl reports a stream that the server refused or excluded by GOAWAY as a broken stream. \
             The session resends the request if its body can be repeated. Otherwise, the request fails",
        );
        capabilities.http2_resets = Support::No(
            "libcurl treats RST_STREAM with NO_ERROR as the end of the response. A body that the \
             server cuts off in this way looks complete unless it has a length",
        );
        capabilities.missing_close_notify = Support::No(
            "libcurl sometimes sees the end of the TLS connection before it returns the response. The \
             request then fails",
        );
        capabilities.chunk_faults =
            Support::No("isahc reports a malformed chunk as an incomplete body");
        capabilities.strict_chunks = Support::No(
            "libcurl ignores what follows the digits of a chunk's size, accepts LF as the end of a \
             line, and does not limit extensions. Another recipient on the path may read a different \
             body",
        );
        capabilities.strict_heads = Support::No(
            "libcurl accepts a head that is cut off by the end of the connection. inflight detects this \
             if the response would have a body and the received part of the head has a Content-Length, or \
             if it is HTTP/1.1 and has neither Connection nor Transfer-Encoding. In the second case, a \
             complete response with an empty body is incomplete too. In all other cases, fields may be \
             missing from a response that looks complete. libcurl also accepts a tab as the space in a \
             status line, and any bytes as the reason phrase",
        );
        capabilities.bare_lf = Support::No(
            "libcurl and isahc refuse LF alone at the end of a status line or a head, and empty lines \
             before the status. Such responses fail",
        );
        capabilities.retired_connections = Support::No(
            "libcurl reuses the connection of a complete response even if inflight refuses the \
             response, and checks an idle connection at most once a second. Unsolicited bytes can be \
             read as the next response",
        );
        capabilities.ignores_environment = Support::No(
            "libcurl writes its TLS keys to the file that the variable SSLKEYLOGFILE names",
        );
        capabilities.reads_deadline = true;
        capabilities.added_headers = &["accept", "user-agent", "content-type"];
        if cfg!(curl_selects) {
            capabilities.ceilings.push(Ceiling {
                at_most: descriptors::SELECT_LIMIT,
                description: "file descriptors in the process, because this build of libcurl uses select",
            });
        }
        capabilities
    }
}

/// Refuses a request that isahc would change or cannot send.
fn check(parts: &Parts, body: &Body) -> Result<(), Error> {
    if parts.method == Method::HEAD && !body.is_empty() {
        return Err(unsupported_error(
            "libcurl cannot send a HEAD request with a body",
        ));
    }
    if parts.headers.values().any(|value| value.to_str().is_err()) {
        return Err(unsupported_error("isahc sends only ASCII in header values"));
    }
    Ok(())
}

const TUNNEL_REFUSED: &str = "it refused the tunnel, for example because it requires other \
                              credentials (libcurl does not report the status)";

const SOCKS_FAILED: &str = "the SOCKS5 handshake failed, for example because the proxy requires other \
                            credentials or cannot reach the server (libcurl does not report the reason)";

fn unsupported_error(context: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported).with_context(context)
}
