//! What a client implements: one HTTP exchange.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use crate::backend::cancel::Cancel;
use crate::backend::capabilities::Capabilities;
use crate::error::Error;
use crate::message::body::{BlockingBody, Body};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One HTTP exchange. Redirects, cookies, retries and caps are not its business: they
/// belong to [`Session`](crate::Session), which treats every client alike.
///
/// # What an implementation promises
///
/// - The future resolves at the response's head; the body streams after it.
/// - A status is never an error.
/// - A response that ends early is an error ([`Incomplete`](crate::ErrorKind::Incomplete)),
///   in the head or in the body, never a short success.
/// - Dropping the future or the body ends the exchange, as promptly as
///   [`Capabilities::prompt_cancel`] says, and its connection serves nobody afterwards.
/// - The client writes a request to the network at most once. Only the session resends a request,
///   because only the session can produce the body again. The client marks the error if that is safe:
///   [`Error::not_processed`] for every request, [`Error::on_dead_connection`] for idempotent ones
///   (RFC 9110, 9.2.2). A library may itself resend an idempotent request whose kept connection was
///   dead, as libcurl does.
/// - The connection of a response that is dropped or refused serves nobody afterwards: the session
///   refuses heads that the client has let pass, and those above its limits.
/// - What it cannot do is in its [`Capabilities`], and asking for it is
///   [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// The URI is absolute, with scheme `http` or `https`. For a client that says
/// [`reads_deadline`](Capabilities::reads_deadline), the moment at which the session gives up is
/// in the request's extensions as a [`Deadline`].
///
/// ```
/// use inflight_core::{Body, Capabilities, Error, Fetch, http};
///
/// /// Answers every request with its own path, as a test may want it.
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
    /// Sends the request and returns the response's head, its body to be streamed.
    fn fetch(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send;

    /// What this client can do, and what it cannot.
    fn capabilities(&self) -> Capabilities;

    /// Completes when nothing is left of the client: no connection, and no thread of its own.
    /// [`Session::close`](crate::Session::close) asks for it, drops the client and waits. For a
    /// client that is gone when it is dropped there is nothing to wait for.
    fn ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A client whose calls block. It becomes a [`Fetch`] through
/// [`Offload`](crate::Offload) (on a runtime's blocking pool) or [`Inline`](crate::Inline)
/// (inside `poll`, to show the harm).
///
/// The promises are those of [`Fetch`], with one more: when `cancel` fires, a call that blocks,
/// in the head or in a read of the body, returns within moments.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{
///     BlockOn, BlockingBody, Body, Cancel, Capabilities, Error, Fetch, FetchBlocking, Offload, http,
/// };
/// use inflight_threads::Threads;
///
/// /// Answers every request with its own path.
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
    /// Sends the request and returns the response's head; the body's reader blocks too.
    fn fetch_blocking(
        &self,
        request: http::Request<BlockingBody>,
        cancel: &Cancel,
    ) -> Result<http::Response<BlockingBody>, Error>;

    /// What this client can do, and what it cannot.
    fn capabilities(&self) -> Capabilities;
}

/// The moment at which an exchange is given up, as a request's extension.
///
/// The session enforces it for every client by dropping the exchange; a client whose calls
/// cannot be interrupted reads it to bound them.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// A request extension: the request must not use a kept connection.
///
/// The session inserts it when it sends a request again because a kept connection had ended. Other
/// connections that were kept at the same time may have ended as well.
#[derive(Debug, Clone, Copy)]
pub struct NewConnection;

/// The object-safe twin of [`Fetch`], so that a session is one type whatever its client.
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

/// A decorator with the client that it was given: a session waits for both to end, as a decorator
/// need not know of [`Fetch::ended`].
pub(crate) struct Wrapped<F> {
    pub(crate) client: F,
    pub(crate) below: Arc<dyn DynFetch>,
}

impl<F: Fetch> DynFetch for Wrapped<F> {
    fn fetch_boxed(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<'_, Result<http::Response<Body>, Error>> {
        Box::pin(self.client.fetch(request))
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        let (client, below) = (self.client.ended(), self.below.ended());
        Box::pin(async move {
            client.await;
            below.await;
        })
    }
}

/// A session's client, whichever it is: what [`SessionBuilder::wrap`] gives to a decorator.
///
/// [`SessionBuilder::wrap`]: crate::SessionBuilder::wrap
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
