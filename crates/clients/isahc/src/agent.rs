//! isahc, configured: what it does by itself is off, and what it caps by itself is not capped.

use std::net::SocketAddr;
use std::time::Duration;

use http::request::{Builder, Parts};
use http::{Method, Uri};
use inflight_core::{Body, ClientOptions, Error, ErrorKind, Proxy};
use inflight_net::descriptors::default_max_idle;
use isahc::HttpClient;
use isahc::auth::{Authentication, Credentials};
use isahc::config::{Configurable, RedirectPolicy, VersionNegotiation};

use crate::descriptors;

/// Two agents, each a thread with its connections.
///
/// libcurl sends a request again when it was sent on a kept connection that turns out to be dead. It
/// cannot repeat a body that is read from a stream, as all of ours are, and returns an error then. What
/// must not be sent twice goes to the agent that keeps no connection, so that it meets no dead one.
/// Not so over HTTP/2 if it has a body: without a place to keep it, libcurl closes a connection to some
/// servers before the response has come.
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

    pub(crate) fn choose(&self, repeatable: bool) -> &HttpClient {
        match repeatable {
            true => &self.keeping,
            false => &self.single,
        }
    }
}

/// Whether no harm is done if libcurl wants to repeat the request. RFC 9110, 9.2.2: a client may
/// repeat what is idempotent.
pub(crate) fn is_repeatable(method: &Method, body: &Body, may_be_http2: bool) -> bool {
    method.is_idempotent() || may_be_http2 && !body.is_empty()
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
