//! Tests of the integration with `tower` and `tracing`.
#![cfg(all(feature = "tower", feature = "tracing"))]

mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use inflight_core::tower::FromTower;
use inflight_core::{Body, Capabilities, ErrorKind, Session, TracingObserver};
use support::{TestRuntime, lock, responding, run};
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
struct Recorder(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if ["message", "request", "route", "status", "error"].contains(&field.name()) {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }
}

impl Subscriber for Recorder {
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
    let recorder = Recorder::default();
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
