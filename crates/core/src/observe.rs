//! What happens to a session's requests, told to whoever asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, Version};
use url::Url;

use crate::backend::runtime::Runtime;
use crate::error::Error;
use crate::message::body::Body;
use crate::message::progress::{Progress, Watch};
use crate::message::target::Target;

/// Is told what happens to a session's requests: see
/// [`SessionBuilder::observe`](crate::SessionBuilder::observe). Every `Fn(&Event)` is one.
pub trait Observer: Send + Sync + 'static {
    /// Something happened, just now. Called where it happens, in the task or the thread that
    /// drives the request: let it be short, and neither block nor panic.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// One thing that happened to one request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The request's number in its session, from 1, the same through redirects and retries.
    pub request: u64,
    /// How often it was sent so far: 0 before the first time.
    pub attempt: u32,
    /// The method of what is sent: a redirect may change it.
    pub method: &'a Method,
    /// Where to: a redirect changes it. Without credentials.
    pub url: Option<&'a Url>,
    /// When, by the runtime's clock.
    pub at: Instant,
    /// How long after [`Step::Started`].
    pub elapsed: Duration,
    /// What.
    pub step: Step<'a>,
}

/// What happened to a request: in this order, as far as it got. With retries and redirects,
/// [`Queued`](Self::Queued) to [`Redirected`](Self::Redirected) come several times. The last is
/// one of [`Done`](Self::Done), [`Failed`](Self::Failed) and [`Cancelled`](Self::Cancelled).
///
/// For those who know aiohttp's `TraceConfig`:
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
/// Look-ups are not told: most clients do not see them.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Step<'a> {
    /// Somebody waits for the request.
    Started,
    /// It waits for its turn. Left out in a session without caps.
    Queued,
    /// It goes to the client.
    Sending,
    /// It has a connection. Said when the client sees it, and at the latest with the head.
    Connected(Connection),
    /// The client took a piece of the request's body. May come after the head, when a server
    /// answers early.
    Uploaded(Progress),
    /// The request has left this program.
    Sent {
        /// When the client took the last piece of its body. Unknown for a request without one:
        /// when a head leaves no client tells, and this is said with the response's head.
        at: Option<Instant>,
    },
    /// The head of a response is there.
    Head {
        /// Its status.
        status: StatusCode,
        /// Its version of HTTP.
        version: Version,
        /// Its headers.
        headers: &'a HeaderMap,
    },
    /// It is sent again, and no retry is counted: the server has not processed it, or its kept
    /// connection ended before a response.
    Resending {
        /// How long the session waits first.
        pause: Duration,
        /// Why.
        error: &'a Error,
    },
    /// It is sent again, after a pause, as the session's [`Retry`](crate::Retry) says.
    Retrying {
        /// How long.
        pause: Duration,
        /// Why, when it was no status.
        error: Option<&'a Error>,
    },
    /// It goes on to another URL.
    Redirected {
        /// Where to.
        to: Option<&'a Url>,
    },
    /// A piece of the response's body was handed on, decoded.
    Chunk {
        /// How many bytes.
        bytes: usize,
    },
    /// The response was read to its end.
    Done {
        /// The bytes of its body, decoded.
        bytes: u64,
    },
    /// It failed.
    Failed {
        /// How.
        error: &'a Error,
    },
    /// It was given up: its future was dropped, or its response before the end.
    Cancelled,
}

impl Step<'_> {
    /// A short name, as for a column of a log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Connected(_) => "connected",
            Self::Uploaded(_) => "uploaded",
            Self::Sent { .. } => "sent",
            Self::Head { .. } => "head",
            Self::Resending { .. } => "resending",
            Self::Retrying { .. } => "retrying",
            Self::Redirected { .. } => "redirected",
            Self::Chunk { .. } => "chunk",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Which connection a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// One that was made for it. Another may come back while it is made, and be used in its place:
    /// that is counted in [`Stats::reused`](crate::Stats::reused), and not told.
    New,
    /// One that has served others.
    Reused,
    /// The client does not tell: see
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

/// Those who are told of one request, on its way to the session in its extensions.
#[derive(Clone, Default)]
pub(crate) struct RequestObservers(pub(crate) Vec<Arc<dyn Observer>>);

/// A request under way to one URL, for those who are told of it.
struct Attempt {
    observers: Observers,
    runtime: Arc<dyn Runtime>,
    request: u64,
    attempt: u32,
    method: Method,
    target: Target,
    begun: Instant,
    has_connection: AtomicBool,
    has_body: bool,
    over: AtomicBool,
}

impl Attempt {
    fn report(&self, step: Step<'_>) {
        let at = self.runtime.now();
        let event = Event {
            request: self.request,
            attempt: self.attempt,
            method: &self.method,
            url: self.target.url(),
            at,
            elapsed: at.saturating_duration_since(self.begun),
            step,
        };
        for observer in &*self.observers {
            observer.observe(&event);
        }
    }

    fn connected(&self, connection: Connection) {
        if !self.has_connection.swap(true, Ordering::Relaxed) {
            self.report(Step::Connected(connection));
        }
    }
}

/// How a session tells of one request. Dropped before its end, the request was cancelled.
pub(crate) struct ObservedExchange {
    attempt: Arc<Attempt>,
    bytes: u64,
}

impl ObservedExchange {
    pub(crate) fn start(
        observers: Observers,
        runtime: &Arc<dyn Runtime>,
        request: u64,
        method: &Method,
        target: &Target,
    ) -> Self {
        let attempt = Attempt {
            observers,
            runtime: runtime.clone(),
            request,
            attempt: 0,
            method: method.clone(),
            target: target.clone(),
            begun: runtime.now(),
            has_connection: AtomicBool::new(false),
            has_body: false,
            over: AtomicBool::new(false),
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

    /// The request goes to the client.
    pub(crate) fn sending(&mut self, target: &Target, request: &mut http::Request<Body>) {
        let last = &self.attempt;
        self.attempt = Arc::new(Attempt {
            observers: last.observers.clone(),
            runtime: last.runtime.clone(),
            request: last.request,
            attempt: last.attempt + 1,
            method: request.method().clone(),
            target: target.clone(),
            begun: last.begun,
            has_connection: AtomicBool::new(false),
            has_body: !request.body().is_empty(),
            over: AtomicBool::new(false),
        });
        self.report(Step::Sending);
        let told = ObserverHandle(self.attempt.clone());
        request.extensions_mut().insert(told.clone());
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = body.watched(Arc::new(told));
    }

    pub(crate) fn head(&self, head: &http::Response<Body>) {
        self.attempt.connected(Connection::Unknown);
        if !self.attempt.has_body {
            self.report(Step::Sent { at: None });
        }
        self.report(Step::Head {
            status: head.status(),
            version: head.version(),
            headers: head.headers(),
        });
    }

    pub(crate) fn chunk(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.report(Step::Chunk { bytes });
    }

    pub(crate) fn done(self) {
        let bytes = self.bytes;
        self.end(Step::Done { bytes });
    }

    pub(crate) fn failed(self, error: &Error) {
        self.end(Step::Failed { error });
    }

    fn end(&self, step: Step<'_>) {
        if !self.attempt.over.swap(true, Ordering::Relaxed) {
            self.report(step);
        }
    }
}

impl Drop for ObservedExchange {
    fn drop(&mut self) {
        self.end(Step::Cancelled);
    }
}

/// Somebody is told of this request: in its extensions.
#[derive(Clone)]
struct ObserverHandle(Arc<Attempt>);

impl Watch for ObserverHandle {
    fn took(&self, so_far: Progress) {
        if !self.0.over.load(Ordering::Relaxed) {
            self.0.report(Step::Uploaded(so_far));
        }
    }

    fn ended(&self) {
        if !self.0.over.load(Ordering::Relaxed) {
            let at = Some(self.0.runtime.now());
            self.0.report(Step::Sent { at });
        }
    }
}

/// Where a client says which connection a request has, in
/// [`ClientOptions::connections`](crate::ClientOptions::connections). A client that cannot says so
/// in [`Capabilities::connection_events`](crate::Capabilities::connection_events).
///
/// ```
/// use inflight_core::{Body, Connections, Trace, http};
///
/// # let options = inflight_core::ClientOptions::default();
/// let connections: Connections = options.connections.clone();
/// let request = http::Request::get("http://pages.test/").body(Body::empty())?;
/// // In `fetch`, before the request is taken apart:
/// let trace = Trace::of(&request);
/// // ... when a socket is open:
/// connections.opened();
/// trace.connected();
/// // ... or when the request has one that was kept:
/// connections.reused(&trace);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    reused: AtomicU64,
}

impl Connections {
    /// A connection was made.
    pub fn opened(&self) {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A request goes over a connection that has served others.
    pub fn reused(&self, trace: &Trace) {
        self.0.reused.fetch_add(1, Ordering::Relaxed);
        trace.report(Connection::Reused);
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.0.opened), read(&self.0.reused))
    }
}

/// Who is told of one request's connection: nobody, unless the session is observed.
#[derive(Clone)]
pub struct Trace(Option<ObserverHandle>);

impl Trace {
    /// Who is told of this request.
    pub fn of<B>(request: &http::Request<B>) -> Self {
        Self(request.extensions().get().cloned())
    }

    /// The connection that was made for the request is there.
    pub fn connected(&self) {
        self.report(Connection::New);
    }

    fn report(&self, connection: Connection) {
        if let Some(ObserverHandle(attempt)) = &self.0 {
            attempt.connected(connection);
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

/// Hands what happens on to the `tracing` crate, with the target `inflight`: pieces of bodies at
/// the level `TRACE`, all else at `DEBUG`.
///
/// ```
/// use inflight_core::{Observer, TracingObserver};
///
/// fn is_one(_: impl Observer) {}
/// is_one(TracingObserver);
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
                    attempt = event.attempt,
                    method = event.method.as_str(),
                    url = event.url.map(Url::as_str),
                    elapsed_ms = event.elapsed.as_secs_f64() * 1e3,
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
            Step::Connected(connection) => debug!(connection = %connection, "{name}"),
            Step::Head {
                status, version, ..
            } => {
                debug!(status = status.as_u16(), version = ?version, "{name}");
            }
            Step::Resending { pause, error } => {
                let pause_ms = pause.as_secs_f64() * 1e3;
                debug!(pause_ms, error = %error, "{name}");
            }
            Step::Retrying { pause, error } => {
                let pause_ms = pause.as_secs_f64() * 1e3;
                debug!(
                    pause_ms,
                    error = error.map(tracing::field::display),
                    "{name}"
                );
            }
            Step::Redirected { to } => debug!(to = to.map(Url::as_str), "{name}"),
            Step::Done { bytes } => debug!(bytes, "{name}"),
            Step::Failed { error } => debug!(error = %error, "{name}"),
            Step::Started | Step::Queued | Step::Sending | Step::Sent { .. } | Step::Cancelled => {
                debug!("{name}");
            }
        }
    }
}
