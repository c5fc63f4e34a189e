//! Requests with a policy, on any runtime and any client.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_lock::{Semaphore, SemaphoreGuardArc};
use base64::Engine;
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use http_body::{Frame, SizeHint};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_wrapper::SyncWrapper;
use url::Url;

use crate::body::Body;
use crate::client::{Capabilities, ClientOptions, Support};
use crate::error::{Error, ErrorKind, Phase};
use crate::fetch::{BoxFuture, Deadline, DynFetch, Fetch};
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
        RequestBuilder {
            target: url.into_target(self.0.base_url.as_ref()),
            session: self.clone(),
            method,
            headers: HeaderMap::new(),
            body: Body::empty(),
            timeout: self.0.timeout,
        }
    }

    /// Sends a request that was made with the `http` crate. Its URI may be relative to the
    /// session's base URL.
    ///
    /// # Errors
    ///
    /// As [`RequestBuilder::send`].
    pub fn execute(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'static + use<> {
        let (parts, body) = request.into_parts();
        let mut builder = self.request(parts.method, parts.uri.to_string());
        builder.headers = parts.headers;
        builder.body = body;
        builder.send()
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

    async fn exchange(
        self,
        method: Method,
        target: Target,
        headers: HeaderMap,
        body: Body,
        timeout: Option<Duration>,
    ) -> Result<Response, Error> {
        let result = self.exchange_unnamed(method, &target, headers, body, timeout);
        match result.await {
            Ok(response) => Ok(Response::new(response, target, self.0.max_body)),
            Err(error) => Err(target.name(error)),
        }
    }

    async fn exchange_unnamed(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Body,
        timeout: Option<Duration>,
    ) -> Result<http::Response<Body>, Error> {
        let inner = &*self.0;
        if let (Support::No(reason), "https") = (
            inner.capabilities.tls,
            target.uri().scheme_str().unwrap_or_default(),
        ) {
            return Err(Error::new(ErrorKind::Unsupported).with_context(reason));
        }
        let mut alarm = Alarm::new(timeout, inner.runtime.clone());
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.uri().clone();
        *request.headers_mut() = headers;
        add_defaults(request.headers_mut(), &inner.headers);
        if let Some(url) = target.credentials() {
            add_credentials(request.headers_mut(), url)?;
        }
        if let (true, Some(deadline)) = (inner.capabilities.reads_deadline, alarm.deadline) {
            request.extensions_mut().insert(Deadline(deadline));
        }

        let work = async {
            let permit = match &inner.permits {
                Some(permits) => Some(permits.acquire_arc().await),
                None => None,
            };
            let response = inner.client.fetch_boxed(request).await?;
            Ok::<_, Error>((response, permit))
        };
        let mut work = std::pin::pin!(work);
        let (response, permit) = poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            alarm.poll(cx).map(|()| Err(Error::timeout(Phase::Total)))
        })
        .await?;
        Ok(response.map(|body| {
            if http_body::Body::is_end_stream(&body) {
                return body;
            }
            Body::wrap(Governed {
                body,
                alarm,
                permit,
                pieces: 0,
                over: false,
            })
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

/// Credentials in the URL become basic authentication (RFC 7617), as browsers and aiohttp have
/// it, unless the request has an `Authorization` already.
fn add_credentials(headers: &mut HeaderMap, url: &Url) -> Result<(), Error> {
    if headers.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|error| Error::new(ErrorKind::InvalidRequest).with_source(error))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// The one timer of an exchange. It starts its runtime's timer at its first poll: an exchange
/// that never waits never pays for it.
struct Alarm {
    deadline: Option<Instant>,
    sleep: Option<SyncWrapper<BoxFuture<'static, ()>>>,
    runtime: Arc<dyn Runtime>,
}

impl Alarm {
    fn new(timeout: Option<Duration>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            // A time too far away to be represented is no limit.
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            sleep: None,
            runtime,
        }
    }

    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let runtime = &self.runtime;
        let sleep = self.sleep.get_or_insert_with(|| {
            let left = deadline.saturating_duration_since(Instant::now());
            SyncWrapper::new(runtime.sleep(left))
        });
        sleep.get_mut().as_mut().poll(cx)
    }
}

/// A response's body under the session's policy: within the exchange's time, and in flight
/// until it ends.
struct Governed {
    body: Body,
    alarm: Alarm,
    permit: Option<SemaphoreGuardArc>,
    pieces: u32,
    over: bool,
}

impl Governed {
    /// Asks the clock every sixteenth piece: a clock costs more than handing a piece on.
    fn is_overdue(&mut self) -> bool {
        self.pieces = self.pieces.wrapping_add(1);
        self.pieces.is_multiple_of(16) && self.alarm.is_over()
    }

    fn end(&mut self) {
        self.over = true;
        self.body = Body::empty();
        self.permit = None;
        self.alarm.sleep = None;
    }
}

impl http_body::Body for Governed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            // A peer that is never slow enough to wait for is held to the time as well.
            Poll::Ready(Some(Ok(_))) if self.is_overdue() => {
                self.end();
                Poll::Ready(Some(Err(Error::timeout(Phase::Total))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if http_body::Body::is_end_stream(&self.body) {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                self.end();
                Poll::Ready(end)
            }
            Poll::Pending => {
                ready!(self.alarm.poll(cx));
                self.end();
                Poll::Ready(Some(Err(Error::timeout(Phase::Total))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

/// A request that is being made. [`send`](Self::send) gives the response at its head;
/// [`bytes`](Self::bytes), [`text`](Self::text) and [`json`](Self::json) read the body too, so
/// that one future holds the whole exchange, as [`gather`](crate::gather()) wants it.
///
/// The futures own a clone of the session: they are `'static` and may go to any task.
#[must_use = "a request does nothing before it is sent"]
pub struct RequestBuilder {
    session: Session,
    method: Method,
    target: Result<Target, Error>,
    headers: HeaderMap,
    body: Body,
    timeout: Option<Duration>,
}

impl RequestBuilder {
    /// Adds a header. One that HTTP does not allow is an error when the request is sent.
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
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// The body: bytes, text, or a stream with [`Body::from_stream`].
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// A value as the JSON body, with its `Content-Type`. A value that has no JSON is an error
    /// when the request is sent.
    pub fn json_body(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => {
                self.body = Body::from(json);
                self.headers
                    .entry(CONTENT_TYPE)
                    .or_insert(HeaderValue::from_static("application/json"));
            }
            Err(error) => {
                let error = Error::new(ErrorKind::InvalidRequest)
                    .with_context("the value has no JSON")
                    .with_source(error);
                self.target = self.target.and(Err(error));
            }
        }
        self
    }

    /// How long this request may take as a whole, in place of the session's
    /// [`timeout`](SessionBuilder::timeout).
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sends the request; resolves at the response's head.
    ///
    /// # Errors
    ///
    /// A status is no error. Everything else that can happen has an [`ErrorKind`].
    pub async fn send(self) -> Result<Response, Error> {
        let target = self.target?;
        self.session
            .exchange(self.method, target, self.headers, self.body, self.timeout)
            .await
    }

    /// Sends the request and reads the whole body.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) and [`Response::bytes`].
    pub fn bytes(self) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static + use<> {
        let sent = self.send();
        async move { sent.await?.bytes().await }
    }

    /// Sends the request and reads the whole body as text.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) and [`Response::text`].
    pub fn text(self) -> impl Future<Output = Result<String, Error>> + Send + 'static + use<> {
        let sent = self.send();
        async move { sent.await?.text().await }
    }

    /// Sends the request and reads the whole body as JSON.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) and [`Response::json`].
    pub fn json<T>(self) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let sent = self.send();
        async move { sent.await?.json().await }
    }
}

impl IntoFuture for RequestBuilder {
    type Output = Result<Response, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

fn header<N, V>(name: N, value: V) -> Result<(HeaderName, HeaderValue), Error>
where
    N: TryInto<HeaderName>,
    N::Error: Into<http::Error>,
    V: TryInto<HeaderValue>,
    V::Error: Into<http::Error>,
{
    let invalid = |error: http::Error| Error::new(ErrorKind::InvalidRequest).with_source(error);
    Ok((
        name.try_into().map_err(|error| invalid(error.into()))?,
        value.try_into().map_err(|error| invalid(error.into()))?,
    ))
}

/// What can be taken as a URL: text and [`Url`], by value or by reference.
pub trait IntoUrl: sealed::Sealed {
    #[doc(hidden)]
    fn into_target(self, base: Option<&Url>) -> Result<Target, Error>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! into_url {
    ($($type:ty => |$url:ident, $base:ident| $parse:expr),* $(,)?) => {$(
        impl sealed::Sealed for $type {}
        impl IntoUrl for $type {
            fn into_target(self, $base: Option<&Url>) -> Result<Target, Error> {
                let $url = self;
                $parse
            }
        }
    )*};
}
into_url! {
    &str => |url, base| Target::parse(url, base),
    String => |url, base| Target::parse(&url, base),
    &String => |url, base| Target::parse(url, base),
    Url => |url, _base| Target::new(url),
    &Url => |url, _base| Target::new(url.clone()),
}
