//! The interface of a client: one HTTP exchange.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use crate::backend::cancel::Cancel;
use crate::backend::capabilities::Capabilities;
use crate::error::Error;
use crate::message::body::{BlockingBody, Body};

/// A boxed future that is `Send`.
///
/// ```
/// use inflight_core::BoxFuture;
///
/// let futures: [BoxFuture<'static, u32>; 2] = [Box::pin(async { 1 }), Box::pin(std::future::ready(2))];
/// # let _ = futures;
/// ```
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An HTTP client. Each call of [`fetch`](Self::fetch) performs one HTTP exchange.
///
/// A client does not handle redirects, cookies, retries or limits. [`Session`](crate::Session)
/// handles them in the same way for every client.
///
/// # Requirements for implementations
///
/// - The future resolves when the head of the response has arrived. The body is streamed.
/// - A status is never an error.
/// - A response that ends early, in the head or in the body, is an error
///   ([`Incomplete`](crate::ErrorKind::Incomplete)).
/// - Dropping the future or the body ends the exchange, as promptly as
///   [`Capabilities::prompt_cancel`] states. The client does not reuse the connection of this
///   exchange.
/// - The client writes a request to the network at most once. Only the session resends a request,
///   because only the session can produce the body again. The client marks the error if a resend is
///   safe: [`Error::not_processed`] for every request, [`Error::on_dead_connection`] for idempotent
///   ones (RFC 9110, 9.2.2). There is one exception: the HTTP library below the client may resend an
///   idempotent request whose pooled connection had ended, as libcurl does.
/// - The client does not reuse the connection of a response that the session drops or refuses. The
///   session refuses a head that is invalid or too large, even if the client has accepted the head.
/// - The [`Capabilities`] state what the client cannot do. If a caller requires a feature that the
///   client lacks, the client fails with [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// The URI of a request is absolute, with the scheme `http` or `https`. For a client with
/// [`reads_deadline`](Capabilities::reads_deadline), the request's extensions contain the session's
/// [`Deadline`].
///
/// ```
/// use inflight_core::{Body, Capabilities, Error, Fetch, http};
///
/// /// Responds to every request with the path of the request, for tests.
/// struct Echo;
///
/// impl Fetch for Echo {
///     async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
///         let path = request.uri().path().to_owned();
///         Ok(http::Response::new(Body::from(path)))
///     }
///
///     fn capabilities(&self) -> Capabilities {
///         Capabilities::all("echo")
///     }
/// }
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// Sends the request and returns the response's head with a streaming body.
    fn fetch(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send;

    /// Returns what the client can do and what it cannot do.
    fn capabilities(&self) -> Capabilities;

    /// Returns a future that completes when the client's connections and threads have ended.
    ///
    /// [`Session::close`](crate::Session::close) calls this method, drops the client and awaits the
    /// future. The future of the default implementation completes immediately. This is correct for a
    /// client that has no connections or threads after it is dropped.
    fn ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A client with blocking calls.
///
/// [`Offload`](crate::Offload) turns it into a [`Fetch`] on a runtime's blocking pool.
/// [`Inline`](crate::Inline) calls it inside `poll`, to measure the cost of blocking there.
///
/// The requirements of [`Fetch`] apply, and one more: after [`Cancel::cancel`], a blocking call
/// returns promptly. This includes reads of the body.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{
///     BlockOn, BlockingBody, Body, Cancel, Capabilities, Error, Fetch, FetchBlocking, Offload, http,
/// };
/// use inflight_threads::Threads;
///
/// /// Responds to every request with the path of the request.
/// struct Echo;
///
/// impl FetchBlocking for Echo {
///     fn fetch_blocking(
///         &self,
///         request: http::Request<BlockingBody>,
///         _cancel: &Cancel,
///     ) -> Result<http::Response<BlockingBody>, Error> {
///         let path = request.uri().path().to_owned().into_bytes();
///         Ok(http::Response::new(BlockingBody::from_reader(std::io::Cursor::new(path), None)))
///     }
///
///     fn capabilities(&self) -> Capabilities {
///         Capabilities::all("echo")
///     }
/// }
///
/// let threads = Threads::new();
/// let client = Offload::new(Echo, Arc::new(threads.clone()));
/// let request = http::Request::get("http://pages.test/7").body(Body::empty())?;
/// let body = threads.block_on(async {
///     client.fetch(request).await?.into_body().collect(1024).await
/// })?;
/// assert_eq!(body, "/7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait FetchBlocking: Send + Sync + 'static {
    /// Sends the request and returns the response's head. Reads of the body block too.
    fn fetch_blocking(
        &self,
        request: http::Request<BlockingBody>,
        cancel: &Cancel,
    ) -> Result<http::Response<BlockingBody>, Error>;

    /// Returns what the client can do and what it cannot do.
    fn capabilities(&self) -> Capabilities;
}

/// The deadline of an exchange, as a request extension.
///
/// The session enforces the deadline for every client by dropping the exchange. A client whose
/// calls cannot be interrupted uses the deadline as the timeout of its calls.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use inflight_core::{Body, Deadline, http};
///
/// /// Returns the timeout of a call that cannot be interrupted.
/// fn call_timeout(request: &http::Request<Body>) -> Option<Duration> {
///     let deadline = request.extensions().get::<Deadline>()?;
///     Some(deadline.0.saturating_duration_since(Instant::now()))
/// }
/// # assert_eq!(call_timeout(&http::Request::new(Body::empty())), None);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// A request extension that forbids pooled connections for the request.
///
/// The session inserts this extension when it resends a request because a pooled connection had
/// ended. Other idle connections may have ended at the same time.
///
/// ```
/// use inflight_core::{Body, NewConnection, http};
///
/// fn may_use_pool(request: &http::Request<Body>) -> bool {
///     request.extensions().get::<NewConnection>().is_none()
/// }
/// # assert!(may_use_pool(&http::Request::new(Body::empty())));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct NewConnection;

/// The object-safe form of [`Fetch`], so that a session has the same type for every client.
pub(crate) trait DynFetch: Send + Sync {
    fn fetch_boxed(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<'_, Result<http::Response<Body>, Error>>;

    fn ended(&self) -> BoxFuture<'static, ()>;
}

impl<F: Fetch> DynFetch for F {
    fn fetch_boxed(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<'_, Result<http::Response<Body>, Error>> {
        Box::pin(self.fetch(request))
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        Fetch::ended(self)
    }
}

/// A wrapper and the client that it wraps. A session waits for both to end, because the wrapper
/// might not forward [`Fetch::ended`] to the client.
pub(crate) struct WrappedClient<F> {
    pub(crate) client: F,
    pub(crate) inner: Arc<dyn DynFetch>,
}

impl<F: Fetch> DynFetch for WrappedClient<F> {
    fn fetch_boxed(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<'_, Result<http::Response<Body>, Error>> {
        Box::pin(self.client.fetch(request))
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        let (client, inner) = (self.client.ended(), self.inner.ended());
        Box::pin(async move {
            client.await;
            inner.await;
        })
    }
}

/// A client whose type is erased. [`SessionBuilder::wrap`] passes the session's client to a wrapper
/// in this form.
///
/// [`SessionBuilder::wrap`]: crate::SessionBuilder::wrap
///
/// For an example, see [`SessionBuilder::wrap`].
#[derive(Clone)]
pub struct AnyClient {
    pub(crate) client: Arc<dyn DynFetch>,
    pub(crate) capabilities: Capabilities,
}

impl Fetch for AnyClient {
    fn fetch(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send {
        self.client.fetch_boxed(request)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        self.client.ended()
    }
}

impl fmt::Debug for AnyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyClient({})", self.capabilities.library)
    }
}
