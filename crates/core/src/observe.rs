//! Observers, which receive an event for each step of a session's requests.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::{HeaderMap, Method, StatusCode, Version};
use url::Url;

use crate::backend::runtime::Runtime;
use crate::error::Error;
use crate::message::body::Body;
use crate::message::progress::{Progress, ProgressObserver};
use crate::message::target::Target;

/// A receiver of the events of a session's requests: see
/// [`SessionBuilder::observe`](crate::SessionBuilder::observe). Every `Fn(&Event)` is an observer.
///
/// ```
/// use inflight_core::{Event, Observer, Step};
///
/// # use inflight_core::{BlockOn, Error, ErrorKind};
/// # use inflight_mock::{Mock, Reply, When};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
/// # mock.on(When::any(), Reply::error(ErrorKind::Connect));
/// # runtime.block_on(async {
/// /// Prints the requests that failed.
/// struct FailureLog;
///
/// impl Observer for FailureLog {
///     fn observe(&self, event: &Event<'_>) {
///         if let Step::Failed { error } = event.step {
///             eprintln!("request {} failed: {error}", event.request);
///         }
///     }
/// }
///
/// let session = mock.session().observe(FailureLog).build()?;
/// # session.get("http://pages.test/").send().await.unwrap_err();
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Handles an event when it happens.
    ///
    /// The task or thread that drives the request calls this method. The method should return
    /// quickly, and must neither block nor panic.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// An event of one request.
///
/// ```
/// use inflight_core::Event;
///
/// /// Logs a step like `request 1, attempt 1: GET http://pages.test/ sent after 2.1ms`.
/// fn log(event: &Event<'_>) {
///     let url = event.url.map_or("an invalid URL", |url| url.as_str());
///     let (request, attempt, method) = (event.request, event.attempt, event.method);
///     let (step, elapsed) = (event.step.name(), event.elapsed);
///     println!("request {request}, attempt {attempt}: {method} {url} {step} after {elapsed:?}");
/// }
/// # fn is_observer(_: impl inflight_core::Observer) {}
/// # is_observer(log);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The id of the request in its session, from 1. Redirects and retries do not change it.
    pub request: u64,
    /// The name of the request: see [`RequestBuilder::name`](crate::RequestBuilder::name). Redirects
    /// and retries do not change it.
    pub route: Option<&'a str>,
    /// How many times the request has been sent so far. 0 before the first attempt.
    pub attempt: u32,
    /// The method of the current attempt. A redirect may change it.
    pub method: &'a Method,
    /// The URL of the current attempt, without credentials. A redirect changes it. `None` if the
    /// request has no valid URL.
    pub url: Option<&'a Url>,
    /// The time of the event, by the runtime's clock.
    pub at: Instant,
    /// The time since [`Step::Started`].
    pub elapsed: Duration,
    /// The step that happened.
    pub step: Step<'a>,
}

/// The steps of a request, in the order in which they happen.
///
/// Retries and redirects repeat the steps from [`Queued`](Self::Queued) to
/// [`Redirected`](Self::Redirected). The last step is one of
/// [`Done`](Self::Done), [`Failed`](Self::Failed) and [`Cancelled`](Self::Cancelled).
///
/// The steps correspond to the signals of aiohttp's `TraceConfig`:
///
/// | aiohttp | here |
/// |---|---|
/// | `on_request_start` | `Started` |
/// | `on_connection_queued_start`, `_end` | `Queued`, `Sending` |
/// | `on_connection_create_end`, `on_connection_reuseconn` | `Connected` |
/// | `on_request_headers_sent`, `on_request_chunk_sent` | `Uploaded`, and `Sent` at the end |
/// | `on_request_redirect` | `Redirected` |
/// | `on_response_chunk_received` | `Chunk` |
/// | `on_request_end`, `on_request_exception` | `Done`, `Failed`, `Cancelled` |
///
/// There is no step for lookups, because most clients do not report them.
///
/// For an example, see [`Observer`]. For the steps of a whole request, see
/// [`SessionBuilder::observe`](crate::SessionBuilder::observe).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Step<'a> {
    /// The caller has started the request.
    Started,
    /// The request waits for a permit. Not reported in a session without limits.
    Queued,
    /// The session passes the request to the client.
    Sending,
    /// The session left cookies out of this header. They contain bytes outside ASCII, which the client
    /// cannot send. See
    /// [`Capabilities::opaque_request_headers`](crate::Capabilities::opaque_request_headers).
    Omitted {
        /// The name of the header.
        header: &'a HeaderName,
    },
    /// The request has a connection. If the client does not report its connections, this step comes
    /// immediately before [`Head`](Self::Head).
    Connected(Connection),
    /// The client has read a chunk of the request's body. If the server responds early, this step may
    /// come after [`Head`](Self::Head).
    Uploaded(Progress),
    /// The request has been sent.
    Sent {
        /// When the client read the last chunk of the body. `None` for a request without a body,
        /// because clients do not report when they have written a head. The step then comes
        /// immediately before [`Step::Head`].
        at: Option<Instant>,
    },
    /// The head of a response has arrived.
    Head {
        /// The status.
        status: StatusCode,
        /// The HTTP version.
        version: Version,
        /// The headers.
        headers: &'a HeaderMap,
    },
    /// The session sends the request again and does not count this as a retry. Either the server has
    /// not processed the request, or the request's pooled connection ended before a response.
    Resending {
        /// How long the session waits before it sends the request again.
        pause: Duration,
        /// Why the attempt failed.
        error: &'a Error,
    },
    /// The session sends the request again under its [`Retry`](crate::Retry) policy.
    Retrying {
        /// How long the session waits before it sends the request again.
        pause: Duration,
        /// Why the attempt failed. `None` if the response had a status that the session retries.
        error: Option<&'a Error>,
    },
    /// The session would send the request again under its [`Retry`](crate::Retry) policy, but the
    /// [retry budget](crate::RetryBudget) of the server is exhausted. The outcome is final.
    RetryBudgetExhausted {
        /// Why the attempt failed. `None` if the response had a status that the session retries.
        error: Option<&'a Error>,
    },
    /// The session follows a redirect.
    Redirected {
        /// The URL of the redirect.
        to: Option<&'a Url>,
    },
    /// The caller received a decoded chunk of the response's body.
    Chunk {
        /// The length of the chunk in bytes.
        bytes: usize,
    },
    /// The response was read to its end.
    Done {
        /// The status of the response.
        status: StatusCode,
        /// The length of the decoded body in bytes.
        bytes: u64,
    },
    /// The request failed.
    Failed {
        /// The error.
        error: &'a Error,
    },
    /// The request was cancelled: its future was dropped, or its response was dropped before the
    /// end of the body.
    Cancelled,
}

impl Step<'_> {
    /// Returns the step's name, for example for a log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Omitted { .. } => "omitted",
            Self::Connected(_) => "connected",
            Self::Uploaded(_) => "uploaded",
            Self::Sent { .. } => "sent",
            Self::Head { .. } => "head",
            Self::Resending { .. } => "resending",
            Self::Retrying { .. } => "retrying",
            Self::RetryBudgetExhausted { .. } => "retry_budget_exhausted",
            Self::Redirected { .. } => "redirected",
            Self::Chunk { .. } => "chunk",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The kind of connection that a request has.
///
/// ```
/// use inflight_core::{Connection, Step};
///
/// fn is_new_connection(step: &Step<'_>) -> bool {
///     matches!(step, Step::Connected(Connection::New))
/// }
/// # assert!(!is_new_connection(&Step::Started));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A connection that was made for the request. If an existing connection becomes idle before the
    /// new one is ready, the request may use the existing one. The value is then `Reused`.
    New,
    /// A connection that has served earlier requests.
    Reused,
    /// The client does not report connections: see
    /// [`Capabilities::connection_events`](crate::Capabilities::connection_events).
    Unknown,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Reused => "reused",
            Self::Unknown => "unknown",
        })
    }
}

pub(crate) type Observers = Arc<[Arc<dyn Observer>]>;

/// A request extension that holds the name of the request and its own observers.
#[derive(Clone, Default)]
pub(crate) struct RequestObservers {
    pub(crate) route: Option<Cow<'static, str>>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
}

/// One attempt of an observed request.
struct Attempt {
    observers: Observers,
    runtime: Arc<dyn Runtime>,
    request: u64,
    route: Option<Cow<'static, str>>,
    attempt: u32,
    method: Method,
    /// `None` if the request has no valid URL.
    target: Option<Target>,
    started: Instant,
    has_connection: AtomicBool,
    has_body: bool,
    /// Whether the last step of the attempt was reported.
    is_over: AtomicBool,
}

impl Attempt {
    fn report(&self, step: Step<'_>) {
        let at = self.runtime.now();
        let event = Event {
            request: self.request,
            route: self.route.as_deref(),
            attempt: self.attempt,
            method: &self.method,
            url: self.target.as_ref().and_then(Target::url),
            at,
            elapsed: at.saturating_duration_since(self.started),
            step,
        };
        for observer in &*self.observers {
            observer.observe(&event);
        }
    }

    /// Reports the connection, unless one was reported or the attempt is over. A client on another thread may make
    /// a connection after its request was dropped.
    fn report_connection(&self, connection: Connection) {
        let is_over = self.is_over.load(Ordering::Relaxed);
        if !is_over && !self.has_connection.swap(true, Ordering::Relaxed) {
            self.report(Step::Connected(connection));
        }
    }
}

/// A reporter of the steps of one request. If it is dropped before the last step, it reports that
/// the request was cancelled.
pub(crate) struct ObservedExchange {
    attempt: Arc<Attempt>,
    bytes: u64,
}

impl ObservedExchange {
    pub(crate) fn start(
        observers: Observers,
        runtime: &Arc<dyn Runtime>,
        request: u64,
        route: Option<Cow<'static, str>>,
        method: &Method,
        target: Option<&Target>,
    ) -> Self {
        let attempt = Attempt {
            observers,
            runtime: runtime.clone(),
            request,
            route,
            attempt: 0,
            method: method.clone(),
            target: target.cloned(),
            started: runtime.now(),
            has_connection: AtomicBool::new(false),
            has_body: false,
            is_over: AtomicBool::new(false),
        };
        attempt.report(Step::Started);
        Self {
            attempt: Arc::new(attempt),
            bytes: 0,
        }
    }

    pub(crate) fn report(&self, step: Step<'_>) {
        self.attempt.report(step);
    }

    /// Starts a new attempt.
    pub(crate) fn start_attempt(&mut self, target: &Target, request: &mut http::Request<Body>) {
        let previous = &self.attempt;
        previous.is_over.store(true, Ordering::Relaxed);
        self.attempt = Arc::new(Attempt {
            observers: previous.observers.clone(),
            runtime: previous.runtime.clone(),
            request: previous.request,
            route: previous.route.clone(),
            attempt: previous.attempt + 1,
            method: request.method().clone(),
            target: Some(target.clone()),
            started: previous.started,
            has_connection: AtomicBool::new(false),
            has_body: !request.body().is_empty(),
            is_over: AtomicBool::new(false),
        });
        self.report(Step::Sending);
        let handle = ObserverHandle(self.attempt.clone());
        request.extensions_mut().insert(handle.clone());
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = body.with_observer(Arc::new(handle));
    }

    pub(crate) fn report_head(&self, head: &http::Response<Body>) {
        self.attempt.report_connection(Connection::Unknown);
        if !self.attempt.has_body {
            self.report(Step::Sent { at: None });
        }
        self.report(Step::Head {
            status: head.status(),
            version: head.version(),
            headers: head.headers(),
        });
    }

    pub(crate) fn report_chunk(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.report(Step::Chunk { bytes });
    }

    pub(crate) fn report_done(self, status: StatusCode) {
        let bytes = self.bytes;
        self.end(Step::Done { status, bytes });
    }

    pub(crate) fn report_failure(self, error: &Error) {
        self.end(Step::Failed { error });
    }

    fn end(&self, step: Step<'_>) {
        if !self.attempt.is_over.swap(true, Ordering::Relaxed) {
            self.report(step);
        }
    }
}

impl Drop for ObservedExchange {
    fn drop(&mut self) {
        self.end(Step::Cancelled);
    }
}

/// A handle to the observers of an attempt, in the extensions of the request.
#[derive(Clone)]
struct ObserverHandle(Arc<Attempt>);

impl ProgressObserver for ObserverHandle {
    fn on_chunk(&self, so_far: Progress) {
        if !self.0.is_over.load(Ordering::Relaxed) {
            self.0.report(Step::Uploaded(so_far));
        }
    }

    fn on_end(&self) {
        if !self.0.is_over.load(Ordering::Relaxed) {
            let at = Some(self.0.runtime.now());
            self.0.report(Step::Sent { at });
        }
    }
}

/// The connection counters of a session, in
/// [`ClientOptions::connections`](crate::ClientOptions::connections). The client updates them. A client
/// that cannot report its connections does not support
/// [`Capabilities::connection_events`](crate::Capabilities::connection_events).
///
/// ```
/// use inflight_core::{Body, Connections, Trace, http};
///
/// # let options = inflight_core::ClientOptions::default();
/// let connections: Connections = options.connections.clone();
/// let request = http::Request::get("http://pages.test/").body(Body::empty())?;
/// // In `fetch`, before the request is converted:
/// let trace = Trace::of(&request);
/// // ... when a socket is open:
/// connections.record_opened();
/// trace.report_new_connection();
/// // ... or when the request uses a pooled connection:
/// connections.record_reused(&trace);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    reused: AtomicU64,
}

impl Connections {
    /// Records that a connection was made.
    pub fn record_opened(&self) {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a request uses a connection that has served earlier requests, and reports this
    /// to the request's observers.
    pub fn record_reused(&self, trace: &Trace) {
        self.0.reused.fetch_add(1, Ordering::Relaxed);
        trace.report(Connection::Reused);
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.0.opened), read(&self.0.reused))
    }
}

/// A handle through which a client reports a request's connection to the request's observers. It
/// does nothing if the request has no observers.
///
/// For an example, see [`Connections`].
#[derive(Clone)]
pub struct Trace(Option<ObserverHandle>);

impl Trace {
    /// Returns the handle for a request.
    pub fn of<B>(request: &http::Request<B>) -> Self {
        Self(request.extensions().get().cloned())
    }

    /// Reports that the connection for the request was made.
    pub fn report_new_connection(&self) {
        self.report(Connection::New);
    }

    fn report(&self, connection: Connection) {
        if let Some(ObserverHandle(attempt)) = &self.0 {
            attempt.report_connection(connection);
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

/// An observer that emits events of the `tracing` crate with the target `inflight`. Chunks of
/// bodies have the level `TRACE`, all other steps `DEBUG`.
///
/// ```
/// use inflight_core::{Observer, TracingObserver};
///
/// fn observe_with(_: impl Observer) {}
/// observe_with(TracingObserver);
/// ```
#[cfg(feature = "tracing")]
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingObserver;

#[cfg(feature = "tracing")]
impl Observer for TracingObserver {
    fn observe(&self, event: &Event<'_>) {
        macro_rules! debug {
            ($($field:tt)*) => {
                tracing::debug!(
                    target: "inflight",
                    request = event.request,
                    route = event.route,
                    attempt = event.attempt,
                    method = event.method.as_str(),
                    url = event.url.map(Url::as_str),
                    elapsed_ms = milliseconds(event.elapsed),
                    $($field)*
                )
            };
        }
        let name = event.step.name();
        match event.step {
            Step::Chunk { bytes } => tracing::trace!(
                target: "inflight", request = event.request, bytes, "{name}"
            ),
            Step::Uploaded(so_far) => tracing::trace!(
                target: "inflight", request = event.request, bytes = so_far.bytes, "{name}"
            ),
            Step::Omitted { header } => debug!(header = header.as_str(), "{name}"),
            Step::Connected(connection) => debug!(connection = %connection, "{name}"),
            Step::Head {
                status, version, ..
            } => {
                debug!(status = status.as_u16(), version = ?version, "{name}");
            }
            Step::Resending { pause, error } => {
                let pause_ms = milliseconds(pause);
                debug!(pause_ms, error = %error, "{name}");
            }
            Step::Retrying { pause, error } => {
                let pause_ms = milliseconds(pause);
                debug!(
                    pause_ms,
                    error = error.map(tracing::field::display),
                    "{name}"
                );
            }
            Step::RetryBudgetExhausted { error } => {
                debug!(error = error.map(tracing::field::display), "{name}");
            }
            Step::Redirected { to } => debug!(to = to.map(Url::as_str), "{name}"),
            Step::Done { status, bytes } => debug!(status = status.as_u16(), bytes, "{name}"),
            Step::Failed { error } => debug!(error = %error, "{name}"),
            Step::Started | Step::Queued | Step::Sending | Step::Sent { .. } | Step::Cancelled => {
                debug!("{name}");
            }
        }
    }
}

/// Returns a duration in milliseconds, rounded to microseconds.
#[cfg(feature = "tracing")]
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
