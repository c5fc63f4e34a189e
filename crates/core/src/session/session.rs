//! The session.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::Method;
use url::Url;

use super::builder::{Backend, SessionBuilder};
use super::in_flight::Stats;
use super::request::{IntoUrl, RequestBuilder};
use super::state::SessionState;
use crate::backend::capabilities::Capabilities;
use crate::backend::fetch::Fetch;
use crate::backend::runtime::Runtime;
use crate::backend::task::unblock;
use crate::bugs::{Bug, is_planted};
use crate::connect::options::ClientOptions;
use crate::error::Error;
use crate::message::body::Body;
use crate::message::response::Response;
use crate::message::target::{Origin, Target};

/// A client on a runtime, with timeouts, limits, redirects and retries, like aiohttp's `ClientSession`
/// and reqwest's `Client`. The type is the same for every backend.
///
/// Chapter [3](../../tutorial/ch03.html) of the book teaches its use.
///
/// A session is cheap to clone. Clones share connections, limits and defaults. Use one session for
/// the life of the program.
///
/// The runtime must run as long as the session is used. If the runtime has ended, requests fail with
/// [`ErrorKind::NoRuntime`](crate::ErrorKind::NoRuntime).
///
/// A backend creates a session: `inflight::tokio::session()`, for example.
/// [`Session::builder`] creates one from a custom client and runtime.
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
/// Dropping a request's future, or a response before the end of its body, ends the exchange. The
/// session does not reuse the connection of that exchange.
/// [`prompt_cancel`](Capabilities::prompt_cancel) states how promptly the server notices.
#[doc(alias("Client", "ClientSession"))]
#[derive(Clone)]
pub struct Session(pub(super) Arc<SessionState>);

/// How long `close` waits for cancelled requests to end, and then again for connections to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Session {
    /// Returns a builder for a session with a custom client and runtime. `open` creates both from
    /// the options of the builder.
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

    /// Returns a builder for a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Returns a builder for a HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// Returns a builder for a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Returns a builder for a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Returns a builder for a PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// Returns a builder for an OPTIONS request.
    pub fn options(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::OPTIONS, url)
    }

    /// Returns a builder for a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Returns a builder for a request with any method. An invalid URL is an error when the request
    /// is sent.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let mut request = http::Request::new(Body::empty());
        *request.method_mut() = method;
        let target = url.into_target(self.0.base_url.as_ref());
        RequestBuilder::new(self.0.clone(), target, request)
    }

    /// Sends a request of the `http` crate, including its extensions.
    ///
    /// The URI may be relative to the session's base URL. The client chooses the version of HTTP.
    ///
    /// # Errors
    ///
    /// The same as [`RequestBuilder::send`].
    pub fn execute(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'static + use<> {
        let target = Target::parse(&request.uri().to_string(), self.0.base_url.as_ref());
        RequestBuilder::new(self.0.clone(), target, request).send()
    }

    /// Returns the runtime, for [`Gather::on`](crate::gather::Gather::on) and
    /// [`Task::spawn`](crate::Task::spawn).
    #[doc(alias = "executor")]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.0.runtime
    }

    /// Returns the counts of the session's requests and connections.
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.in_flight.stats();
        if self.0.capabilities.connection_events.is_yes() {
            let (opened, reused) = self.0.connections.counts();
            (stats.opened, stats.reused) = (Some(opened), Some(reused));
        }
        stats
    }

    /// Sets the shortest time between the starts of two requests to the scheme, host and port of `url`, such
    /// as the `Crawl-delay` of the host's robots.txt. Replaces the interval of an earlier call for the same
    /// host. `Duration::ZERO` removes it.
    ///
    /// The next request to the host starts at the earliest `interval` after this call. Requests that already
    /// wait obey the new interval too. Redirects, retries and resends count as requests.
    /// [`max_rate_per_host`](SessionBuilder::max_rate_per_host) applies too, and the longer interval counts.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use inflight_core::gather;
    /// use inflight_core::url::Url;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any().repeated(), Reply::text("User-agent: *\nCrawl-delay: 5"));
    /// # let session = mock.session().build()?;
    /// # fn crawl_delay(robots: &str) -> Option<Duration> {
    /// #     let seconds = robots.lines().find_map(|line| line.strip_prefix("Crawl-delay: "))?;
    /// #     Some(Duration::from_secs(seconds.parse().ok()?))
    /// # }
    /// # runtime.block_on(async {
    /// let robots = Url::parse("http://a.test/robots.txt").unwrap();
    /// let text = session.get(&robots).text().await?;
    /// // The file contains `Crawl-delay: 5`.
    /// session.set_host_interval(&robots, crawl_delay(&text).unwrap_or_default());
    ///
    /// let urls = ["http://a.test/1", "http://a.test/2", "http://b.test/1"];
    /// gather(urls.map(|url| session.get(url).text())).all().await?;
    /// // The requests to `a.test` started after 5 and after 10 seconds.
    /// assert_eq!(runtime.elapsed().as_secs(), 10);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// The interval does not limit how many requests to the host are in flight, and it does not affect
    /// other schemes, ports and subdomains, other sessions, or requests that have started. The
    /// [`timeout`](SessionBuilder::timeout) of a request does not include the wait. A
    /// [`queue_timeout`](SessionBuilder::queue_timeout) limits it.
    ///
    /// The session remembers each host with an interval. A URL that is neither `http` nor `https` has no
    /// effect.
    #[doc(alias("crawl_delay", "download_delay", "rate_limit", "throttle"))]
    pub fn set_host_interval(&self, url: &Url, interval: Duration) {
        // The session refuses requests to the URLs that are no target.
        if let Ok(target) = Target::new(url.clone()) {
            let origin = Origin::of(target.uri());
            let now = self.0.runtime.now();
            self.0.limits.set_host_interval(&origin, interval, now);
        }
    }

    /// Closes the session and all its clones.
    ///
    /// Chapter [9](../../tutorial/ch09.html) of the book teaches its use.
    ///
    /// New requests fail with [`ErrorKind::Closed`](crate::ErrorKind::Closed). Requests in flight may
    /// finish within `grace`. The session cancels those that have not finished by then.
    ///
    /// The future completes when the session's connections and its client's threads have ended. A
    /// second call waits too, and the shorter `grace` applies. If the program holds a response and
    /// does not read it, the future waits up to a second longer than `grace`. The response closes
    /// its connection when the program drops it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, the session still accepts no more requests.
    pub async fn close(&self, grace: Duration) {
        let state = &*self.0;
        state.in_flight.start_closing();
        self.wait_until_empty(grace).await;
        state.in_flight.close();
        let _guard = state.closing.lock().await;
        let client = {
            let mut client = state.client.write().unwrap_or_else(PoisonError::into_inner);
            client.take()
        };
        self.wait_until_empty(CLOSE_TIMEOUT).await;
        if let Some(client) = client {
            let ended = client.ended();
            // Dropping a client may wait for its threads, so another thread drops it.
            let dropped = unblock(&*state.runtime, move || {
                match is_planted(Bug::UnclosedConnection) {
                    true => std::mem::forget(client),
                    false => drop(client),
                }
            });
            let all_ended = pin!(async {
                // If `unblock` fails, it has dropped the client with the closure.
                let _ = dropped.await;
                ended.await;
            });
            let limit = state.runtime.sleep(CLOSE_TIMEOUT);
            futures_util::future::select(all_ended, limit).await;
        }
    }

    async fn wait_until_empty(&self, time: Duration) {
        let mut limit = self.0.runtime.sleep(time);
        poll_fn(|cx| match self.0.in_flight.poll_empty(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => limit.as_mut().poll(cx),
        })
        .await;
    }

    /// Returns what the client can do and what it cannot do.
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
