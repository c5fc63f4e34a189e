//! The handle that programs hold.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::Method;

use super::builder::{Backend, SessionBuilder};
use super::in_flight::Stats;
use super::request::{IntoUrl, RequestBuilder};
use super::state::SessionState;
use crate::backend::capabilities::Capabilities;
use crate::backend::fetch::Fetch;
use crate::backend::runtime::Runtime;
use crate::backend::task::unblock;
use crate::connect::options::ClientOptions;
use crate::error::Error;
use crate::message::body::Body;
use crate::message::response::Response;
use crate::message::target::Target;

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
pub struct Session(pub(super) Arc<SessionState>);

/// How long a closed session waits for requests that were cancelled and connections that were
/// given up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Session {
    /// A builder for a session over a client and a runtime of one's own: `open` makes both from
    /// the options that the builder collects.
    pub fn builder<F, O>(open: O) -> SessionBuilder
    where
        F: Fetch,
        O: FnOnce(&ClientOptions) -> Result<(F, Arc<dyn Runtime>), Error> + Send + 'static,
    {
        SessionBuilder::new(Box::new(|options| {
            let (client, runtime) = open(options)?;
            Ok(Backend::new(client, runtime))
        }))
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

    /// A PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// An OPTIONS request.
    pub fn options(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::OPTIONS, url)
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
        RequestBuilder::new(self.0.clone(), target, request, self.0.timeout)
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
        RequestBuilder::new(self.0.clone(), target, request, self.0.timeout).send()
    }

    /// The runtime, for [`Gather::on`](crate::gather::Gather::on) and
    /// [`Task::spawn`](crate::Task::spawn).
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.0.runtime
    }

    /// How many requests are under way, and over how many connections they went.
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.in_flight.stats();
        if self.0.capabilities.connection_events.is_yes() {
            let (opened, reused) = self.0.connections.counts();
            (stats.opened, stats.reused) = (Some(opened), Some(reused));
        }
        stats
    }

    /// Ends the session and all its clones: takes no more requests, lets those under way finish
    /// for as long as `grace`, and cancels the rest. Requests then fail with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// Completes when the session's connections, and threads of its client's own, are gone. A second
    /// call waits for that too; the shorter `grace` of the two holds. A
    /// response that somebody holds and does not read is not waited for longer than a second
    /// beyond `grace`: it lets its connection go when it is dropped.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before its end leaves a session that takes no requests.
    pub async fn close(&self, grace: Duration) {
        let state = &*self.0;
        state.in_flight.start_closing();
        self.is_empty_in(grace).await;
        state.in_flight.close();
        let _turn = state.closing.lock().await;
        let client = {
            let mut client = state.client.write().unwrap_or_else(PoisonError::into_inner);
            client.take()
        };
        self.is_empty_in(CLOSE_TIMEOUT).await;
        if let Some(client) = client {
            let ended = client.ended();
            // A client with threads of its own may wait for them: not on ours.
            let dropped = unblock(&*state.runtime, move || drop(client));
            let gone = pin!(async {
                // One that could not be dropped there was dropped with its work.
                let _ = dropped.await;
                ended.await;
            });
            let limit = state.runtime.sleep(CLOSE_TIMEOUT);
            futures_util::future::select(gone, limit).await;
        }
    }

    async fn is_empty_in(&self, time: Duration) {
        let mut limit = self.0.runtime.sleep(time);
        poll_fn(|cx| match self.0.in_flight.poll_empty(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => limit.as_mut().poll(cx),
        })
        .await;
    }

    /// What the client can do, and what it cannot.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
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
