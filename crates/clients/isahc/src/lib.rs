//! isahc, which is libcurl, as an inflight client.
//!
//! All transfers run on threads of isahc's own, whatever the runtime: compare it with that in
//! mind. What the libraries would do by themselves is switched off, names are looked up by the
//! core, and what remains is in the [`Capabilities`].
//!
//! # What libcurl does all the same
//!
//! - It repeats a request without a body whose method is idempotent, when the kept connection
//!   that it was sent on turns out to be dead. All others are sent once.
//! - It takes an end of the connection within the head for the end of the head. Most of these
//!   are found out and [`Incomplete`](ErrorKind::Incomplete), and so is, with them, an empty body
//!   that ends with the connection unannounced. The others are
//!   [`strict_heads`](Capabilities::strict_heads).
//! - It writes the keys of its TLS connections into the file that `SSLKEYLOGFILE` names, if that is
//!   in the environment.
//!
//! In reading order: `agent` (isahc, configured), `descriptors` (what it needs to start), `secure`
//! (its TLS), `limits` (the times that a transfer is given), `attempts` (a host's addresses),
//! `upload` (the bodies of requests), `body` (those of responses), `error`.

mod agent;
mod attempts;
mod body;
mod descriptors;
mod error;
mod limits;
mod secure;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Scheme;
use inflight_core::{
    Body, Capabilities, Ceiling, ClientOptions, Deadline, Error, ErrorKind, Fetch, HttpVersions,
    NewConnection, Proxies, Proxy, Resolver, Runtime, Support, host_and_port,
};
use inflight_net::Attempts;

use crate::agent::Agents;
use crate::attempts::{PreferredAddresses, reason, timed_out};
use crate::limits::Limits;
use crate::secure::TlsSettings;
use crate::upload::Upload;

const NO_PRIOR_KNOWLEDGE: &str =
    "over HTTP/2 libcurl would send again what must be sent once, if its connection died";

/// isahc with everything switched off that the session does itself.
pub struct Isahc {
    runtime: Arc<dyn Runtime>,
    resolver: Resolver,
    connect_timeout: Option<Duration>,
    agents: Agents,
    secure: TlsSettings,
    proxies: Proxies,
    /// Whether it speaks HTTP/2 to a TLS server that wants it.
    http2: bool,
    preferred: PreferredAddresses,
}

impl Isahc {
    /// A client that looks names up on `runtime`. It starts two threads of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] without `nodelay`, which isahc cannot switch off, and with what
    /// the [`Capabilities`] say it cannot do; [`ErrorKind::Tls`] when a certificate among the
    /// options cannot be used; [`ErrorKind::Io`] when the process has too few file descriptors left,
    /// or when something else keeps libcurl or the threads from starting.
    pub fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        if !options.nodelay {
            return Err(unsupported("isahc cannot switch TCP_NODELAY off"));
        }
        if options.versions == HttpVersions::Http2PriorKnowledge {
            return Err(unsupported(NO_PRIOR_KNOWLEDGE));
        }
        Ok(Self {
            runtime,
            resolver: Resolver::new(options),
            connect_timeout: options.connect_timeout,
            agents: Agents::new(options)?,
            secure: TlsSettings::new(options)?,
            proxies: options.proxies.clone(),
            http2: options.versions == HttpVersions::PreferHttp2,
            preferred: PreferredAddresses::default(),
        })
    }

    /// The addresses of `host`, in the order in which they are to be tried. They are looked up for
    /// each request, as only libcurl knows whether a connection will be made for it; so a changed
    /// answer holds at once.
    async fn addresses(
        &self,
        (host, port): (&str, u16),
        limits: &Limits,
    ) -> Result<Vec<SocketAddr>, Error> {
        let found = self.resolver.lookup(&*self.runtime, host, port);
        let late = async {
            self.runtime.sleep(limits.connect()?).await;
            Err(limits.verdict())
        };
        let found = futures_lite::future::or(found, late).await?;
        Ok(self.preferred.order((host, port), found))
    }

    async fn exchange(
        &self,
        mut parts: Parts,
        body: Body,
        proxy: Option<&Proxy>,
    ) -> Result<http::Response<Body>, Error> {
        prepare(&mut parts, &body)?;
        let limits = Limits::new(parts.extensions.remove::<Deadline>(), self.connect_timeout);
        let https = parts.uri.scheme() == Some(&Scheme::HTTPS);
        let may_be_http2 = https && self.http2;
        let is_idempotent = parts.method.is_idempotent();
        let must_be_new = parts.extensions.get::<NewConnection>().is_some();
        let client = self.agents.choose(is_idempotent && !must_be_new);
        let mut upload = Upload::new(body, &parts.method);

        let target = match proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => host_and_port(&parts.uri)?,
        };
        let mut addresses = self.addresses(target, &limits).await?.into_iter();
        let mut attempts = Attempts::new(target.0, target.1);
        while let Some(address) = addresses.next() {
            let others = addresses.len();
            let Ok(connect) = limits.attempt(others) else {
                return Err(timed_out(&attempts, &limits));
            };
            let attempt = attempts.start(address);
            let mut request = agent::request(&parts, address, proxy, connect, limits.total()?)?;
            if https {
                request = self.secure.apply(request, is_idempotent);
            }
            let request = request
                .body(upload.reader())
                .map_err(|error| error::map(error.into(), &limits))?;
            match upload.along(client.send_async(request)).await {
                Ok(response) => {
                    if attempts.has_failed() {
                        self.preferred.prefer(target, address);
                    }
                    upload.check(response.status())?;
                    return body::received(&parts.method, response);
                }
                // Nothing was sent: the next address may answer. A timeout is one of connecting
                // if the time for the whole exchange is not over.
                Err(error)
                    if error::is_refused(&error)
                        || error::is_timeout(&error) && !limits.is_over() =>
                {
                    let is_late = error::is_timeout(&error) && !limits.may_connect();
                    attempts.failed(attempt, reason(error));
                    if others == 0 && is_late {
                        return Err(timed_out(&attempts, &limits));
                    }
                }
                Err(error) => {
                    let tunnel = proxy.filter(|_| https && error::may_be_of_a_tunnel(&error));
                    let is_dead = is_idempotent && error::may_be_unprocessed(&error, may_be_http2);
                    return Err(match (error::map(error, &limits), tunnel) {
                        (error, Some(proxy)) => proxy.gave_no_tunnel(error),
                        (error, None) if is_dead => error.on_dead_connection(),
                        (error, None) => error,
                    });
                }
            }
        }
        Err(attempts.all_failed())
    }
}

impl Fetch for Isahc {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let proxy = self.proxies.of(&parts.uri).cloned();
        let fetched = self.exchange(parts, body, proxy.as_ref()).await;
        fetched.map_err(|error| match &proxy {
            Some(proxy) => proxy.failed(error),
            None => error,
        })
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("isahc 2.0 over libcurl 8");
        capabilities.http2_prior_knowledge = Support::No(NO_PRIOR_KNOWLEDGE);
        capabilities.client_certificates = Support::No(secure::NO_IDENTITY);
        capabilities.unchecked_hostnames = Support::No(secure::NO_UNCHECKED_NAMES);
        capabilities.proxy_faults = Support::No(
            "libcurl has the same codes for a proxy that gives no tunnel and for a server behind one \
             that hangs up or talks nonsense: with https, all of them are the proxy's",
        );
        capabilities.connection_events =
            Support::No("isahc does not say whether a request had a new connection");
        capabilities.tls_faults = Support::No(
            "isahc drops the words in which libcurl says why a certificate was refused",
        );
        capabilities.parallel_connects = Support::No(
            "libcurl is given one address for each transfer, so that one that does not answer costs up \
             to 1.3 s before the next is tried",
        );
        capabilities.prompt_cancel = Support::No(
            "libcurl notices that a request was dropped when its server sends something, or at \
             the request's deadline",
        );
        capabilities.early_head = Support::No(
            "isahc hands the head over with the first byte of the body, so that a 101 that nobody \
             asked for is found out when the server says more, or at the timeout",
        );
        capabilities.opaque_request_headers =
            Support::No("isahc sends header values in ASCII only");
        capabilities.unrepeatable_reuse = Support::No(
            "libcurl would resend the request if its kept connection was dead, so each request whose \
             method is not idempotent has a connection of its own, over HTTP/1.1: a server that speaks \
             HTTP/2 alone does not answer it",
        );
        capabilities.full_duplex =
            Support::No("isahc sends nothing more once the response has begun");
        capabilities.dead_connections = Support::No(
            "libcurl resends most requests whose kept connection had ended, and does not report of the \
             others that the connection was a kept one",
        );
        capabilities.http2_unprocessed = Support::No(
            "libcurl reports a stream that the server refused or excluded by GOAWAY as a broken one: \
             the request is resent if its body can be repeated, and fails otherwise",
        );
        capabilities.http2_resets = Support::No(
            "libcurl takes RST_STREAM with NO_ERROR for the end of the response, so a body that the \
             server cut off in this way looks whole unless it has a length",
        );
        capabilities.missing_close_notify = Support::No(
            "libcurl sometimes meets the end of the TLS connection before it hands the response on, \
             which is an error then",
        );
        capabilities.chunk_faults =
            Support::No("isahc tells a malformed chunk as one that is missing");
        capabilities.strict_chunks = Support::No(
            "libcurl reads a chunk's size as far as it is a number, a LF for the end of a line, and \
             extensions without end: where another recipient on the way reads the chunks \
             otherwise, the body is not what that one saw",
        );
        capabilities.strict_heads = Support::No(
            "libcurl takes the connection's end within a head for the head's end, so that a cut \
             head of HTTP/1.0, or with Connection or Transfer-Encoding, is an answer without a \
             body; it reads a tab for the space in a status line, and any bytes as the reason",
        );
        capabilities.bare_lf = Support::No(
            "libcurl and isahc refuse status lines and ends of heads in LF alone, and empty lines \
             before the status: such a server's answer is an error",
        );
        capabilities.retired_connections = Support::No(
            "libcurl keeps the connection of a response that it has read whole, whatever is found \
             wrong with it afterwards, and looks at a kept one once a second at most: what a \
             server sends unasked can be taken for the next answer",
        );
        capabilities.ignores_environment = Support::No(
            "libcurl writes the keys of its TLS connections into the file that SSLKEYLOGFILE names",
        );
        capabilities.reads_deadline = true;
        capabilities.added_headers = &["accept", "user-agent", "content-type"];
        if cfg!(curl_selects) {
            capabilities.ceilings.push(Ceiling {
                at_most: 1024,
                what: "file descriptors in the process, as this build's libcurl waits with select",
            });
        }
        capabilities
    }
}

/// Refuses, before anything is sent, what isahc would not send as it is, and takes from its
/// headers what would change it.
fn prepare(parts: &mut Parts, body: &Body) -> Result<(), Error> {
    if parts.method == Method::HEAD && !body.is_empty() {
        return Err(unsupported(
            "libcurl waits for a body after a HEAD that has one",
        ));
    }
    if parts.headers.values().any(|value| value.to_str().is_err()) {
        return Err(unsupported("isahc's header values are ASCII"));
    }
    // How the body is framed is not the caller's to say, unless nobody else knows.
    parts.headers.remove(TRANSFER_ENCODING);
    if body.len().is_some() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    if parts.method == Method::POST {
        // libcurl would call it a form. RFC 9110, 8.3: this means as much as none at all.
        parts
            .headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/octet-stream"));
    }
    Ok(())
}

fn unsupported(what: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported).with_context(what)
}
