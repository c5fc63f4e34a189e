//! Requests with a policy, on any runtime and any client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_lock::Semaphore;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use url::Url;

use crate::body::Body;
use crate::client::{Capabilities, ClientOptions, Support};
use crate::error::{Error, ErrorKind};
use crate::fetch::{Deadline, DynFetch, Fetch};
use crate::governed::{Alarm, Governed};
use crate::request::{IntoUrl, RequestBuilder, header};
use crate::response::{MAX_BODY, Response};
use crate::runtime::Runtime;
use crate::target::Target;

/// A client on a runtime, with a policy: what aiohttp's `ClientSession` and reqwest's `Client`
/// are to their users. One concrete type, whatever the backend.
///
/// Cheap to clone; clones share connections, caps and defaults. Keep one for the life of the
/// program.
///
/// A session comes from a backend (`inflight::tokio::session()` and its kin), or from
/// [`Session::builder`] with a client and a runtime of one's own.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use inflight_core::{BlockOn, Session, gather};
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
/// let threads = Threads::new();
/// let runtime = threads.clone();
/// // `Echo` is a client that answers with the path: see `Fetch`.
/// let session = Session::builder(|_options| Ok((Echo, Arc::new(runtime))))
///     .base_url("http://pages.test/book/")
///     .header("user-agent", "reader/1.0")
///     .timeout(Duration::from_secs(10))
///     .max_in_flight(8)
///     .build()?;
///
/// let pages = ["1", "2", "3"].map(|page| session.get(page).text());
/// let texts = threads.block_on(gather(pages).all())?;
/// assert_eq!(texts, ["/book/1", "/book/2", "/book/3"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
///
/// Dropping a request's future, or a response before its body's end, ends the exchange; its
/// connection is not used again. How promptly the server sees it is the client's
/// [`prompt_cancel`](Capabilities::prompt_cancel).
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    client: Box<dyn DynFetch>,
    capabilities: Capabilities,
    runtime: Arc<dyn Runtime>,
    headers: HeaderMap,
    base_url: Option<Url>,
    timeout: Option<Duration>,
    permits: Option<Arc<Semaphore>>,
    max_body: u64,
}

type Open = Box<dyn FnOnce(&ClientOptions) -> Result<Parts, Error> + Send>;

struct Parts {
    client: Box<dyn DynFetch>,
    capabilities: Capabilities,
    runtime: Arc<dyn Runtime>,
}

/// Builds a [`Session`]: what its client is built from, and its policy.
#[must_use = "a builder does nothing before `build`"]
pub struct SessionBuilder {
    open: Open,
    options: ClientOptions,
    headers: HeaderMap,
    base_url: Option<Url>,
    timeout: Option<Duration>,
    max_in_flight: Option<usize>,
    max_body: u64,
    error: Option<Error>,
}

impl SessionBuilder {
    /// How long one request may take as a whole: waiting for its turn, connecting, the head and
    /// the body. Default 300 s, as aiohttp's; `None` switches it off.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How long making a connection may take, the look-up of the name included. Default 30 s.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.connect_timeout = timeout.into();
        self
    }

    /// How many requests are in flight at once; more of them wait, and their time counts.
    /// Default: no cap, as [`gather`](crate::gather()) has its own limit.
    ///
    /// A request is in flight until its body is read to the end or dropped.
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

    /// How many bytes [`Response::bytes`] and its kin collect at most. Default 64 MiB.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
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
    /// [`ErrorKind::NoRuntime`], say.
    pub fn build(self) -> Result<Session, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let parts = (self.open)(&self.options)?;
        Ok(Session(Arc::new(Inner {
            client: parts.client,
            capabilities: parts.capabilities,
            runtime: parts.runtime,
            headers: self.headers,
            base_url: self.base_url,
            timeout: self.timeout,
            permits: self.max_in_flight.map(|n| Arc::new(Semaphore::new(n))),
            max_body: self.max_body,
        })))
    }
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

impl Session {
    /// A builder for a session over a client and a runtime of one's own: `open` makes both from
    /// the options that the builder collects.
    pub fn builder<F, O>(open: O) -> SessionBuilder
    where
        F: Fetch,
        O: FnOnce(&ClientOptions) -> Result<(F, Arc<dyn Runtime>), Error> + Send + 'static,
    {
        SessionBuilder {
            open: Box::new(|options| {
                let (client, runtime) = open(options)?;
                Ok(Parts {
                    capabilities: client.capabilities(),
                    client: Box::new(client),
                    runtime,
                })
            }),
            options: ClientOptions::default(),
            headers: HeaderMap::new(),
            base_url: None,
            timeout: Some(Duration::from_secs(300)),
            max_in_flight: None,
            max_body: MAX_BODY,
            error: None,
        }
    }

    /// A GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A request with any method. A URL that is not one is an error when it is sent.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let mut request = http::Request::new(Body::empty());
        *request.method_mut() = method;
        let target = url.into_target(self.0.base_url.as_ref());
        RequestBuilder::new(self.clone(), target, request, self.0.timeout)
    }

    /// Sends a request that was made with the `http` crate, its extensions included. Its URI
    /// may be relative to the session's base URL. Its version is the client's choice.
    ///
    /// # Errors
    ///
    /// As [`RequestBuilder::send`].
    pub fn execute(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'static + use<> {
        let target = Target::parse(&request.uri().to_string(), self.0.base_url.as_ref());
        RequestBuilder::new(self.clone(), target, request, self.0.timeout).send()
    }

    /// The runtime, for [`Gather::on`](crate::gather::Gather::on) and
    /// [`Task::spawn`](crate::Task::spawn).
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.0.runtime
    }

    /// What the client can do, and what it cannot.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    pub(crate) async fn exchange(
        self,
        target: Target,
        request: Box<http::Request<Body>>,
        timeout: Option<Duration>,
    ) -> Result<Response, Error> {
        match self.exchange_unnamed(&target, request, timeout).await {
            Ok(response) => Ok(Response::new(response, target, self.0.max_body)),
            Err(error) => Err(target.name(error)),
        }
    }

    async fn exchange_unnamed(
        &self,
        target: &Target,
        mut request: Box<http::Request<Body>>,
        timeout: Option<Duration>,
    ) -> Result<http::Response<Body>, Error> {
        let inner = &*self.0;
        if let (Support::No(reason), Some("https")) =
            (inner.capabilities.tls, target.uri().scheme_str())
        {
            return Err(Error::new(ErrorKind::Unsupported).with_context(reason));
        }
        let mut alarm = Alarm::new(timeout, inner.runtime.clone());
        *request.uri_mut() = target.uri().clone();
        if let Some(authorization) = target.authorization() {
            let own = request.headers_mut().entry(AUTHORIZATION);
            own.or_insert_with(|| authorization.clone());
        }
        add_defaults(request.headers_mut(), &inner.headers);
        if let (true, Some(deadline)) = (inner.capabilities.reads_deadline, alarm.deadline) {
            request.extensions_mut().insert(Deadline(deadline));
        }

        let permit = match &inner.permits {
            Some(permits) => Some(alarm.bound(permits.acquire_arc()).await?),
            None => None,
        };
        let response = alarm.bound(inner.client.fetch_boxed(*request)).await??;
        Ok(response.map(|body| {
            if http_body::Body::is_end_stream(&body) {
                return body;
            }
            Body::wrap(Governed::new(body, alarm, permit))
        }))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("runtime", &self.0.runtime.name())
            .field("client", &self.0.capabilities.library)
            .finish_non_exhaustive()
    }
}

/// A request's own headers win over the session's of the same name, all of them together.
fn add_defaults(headers: &mut HeaderMap, defaults: &HeaderMap) {
    for name in defaults.keys() {
        if !headers.contains_key(name) {
            for value in defaults.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}
