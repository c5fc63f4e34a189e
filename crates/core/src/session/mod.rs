//! Requests with a policy, on any runtime and any client.

mod builder;
mod caps;
mod exchange;
mod gate;
mod governed;
mod redirect;
mod retry;
mod roll;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, Method};
use url::Url;

use crate::body::Body;
use crate::client::{Capabilities, ClientOptions};
#[cfg(feature = "cookies")]
use crate::cookies::CookieJar;
use crate::error::Error;
use crate::fetch::{DynFetch, Fetch};
use crate::observe::{Connections, Observed, Observers, Own};
use crate::proxy::Proxies;
use crate::request::{IntoUrl, RequestBuilder};
use crate::response::Response;
use crate::runtime::Runtime;
use crate::target::Target;
use crate::task::unblock;
pub use builder::SessionBuilder;
use caps::Caps;
pub use redirect::Redirect;
use retry::Budgets;
pub use retry::Retry;
use roll::Roll;
pub use roll::Stats;

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
    // `None` once the session is closed.
    client: RwLock<Option<Arc<dyn DynFetch>>>,
    /// Held while the client is dropped and its connections end.
    closing: async_lock::Mutex<()>,
    capabilities: Capabilities,
    runtime: Arc<dyn Runtime>,
    headers: HeaderMap,
    base_url: Option<Url>,
    timeout: Option<Duration>,
    head_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    caps: Caps,
    redirects: redirect::Policy,
    retry: Retry,
    budgets: Budgets,
    roll: Arc<Roll>,
    #[cfg(feature = "cookies")]
    cookies: Option<CookieJar>,
    max_body: u64,
    decompress: bool,
    connections: Connections,
    proxies: Proxies,
    // Empty when nobody listens.
    observers: Observers,
    numbers: AtomicU64,
}

impl Inner {
    /// For those who listen, if somebody does.
    fn observed(
        &self,
        request: &mut http::Request<Body>,
        target: &Target,
    ) -> Option<Box<Observed>> {
        let own = request.extensions_mut().remove::<Own>();
        let observers = match own {
            Some(Own(own)) => self.observers.iter().cloned().chain(own).collect(),
            None if self.observers.is_empty() => return None,
            None => self.observers.clone(),
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let method = request.method();
        let observed = Observed::start(observers, &self.runtime, number, method, target);
        Some(Box::new(observed))
    }

    fn client(&self) -> Option<Arc<dyn DynFetch>> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }
}

/// How long a closed session waits for requests that were cancelled and connections that were
/// given up.
const LAST_WORDS: Duration = Duration::from_secs(1);

struct Parts {
    client: Arc<dyn DynFetch>,
    capabilities: Capabilities,
    runtime: Arc<dyn Runtime>,
}

impl Parts {
    fn new(client: impl Fetch, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            capabilities: client.capabilities(),
            client: Arc::new(client),
            runtime,
        }
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
        SessionBuilder::new(Box::new(|options| {
            let (client, runtime) = open(options)?;
            Ok(Parts::new(client, runtime))
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

    /// How many requests are under way, and over how many connections they went.
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.roll.stats();
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
        let inner = &*self.0;
        inner.roll.stop();
        self.is_empty_in(grace).await;
        inner.roll.end();
        let _turn = inner.closing.lock().await;
        let client = {
            let mut client = inner.client.write().unwrap_or_else(PoisonError::into_inner);
            client.take()
        };
        self.is_empty_in(LAST_WORDS).await;
        if let Some(client) = client {
            let ended = client.ended();
            // A client with threads of its own may wait for them: not on ours.
            let dropped = unblock(&*inner.runtime, move || drop(client));
            let gone = pin!(async {
                // One that could not be dropped there was dropped with its work.
                let _ = dropped.await;
                ended.await;
            });
            let limit = inner.runtime.sleep(LAST_WORDS);
            futures_util::future::select(gone, limit).await;
        }
    }

    async fn is_empty_in(&self, time: Duration) {
        let mut limit = self.0.runtime.sleep(time);
        poll_fn(|cx| match self.0.roll.poll_empty(cx) {
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
