//! isahc, configured: what it does by itself is off, and what it caps by itself is not capped.

use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use http::request::{Builder, Parts};
use inflight_core::{ClientOptions, Error, ErrorKind, Proxy};
use inflight_net::descriptors::default_max_idle;
use isahc::HttpClient;
use isahc::auth::{Authentication, Credentials};
use isahc::config::{Configurable, RedirectPolicy, VersionNegotiation};

use crate::descriptors;

/// Two agents, each a thread with its connections.
///
/// libcurl resends a request whose kept connection turns out to be dead, whatever its method, and it
/// does not report whether the server may have processed the request. So only idempotent requests use
/// kept connections (RFC 9110, section 9.2.2). Each other request has a connection of its own, over
/// HTTP/1.1: over HTTP/2, requests that are in flight at the same time would share one.
pub(crate) struct Agents {
    keeping: HttpClient,
    single: HttpClient,
}

impl Agents {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        descriptors::check()?;
        let in_all = options.max_idle.unwrap_or_else(default_max_idle);
        Ok(Self {
            keeping: agent(options, options.max_idle_per_host.min(in_all))?,
            single: agent(options, 0)?,
        })
    }

    pub(crate) fn choose(&self, may_be_kept: bool) -> &HttpClient {
        match may_be_kept {
            true => &self.keeping,
            false => &self.single,
        }
    }
}

fn agent(options: &ClientOptions, max_idle: usize) -> Result<HttpClient, Error> {
    HttpClient::builder()
        .version_negotiation(VersionNegotiation::http11())
        .redirect_policy(RedirectPolicy::None)
        .automatic_decompression(false)
        .expect_continue(false)
        .proxy(None)
        // libcurl would look into the environment otherwise.
        .proxy_blacklist(Vec::<String>::new())
        .tcp_nodelay()
        // libcurl counts the connections to all hosts together, those in use among them. Without
        // this limit it keeps twice as many as there are transfers. 0 switches keeping off.
        .connection_cache_size(max_idle.min(u32::MAX as usize))
        // In whole seconds; 0 would be no limit.
        .connection_cache_ttl(options.idle_timeout.max(Duration::from_secs(1)))
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Io)
                .with_context("isahc did not start")
                .with_source(error)
        })
}

/// The request, for one address, of the server's or of the proxy's, and without its body. libcurl
/// may take the time `connect` for the connection and `total` for the whole transfer.
pub(crate) fn request(
    parts: &Parts,
    address: SocketAddr,
    proxy: Option<&Proxy>,
    connect: Duration,
    total: Option<Duration>,
) -> Result<Builder, Error> {
    let mut request = http::Request::builder()
        .method(parts.method.clone())
        .uri(parts.uri.clone())
        .connect_timeout(connect);
    request = match proxy {
        None => request.dial(address),
        Some(proxy) => {
            let uri = Uri::try_from(format!("http://{address}/"));
            let uri = uri.map_err(|error| proxy.gave_no_tunnel(error))?;
            request.proxy(uri)
        }
    };
    if let Some((user, password)) = proxy.and_then(Proxy::credentials) {
        request = request
            .proxy_authentication(Authentication::basic())
            .proxy_credentials(Credentials::new(user, password));
    }
    if let Some(total) = total {
        request = request.timeout(total);
    }
    if let Some(headers) = request.headers_mut() {
        headers.clone_from(&parts.headers);
    }
    Ok(request)
}
