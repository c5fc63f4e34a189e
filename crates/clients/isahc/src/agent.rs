//! The configuration of isahc. It disables isahc's own features and limits.

use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use http::request::{Builder, Parts};
use inflight_core::{ClientOptions, Error, ErrorKind, Proxy};
use inflight_net::addresses::Address;
use inflight_net::descriptors::default_max_idle;
use isahc::HttpClient;
use isahc::auth::{Authentication, Credentials};
use isahc::config::{Configurable, RedirectPolicy, VersionNegotiation};
use isahc::net::Dialer;

use crate::descriptors;

/// Two agents (clients of isahc), each with its own thread and connections.
///
/// libcurl resends a request with any method if its pooled connection was dead, and does not report
/// whether the server may have processed the request. So only idempotent requests use pooled connections
/// (RFC 9110, section 9.2.2). Every other request opens its own connection, over HTTP/1.1, because
/// concurrent requests over HTTP/2 would share a connection.
pub(crate) struct Agents {
    pooled: HttpClient,
    unpooled: HttpClient,
}

impl Agents {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        descriptors::STARTUP.check(ErrorKind::Io)?;
        let max_idle = options.max_idle.unwrap_or_else(default_max_idle);
        Ok(Self {
            pooled: agent(options, options.max_idle_per_host.min(max_idle))?,
            unpooled: agent(options, 0)?,
        })
    }

    pub(crate) fn choose(&self, may_pool: bool) -> &HttpClient {
        match may_pool {
            true => &self.pooled,
            false => &self.unpooled,
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
        // Without this list, libcurl would read one from the environment.
        .proxy_blacklist(Vec::<String>::new())
        .tcp_nodelay()
        // libcurl counts the connections to all hosts, including those in use. Its default limit is twice
        // the number of transfers. 0 disables the pool.
        .connection_cache_size(max_idle.min(u32::MAX as usize))
        // libcurl ignores fractions of a second, and 0 would mean no limit.
        .connection_cache_ttl(options.idle_timeout.max(Duration::from_secs(1)))
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Io)
                .with_context("isahc could not start")
                .with_source(error)
        })
}

/// Returns the request without its body, for one address of the server or the proxy. A SOCKS5 proxy opens a
/// tunnel to `server`, or looks up the name of the server if `server` is `None`. `connect` limits the time for
/// the connection, and `total` the time for the whole transfer.
pub(crate) fn request(
    parts: &Parts,
    address: &Address,
    proxy: Option<&Proxy>,
    server: Option<SocketAddr>,
    connect: Duration,
    total: Option<Duration>,
) -> Result<Builder, Error> {
    let mut request = http::Request::builder()
        .method(parts.method.clone())
        .uri(parts.uri.clone())
        .connect_timeout(connect);
    request = match proxy {
        None => request.dial(dialer(address)),
        Some(proxy) => {
            // With `socks5`, libcurl would look up names itself.
            let scheme = match proxy.is_socks() {
                true => "socks5h",
                false => "http",
            };
            let uri = Uri::try_from(format!("{scheme}://{address}/"));
            let uri = uri.map_err(|error| proxy.tunnel_error(error))?;
            request.proxy(uri)
        }
    };
    if let Some(server) = server {
        request = request.dial(server);
    }
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

fn dialer(address: &Address) -> Dialer {
    match address {
        Address::Ip(address) => Dialer::ip_socket(*address),
        #[cfg(unix)]
        Address::Unix(path) => Dialer::unix_socket(path),
        // The session refuses a Unix socket on this system.
        #[cfg(not(unix))]
        Address::Unix(_) => Dialer::default(),
    }
}
