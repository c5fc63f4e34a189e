//! What a session is built from.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use url::Url;

use super::fair_semaphore::FairSemaphore;
use super::in_flight::InFlight;
use super::limits::{HostLimits, Limits, RateLimit};
use super::redirect::RedirectPolicy;
use super::request::{IntoUrl, header};
use super::retry::{Retry, RetryBudgets};
use super::session::Session;
use super::state::SessionState;
use crate::backend::capabilities::{Capabilities, Support};
use crate::backend::fetch::{AnyClient, DynFetch, Fetch, Wrapped};
use crate::backend::runtime::Runtime;
use crate::connect::guard::AddressGuard;
use crate::connect::options::ClientOptions;
use crate::connect::proxy::{Proxies, Proxy};
use crate::connect::resolve::Resolve;
use crate::connect::tls::{Certificate, HttpVersions, Identity};
use crate::error::{Error, ErrorKind};
use crate::message::response::MAX_BODY;
use crate::observe::Observer;
#[cfg(feature = "cookies")]
use crate::session::cookies::CookieJar;

/// Makes the client and the runtime from the options.
pub(super) type Open = Box<dyn FnOnce(&ClientOptions) -> Result<Backend, Error> + Send>;

/// A client and the runtime it waits on.
pub(super) struct Backend {
    client: Arc<dyn DynFetch>,
    capabilities: Capabilities,
    runtime: Arc<dyn Runtime>,
}

impl Backend {
    pub(super) fn new(client: impl Fetch, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            capabilities: client.capabilities(),
            client: Arc::new(client),
            runtime,
        }
    }
}

/// Builds a [`Session`]: what its client is built from, and its policy.
#[must_use = "a builder does nothing before `build`"]
pub struct SessionBuilder {
    open: Open,
    options: ClientOptions,
    headers: HeaderMap,
    base_url: Option<Url>,
    timeout: Option<Duration>,
    queue_timeout: Option<Duration>,
    head_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    max_in_flight: Option<usize>,
    max_per_host: Option<usize>,
    max_rate: Option<(NonZeroU32, NonZeroU32)>,
    redirects: RedirectPolicy,
    retry: Retry,
    #[cfg(feature = "cookies")]
    cookies: Option<CookieJar>,
    max_body: u64,
    decompress: bool,
    observers: Vec<Arc<dyn Observer>>,
    error: Option<Error>,
}

impl SessionBuilder {
    pub(super) fn new(open: Open) -> Self {
        Self {
            open,
            options: ClientOptions::default(),
            headers: HeaderMap::new(),
            base_url: None,
            timeout: Some(Duration::from_secs(300)),
            queue_timeout: None,
            head_timeout: None,
            read_timeout: None,
            max_in_flight: None,
            max_per_host: None,
            max_rate: None,
            redirects: RedirectPolicy::default(),
            retry: Retry::new(0),
            #[cfg(feature = "cookies")]
            cookies: None,
            max_body: MAX_BODY,
            decompress: true,
            observers: Vec::new(),
            error: None,
        }
    }

    /// How long one request may take as a whole: waiting for its turn, connecting, the head and
    /// the body, with its redirects and retries. Default 300 s, as aiohttp's; `None` switches it
    /// off.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How long making a connection may take, the look-up of the name included. Default 30 s.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.connect_timeout = timeout.into();
        self
    }

    /// How long a request may wait for its turn under the caps. Default: as long as the
    /// [`timeout`](Self::timeout) lets it.
    pub fn queue_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.queue_timeout = timeout.into();
        self
    }

    /// How long the head of the response may take, from the moment the client has the request:
    /// making a connection and sending the body count. Default: as long as the
    /// [`timeout`](Self::timeout) lets it.
    pub fn head_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.head_timeout = timeout.into();
        self
    }

    /// The longest wait for the next piece of a response's body. Only waiting counts: a reader
    /// may take its time. Default: as long as the [`timeout`](Self::timeout) lets it.
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.read_timeout = timeout.into();
        self
    }

    /// How many requests are in flight at once; more of them wait, first come, first served, and
    /// their time counts. Default: no cap, as [`gather`](crate::gather()) has its own limit.
    ///
    /// A request is in flight until its body is read to the end or dropped. When every place is
    /// held by a response of which nobody has begun to read the body, waiting would have no end:
    /// the first in the queue is told so within moments, by a timeout in [`Phase::Queue`].
    ///
    /// [`Phase::Queue`]: crate::Phase::Queue
    ///
    /// # Panics
    ///
    /// If `at_most` is 0.
    pub fn max_in_flight(mut self, at_most: impl Into<Option<usize>>) -> Self {
        self.max_in_flight = at_most.into();
        assert_ne!(
            self.max_in_flight,
            Some(0),
            "a cap of zero lets nothing through"
        );
        self
    }

    /// The same for the requests to one host: one scheme, host and port.
    ///
    /// # Panics
    ///
    /// If `at_most` is 0.
    pub fn max_per_host(mut self, at_most: impl Into<Option<usize>>) -> Self {
        self.max_per_host = at_most.into();
        assert_ne!(
            self.max_per_host,
            Some(0),
            "a cap of zero lets nothing through"
        );
        self
    }

    /// How many requests start in a second, redirects and retries among them, and how many may
    /// start at once after a pause. Others wait, first come, first served. Default: no cap.
    ///
    /// # Panics
    ///
    /// If one of them is 0.
    pub fn max_rate(mut self, per_second: u32, burst: u32) -> Self {
        let quota = NonZeroU32::new(per_second).zip(NonZeroU32::new(burst));
        assert!(quota.is_some(), "a rate of zero lets nothing through");
        self.max_rate = quota;
        self
    }

    /// How many redirects in a row are followed; 0 answers with the redirect itself. Default 10.
    ///
    /// Followed are 301, 302, 303, 307 and 308 with a `Location` (RFC 9110, 15.4). A POST becomes
    /// a GET after 301 and 302, every method but HEAD after 303; otherwise method and body are
    /// sent again, which a body that was a stream cannot be. At the first change of scheme, host
    /// or port, `Authorization`, `Cookie` and `Proxy-Authorization` stay behind for good.
    pub fn max_redirects(mut self, at_most: usize) -> Self {
        self.redirects.at_most = at_most;
        self
    }

    /// Whether a redirect from https to http is followed. Default: it is an error of kind
    /// [`RedirectRefused`](crate::ErrorKind::RedirectRefused).
    pub fn allow_https_to_http(mut self, allow: bool) -> Self {
        self.redirects.allow_downgrade = allow;
        self
    }

    /// A header that stays behind like `Authorization` when a redirect leads to another scheme,
    /// host or port: a key of an API, say.
    pub fn confidential_header(mut self, name: HeaderName) -> Self {
        self.redirects.confidential.push(name);
        self
    }

    /// When failed requests are sent again. Default: never, except for an idempotent request on
    /// a kept connection that turns out to have ended, which is sent once more.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Keeps the cookies that responses set in `jar`, and sends them back. Default: none are kept.
    ///
    /// A request with a `Cookie` header of its own gets none from the jar.
    #[cfg(feature = "cookies")]
    pub fn cookies(mut self, jar: CookieJar) -> Self {
        self.cookies = Some(jar);
        self
    }

    /// How many bytes [`Response::bytes`](crate::Response::bytes) and its kin collect at most, counted as they are read:
    /// decoded. Default 64 MiB.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Whether bodies in a content coding are decoded. Default true: requests say
    /// `Accept-Encoding: gzip, deflate, br, zstd` unless they, or the session's headers, have
    /// one of their own, and what comes in one of these codings is decoded, whoever asked for
    /// it. A decoded response has no `Content-Encoding`, no `Content-Length` and no
    /// [`content_length`](crate::Response::content_length).
    ///
    /// A coding that is not known is left as it came. A list of several is of the kind
    /// [`Decode`](crate::ErrorKind::Decode), and so is a coded body that is corrupt, cut short,
    /// or followed by something else. Parts of a body (206) are not decoded, nor are codings
    /// accepted for a request with `Range`: the parts are cut from the coded bytes.
    ///
    /// With `false`, nothing is asked for, and bodies are handed on as they come.
    pub fn decompress(mut self, decompress: bool) -> Self {
        self.decompress = decompress;
        self
    }

    /// A header that every request has unless it has one of that name itself. A name that is
    /// given several times is sent several times. One that HTTP does not allow is an error in
    /// [`build`](Self::build).
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: Into<http::Error>,
        V: TryInto<HeaderValue>,
        V::Error: Into<http::Error>,
    {
        match header(name, value) {
            Ok((name, value)) => {
                self.headers.append(name, value);
            }
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// What relative URLs are relative to, as links in a page are: give it a final slash to
    /// keep its whole path.
    pub fn base_url(mut self, url: impl IntoUrl) -> Self {
        match url.into_target(None) {
            Ok(target) => self.base_url = target.url().cloned(),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// Lets [`build`](Self::build) fail with this, unless something else failed before.
    pub(crate) fn failing(mut self, error: Error) -> Self {
        self.error = self.error.or(Some(error));
        self
    }

    /// Puts something of one's own around the client: `wrap` gets the client, and gives one that
    /// the session uses in its place. It meets each exchange by itself, redirects and retries one
    /// by one, beneath the session's policy. What is wrapped last is outermost.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use inflight_core::{AnyClient, BlockOn, Body, Capabilities, Error, Fetch, Session, http};
    /// use inflight_threads::Threads;
    /// # struct Echo;
    /// # impl Fetch for Echo {
    /// #     async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
    /// #         let header = request.headers().get("x-from").cloned();
    /// #         Ok(http::Response::new(Body::from(header.unwrap().as_bytes().to_vec())))
    /// #     }
    /// #     fn capabilities(&self) -> Capabilities {
    /// #         Capabilities::all("echo")
    /// #     }
    /// # }
    ///
    /// /// Signs every request.
    /// struct Signed(AnyClient);
    ///
    /// impl Fetch for Signed {
    ///     async fn fetch(
    ///         &self,
    ///         mut request: http::Request<Body>,
    ///     ) -> Result<http::Response<Body>, Error> {
    ///         let name = http::HeaderValue::from_static("me");
    ///         request.headers_mut().insert("x-from", name);
    ///         self.0.fetch(request).await
    ///     }
    ///
    ///     fn capabilities(&self) -> Capabilities {
    ///         self.0.capabilities()
    ///     }
    /// }
    ///
    /// let threads = Threads::new();
    /// # let runtime = threads.clone();
    /// // `Echo` answers with the header.
    /// let session = Session::builder(|_options| Ok((Echo, Arc::new(runtime))))
    ///     .wrap(Signed)
    ///     .build()?;
    /// assert_eq!(threads.block_on(session.get("http://pages.test/").text())?, "me");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wrap<F, W>(mut self, wrap: W) -> Self
    where
        F: Fetch,
        W: FnOnce(AnyClient) -> F + Send + 'static,
    {
        let open = self.open;
        self.open = Box::new(|options| {
            let Backend {
                client,
                capabilities,
                runtime,
            } = open(options)?;
            let below = client.clone();
            let client = wrap(AnyClient {
                client,
                capabilities,
            });
            Ok(Backend {
                capabilities: client.capabilities(),
                client: Arc::new(Wrapped { client, below }),
                runtime,
            })
        });
        self
    }

    /// Tells `observer` what happens to the session's requests: when they wait, connect, are
    /// sent, answered, redirected, retried and over. Several can be told. A session that nobody
    /// observes pays nothing for it.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// use inflight_core::{BlockOn, Event, Session};
    /// use inflight_threads::Threads;
    /// # use inflight_core::{Body, Capabilities, Error, Fetch, http};
    /// # struct Echo;
    /// # impl Fetch for Echo {
    /// #     async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
    /// #         Ok(http::Response::new(Body::from(request.uri().path().to_owned())))
    /// #     }
    /// #     fn capabilities(&self) -> Capabilities {
    /// #         Capabilities::all("echo")
    /// #     }
    /// # }
    ///
    /// let log = Arc::new(Mutex::new(Vec::new()));
    /// let seen = log.clone();
    /// let threads = Threads::new();
    /// # let runtime = threads.clone();
    /// // `Echo` is a client that answers with the path: see `Fetch`.
    /// let session = Session::builder(|_options| Ok((Echo, Arc::new(runtime))))
    ///     .observe(move |event: &Event<'_>| seen.lock().unwrap().push(event.step.name()))
    ///     .build()?;
    /// threads.block_on(session.get("http://pages.test/1").text())?;
    /// assert_eq!(
    ///     *log.lock().unwrap(),
    ///     ["started", "sending", "connected", "sent", "head", "chunk", "done"],
    /// );
    /// # Ok::<(), Error>(())
    /// ```
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Changes what the client is built from.
    pub fn client_options(mut self, change: impl FnOnce(&mut ClientOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Builds the session and its client.
    ///
    /// # Errors
    ///
    /// A header or base URL that is not one, and whatever keeps the backend from starting:
    /// [`ErrorKind::NoRuntime`](crate::ErrorKind::NoRuntime), say.
    pub fn build(self) -> Result<Session, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let backend = (self.open)(&self.options)?;
        check_support(&self.options, &backend.capabilities)?;
        let limits = Limits {
            queue_timeout: self.queue_timeout,
            all: self.max_in_flight.map(FairSemaphore::new),
            hosts: self.max_per_host.map(HostLimits::new),
            rate: self
                .max_rate
                .map(|quota| RateLimit::new(quota, backend.runtime.clone())),
        };
        Ok(Session(Arc::new(SessionState {
            client: RwLock::new(Some(backend.client)),
            closing: async_lock::Mutex::new(()),
            capabilities: backend.capabilities,
            headers: self.headers,
            base_url: self.base_url,
            timeout: self.timeout,
            head_timeout: self.head_timeout,
            read_timeout: self.read_timeout,
            limits,
            redirects: self.redirects,
            retry: self.retry,
            budgets: RetryBudgets::default(),
            in_flight: InFlight::new(backend.runtime.clone()),
            runtime: backend.runtime,
            #[cfg(feature = "cookies")]
            cookies: self.cookies,
            max_body: self.max_body,
            decompress: self.decompress,
            connections: self.options.connections,
            proxies: self.options.proxies,
            observers: self.observers.into(),
            last_number: AtomicU64::new(0),
        })))
    }
}

/// Shorthands for [`ClientOptions`].
impl SessionBuilder {
    /// Which addresses are connected to. Default: all. A client that gives no say over them
    /// ([`address_guard`](crate::Capabilities::address_guard)) fails in [`build`](Self::build).
    ///
    /// ```
    /// # use inflight_core::{AddressGuard, SessionBuilder};
    /// # fn guarded(builder: SessionBuilder) -> SessionBuilder {
    /// builder.address_guard(AddressGuard::public())
    /// # }
    /// ```
    pub fn address_guard(self, guard: AddressGuard) -> Self {
        self.client_options(|options| options.address_guard = Some(guard))
    }

    /// Sends every request through the proxy at this URL: see [`Proxy::new`]. One that is none is
    /// an error in [`build`](Self::build), as is a client that has no
    /// [`proxies`](crate::Capabilities::proxies). Default: none, whatever the environment says.
    pub fn proxy(self, url: &str) -> Self {
        match Proxy::new(url) {
            Ok(proxy) => self.proxies(Proxies::all(proxy)),
            Err(error) => self.failing(error),
        }
    }

    /// Which requests go through which proxy.
    pub fn proxies(self, proxies: Proxies) -> Self {
        self.client_options(|options| options.proxies = proxies)
    }

    /// How names become addresses. Default: the system's way.
    pub fn resolver(self, resolver: impl Resolve) -> Self {
        self.client_options(|options| options.resolver = Arc::new(resolver))
    }

    /// How long one name's look-up is waited for, within the time for the connection: see
    /// [`ClientOptions::lookup_timeout`]. Default 15 s.
    pub fn lookup_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.client_options(|options| options.lookup_timeout = timeout.into())
    }

    /// Trusts these authorities too, beside those that are compiled in: the certificates in a PEM
    /// file's content. Text without one is an error in [`build`](Self::build).
    pub fn add_root_certificate(self, pem: impl AsRef<[u8]>) -> Self {
        match Certificate::from_pem(pem) {
            Ok(roots) => self.client_options(|options| options.tls.extra_roots.extend(roots)),
            Err(error) => self.failing(error),
        }
    }

    /// Trusts these authorities and none of those that are compiled in: see
    /// [`TlsOptions::only_extra_roots`]. What is added before and after is trusted too. Text
    /// without a certificate is an error in [`build`](Self::build).
    pub fn only_root_certificates(self, pem: impl AsRef<[u8]>) -> Self {
        self.client_options(|options| options.tls.only_extra_roots = true)
            .add_root_certificate(pem)
    }

    /// What is shown to a server that asks for a certificate. A client that cannot
    /// ([`client_certificates`](crate::Capabilities::client_certificates)) fails in
    /// [`build`](Self::build).
    pub fn client_certificate(self, identity: Identity) -> Self {
        self.client_options(|options| options.tls.identity = Some(identity))
    }

    /// Accepts any certificate for any name: see
    /// [`TlsOptions::danger_accept_invalid_certs`].
    pub fn danger_accept_invalid_certs(self, accept: bool) -> Self {
        self.client_options(|options| options.tls.danger_accept_invalid_certs = accept)
    }

    /// Accepts a valid certificate for another name: see
    /// [`TlsOptions::danger_accept_invalid_hostnames`]. A client that cannot
    /// ([`unchecked_hostnames`](crate::Capabilities::unchecked_hostnames)) fails in
    /// [`build`](Self::build).
    pub fn danger_accept_invalid_hostnames(self, accept: bool) -> Self {
        self.client_options(|options| options.tls.danger_accept_invalid_hostnames = accept)
    }

    /// Which versions of HTTP are spoken. Default: HTTP/2 where a TLS server takes it.
    pub fn http_versions(self, versions: HttpVersions) -> Self {
        self.client_options(|options| options.versions = versions)
    }
}

/// Refuses options that the client would ignore, although the caller relies on them.
fn check_support(options: &ClientOptions, capabilities: &Capabilities) -> Result<(), Error> {
    let relied_on = [
        (options.address_guard.is_some(), capabilities.address_guard),
        (!options.proxies.is_empty(), capabilities.proxies),
    ];
    for (is_set, support) in relied_on {
        if let (true, Support::No(reason)) = (is_set, support) {
            return Err(Error::new(ErrorKind::Unsupported).with_context(reason));
        }
    }
    Ok(())
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("options", &self.options)
            .field("timeout", &self.timeout)
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}
