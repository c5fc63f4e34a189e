//! Tests of the tower layer.
#![cfg(feature = "tower")]

use std::convert::Infallible;
use std::future::Ready;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future::{block_on, yield_now};
use inflight_core::http::{Method, Request, Response};
use inflight_probe::{Event, Layer, PollStats, Probe, poll_stats};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// Returns the counts of the labels that were set at a line of this file.
fn stats_of(line: u32) -> Vec<PollStats> {
    poll_stats()
        .into_iter()
        .filter(|stats| (stats.location.file(), stats.location.line()) == (file!(), line))
        .collect()
}

#[test]
fn requests_of_a_route_and_a_method_share_a_label() {
    let line = line!() + 1;
    let layer = Layer::new_for_http(|request: &Request<&'static str>| request.body());
    let service = ServiceBuilder::new().layer(layer).service(service_fn(
        |request: Request<&'static str>| async move {
            yield_now().await;
            Ok::<_, Infallible>(Response::new(request.into_body()))
        },
    ));
    let send = |method: &[u8], path: &str, pattern| {
        let mut request = Request::new(pattern);
        *request.method_mut() = Method::from_bytes(method).unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let response = block_on(service.clone().oneshot(request)).unwrap();
        assert_eq!(response.into_body(), pattern);
    };
    send(b"GET", "/users/1", "/users/{id}");
    send(b"GET", "/users/2", "/users/{id}");
    send(b"POST", "/users/2", "/users/{id}");
    send(b"PURGE", "/", "/");
    send(b"STEAL", "/", "/");
    let stats = stats_of(line);
    let polls: Vec<_> = stats
        .iter()
        .map(|stats| (stats.label, stats.polls.len()))
        .collect();
    // Each future is polled twice.
    assert_eq!(
        polls,
        [
            ("GET /users/{id}", 4),
            ("POST /users/{id}", 2),
            ("other /", 4)
        ]
    );
}

#[test]
fn a_service_with_other_requests_computes_its_own_labels() {
    let line = line!() + 1;
    let layer = Layer::new(|n: &u32| if *n == 0 { "zero" } else { "positive" });
    let double = service_fn(|n: u32| async move { Ok::<_, Infallible>(2 * n) });
    let service = ServiceBuilder::new().layer(layer).service(double);
    for n in [0, 1, 2] {
        assert_eq!(block_on(service.clone().oneshot(n)), Ok(2 * n));
    }
    let stats = stats_of(line);
    let polls = stats.iter().map(|stats| (stats.label, stats.polls.len()));
    assert_eq!(polls.collect::<Vec<_>>(), [("zero", 1), ("positive", 2)]);
}

/// A service that refuses to become ready.
struct Refusing;

impl Service<u32> for Refusing {
    type Response = ();
    type Error = &'static str;
    type Future = Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("refused"))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        unreachable!("the service is not ready")
    }
}

#[test]
fn a_service_that_is_not_ready_is_not_called() {
    let layer = Layer::new(|_: &u32| "refused");
    let service = ServiceBuilder::new().layer(layer).service(Refusing);
    assert_eq!(block_on(service.oneshot(1)), Err("refused"));
}

#[test]
fn a_request_that_blocks_is_reported_with_its_route() {
    let (release, released) = channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let _probe = Probe::builder()
        .threshold(Duration::from_millis(20))
        .start(move |event| {
            if let Event::Stalled(stall) = event
                && stall.label == "GET /block"
            {
                release.send(()).unwrap();
            }
        })
        .unwrap();
    let service = ServiceBuilder::new()
        .layer(Layer::new_for_http(|_| "/block"))
        .service(service_fn(move |_: Request<()>| {
            let released = released.clone();
            async move { released.lock().unwrap().recv() }
        }));
    assert_eq!(block_on(service.oneshot(Request::new(()))), Ok(()));
}
