//! Tests of the integration with `tower`, `tracing` and `metrics`.
#![cfg(all(feature = "tower", feature = "tracing", feature = "metrics"))]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use inflight_core::tower::FromTower;
use inflight_core::{Body, Capabilities, ErrorKind, MetricsObserver, Session, TracingObserver};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Recorder,
    SharedString, Unit,
};
use support::{TestRuntime, builder, client, lock, respond, responding, run};
use tower::{ServiceBuilder, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

fn echo(request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    Response::new(Body::from(path))
}

#[test]
fn a_session_is_a_tower_service() {
    let session = responding(echo).build().unwrap();
    let service = ServiceBuilder::new()
        .map_request(|path: &'static str| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = format!("http://host/{path}").parse().unwrap();
            request
        })
        .service(session);
    let response = run(service.clone().oneshot("one")).unwrap();
    assert_eq!(run(response.text()).unwrap(), "/one");
    // The service returns the errors of the session.
    let closed = responding(echo).build().unwrap();
    run(closed.close(Duration::ZERO));
    let error = run(closed.oneshot(Request::new(Body::empty()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUrl);
}

#[test]
fn a_tower_service_is_a_client() {
    let inner = responding(echo).build().unwrap();
    let capabilities = Capabilities::all("a stack");
    let stack = ServiceBuilder::new()
        .map_request(|mut request: Request<Body>| {
            *request.uri_mut() = "http://host/rewritten".parse().unwrap();
            request
        })
        .service(inner);
    let runtime = TestRuntime::new(0).shared();
    let outer = Session::builder(move |_| Ok((FromTower::new(stack, capabilities), runtime)));
    let outer = outer.build().unwrap();
    let text = run(outer.get("http://host/requested").text()).unwrap();
    assert_eq!(text, "/rewritten");
}

/// A subscriber that records one line for each event.
#[derive(Clone, Default)]
struct LineRecorder(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if ["message", "request", "route", "status", "error"].contains(&field.name()) {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }
}

impl Subscriber for LineRecorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "inflight"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        lock(&self.0).push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn the_tracing_observer_records_an_event_for_each_step_of_a_request() {
    let recorder = LineRecorder::default();
    tracing::subscriber::with_default(recorder.clone(), || {
        let session = responding(|_| Response::new(Body::from("hello")));
        let session = session.observe(TracingObserver).build().unwrap();
        run(session.get("http://host/").name("page").text()).unwrap();
        let response = run(session.get("http://host/").send()).unwrap();
        drop(response);
    });
    let lines = lock(&recorder.0);
    let steps = [
        "DEBUG message=started request=1 route=\"page\"",
        "DEBUG message=sending request=1 route=\"page\"",
        "DEBUG message=connected request=1 route=\"page\"",
        "DEBUG message=sent request=1 route=\"page\"",
        "DEBUG message=head request=1 route=\"page\" status=200",
        "TRACE message=chunk request=1",
        "DEBUG message=done request=1 route=\"page\" status=200",
        "DEBUG message=started request=2",
    ];
    assert_eq!(lines[..steps.len()], steps);
    assert_eq!(lines.last().unwrap(), "DEBUG message=cancelled request=2");
}

/// A recorder of the `metrics` crate that stores the last value of each metric with its labels, and the
/// descriptions.
#[derive(Clone, Default)]
struct MetricRecorder(Arc<Mutex<RecordedMetrics>>);

#[derive(Default)]
struct RecordedMetrics {
    values: BTreeMap<String, f64>,
    described: Vec<String>,
}

/// One metric of a [`MetricRecorder`].
struct RecordedMetric {
    recorder: MetricRecorder,
    key: String,
}

impl RecordedMetric {
    fn add(&self, value: f64) {
        let mut recorded = lock(&self.recorder.0);
        *recorded.values.entry(self.key.clone()).or_default() += value;
    }
}

impl CounterFn for RecordedMetric {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        unreachable!("the observer only increments counters");
    }
}

impl GaugeFn for RecordedMetric {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        unreachable!("the observer only increments and decrements gauges");
    }
}

impl HistogramFn for RecordedMetric {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl MetricRecorder {
    fn metric(&self, key: &Key) -> Arc<RecordedMetric> {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        Arc::new(RecordedMetric {
            recorder: self.clone(),
            key: format!("{}{}", key.name(), labels.collect::<String>()),
        })
    }

    fn describe(&self, name: &KeyName) {
        lock(&self.0).described.push(name.as_str().to_owned());
    }
}

impl Recorder for MetricRecorder {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!(unit, Some(Unit::Seconds));
        self.describe(&name);
    }

    fn register_counter(&self, key: &Key, _: &metrics::Metadata<'_>) -> Counter {
        Counter::from_arc(self.metric(key))
    }

    fn register_gauge(&self, key: &Key, _: &metrics::Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.metric(key))
    }

    fn register_histogram(&self, key: &Key, _: &metrics::Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.metric(key))
    }
}

#[test]
fn the_metrics_observer_emits_the_metrics_of_a_session() {
    let recorder = MetricRecorder::default();
    let runtime = TestRuntime::new(0);
    let clock = runtime.clone();
    let _open = metrics::with_local_recorder(&recorder, || {
        let slow = client(move |_| {
            clock.advance(Duration::from_secs(2));
            ready(respond(Body::from("hello")))
        });
        let session = builder(slow, &runtime).observe(MetricsObserver::new());
        let session = session.build().unwrap();
        let request = || session.get("http://host/7").name("page");
        run(request().text()).unwrap();
        drop(run(session.post("http://host/").send()).unwrap());
        // Returned, so that the request has not ended when the metrics are checked.
        run(request().send()).unwrap()
    });
    let recorded = lock(&recorder.0);
    let values: Vec<_> = recorded
        .values
        .iter()
        .map(|(key, value)| (key.as_str(), *value))
        .collect();
    assert_eq!(
        values,
        [
            ("inflight_attempts_total connection=unknown", 3.0),
            ("inflight_request_duration_seconds route= method=POST", 2.0),
            (
                "inflight_request_duration_seconds route=page method=GET",
                2.0
            ),
            ("inflight_requests_in_flight", 1.0),
            (
                "inflight_requests_total route= method=POST status= error=cancelled",
                1.0
            ),
            (
                "inflight_requests_total route=page method=GET status=2xx error=",
                1.0
            ),
        ]
    );
    assert_eq!(recorded.described.len(), 6);
}
