//! The builder of a session.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use url::Url;

use super::fair_semaphore::FairSemaphore;
use super::hosts::Hosts;
use super::in_flight::InFlight;
use super::limits::{Limits, RateLimit};
use super::policy::RequestPolicy;
use super::redirect::RedirectPolicy;
use super::request::IntoUrl;
use super::retry::{Retry, RetryBudgets};
use super::session::Session;
use super::state::SessionState;
use crate::backend::capabilities::{Capabilities, Support};
use crate::backend::fetch::{AnyClient, DynFetch, Fetch, WrappedClient};
use crate::backend::runtime::Runtime;
use crate::connect::guard::AddressGuard;
use crate::connect::options::ClientOptions;
use crate::connect::proxy::{Proxies, Proxy};
use crate::connect::resolve::Resolve;
use crate::connect::tls::{Certificate, HttpVersions, Identity};
use crate::error::{Error, ErrorKind};
use crate::message::header::parse_header;
use crate::observe::Observer;
#[cfg(feature = "cookies")]
use crate::session::cookies::CookieJar;

/// A function that creates the client and the runtime from the options.
pub(super) type Open = Box<dyn FnOnce(&ClientOptions) -> Result<Backend, Error> + Send>;

/// A client and the runtime that it runs on.
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

/// A builder for a [`Session`]: the options of the client, and the timeouts, limits and other settings
/// of the session.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::{Retry, SessionBuilder};
///
/// /// Sets the policy of this program, on any backend.
/// fn with_policy(builder: SessionBuilder) -> SessionBuilder {
///     builder
///         .base_url("https://api.example.com/v1/")
///         .header("user-agent", "reader/1.0")
///         .timeout(Duration::from_secs(30))
///         .max_in_flight(100)
///         .retry(Retry::new(3))
///         .error_for_status(true)
/// }
/// # let mock = inflight_mock::Mock::new(inflight_virtual::Virtual::new());
/// # assert!(with_policy(mock.session()).build().is_ok());
/// ```
#[doc(alias("ClientBuilder", "TCPConnector", "ClientTimeout"))]
#[must_use = "a builder does nothing before `build`"]
pub struct SessionBuilder {
    open: Open,
    options: ClientOptions,
    headers: HeaderMap,
    base_url: Option<Url>,
    policy: RequestPolicy,
    max_in_flight: Option<usize>,
    max_per_host: Option<usize>,
    /// The shortest time between the starts of two requests to one host.
    host_interval: Option<Duration>,
    max_rate: Option<(NonZeroU32, NonZeroU32)>,
    redirects: RedirectPolicy,
    #[cfg(feature = "cookies")]
    cookies: Option<CookieJar>,
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
            policy: RequestPolicy::default(),
            max_in_flight: None,
            max_per_host: None,
            host_interval: None,
            max_rate: None,
            redirects: RedirectPolicy::default(),
            #[cfg(feature = "cookies")]
            cookies: None,
            observers: Vec::new(),
            error: None,
        }
    }

    /// Sets how long one request may take. Default 300 s. `None` removes the limit.
    ///
    /// The time includes connecting, the head, the body, redirects and retries. It does not include the
    /// waits for the limits of the session, such as [`max_in_flight`](Self::max_in_flight), because they
    /// depend on other requests. aiohttp's `total`, whose default is also 300 s, includes them. To limit
    /// these waits, use [`queue_timeout`](Self::queue_timeout) or
    /// [`RequestBuilder::deadline`](crate::RequestBuilder::deadline).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any(), Reply::pending());
    /// # runtime.block_on(async {
    /// let session = mock.session().timeout(Duration::from_secs(30)).build()?;
    /// // The server does not respond.
    /// let error = session.get("http://pages.test/").send().await.unwrap_err();
    /// assert!(error.is_timeout());
    /// assert_eq!(runtime.elapsed(), Duration::from_secs(30));
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy.timeout = timeout.into();
        self
    }

    /// Sets how long connecting may take, including the lookup of the name. Default 30 s.
    #[doc(alias = "sock_connect")]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.connect_timeout = timeout.into();
        self
    }

    /// Sets how long a request may wait until the limits of the session allow it to start:
    /// [`max_in_flight`](Self::max_in_flight), [`max_per_host`](Self::max_per_host),
    /// [`max_rate`](Self::max_rate), [`max_rate_per_host`](Self::max_rate_per_host),
    /// [`Session::set_host_interval`](crate::Session::set_host_interval), and a pause that the host has asked
    /// for with `Retry-After` in the response to another request. Default: no limit, except that a request
    /// fails at once if such a pause is longer than its [`timeout`](Self::timeout).
    ///
    /// The time limits the wait of each attempt, such as a retry, separately.
    /// [`RequestBuilder::deadline`](crate::RequestBuilder::deadline) limits the whole request.
    pub fn queue_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy.queue_timeout = timeout.into();
        self
    }

    /// Sets how long the head of the response may take. Default: no limit except the
    /// [`timeout`](Self::timeout).
    ///
    /// The time starts when the client receives the request. It includes connecting and sending the
    /// body.
    pub fn head_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy.head_timeout = timeout.into();
        self
    }

    /// Sets how long one attempt may take. Default: no limit except the [`timeout`](Self::timeout).
    ///
    /// An attempt starts when the request has its permits. It ends with the head of a response that is
    /// retried or redirected, and otherwise with the end of the response's body. Each retry and each
    /// redirect starts a new attempt. If the head has not arrived in time, the request can be retried.
    pub fn attempt_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy.attempt_timeout = timeout.into();
        self
    }

    /// Sets how long a read may wait for the next chunk of the response's body. Default: no limit
    /// except the [`timeout`](Self::timeout).
    ///
    /// Only the time spent waiting for the server counts, not the time between two reads.
    #[doc(alias = "sock_read")]
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy.read_timeout = timeout.into();
        self
    }

    /// Sets how many requests may be in flight at once. Default: no limit, because
    /// [`gather`](crate::gather()) has its own limit.
    ///
    /// Chapter [11](../../tutorial/ch11.html) of the book teaches its use.
    ///
    /// Each request in flight holds a permit. If all permits are in use, requests wait for one, first
    /// come, first served. The wait counts towards [`queue_timeout`](Self::queue_timeout) and towards a deadline, but
    /// not towards [`timeout`](Self::timeout).
    ///
    /// A request is in flight until the response's body is read to the end or dropped. If all
    /// permits are held by responses whose bodies have not been read at all, the first waiting
    /// request soon fails with a timeout in [`Phase::Queue`]. Otherwise it could wait forever.
    ///
    /// [`Phase::Queue`]: crate::Phase::Queue
    ///
    /// # Panics
    ///
    /// If `at_most` is 0.
    #[doc(alias("Semaphore", "TCPConnector", "limit"))]
    #[track_caller]
    pub fn max_in_flight(mut self, at_most: impl Into<Option<usize>>) -> Self {
        self.max_in_flight = at_most.into();
        assert_ne!(
            self.max_in_flight,
            Some(0),
            "a limit of zero allows no request; pass `None` for no limit"
        );
        self
    }

    /// Sets how many requests to one host may be in flight at once. Default: no limit.
    ///
    /// Chapter [11](../../tutorial/ch11.html) of the book teaches its use.
    ///
    /// A host is a scheme, a host name and a port. See [`max_in_flight`](Self::max_in_flight).
    ///
    /// ```
    /// use inflight_core::gather;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # let reply = Reply::text("a page").after(std::time::Duration::from_secs(1));
    /// # mock.on(When::any().repeated(), reply);
    /// # runtime.block_on(async {
    /// let session = mock.session().max_per_host(2).build()?;
    /// // Two of these requests wait until another one has finished.
    /// let pages = (1..=4).map(|n| session.get(format!("http://pages.test/{n}")).text());
    /// gather(pages).all().await?;
    /// # assert_eq!(runtime.elapsed().as_secs(), 2);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `at_most` is 0.
    #[doc(alias("limit_per_host", "pool_max_idle_per_host"))]
    #[track_caller]
    pub fn max_per_host(mut self, at_most: impl Into<Option<usize>>) -> Self {
        self.max_per_host = at_most.into();
        assert_ne!(
            self.max_per_host,
            Some(0),
            "a limit of zero allows no request; pass `None` for no limit"
        );
        self
    }

    /// Sets how many requests may start per second, and how many may start at once after a pause.
    /// Default: no limit.
    ///
    /// Chapter [11](../../tutorial/ch11.html) of the book teaches its use.
    ///
    /// Redirects, retries and resends count as requests. Requests above the limit wait, first come,
    /// first served.
    ///
    /// ```
    /// use inflight_core::gather;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any().repeated(), Reply::text("a page"));
    /// # runtime.block_on(async {
    /// // 10 requests at once, and then 5 requests in each second.
    /// let session = mock.session().max_rate(5, 10).build()?;
    /// let pages = (1..=20).map(|n| session.get(format!("http://pages.test/{n}")).text());
    /// gather(pages).all().await?;
    /// assert_eq!(runtime.elapsed().as_secs(), 2);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `per_second` or `burst` is 0.
    #[doc(alias("rate_limit", "throttle"))]
    #[track_caller]
    pub fn max_rate(mut self, per_second: u32, burst: u32) -> Self {
        let quota = NonZeroU32::new(per_second).zip(NonZeroU32::new(burst));
        assert!(quota.is_some(), "a rate of zero allows no request");
        self.max_rate = quota;
        self
    }

    /// Sets how many requests to one host may start in each `period`. The starts of two requests are at
    /// least `period / requests` apart. Default: no limit.
    ///
    /// A host is a scheme, a host name and a port. Redirects, retries and resends count as requests.
    /// Requests above the limit wait, first come, first served.
    /// [`Session::set_host_interval`](crate::Session::set_host_interval) sets the interval of one host.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use inflight_core::gather;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any().repeated(), Reply::text("a page"));
    /// # runtime.block_on(async {
    /// // One request to each host every five seconds.
    /// let session = mock.session().max_rate_per_host(1, Duration::from_secs(5)).build()?;
    /// let urls = ["http://a.test/1", "http://a.test/2", "http://a.test/3", "http://b.test/1"];
    /// gather(urls.map(|url| session.get(url).text())).all().await?;
    /// assert_eq!(runtime.elapsed().as_secs(), 10);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `requests` is 0.
    #[doc(alias("crawl_delay", "throttle"))]
    #[track_caller]
    pub fn max_rate_per_host(mut self, requests: u32, period: Duration) -> Self {
        assert_ne!(requests, 0, "a rate of zero allows no request");
        self.host_interval = Some(period / requests);
        self
    }

    /// Sets how many redirects in a row the session follows. Default 10. With 0, the session
    /// returns the redirect itself.
    ///
    /// The session follows the status codes 301, 302, 303, 307 and 308 with a `Location` (RFC 9110,
    /// 15.4). After 301 and 302, a POST becomes a GET. After 303, every method but HEAD becomes a
    /// GET. Otherwise the session sends the same method and body again. A stream that the client has
    /// begun to read cannot be sent again, so the redirect then fails with
    /// [`RedirectRefused`](crate::ErrorKind::RedirectRefused).
    ///
    /// Once a redirect changes the scheme, host or port, the session no longer sends the caller's
    /// `Authorization`, `Cookie` and `Proxy-Authorization`.
    pub fn max_redirects(mut self, at_most: usize) -> Self {
        self.policy.max_redirects = at_most;
        self
    }

    /// Sets whether the session follows redirects from https to http. Default `false`: a redirect
    /// from https to http is an error of kind
    /// [`RedirectRefused`](crate::ErrorKind::RedirectRefused).
    pub fn allow_https_to_http(mut self, allow: bool) -> Self {
        self.redirects.allow_downgrade = allow;
        self
    }

    /// Marks a header as confidential, for example a header with an API key. The session removes
    /// the header, like `Authorization`, when a redirect changes the scheme, host or port.
    pub fn confidential_header(mut self, name: HeaderName) -> Self {
        self.redirects.confidential.push(name);
        self
    }

    /// Sets which failed requests the session retries, and how often. Default: no retries.
    ///
    /// Independently of this setting, the session resends a request that the server has certainly
    /// not processed, and an idempotent request whose pooled connection ended before a response.
    ///
    /// ```
    /// use inflight_core::Retry;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any(), Reply::status(503));
    /// # mock.on(When::any(), Reply::text("a page"));
    /// # runtime.block_on(async {
    /// let session = mock.session().retry(Retry::new(3)).build()?;
    /// // The server responds with 503, then with 200.
    /// let response = session.get("http://pages.test/").send().await?;
    /// assert_eq!((response.status().as_u16(), response.attempts()), (200, 2));
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy.retry = retry;
        self
    }

    /// Sets whether a response with a status of 400 or above is an error, as with
    /// [`Response::error_for_status`](crate::Response::error_for_status). Default `false`.
    ///
    /// The session retries a response first, if its [`Retry`] policy says so.
    ///
    /// ```
    /// use inflight_core::ErrorKind;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any(), Reply::status(404));
    /// # runtime.block_on(async {
    /// let session = mock.session().error_for_status(true).build()?;
    /// // The server responds with 404.
    /// let error = session.get("http://pages.test/").text().await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Status);
    /// assert_eq!(error.status_code().unwrap(), 404);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "raise_for_status")]
    pub fn error_for_status(mut self, is_error: bool) -> Self {
        self.policy.error_for_status = is_error;
        self
    }

    /// Stores the cookies of responses in `jar`, and sends them with later requests. Default: no cookies
    /// are stored.
    ///
    /// A request that has a `Cookie` header gets no cookies from the jar.
    ///
    /// For an example, see [`CookieJar`].
    #[cfg(feature = "cookies")]
    pub fn cookies(mut self, jar: CookieJar) -> Self {
        self.cookies = Some(jar);
        self
    }

    /// Sets the size of the largest body that [`Response::bytes`](crate::Response::bytes), `text`
    /// and `json` accept. Default 64 MiB.
    ///
    /// The limit applies to the decoded body.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.policy.max_body = bytes;
        self
    }

    /// Sets whether the session decodes response bodies that have a content coding, such as gzip.
    /// Default `true`.
    ///
    /// With `true`, requests have the header `Accept-Encoding: gzip, deflate, br, zstd` unless the
    /// request or the session sets this header. The session decodes every response in one of these
    /// codings, even if the request sets the header. A decoded response has no `Content-Encoding`,
    /// no `Content-Length` and no [`content_length`](crate::Response::content_length).
    ///
    /// The session does not decode an unknown coding. A list of several codings is an error of kind
    /// [`Decode`](crate::ErrorKind::Decode), and so is a coded body that is corrupt, truncated, or
    /// followed by other data. The session neither decodes partial responses (206) nor adds
    /// `Accept-Encoding` to a request with `Range`, because a range counts coded bytes.
    ///
    /// With `false`, the session adds no `Accept-Encoding` and does not decode.
    #[doc(alias("auto_decompress", "gzip"))]
    pub fn decompress(mut self, decompress: bool) -> Self {
        self.policy.decompress = decompress;
        self
    }

    /// Adds a header to every request that has no header of that name.
    ///
    /// If a name is added several times, all of its values are sent. A header that HTTP does not allow
    /// is an error in [`build`](Self::build).
    #[doc(alias = "default_headers")]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: Into<http::Error>,
        V: TryInto<HeaderValue>,
        V::Error: Into<http::Error>,
    {
        match parse_header(name, value) {
            Ok((name, value)) => {
                self.headers.append(name, value);
            }
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// Sets the URL that relative URLs are resolved against, as a browser resolves links in a page.
    /// End the base URL with a slash to keep its whole path.
    pub fn base_url(mut self, url: impl IntoUrl) -> Self {
        match url.into_target(None) {
            Ok(target) => self.base_url = target.url().cloned(),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// Makes [`build`](Self::build) fail with `error`, unless an earlier call has failed.
    pub(crate) fn with_error(mut self, error: Error) -> Self {
        self.error = self.error.or(Some(error));
        self
    }

    /// Wraps the client: `wrap` takes the client and returns the client that the session uses instead.
    ///
    /// The session calls the wrapper for each request that it sends, including redirects and retries.
    /// The last wrapper is the outermost.
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
    #[doc(alias("middleware", "ClientMiddlewareType"))]
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
            let inner = client.clone();
            let client = wrap(AnyClient {
                client,
                capabilities,
            });
            Ok(Backend {
                capabilities: client.capabilities(),
                client: Arc::new(WrappedClient { client, inner }),
                runtime,
            })
        });
        self
    }

    /// Adds an observer, which receives an event for each step of the session's requests: queued,
    /// connected, sent, answered, redirected, retried, done. A session may have several observers.
    /// Without observers, there is no overhead.
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
    #[doc(alias("TraceConfig", "trace_configs"))]
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Changes the options of the client.
    pub fn client_options(mut self, change: impl FnOnce(&mut ClientOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Builds the session and its client.
    ///
    /// # Errors
    ///
    /// Fails if a header or the base URL is invalid, if the client does not support an option that
    /// the caller relies on, or if the backend cannot start (for example with
    /// [`ErrorKind::NoRuntime`](crate::ErrorKind::NoRuntime)).
    pub fn build(self) -> Result<Session, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        check_unix_socket(&self.options)?;
        let backend = (self.open)(&self.options)?;
        check_support(&self.options, &backend.capabilities)?;
        let limits = Limits {
            all: self.max_in_flight.map(FairSemaphore::new),
            hosts: Hosts::new(self.max_per_host, self.host_interval),
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
            policy: Arc::new(self.policy),
            limits,
            redirects: self.redirects,
            budgets: RetryBudgets::default(),
            in_flight: InFlight::new(backend.runtime.clone()),
            runtime: backend.runtime,
            #[cfg(feature = "cookies")]
            cookies: self.cookies,
            connections: self.options.connections,
            proxies: self.options.proxies,
            observers: self.observers.into(),
            last_request_id: AtomicU64::new(0),
        })))
    }
}

/// Shorthands for [`ClientOptions`].
impl SessionBuilder {
    /// Sets which addresses the client may connect to. Default: all. [`build`](Self::build) fails
    /// for a client without [`address_guard`](crate::Capabilities::address_guard).
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

    /// Sends every request through the proxy at `url`: see [`Proxy`]. Default: no proxy. The session
    /// does not read the environment.
    ///
    /// [`build`](Self::build) fails if `url` is not a proxy's URL, or if the client does not
    /// support [`proxies`](crate::Capabilities::proxies) or, for a SOCKS5 proxy,
    /// [`socks_proxies`](crate::Capabilities::socks_proxies).
    ///
    /// ```
    /// # use inflight_core::SessionBuilder;
    /// # fn through_ssh(builder: SessionBuilder) -> SessionBuilder {
    /// // The proxy that `ssh -D 1080` starts. It looks up the names of servers.
    /// builder.proxy("socks5h://127.0.0.1:1080")
    /// # }
    /// ```
    pub fn proxy(self, url: &str) -> Self {
        match Proxy::new(url) {
            Ok(proxy) => self.proxies(Proxies::all(proxy)),
            Err(error) => self.with_error(error),
        }
    }

    /// Sets which requests go through which proxy.
    #[doc(alias = "trust_env")]
    pub fn proxies(self, proxies: Proxies) -> Self {
        self.client_options(|options| options.proxies = proxies)
    }

    /// Opens every connection to the Unix socket at `path`, whatever the URL. Default: none.
    ///
    /// The URL still determines the scheme, the `Host` header, the path and the cookies. With `https`, the
    /// client uses TLS over the socket and checks the server's certificate against the host of the URL. A
    /// redirect to another host goes to the same socket. The session looks up no names, and the
    /// [`address_guard`](Self::address_guard) has no address to check.
    ///
    /// [`build`](Self::build) fails if the session has proxies too, if the system does not accept `path`
    /// as the path of a socket, or if the client does not support
    /// [`unix_sockets`](crate::Capabilities::unix_sockets).
    ///
    /// ```
    /// # use inflight_core::{Error, SessionBuilder};
    /// # async fn ping(builder: SessionBuilder) -> Result<String, Error> {
    /// let session = builder.unix_socket("/var/run/docker.sock").build()?;
    /// session.get("http://localhost/_ping").text().await
    /// # }
    /// ```
    pub fn unix_socket(self, path: impl Into<PathBuf>) -> Self {
        self.client_options(|options| options.unix_socket = Some(path.into()))
    }

    /// Sets the resolver for host names. Default: the resolver of the operating system.
    ///
    /// For an example, see [`Resolve`].
    pub fn resolver(self, resolver: impl Resolve) -> Self {
        self.client_options(|options| options.resolver = Arc::new(resolver))
    }

    /// Sets how long a connection waits for the lookup of one name, within the connect timeout: see
    /// [`ClientOptions::lookup_timeout`]. Default 15 s.
    pub fn lookup_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.client_options(|options| options.lookup_timeout = timeout.into())
    }

    /// Trusts the certificate authorities in a PEM file's content, in addition to the compiled-in
    /// ones. [`build`](Self::build) fails for text without a certificate.
    ///
    /// ```
    /// # use inflight_core::{SessionBuilder, Error};
    /// fn trust_company(builder: SessionBuilder) -> std::io::Result<SessionBuilder> {
    ///     let pem = std::fs::read("company.pem")?;
    ///     Ok(builder.add_root_certificate(pem))
    /// }
    /// ```
    #[doc(alias("tls_certs_merge", "cafile"))]
    pub fn add_root_certificate(self, pem: impl AsRef<[u8]>) -> Self {
        match Certificate::from_pem(pem) {
            Ok(roots) => self.client_options(|options| options.tls.extra_roots.extend(roots)),
            Err(error) => self.with_error(error),
        }
    }

    /// Trusts the certificate authorities in a PEM file's content, and none of the compiled-in
    /// ones: see [`TlsOptions::only_extra_roots`](crate::TlsOptions::only_extra_roots). Authorities
    /// that other calls add are trusted too. [`build`](Self::build) fails for text without a
    /// certificate.
    pub fn only_root_certificates(self, pem: impl AsRef<[u8]>) -> Self {
        self.client_options(|options| options.tls.only_extra_roots = true)
            .add_root_certificate(pem)
    }

    /// Sets the certificate that the client sends to servers that request one. [`build`](Self::build)
    /// fails for a client without [`client_certificates`](crate::Capabilities::client_certificates).
    pub fn client_certificate(self, identity: Identity) -> Self {
        self.client_options(|options| options.tls.identity = Some(identity))
    }

    /// Accepts any certificate for any name: see
    /// [`TlsOptions::danger_accept_invalid_certs`](crate::TlsOptions::danger_accept_invalid_certs).
    #[doc(alias("tls_danger_accept_invalid_certs", "verify_ssl"))]
    pub fn danger_accept_invalid_certs(self, accept: bool) -> Self {
        self.client_options(|options| options.tls.danger_accept_invalid_certs = accept)
    }

    /// Accepts a valid certificate for another name: see
    /// [`TlsOptions::danger_accept_invalid_hostnames`](crate::TlsOptions::danger_accept_invalid_hostnames).
    /// [`build`](Self::build) fails for a client without
    /// [`unchecked_hostnames`](crate::Capabilities::unchecked_hostnames).
    pub fn danger_accept_invalid_hostnames(self, accept: bool) -> Self {
        self.client_options(|options| options.tls.danger_accept_invalid_hostnames = accept)
    }

    /// Sets which versions of HTTP the client may use. Default: HTTP/2 if a TLS server supports it,
    /// otherwise HTTP/1.1.
    pub fn http_versions(self, versions: HttpVersions) -> Self {
        self.client_options(|options| options.versions = versions)
    }
}

/// Returns an error if the client would ignore an option that the caller relies on.
fn check_support(options: &ClientOptions, capabilities: &Capabilities) -> Result<(), Error> {
    let requirements = [
        (options.address_guard.is_some(), capabilities.address_guard),
        (!options.proxies.is_empty(), capabilities.proxies),
        (options.proxies.has_socks(), capabilities.socks_proxies),
        (options.unix_socket.is_some(), capabilities.unix_sockets),
    ];
    for (is_required, support) in requirements {
        if let (true, Support::No(reason)) = (is_required, support) {
            return Err(Error::new(ErrorKind::Unsupported).with_context(reason));
        }
    }
    Ok(())
}

/// Returns an error if the client cannot connect to the Unix socket of the options.
fn check_unix_socket(options: &ClientOptions) -> Result<(), Error> {
    let Some(path) = &options.unix_socket else {
        return Ok(());
    };
    let unsupported = |reason: String| {
        let path = path.display();
        Error::new(ErrorKind::Unsupported).with_context(format!("the Unix socket {path}: {reason}"))
    };
    if !options.proxies.is_empty() {
        return Err(unsupported(
            "a session with a Unix socket uses no proxies: remove one of the two".to_owned(),
        ));
    }
    #[cfg(unix)]
    {
        if path.as_os_str().is_empty() {
            return Err(unsupported("the path is empty".to_owned()));
        }
        std::os::unix::net::SocketAddr::from_pathname(path)
            .map(drop)
            .map_err(|error| unsupported(error.to_string()))
    }
    #[cfg(not(unix))]
    Err(unsupported("this system has no Unix sockets".to_owned()))
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("options", &self.options)
            .field("policy", &self.policy)
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}
