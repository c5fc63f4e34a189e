//! hyper as an inflight client, on every async runtime: the same engine everywhere, so that
//! what differs between two cells is the runtime alone.
//!
//! The connection pool is hyper-util's. A runtime brings its sockets with a [`Dial`]:
//! `dial::Tokio`, `dial::Smol` and `dial::AsyncStd` are here behind features of those names.
//! Tasks and timers come through [`Runtime`].

mod body;
mod connect;
pub mod dial;
mod error;
mod kept;
mod rt;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use inflight_core::{
    Body, BoxFuture, Capabilities, ClientOptions, Error, ErrorKind, Fetch, HttpVersions, Runtime,
    Support, Trace, retires_connection,
};

use body::Sent;
use connect::Connector;
pub use dial::Dial;
use kept::{GRACE, Watch};

/// How often an HTTP/2 connection that carries requests is asked for a sign of life, and how long
/// it may take.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// hyper with hyper-util's pool, over the sockets of `D`.
pub struct Hyper<D: Dial> {
    client: Client<Connector<D>, Sent>,
    connector: Connector<D>,
    runtime: Arc<dyn Runtime>,
    options: ClientOptions,
}

impl<D: Dial> Hyper<D> {
    /// A client whose sockets come from `dial` and whose tasks and timers from `runtime`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] when a certificate among the options cannot be used;
    /// [`ErrorKind::Unsupported`] with a proxy and [`HttpVersions::Http2PriorKnowledge`], as proxies
    /// are spoken to in HTTP/1.1.
    pub fn new(dial: D, runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        let is_told = options.versions == HttpVersions::Http2PriorKnowledge;
        if is_told && !options.proxies.is_empty() {
            return Err(
                Error::new(ErrorKind::Unsupported).with_context("a proxy is spoken to in HTTP/1.1")
            );
        }
        let connector = Connector::new(dial, runtime.clone(), options)?;
        Ok(Self {
            client: with_pool(&connector, &runtime, options),
            connector,
            runtime,
            options: options.clone(),
        })
    }

    /// Without a negotiation, the first of the requests that a connection takes with it makes the
    /// next one and the others wait for that.
    fn grace(&self) -> Option<Duration> {
        match (self.options.versions, self.options.connect_timeout) {
            (HttpVersions::Http2PriorKnowledge, None) => None,
            (HttpVersions::Http2PriorKnowledge, Some(connect)) => Some(connect + GRACE),
            _ => Some(GRACE),
        }
    }

    /// What a proxy that forwards the request wants to know. One that gives a tunnel is told
    /// when it is asked for it.
    fn authorize(&self, request: &mut http::Request<Body>) {
        if let Some(proxy) = self.options.proxies.of(request.uri())
            && request.uri().scheme() == Some(&Scheme::HTTP)
            && let Some(authorization) = proxy.authorization()
        {
            let own = request.headers_mut().entry(PROXY_AUTHORIZATION);
            own.or_insert_with(|| authorization.clone());
        }
    }
}

fn with_pool<D: Dial>(
    connector: &Connector<D>,
    runtime: &Arc<dyn Runtime>,
    options: &ClientOptions,
) -> Client<Connector<D>, Sent> {
    Client::builder(rt::Spawn(runtime.clone()))
        .pool_timer(rt::Timer(runtime.clone()))
        .pool_idle_timeout(options.idle_timeout)
        .pool_max_idle_per_host(options.max_idle_per_host)
        // RFC 9112, 5.2, has a user agent read them.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http2_only(options.versions == HttpVersions::Http2PriorKnowledge)
        // A request that is dropped ends its stream and leaves the connection. One that has
        // died silently would be given out for ever, were it not asked for a sign of life.
        .timer(rt::Timer(runtime.clone()))
        .http2_keep_alive_interval(SIGN_OF_LIFE)
        .http2_keep_alive_timeout(SIGN_OF_LIFE)
        .build(connector.clone())
}

impl<D: Dial> Fetch for Hyper<D> {
    fn fetch(
        &self,
        mut request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send {
        say_length(&mut request);
        if self.options.versions != HttpVersions::Http2PriorKnowledge {
            say_host(&mut request);
        }
        self.authorize(&mut request);
        let trace = Trace::of(&request);
        let mut request = request.map(Sent::new);
        let captured = capture_connection(&mut request);
        let response = self.client.request(request);
        async move {
            let mut watch = Watch::new(captured, &*self.runtime, self.grace());
            let response = watch.until(response, || trace.connected()).await;
            let error = match response {
                Some(Ok(response)) => {
                    if watch.is_reused() {
                        self.options.connections.reused(&trace);
                    }
                    if retires_connection(&response) {
                        watch.retire();
                    }
                    return Ok(response.map(body::received));
                }
                Some(Err(error)) => error::map(error),
                None => Error::new(ErrorKind::Incomplete)
                    .with_context("the connection ended before the request was sent"),
            };
            if watch.is_reused() && error.kind() == ErrorKind::Incomplete {
                self.options.connections.reused(&trace);
                return Err(error.on_dead_connection());
            }
            Err(error)
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("hyper 1 with hyper-util's pool");
        capabilities.interim_limit = Support::No(
            "hyper passes over interim responses without end: a server that sends nothing else \
             keeps a request busy until its timeout",
        );
        capabilities
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        self.connector.ended()
    }
}

/// These methods say the length of their content even if it is 0 (RFC 9110, 8.6); hyper leaves
/// an empty body unmentioned.
fn say_length(request: &mut http::Request<Body>) {
    if matches!(
        *request.method(),
        http::Method::POST | http::Method::PUT | http::Method::PATCH
    ) && request.body().is_empty()
    {
        let zero = http::HeaderValue::from_static("0");
        request
            .headers_mut()
            .entry(http::header::CONTENT_LENGTH)
            .or_insert(zero);
    }
}

/// `Host` is the authority of most URLs as it stands (RFC 9110, 7.2). hyper-util would take it
/// apart and put it together again; it does so for the others.
fn say_host(request: &mut http::Request<Body>) {
    let uri = request.uri();
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return;
    };
    let authority = authority.as_str();
    if authority.contains('@') || authority.ends_with(":80") || authority.ends_with(':') {
        return;
    }
    if let Ok(host) = http::HeaderValue::from_str(authority) {
        let headers = request.headers_mut();
        headers.entry(http::header::HOST).or_insert(host);
    }
}
