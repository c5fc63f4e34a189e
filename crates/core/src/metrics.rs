//! Observers that count requests and measure their durations.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;

use crate::error::ErrorKind;
use crate::observe::{Connection, Event, Observer, Step};
use crate::prometheus::{MetricText, OTHER, labels, method_label};

/// The upper bounds of the buckets for durations, in seconds. OpenTelemetry advises these bounds for the
/// durations of HTTP requests.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// How many routes have metrics of their own. This limits the memory of a program that by mistake uses
/// URLs as names.
const MAX_ROUTES: usize = 256;

/// The name of a metric, and its description.
struct Description {
    name: &'static str,
    help: &'static str,
}

const REQUESTS: Description = Description {
    name: "inflight_requests_total",
    help: "Requests that have ended, by status class or error kind.",
};
const DURATION: Description = Description {
    name: "inflight_request_duration_seconds",
    help: "The time from the start of a request to its end, in seconds.",
};
const RETRIES: Description = Description {
    name: "inflight_retries_total",
    help: "Attempts under the retry policy after the first attempt.",
};
const RESENDS: Description = Description {
    name: "inflight_resends_total",
    help: "Attempts that repeat a request which the server has not processed.",
};
const ATTEMPTS: Description = Description {
    name: "inflight_attempts_total",
    help: "Attempts that got a connection, by the kind of the connection.",
};
const IN_FLIGHT: Description = Description {
    name: "inflight_requests_in_flight",
    help: "Requests that have started and have not ended.",
};

/// The end of a request, as the values of two labels. One of them is empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct EndLabels {
    status: &'static str,
    error: &'static str,
}

impl EndLabels {
    /// Returns the outcome if the step is the last of its request.
    fn of(step: &Step<'_>) -> Option<Self> {
        let failed = |kind: ErrorKind| Self {
            status: "",
            error: kind.as_str(),
        };
        match step {
            Step::Done { status, .. } => Some(Self::with_status(*status)),
            // Whether `error_for_status` ends a request depends on the length of the body, so it must not
            // change the outcome.
            Step::Failed { error } => Some(match error.status_code() {
                Some(status) => Self::with_status(status),
                None => failed(error.kind()),
            }),
            Step::Cancelled => Some(failed(ErrorKind::Cancelled)),
            _ => None,
        }
    }

    fn with_status(status: StatusCode) -> Self {
        let status = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => OTHER,
        };
        Self { status, error: "" }
    }
}

/// An observer that counts the requests of a session and measures their durations, for Prometheus.
///
/// Clones share the counts, so that the program can pass a clone to the session and read the counts
/// from another. [`prometheus`](Self::prometheus) returns these metrics:
///
/// | metric | labels | counts |
/// |---|---|---|
/// | `inflight_requests_total` | `route`, `method`, `status`, `error` | requests that have ended |
/// | `inflight_request_duration_seconds` | `route`, `method` | the durations of these requests |
/// | `inflight_retries_total` | `route` | [`Step::Retrying`] |
/// | `inflight_resends_total` | `route` | [`Step::Resending`] |
/// | `inflight_attempts_total` | `connection` | [`Step::Connected`] |
/// | `inflight_requests_in_flight` | | requests that have started and not ended |
///
/// The number of time series is bounded:
///
/// - `route` is the [name](crate::RequestBuilder::name) of the request, and empty for a request without
///   a name. After 256 names, requests with further names count under the route `other`.
/// - `method` is the method of the last attempt. It is `other` for methods that are not standard.
/// - `status` is the class of the status, such as `4xx`. It is empty if the request failed or was
///   cancelled.
/// - `error` is the [kind of the error](ErrorKind::as_str), or `cancelled`. It is empty if the response
///   was read to its end. A status that the program treats as an error counts as a status.
///
/// A duration lasts from [`Step::Started`] to the end of the body. It includes the wait for a permit,
/// all attempts and the pauses between them.
///
/// The end of a request and a retry each take two locks for a short time: a shared lock of all routes,
/// and the lock of the request's route. Other events change at most an atomic counter.
///
/// ```
/// # use std::sync::Arc;
/// # use inflight_core::{BlockOn, Body, Capabilities, Error, Fetch, http};
/// # use inflight_threads::Threads;
/// # struct Echo;
/// # impl Fetch for Echo {
/// #     async fn fetch(&self, _: http::Request<Body>) -> Result<http::Response<Body>, Error> {
/// #         Ok(http::Response::new(Body::empty()))
/// #     }
/// #     fn capabilities(&self) -> Capabilities {
/// #         Capabilities::all("echo")
/// #     }
/// # }
/// # let threads = Threads::new();
/// # let runtime = Arc::new(threads.clone());
/// use inflight_core::{Session, SessionMetrics};
///
/// let metrics = SessionMetrics::new();
/// let session = Session::builder(|_| Ok((Echo, runtime)))
///     .observe(metrics.clone())
///     .build()?;
/// let request = session.get("http://pages.test/users/7").name("/users/{id}");
/// threads.block_on(request.bytes())?;
///
/// let expected = r#"inflight_requests_total{route="/users/{id}",method="GET",status="2xx",error=""} 1"#;
/// assert!(metrics.prometheus().lines().any(|line| line == expected));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct SessionMetrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    in_flight: AtomicU64,
    new_connections: AtomicU64,
    reused_connections: AtomicU64,
    unknown_connections: AtomicU64,
    routes: RwLock<HashMap<String, Arc<Mutex<RouteMetrics>>>>,
}

/// The metrics of one route.
#[derive(Default)]
struct RouteMetrics {
    retries: u64,
    resends: u64,
    methods: BTreeMap<&'static str, MethodMetrics>,
}

/// The metrics of one method of a route.
#[derive(Default)]
struct MethodMetrics {
    requests: BTreeMap<EndLabels, u64>,
    /// The durations up to each bound, without those up to the bound before it.
    buckets: [u64; BUCKETS.len()],
    total: Duration,
}

impl MethodMetrics {
    fn record(&mut self, outcome: EndLabels, duration: Duration) {
        *self.requests.entry(outcome).or_default() += 1;
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.total += duration;
    }

    /// Returns the bounds with the number of durations up to each of them.
    fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BUCKETS.into_iter().zip(counts)
    }
}

impl SessionMetrics {
    /// Creates metrics without counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the metrics in Prometheus' text format.
    pub fn prometheus(&self) -> String {
        let [mut requests, mut retries, mut resends, mut attempts] =
            [REQUESTS, RETRIES, RESENDS, ATTEMPTS]
                .map(|metric| MetricText::counter(metric.name, metric.help));
        let mut durations = MetricText::histogram(DURATION.name, DURATION.help);
        let mut in_flight = MetricText::gauge(IN_FLIGHT.name, IN_FLIGHT.help);
        in_flight.add("", self.0.in_flight.load(Ordering::Relaxed));
        for kind in [Connection::New, Connection::Reused, Connection::Unknown] {
            let labels = labels(&[("connection", &kind.to_string())]);
            attempts.add(&labels, self.0.attempts(kind).load(Ordering::Relaxed));
        }
        for (route, metrics) in self.0.sorted_routes() {
            let metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
            let of_route = labels(&[("route", &route)]);
            retries.add(&of_route, metrics.retries);
            resends.add(&of_route, metrics.resends);
            for (method, metrics) in &metrics.methods {
                let of_method = labels(&[("route", &route), ("method", method)]);
                for (outcome, count) in &metrics.requests {
                    let end = labels(&[("status", outcome.status), ("error", outcome.error)]);
                    requests.add(&format!("{of_method},{end}"), count);
                }
                let count = metrics.requests.values().sum();
                let sum = metrics.total.as_secs_f64();
                durations.add_histogram(&of_method, metrics.cumulative(), count, sum);
            }
        }
        let texts = [requests, durations, retries, resends, attempts, in_flight];
        texts.map(MetricText::finish).concat()
    }
}

impl Inner {
    fn attempts(&self, connection: Connection) -> &AtomicU64 {
        match connection {
            Connection::New => &self.new_connections,
            Connection::Reused => &self.reused_connections,
            Connection::Unknown => &self.unknown_connections,
        }
    }

    fn sorted_routes(&self) -> Vec<(String, Arc<Mutex<RouteMetrics>>)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut routes: Vec<_> = routes
            .iter()
            .map(|(route, metrics)| (route.clone(), metrics.clone()))
            .collect();
        routes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        routes
    }

    /// Calls `update` with the metrics of the event's route.
    fn update(&self, event: &Event<'_>, update: impl FnOnce(&mut RouteMetrics)) {
        let route = event.route.unwrap_or_default();
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let known = routes.get(route).cloned();
        drop(routes);
        let metrics = known.unwrap_or_else(|| self.add_route(route));
        update(&mut metrics.lock().unwrap_or_else(PoisonError::into_inner));
    }

    #[cold]
    fn add_route(&self, route: &str) -> Arc<Mutex<RouteMetrics>> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = routes.contains_key(route);
        let has_room = routes.len() < MAX_ROUTES;
        let route = if is_known || has_room { route } else { OTHER };
        routes.entry(route.to_owned()).or_default().clone()
    }
}

impl Observer for SessionMetrics {
    fn observe(&self, event: &Event<'_>) {
        let Self(inner) = self;
        match event.step {
            Step::Started => {
                inner.in_flight.fetch_add(1, Ordering::Relaxed);
            }
            Step::Connected(connection) => {
                inner.attempts(connection).fetch_add(1, Ordering::Relaxed);
            }
            Step::Retrying { .. } => inner.update(event, |route| route.retries += 1),
            Step::Resending { .. } => inner.update(event, |route| route.resends += 1),
            _ => {
                let Some(outcome) = EndLabels::of(&event.step) else {
                    return;
                };
                inner.in_flight.fetch_sub(1, Ordering::Relaxed);
                inner.update(event, |route| {
                    let method = method_label(event.method);
                    let metrics = route.methods.entry(method).or_default();
                    metrics.record(outcome, event.elapsed);
                });
            }
        }
    }
}

impl fmt::Debug for SessionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionMetrics")
    }
}

/// An observer that emits the metrics of [`SessionMetrics`] through the `metrics` crate, for the
/// recorder that the program has installed.
///
/// The metrics have the same names and labels. The recorder chooses the buckets of the durations. The
/// number of routes has no limit, so [names](crate::RequestBuilder::name) must not contain parts of
/// URLs that vary.
///
/// ```
/// use inflight_core::{MetricsObserver, Observer};
///
/// fn observe_with(_: impl Observer) {}
/// observe_with(MetricsObserver::new());
/// ```
#[cfg(feature = "metrics")]
#[derive(Debug, Clone, Copy)]
pub struct MetricsObserver(());

#[cfg(feature = "metrics")]
impl MetricsObserver {
    /// Creates the observer, and describes the metrics to the recorder. If the program installs its
    /// recorder later, the recorder has no descriptions.
    pub fn new() -> Self {
        use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

        for metric in [REQUESTS, RETRIES, RESENDS, ATTEMPTS] {
            describe_counter!(metric.name, metric.help);
        }
        describe_histogram!(DURATION.name, Unit::Seconds, DURATION.help);
        describe_gauge!(IN_FLIGHT.name, IN_FLIGHT.help);
        Self(())
    }
}

#[cfg(feature = "metrics")]
impl Default for MetricsObserver {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "metrics")]
impl Observer for MetricsObserver {
    fn observe(&self, event: &Event<'_>) {
        use metrics::{counter, gauge, histogram};

        let route = || event.route.unwrap_or_default().to_owned();
        match event.step {
            Step::Started => gauge!(IN_FLIGHT.name).increment(1.0),
            Step::Connected(connection) => {
                counter!(ATTEMPTS.name, "connection" => connection.to_string()).increment(1);
            }
            Step::Retrying { .. } => counter!(RETRIES.name, "route" => route()).increment(1),
            Step::Resending { .. } => counter!(RESENDS.name, "route" => route()).increment(1),
            _ => {
                let Some(EndLabels { status, error }) = EndLabels::of(&event.step) else {
                    return;
                };
                gauge!(IN_FLIGHT.name).decrement(1.0);
                let method = method_label(event.method);
                counter!(
                    REQUESTS.name,
                    "route" => route(),
                    "method" => method,
                    "status" => status,
                    "error" => error,
                )
                .increment(1);
                histogram!(DURATION.name, "route" => route(), "method" => method)
                    .record(event.elapsed);
            }
        }
    }
}
