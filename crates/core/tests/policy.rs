//! Tests of redirects, retries, timeouts, limits and closing. The client calls a function, and the
//! test controls the clock.

mod support;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::{pending, ready};
use futures_lite::{StreamExt, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName, LOCATION, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use inflight_core::{
    AnyClient, Body, BoxFuture, Capabilities, Error, ErrorKind, Event, Fetch, Phase,
    RequestBuilder, Response, Retry, RetryBudget, Session, SessionBuilder,
};
use support::{
    FunctionClient, Signal, TestRuntime, builder, client, lock, poll, poll_until_stalled, respond,
    run,
};

const SECOND: Duration = Duration::from_secs(1);

/// A request as the client received it.
struct ReceivedRequest {
    method: Method,
    uri: String,
    headers: http::HeaderMap,
    body: Option<Bytes>,
}

impl ReceivedRequest {
    fn has(&self, name: impl http::header::AsHeaderName) -> bool {
        self.headers.contains_key(name)
    }
}

/// Returns a client, and the list of the requests that the client receives. The client calls `respond_to`
/// with the index and the URI of each request.
fn recording_client<F>(respond_to: F) -> (FunctionClient, Arc<Mutex<Vec<ReceivedRequest>>>)
where
    F: Fn(usize, &str) -> Result<http::Response<Body>, Error> + Send + Sync + 'static,
{
    let log: Arc<Mutex<Vec<ReceivedRequest>>> = Arc::default();
    let record = log.clone();
    let client = client(move |mut request: Request<Body>| {
        let mut log = lock(&record);
        let uri = request.uri().to_string();
        let response = respond_to(log.len(), &uri);
        log.push(ReceivedRequest {
            method: request.method().clone(),
            uri,
            headers: request.headers().clone(),
            body: request.body().as_bytes().cloned(),
        });
        async move {
            // Reads the body as a server does. A stream cannot be resent after this.
            let _ = request.body_mut().chunk().await;
            response
        }
    });
    (client, log)
}

fn redirect(status: u16, location: &str) -> Result<http::Response<Body>, Error> {
    let response = http::Response::builder().status(status);
    Ok(response
        .header(LOCATION, location)
        .body(Body::from("moved"))
        .unwrap())
}

fn response_with_status(status: u16) -> Result<http::Response<Body>, Error> {
    let mut response = http::Response::new(Body::from("no"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// Returns a client that redirects to each of the `locations` in turn and then responds with 200.
fn redirecting_client(
    code: u16,
    locations: &'static [&'static str],
) -> (FunctionClient, Arc<Mutex<Vec<ReceivedRequest>>>) {
    recording_client(move |n, _| match locations.get(n) {
        Some(location) => redirect(code, location),
        None => respond("there"),
    })
}

fn send(
    client: FunctionClient,
    build: impl FnOnce(SessionBuilder) -> SessionBuilder,
    request: impl FnOnce(&Session) -> RequestBuilder,
) -> Result<Response, Error> {
    let session = build(builder(client, &TestRuntime::new(0)))
        .build()
        .unwrap();
    run(request(&session).send())
}

// ---------------------------------------------------------------------------------------
// Redirects.

#[test]
fn a_redirect_is_followed_and_is_in_the_history() {
    let (client, log) = redirecting_client(302, &["/two", "http://other/three?q"]);
    let response = send(client, |b| b, |s| s.get("http://host/one")).unwrap();
    assert_eq!(response.url().unwrap().as_str(), "http://other/three?q");
    assert_eq!(response.attempts(), 3);
    let history: Vec<_> = response
        .history()
        .iter()
        .map(|entry| (entry.url().unwrap().as_str(), entry.status().as_u16()))
        .collect();
    assert_eq!(
        history,
        [("http://host/one", 302), ("http://host/two", 302)]
    );
    assert_eq!(run(response.text()).unwrap(), "there");
    let uris: Vec<_> = lock(&log).iter().map(|sent| sent.uri.clone()).collect();
    assert_eq!(
        uris,
        ["http://host/one", "http://host/two", "http://other/three?q"]
    );
}

#[test]
fn the_status_of_a_redirect_determines_the_next_method_and_body() {
    let rows = [
        (301, Method::GET, Method::GET, false),
        (301, Method::POST, Method::GET, false),
        (301, Method::PUT, Method::PUT, true),
        (301, Method::HEAD, Method::HEAD, false),
        (302, Method::POST, Method::GET, false),
        (302, Method::DELETE, Method::DELETE, false),
        (303, Method::POST, Method::GET, false),
        (303, Method::PUT, Method::GET, false),
        (303, Method::HEAD, Method::HEAD, false),
        (307, Method::POST, Method::POST, true),
        (308, Method::POST, Method::POST, true),
        (308, Method::PUT, Method::PUT, true),
    ];
    for (code, method, expected, with_body) in rows {
        let (client, log) = redirecting_client(code, &["/next"]);
        let body = matches!(method, Method::POST | Method::PUT);
        let request = |session: &Session| {
            let request = session.request(method.clone(), "http://host/");
            if body {
                return request.header(CONTENT_TYPE, "text/x").body("content");
            }
            request
        };
        send(client, |b| b, request).unwrap();
        let log = lock(&log);
        let next = &log[1];
        assert_eq!(next.method, expected, "{code} {method}");
        let content = if with_body { "content" } else { "" };
        assert_eq!(next.body.as_ref().unwrap(), content, "{code} {method}");
        assert_eq!(next.has(CONTENT_TYPE), with_body, "{code} {method}");
    }
}

#[test]
fn a_3xx_response_that_is_no_redirect_or_has_no_location_is_returned() {
    for code in [300, 304, 305, 306, 399] {
        let (client, log) = recording_client(move |_, _| redirect(code, "/next"));
        let response = send(client, |b| b, |s| s.get("http://host/")).unwrap();
        assert_eq!(response.status(), code);
        assert_eq!(lock(&log).len(), 1);
    }
    let (client, _) = recording_client(|_, _| response_with_status(302));
    assert_eq!(
        send(client, |b| b, |s| s.get("http://host/"))
            .unwrap()
            .status(),
        302
    );
}

#[test]
fn a_redirect_that_must_resend_a_stream_is_refused() {
    let stream = || Body::from_stream(stream::iter([Ok::<_, Error>("content")]));
    let (client, log) = redirecting_client(307, &["/next"]);
    let error = send(client, |b| b, |s| s.put("http://host/").body(stream())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RedirectRefused);
    assert_eq!(error.url(), Some("http://host/"));
    assert_eq!(error.attempts(), 1);
    assert_eq!(lock(&log).len(), 1);
    // A redirect that changes the method to GET does not need the body.
    let (client, log) = redirecting_client(303, &["/next"]);
    send(client, |b| b, |s| s.put("http://host/").body(stream())).unwrap();
    assert_eq!(lock(&log).len(), 2);
}

#[test]
fn the_number_of_redirects_is_limited() {
    let endless = || recording_client(|n, _| redirect(302, &format!("/{n}")));
    let (client, log) = endless();
    let error = send(client, |b| b, |s| s.get("http://host/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyRedirects);
    assert_eq!(error.url(), Some("http://host/9"));
    assert_eq!((error.attempts(), lock(&log).len()), (11, 11));
    let (client, log) = endless();
    send(client, |b| b.max_redirects(2), |s| s.get("http://host/")).unwrap_err();
    assert_eq!(lock(&log).len(), 3);
    let (client, log) = endless();
    let response = send(client, |b| b.max_redirects(0), |s| s.get("http://host/")).unwrap();
    assert_eq!((response.status().as_u16(), lock(&log).len()), (302, 1));
    assert_eq!(run(response.text()).unwrap(), "moved");
}

#[test]
fn credentials_are_not_sent_to_another_origin() {
    let key = HeaderName::from_static("x-key");
    let other_origins = [
        "http://other/",
        "http://host:81/",
        "https://host/",
        "http://sub.host/",
    ];
    for location in other_origins {
        let location = Arc::new(location);
        let (client, log) = recording_client(move |n, _| match n {
            0 => redirect(302, "/here"),
            1 => redirect(302, &location),
            // Leads back to the first origin. The request still has no credentials.
            2 => redirect(302, "http://host/home"),
            _ => respond("there"),
        });
        let build = |b: SessionBuilder| {
            b.allow_https_to_http(true)
                .confidential_header(key.clone())
                .header("x-key", "session")
                .header("x-open", "session")
        };
        let request = |s: &Session| {
            s.get("http://host/")
                .header(AUTHORIZATION, "mine")
                .header(COOKIE, "a=b")
                .header("proxy-authorization", "mine")
                .header("host", "front")
                .header("accept", "*/*")
        };
        send(client, build, request).unwrap();
        let log = lock(&log);
        assert_eq!(log.len(), 4);
        for (n, sent) in log.iter().enumerate() {
            let same_origin = n < 2;
            for name in [
                "authorization",
                "cookie",
                "host",
                "proxy-authorization",
                "x-key",
            ] {
                assert_eq!(sent.has(name), same_origin, "{name} at {}", sent.uri);
            }
            assert!(sent.has("accept") && sent.has("x-open"));
        }
    }
}

#[test]
fn credentials_in_the_url_are_sent_only_to_its_origin() {
    let (client, log) = redirecting_client(302, &["/here", "http://other/", "http://host/"]);
    send(client, |b| b, |s| s.get("http://me:secret@host/")).unwrap();
    let sent: Vec<_> = lock(&log)
        .iter()
        .map(|sent| sent.has(AUTHORIZATION))
        .collect();
    assert_eq!(sent, [true, true, false, false]);
    // The same origin, written differently.
    let (client, log) = redirecting_client(302, &["http://HOST:80/here"]);
    send(client, |b| b, |s| s.get("http://me:secret@host/")).unwrap();
    assert!(lock(&log)[1].has(AUTHORIZATION));
}

#[test]
fn redirects_from_https_to_http_or_to_other_schemes_are_refused() {
    for location in [
        "http://host/",
        "ftp://host/",
        "file:///etc/passwd",
        "http://[/",
    ] {
        let (client, log) = recording_client(move |_, _| redirect(302, location));
        let error = send(client, |b| b, |s| s.get("https://host/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RedirectRefused, "{location}");
        assert_eq!(error.url(), Some("https://host/"));
        assert_eq!(lock(&log).len(), 1);
    }
    let (client, _) = redirecting_client(302, &["http://host/"]);
    send(
        client,
        |b| b.allow_https_to_http(true),
        |s| s.get("https://host/"),
    )
    .unwrap();
}

#[test]
fn a_redirect_keeps_the_fragment_unless_the_location_has_one() {
    for (location, url) in [
        ("/next", "http://host/next#part"),
        ("/next#other", "http://host/next#other"),
    ] {
        let (client, log) = recording_client(move |n, _| match n {
            0 => redirect(302, location),
            _ => respond("there"),
        });
        let response = send(client, |b| b, |s| s.get("http://host/#part")).unwrap();
        assert_eq!(response.url().unwrap().as_str(), url);
        assert_eq!(lock(&log)[1].uri, "http://host/next");
    }
}

// ---------------------------------------------------------------------------------------
// Retries.

fn fail_with(kind: ErrorKind) -> impl Fn(usize, &str) -> Result<http::Response<Body>, Error> {
    move |_, _| Err(Error::new(kind))
}

/// Sends a request and advances the clock until the request completes.
fn send_and_advance(runtime: &TestRuntime, request: RequestBuilder) -> Result<Response, Error> {
    let mut sent = Box::pin(request.send());
    for _ in 0..100 {
        if let Poll::Ready(result) = poll_until_stalled(&mut sent) {
            return result;
        }
        runtime.advance(SECOND);
    }
    panic!("no response within 100 s");
}

fn retrying_session(client: FunctionClient, runtime: &TestRuntime, retry: Retry) -> Session {
    builder(client, runtime).retry(retry).build().unwrap()
}

#[test]
fn nothing_is_retried_by_default() {
    for kind in [ErrorKind::Connect, ErrorKind::Incomplete, ErrorKind::Io] {
        let (client, log) = recording_client(fail_with(kind));
        let error = send(client, |b| b, |s| s.get("http://host/")).unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (kind, 1));
        assert_eq!(lock(&log).len(), 1);
    }
    let (client, _) = recording_client(|_, _| response_with_status(503));
    assert_eq!(
        send(client, |b| b, |s| s.get("http://host/"))
            .unwrap()
            .status(),
        503
    );
}

#[test]
fn temporary_failures_are_retried_up_to_the_limit() {
    let runtime = TestRuntime::new(0);
    let (client, log) = recording_client(|n, _| match n {
        0 => Err(Error::new(ErrorKind::Connect)),
        1 => response_with_status(503),
        _ => respond("there"),
    });
    let session = retrying_session(client, &runtime, Retry::new(3));
    let response = send_and_advance(&runtime, session.get("http://host/")).unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (200, 3));
    assert_eq!(lock(&log).len(), 3);

    let (client, log) = recording_client(fail_with(ErrorKind::Connect));
    let session = retrying_session(client, &runtime, Retry::new(3));
    let error = send_and_advance(&runtime, session.get("http://host/")).unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Connect, 4));
    assert_eq!(lock(&log).len(), 4);
}

#[test]
fn the_last_response_is_returned_when_every_retry_failed() {
    let runtime = TestRuntime::new(0);
    let (client, log) = recording_client(|_, _| response_with_status(503));
    let session = retrying_session(client, &runtime, Retry::new(3));
    let response = send_and_advance(&runtime, session.get("http://host/")).unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (503, 4));
    assert_eq!(lock(&log).len(), 4);
}

#[test]
fn permanent_failures_are_not_retried() {
    let runtime = TestRuntime::new(0);
    for kind in [ErrorKind::Protocol, ErrorKind::Tls, ErrorKind::Unsupported] {
        let (client, log) = recording_client(fail_with(kind));
        let session = retrying_session(client, &runtime, Retry::new(3));
        send_and_advance(&runtime, session.get("http://host/")).unwrap_err();
        assert_eq!(lock(&log).len(), 1, "{kind}");
    }
    for code in [200, 400, 404, 500, 501] {
        let (client, log) = recording_client(move |_, _| response_with_status(code));
        let session = retrying_session(client, &runtime, Retry::new(3));
        send_and_advance(&runtime, session.get("http://host/")).unwrap();
        assert_eq!(lock(&log).len(), 1, "{code}");
    }
}

#[test]
fn requests_that_are_not_idempotent_or_not_replayable_are_not_retried() {
    let runtime = TestRuntime::new(0);
    let (client, log) = recording_client(fail_with(ErrorKind::Connect));
    let session = retrying_session(client, &runtime, Retry::new(3));
    send_and_advance(&runtime, session.post("http://host/").body("a")).unwrap_err();
    let stream = Body::from_stream(stream::iter([Ok::<_, Error>("a")]));
    send_and_advance(&runtime, session.put("http://host/").body(stream)).unwrap_err();
    assert_eq!(lock(&log).len(), 2);
    // `any_method` allows retries of a POST request.
    let (client, log) = recording_client(fail_with(ErrorKind::Connect));
    let session = retrying_session(client, &runtime, Retry::new(3).any_method());
    send_and_advance(&runtime, session.post("http://host/").body("a")).unwrap_err();
    assert_eq!(lock(&log).len(), 4);
    assert!(
        lock(&log)
            .iter()
            .all(|sent| sent.body.as_ref().unwrap() == "a")
    );
}

#[test]
fn a_retry_waits_for_retry_after() {
    let runtime = TestRuntime::new(0);
    let (client, log) = recording_client(|n, _| match n {
        0 => {
            let response = http::Response::builder().status(429);
            Ok(response
                .header(RETRY_AFTER, "30")
                .body(Body::empty())
                .unwrap())
        }
        _ => respond("there"),
    });
    let session = retrying_session(client, &runtime, Retry::new(3));
    let mut sent = Box::pin(session.get("http://host/").send());
    assert!(poll_until_stalled(&mut sent).is_pending());
    runtime.advance(29 * SECOND);
    assert!(poll_until_stalled(&mut sent).is_pending());
    assert_eq!(lock(&log).len(), 1);
    runtime.advance(SECOND);
    assert_eq!(run(sent).unwrap().status(), 200);
}

#[test]
fn a_request_is_not_retried_if_retry_after_exceeds_the_timeout() {
    let runtime = TestRuntime::new(0);
    let (client, log) = recording_client(|_, _| {
        let response = http::Response::builder().status(503);
        Ok(response
            .header(RETRY_AFTER, "300")
            .body(Body::empty())
            .unwrap())
    });
    let session = retrying_session(client, &runtime, Retry::new(3));
    let response = run(session.get("http://host/").timeout(60 * SECOND).send()).unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(lock(&log).len(), 1);
}

#[test]
fn a_request_is_not_retried_if_retry_after_overflows() {
    let runtime = TestRuntime::new(0);
    let (client, log) = recording_client(|_, _| {
        let response = http::Response::builder().status(503);
        Ok(response
            .header(RETRY_AFTER, u64::MAX)
            .body(Body::empty())
            .unwrap())
    });
    let session = retrying_session(client, &runtime, Retry::new(3));
    let response = run(session.get("http://host/").timeout(None).send()).unwrap();
    assert_eq!((response.status().as_u16(), lock(&log).len()), (503, 1));
}

#[test]
fn redirects_do_not_multiply_retries() {
    let runtime = TestRuntime::new(0);
    // Each URL fails twice and then redirects.
    let (client, log) = recording_client(|n, _| match n % 3 {
        2 => redirect(302, &format!("/{n}")),
        _ => response_with_status(503),
    });
    let session = retrying_session(client, &runtime, Retry::new(3));
    let response = send_and_advance(&runtime, session.get("http://host/")).unwrap();
    assert_eq!(response.status(), 503);
    // Two failures, a redirect, and two more failures use all three retries.
    assert_eq!(lock(&log).len(), 5);
}

#[test]
fn retries_have_a_budget() {
    let runtime = TestRuntime::new(0);
    let (client, log) = recording_client(fail_with(ErrorKind::Connect));
    let session = retrying_session(client, &runtime, Retry::new(1));
    for _ in 0..200 {
        send_and_advance(&runtime, session.get("http://host/")).unwrap_err();
    }
    // The budget is a fifth of the 200 requests, and ten more.
    let retries = lock(&log).len() - 200;
    assert!((40..=50).contains(&retries), "{retries} retries");
}

#[test]
fn an_exhausted_budget_is_reported() {
    let runtime = TestRuntime::new(0);
    let steps: Arc<Mutex<Vec<&str>>> = Arc::default();
    let seen = steps.clone();
    let (client, log) = recording_client(|_, uri| match uri {
        "http://host/503" => response_with_status(503),
        _ => Err(Error::new(ErrorKind::Connect)),
    });
    let session = builder(client, &runtime)
        .retry(Retry::new(5).budget(RetryBudget::new(2, 0)))
        .observe(move |event: &Event<'_>| lock(&seen).push(event.step.name()))
        .build()
        .unwrap();
    let response = send_and_advance(&runtime, session.get("http://host/503")).unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (503, 3));
    assert!(response.is_retry_budget_exhausted());
    let error = response.error_for_status().unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Status, 3));
    assert!(error.is_retry_budget_exhausted());

    lock(&steps).clear();
    let error = send_and_advance(&runtime, session.get("http://host/")).unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Connect, 1));
    assert!(error.is_retry_budget_exhausted());
    let message = error.to_string();
    assert!(
        message.contains("retry budget of the server is exhausted"),
        "{message}"
    );
    assert!(lock(&steps).contains(&"retry_budget_exhausted"));

    // Without a budget, only the number of retries limits them.
    lock(&log).clear();
    let request = session
        .get("http://host/")
        .retry(Retry::new(5).budget(None));
    let error = send_and_advance(&runtime, request).unwrap_err();
    assert_eq!(error.attempts(), 6);
    assert!(!error.is_retry_budget_exhausted());
}

#[test]
fn the_outcome_of_an_attempt_decides_about_a_retry() {
    let runtime = TestRuntime::new(0);
    let (client, _) = recording_client(|n, _| match n {
        0 => response_with_status(500),
        1 => Err(Error::new(ErrorKind::Protocol)),
        _ => respond("there"),
    });
    let outcomes: Arc<Mutex<Vec<_>>> = Arc::default();
    let seen = outcomes.clone();
    let retry = Retry::new(5).when(move |outcome| {
        let kind = outcome.error().map(Error::kind);
        lock(&seen).push((outcome.method().clone(), outcome.status(), kind));
        outcome.status() != Some(StatusCode::OK)
    });
    let session = retrying_session(client, &runtime, retry);
    let response = send_and_advance(&runtime, session.get("http://host/")).unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (200, 3));
    assert_eq!(
        *lock(&outcomes),
        [
            (Method::GET, Some(StatusCode::INTERNAL_SERVER_ERROR), None),
            (Method::GET, None, Some(ErrorKind::Protocol)),
            (Method::GET, Some(StatusCode::OK), None),
        ]
    );
}

#[test]
fn a_request_holds_no_permit_while_its_retry_waits() {
    let runtime = TestRuntime::new(0);
    let (client, _) = recording_client(|_, uri| match uri {
        "http://host/" => Err(Error::new(ErrorKind::Connect)),
        _ => respond("there"),
    });
    let session = builder(client, &runtime)
        .retry(Retry::new(1))
        .max_in_flight(1)
        .build()
        .unwrap();
    let mut failing = Box::pin(session.get("http://host/").send());
    assert!(poll(&mut failing).is_pending());
    run(session.get("http://host/other").bytes()).unwrap();
}

#[test]
fn a_request_on_a_dead_connection_is_resent() {
    let dead = |n: usize| match n {
        0 => Err(Error::new(ErrorKind::Incomplete).on_dead_connection()),
        _ => respond("there"),
    };
    let (client, log) = recording_client(move |n, _| dead(n));
    let response = send(client, |b| b, |s| s.put("http://host/").body("a")).unwrap();
    assert_eq!((response.attempts(), lock(&log).len()), (2, 2));
    let (client, log) = recording_client(move |n, _| dead(n));
    let error = send(client, |b| b, |s| s.post("http://host/").body("a")).unwrap_err();
    assert_eq!((error.kind(), lock(&log).len()), (ErrorKind::Incomplete, 1));
    let (client, log) =
        recording_client(|_, _| Err(Error::new(ErrorKind::Incomplete).on_dead_connection()));
    send(client, |b| b, |s| s.get("http://host/")).unwrap_err();
    // The session stops resending if every connection is dead.
    assert_eq!(lock(&log).len(), 4);
}

#[test]
fn a_request_that_was_not_processed_is_resent_with_any_method() {
    let refused = || Error::new(ErrorKind::Incomplete).not_processed();
    let (refusing, log) = recording_client(move |n, _| match n {
        0..3 => Err(refused()),
        _ => respond("there"),
    });
    let response = send(refusing, |b| b, |s| s.post("http://host/").body("a")).unwrap();
    assert_eq!((response.attempts(), lock(&log).len()), (4, 4));
    // A stream can be resent if no attempt has read from it.
    let stream = || Body::from_stream(stream::iter([Ok::<_, Error>("a"), Ok("b")]));
    let attempts = Arc::new(AtomicUsize::new(0));
    let unread = client({
        let attempts = attempts.clone();
        move |request: Request<Body>| {
            let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                match is_first {
                    true => Err(refused()),
                    false => Ok(http::Response::new(request.into_body())),
                }
            }
        }
    });
    let echo = send(unread, |b| b, |s| s.post("http://host/").body(stream())).unwrap();
    assert_eq!(run(echo.text()).unwrap(), "ab");
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    // A stream that was partly read cannot be resent.
    let attempts = Arc::new(AtomicUsize::new(0));
    let reads = client({
        let attempts = attempts.clone();
        move |mut request: Request<Body>| {
            attempts.fetch_add(1, Ordering::Relaxed);
            async move {
                assert_eq!(request.body_mut().chunk().await.unwrap().unwrap(), "a");
                Err(refused())
            }
        }
    });
    let error = send(reads, |b| b, |s| s.post("http://host/").body(stream())).unwrap_err();
    assert!(error.is_not_processed());
    assert!(
        error.to_string().contains("its body was partly read"),
        "{error}"
    );
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

#[test]
fn resends_end_at_the_deadline() {
    let runtime = TestRuntime::new(0);
    let (client, log) =
        recording_client(|_, _| Err(Error::new(ErrorKind::Incomplete).not_processed()));
    let session = builder(client, &runtime).timeout(SECOND).build().unwrap();
    let mut sent = Box::pin(session.post("http://host/").send());
    let error = loop {
        match poll_until_stalled(&mut sent) {
            Poll::Ready(result) => break result.unwrap_err(),
            Poll::Pending => runtime.advance(Duration::from_millis(1)),
        }
    };
    assert!(error.is_not_processed());
    // The client received the first attempt, ten resends without a pause, nine resends after pauses of
    // 1, 2, 4, ..., 256 ms, and one resend after another pause of 256 ms.
    assert_eq!(lock(&log).len(), 21);
}

// ---------------------------------------------------------------------------------------
// Timeouts of the phases.

fn assert_timeout(error: &Error, phase: Phase) {
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Timeout, Some(phase))
    );
}

fn hanging_client() -> FunctionClient {
    client(|_| pending())
}

#[test]
fn queue_timeout_limits_the_wait_in_the_queue() {
    let runtime = TestRuntime::new(0);
    let session = builder(hanging_client(), &runtime)
        .max_in_flight(1)
        .queue_timeout(10 * SECOND)
        .build()
        .unwrap();
    let mut first = Box::pin(session.get("http://host/").send());
    assert!(poll(&mut first).is_pending());
    let mut queued = Box::pin(session.get("http://host/").send());
    assert!(poll_until_stalled(&mut queued).is_pending());
    runtime.advance(9 * SECOND);
    assert!(poll_until_stalled(&mut queued).is_pending());
    runtime.advance(SECOND);
    let error = run(queued).unwrap_err();
    assert_timeout(&error, Phase::Queue);
    assert_eq!(error.attempts(), 0);
    assert!(poll(&mut first).is_pending());
}

#[test]
fn head_timeout_limits_the_wait_for_the_head() {
    let runtime = TestRuntime::new(0);
    let session = builder(hanging_client(), &runtime)
        .head_timeout(10 * SECOND)
        .build()
        .unwrap();
    let mut head = Box::pin(session.get("http://host/").send());
    assert!(poll_until_stalled(&mut head).is_pending());
    runtime.advance(10 * SECOND);
    assert_timeout(&run(head).unwrap_err(), Phase::Head);
    // The total timeout applies first if it is shorter.
    let mut head = Box::pin(session.get("http://host/").timeout(SECOND).send());
    assert!(poll_until_stalled(&mut head).is_pending());
    runtime.advance(SECOND);
    assert_timeout(&run(head).unwrap_err(), Phase::Total);
}

#[test]
fn read_timeout_limits_the_wait_for_each_chunk() {
    let runtime = TestRuntime::new(0);
    let signals: Arc<[Signal; 3]> = Arc::default();
    let script = signals.clone();
    let client = client(move |_| {
        let signals = script.clone();
        let chunks = stream::unfold(0, move |n| {
            let opened = signals.get(n).map(Signal::wait);
            async move {
                opened?.await;
                Some((Ok::<_, Error>("a"), n + 1))
            }
        });
        ready(respond(Body::from_stream(chunks)))
    });
    let session = builder(client, &runtime)
        .read_timeout(10 * SECOND)
        .build()
        .unwrap();
    let mut response = run(session.get("http://host/").send()).unwrap();
    for signal in &signals[..2] {
        // The timeout does not include the time between two reads.
        runtime.advance(60 * SECOND);
        let mut chunk = Box::pin(response.chunk());
        assert!(poll_until_stalled(&mut chunk).is_pending());
        runtime.advance(9 * SECOND);
        assert!(poll_until_stalled(&mut chunk).is_pending());
        signal.open();
        assert_eq!(run(chunk).unwrap().unwrap(), "a");
    }
    let mut chunk = Box::pin(response.chunk());
    assert!(poll_until_stalled(&mut chunk).is_pending());
    runtime.advance(10 * SECOND);
    assert_timeout(&run(chunk).unwrap_err(), Phase::Body);
}

#[test]
fn attempt_timeout_limits_each_attempt_to_the_end_of_its_body() {
    let runtime = TestRuntime::new(0);
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = attempts.clone();
    let client = client(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move {
            // The first attempt gets no head, and the body of the second never ends.
            if n == 0 {
                pending::<()>().await;
            }
            respond(Body::from_stream(
                stream::once(Ok::<_, Error>("a")).chain(stream::pending()),
            ))
        }
    });
    let session = builder(client, &runtime)
        .attempt_timeout(10 * SECOND)
        .retry(Retry::new(1).delays(Duration::ZERO, Duration::ZERO))
        .build()
        .unwrap();
    let mut response = send_and_advance(&runtime, session.get("http://host/")).unwrap();
    assert_eq!(response.attempts(), 2);
    assert_eq!(run(response.chunk()).unwrap().unwrap(), "a");
    runtime.advance(9 * SECOND);
    let mut chunk = Box::pin(response.chunk());
    assert!(poll_until_stalled(&mut chunk).is_pending());
    runtime.advance(SECOND);
    assert_timeout(&run(chunk).unwrap_err(), Phase::Body);
}

#[test]
fn settings_of_a_request_replace_those_of_the_session() {
    let runtime = TestRuntime::new(0);
    let (client, _) = recording_client(|_, uri| match uri {
        "http://host/moved" => redirect(302, "/"),
        "http://host/missing" => response_with_status(404),
        "http://host/busy" => response_with_status(503),
        _ => respond("there"),
    });
    let session = builder(client, &runtime).max_body(4).build().unwrap();
    let too_large = run(session.get("http://host/").text()).unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::BodyTooLarge);
    let text = run(session.get("http://host/").max_body(5).text()).unwrap();
    assert_eq!(text, "there");
    let moved = run(session.get("http://host/moved").max_redirects(0).send()).unwrap();
    assert_eq!(moved.status(), 302);
    let missing = session.get("http://host/missing").error_for_status(true);
    let error = run(missing.send()).unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Status, 1));
    let busy = session.get("http://host/busy").retry(Retry::new(2));
    let response = send_and_advance(&runtime, busy).unwrap();
    assert_eq!(response.attempts(), 3);
    // Other requests of the session are unchanged.
    assert_eq!(
        run(session.get("http://host/busy").send())
            .unwrap()
            .attempts(),
        1
    );
    assert_eq!(
        run(session.get("http://host/missing").send())
            .unwrap()
            .status(),
        404
    );

    let session = builder(hanging_client(), &runtime)
        .head_timeout(60 * SECOND)
        .build()
        .unwrap();
    let request = session.get("http://host/").head_timeout(SECOND);
    assert_timeout(
        &send_and_advance(&runtime, request).unwrap_err(),
        Phase::Head,
    );
}

#[test]
fn a_session_can_turn_statuses_into_errors_after_retries() {
    let runtime = TestRuntime::new(0);
    let (client, _) = recording_client(|n, _| match n {
        0 => response_with_status(503),
        1 => respond("there"),
        _ => response_with_status(404),
    });
    let session = builder(client, &runtime)
        .error_for_status(true)
        .retry(Retry::new(1))
        .build()
        .unwrap();
    let response = send_and_advance(&runtime, session.get("http://host/")).unwrap();
    assert_eq!((response.status().as_u16(), response.attempts()), (200, 2));
    let error = run(session.get("http://host/").send()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status);
    let request = session.get("http://host/").error_for_status(false);
    assert_eq!(run(request.send()).unwrap().status(), 404);
}

// ---------------------------------------------------------------------------------------
// Limits.

/// Returns a client that waits for a signal before each response. For each request, the client adds
/// the URI and the signal to `signals`.
fn waiting_client(signals: &Arc<Mutex<Vec<(String, Signal)>>>) -> FunctionClient {
    let signals = signals.clone();
    client(move |request: Request<Body>| {
        let signal = Signal::new();
        let opened = signal.wait();
        lock(&signals).push((request.uri().to_string(), signal));
        async move {
            opened.await;
            respond("there")
        }
    })
}

type Pending = BoxFuture<'static, Result<Response, Error>>;

fn start(session: &Session, url: &str) -> Pending {
    let mut sent = session.get(url).send();
    assert!(poll(&mut sent).is_pending());
    sent
}

fn started(signals: &Mutex<Vec<(String, Signal)>>) -> Vec<String> {
    lock(signals).iter().map(|(uri, _)| uri.clone()).collect()
}

#[test]
fn queued_requests_start_in_order_and_cancelled_ones_release_their_permits() {
    let signals: Arc<Mutex<Vec<_>>> = Arc::default();
    let session = builder(waiting_client(&signals), &TestRuntime::new(0))
        .max_in_flight(1)
        .build()
        .unwrap();
    let mut sent: Vec<_> = (0..5)
        .map(|n| start(&session, &format!("http://host/{n}")))
        .collect();
    // Drops request 2 in the queue. Drops request 1 after it was woken, and before it is polled again.
    drop(sent.remove(2));
    lock(&signals)[0].1.open();
    let first = run(sent.remove(0)).unwrap();
    run(first.bytes()).unwrap();
    drop(sent.remove(0));
    // A new request waits behind the queued requests.
    let mut newest = session.get("http://host/newest").send();
    assert!(poll(&mut newest).is_pending());
    for sent in &mut sent {
        let _ = poll(sent);
    }
    assert_eq!(started(&signals), ["http://host/0", "http://host/3"]);
    lock(&signals)[1].1.open();
    run(run(sent.remove(0)).unwrap().bytes()).unwrap();
    assert!(poll(&mut sent[0]).is_pending());
    assert_eq!(started(&signals)[2], "http://host/4");
}

#[test]
fn max_per_host_limits_each_host() {
    let signals: Arc<Mutex<Vec<_>>> = Arc::default();
    let session = builder(waiting_client(&signals), &TestRuntime::new(0))
        .max_per_host(1)
        .max_in_flight(2)
        .build()
        .unwrap();
    let urls = ["http://a/1", "http://A:80/2", "http://a/3", "http://b/1"];
    let mut sent = urls.map(|url| start(&session, url));
    // Requests that wait for their host do not delay requests to other hosts.
    assert_eq!(started(&signals), ["http://a/1", "http://b/1"]);
    drop(std::mem::replace(&mut sent[0], Box::pin(pending())));
    assert!(poll(&mut sent[1]).is_pending());
    assert_eq!(started(&signals).len(), 3);
}

#[test]
fn a_redirect_to_another_host_waits_for_a_permit_of_that_host() {
    let signals: Arc<Mutex<Vec<_>>> = Arc::default();
    let record = signals.clone();
    let client = client(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        let signal = Signal::new();
        let opened = signal.wait();
        lock(&record).push((uri.clone(), signal));
        async move {
            if uri == "http://a/" {
                return redirect(302, "http://b/next");
            }
            opened.await;
            respond("there")
        }
    });
    let session = builder(client, &TestRuntime::new(0))
        .max_per_host(1)
        .build()
        .unwrap();
    let busy = start(&session, "http://b/busy");
    let mut redirected = start(&session, "http://a/");
    assert_eq!(started(&signals), ["http://b/busy", "http://a/"]);
    // The permit of the first host is released while the redirect waits.
    let _other = start(&session, "http://a/");
    assert_eq!(started(&signals).len(), 3);
    drop(busy);
    assert!(poll(&mut redirected).is_pending());
    assert_eq!(started(&signals)[3], "http://b/next");
}

#[test]
fn a_redirect_that_waits_for_a_permit_does_not_block_other_requests() {
    let signals: Arc<Mutex<Vec<(String, Signal)>>> = Arc::default();
    let record = signals.clone();
    let client = client(move |request: Request<Body>| {
        let signal = Signal::new();
        let opened = signal.wait();
        let uri = request.uri().to_string();
        lock(&record).push((uri.clone(), signal));
        async move {
            opened.await;
            match uri.as_str() {
                "http://a/" => redirect(302, "http://b/next"),
                _ => respond("there"),
            }
        }
    });
    let session = builder(client, &TestRuntime::new(0))
        .max_per_host(1)
        .max_in_flight(1)
        .build()
        .unwrap();
    let redirected = session.get("http://a/").text();
    // This request holds the permit of host b, and waits for a permit of the session.
    let direct = session.get("http://b/").text();
    let (mut redirected, mut direct) = (Box::pin(redirected), Box::pin(direct));
    assert!(poll(&mut redirected).is_pending());
    assert!(poll(&mut direct).is_pending());
    lock(&signals)[0].1.open();
    assert!(poll_until_stalled(&mut redirected).is_pending());
    assert!(poll_until_stalled(&mut direct).is_pending());
    assert_eq!(started(&signals), ["http://a/", "http://b/"]);
    lock(&signals)[1].1.open();
    assert_eq!(run(direct).unwrap(), "there");
    assert!(poll_until_stalled(&mut redirected).is_pending());
    lock(&signals)[2].1.open();
    assert_eq!(run(redirected).unwrap(), "there");
}

#[test]
fn a_redirect_is_followed_even_if_its_body_never_arrives() {
    let runtime = TestRuntime::new(0);
    let client = client(|request: Request<Body>| {
        ready(match request.uri().path() {
            "/" => redirect(302, "/next").map(|response| {
                let never = stream::pending::<Result<Bytes, Error>>();
                response.map(|_| Body::wrap(SizedBody(Body::from_stream(never), 5)))
            }),
            _ => respond("there"),
        })
    });
    let session = builder(client, &runtime).build().unwrap();
    let mut text = Box::pin(session.get("http://host/").text());
    assert!(poll_until_stalled(&mut text).is_pending());
    runtime.advance(SECOND);
    assert_eq!(run(text).unwrap(), "there");
}

/// A body of known length.
struct SizedBody(Body, u64);

impl http_body::Body for SizedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}

#[test]
fn requests_that_wait_behind_unread_responses_fail() {
    let runtime = TestRuntime::new(0);
    let body = || Body::from_stream(stream::iter(["a", "b"]).map(Ok::<_, Error>));
    let session = builder(client(move |_| ready(respond(body()))), &runtime)
        .max_in_flight(2)
        .build()
        .unwrap();
    let mut first = run(session.get("http://host/").send()).unwrap();
    let second = run(session.get("http://host/").send()).unwrap();
    let mut queued: Vec<_> = (0..2).map(|_| start(&session, "http://host/")).collect();
    runtime.advance(SECOND);
    // All queued requests fail.
    for queued in queued.drain(..) {
        let error = run(queued).unwrap_err();
        assert_timeout(&error, Phase::Queue);
        assert!(error.to_string().contains("unread response"), "{error}");
    }
    // While one of the responses is being read, a request may wait in the queue for any time.
    run(first.chunk()).unwrap();
    let mut waits = start(&session, "http://host/");
    runtime.advance(60 * SECOND);
    assert!(poll_until_stalled(&mut waits).is_pending());
    drop(second);
    run(waits).unwrap();
}

#[test]
fn max_rate_limits_the_start_of_requests() {
    let runtime = TestRuntime::new(0);
    let started = Arc::new(AtomicUsize::new(0));
    let count = started.clone();
    let client = client(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        ready(respond("there"))
    });
    let session = builder(client, &runtime).max_rate(10, 2).build().unwrap();
    let mut sent: Vec<_> = (0..6).map(|_| session.get("http://host/").send()).collect();
    let mut counts = Vec::new();
    for _ in 0..6 {
        sent.retain_mut(|sent| poll_until_stalled(sent).is_pending());
        counts.push(started.load(Ordering::SeqCst));
        runtime.advance(SECOND / 10);
    }
    assert_eq!(counts, [2, 3, 4, 5, 6, 6]);
}

#[test]
#[should_panic(expected = "a rate of zero")]
fn a_rate_of_zero_panics() {
    let _ = builder(hanging_client(), &TestRuntime::new(0)).max_rate(0, 1);
}

// ---------------------------------------------------------------------------------------
// Statistics and closing.

#[test]
fn stats_count_requests_in_flight_and_waiting() {
    let signals: Arc<Mutex<Vec<_>>> = Arc::default();
    let session = builder(waiting_client(&signals), &TestRuntime::new(0))
        .max_in_flight(2)
        .build()
        .unwrap();
    let counts = || {
        let stats = session.stats();
        (stats.in_flight, stats.waiting)
    };
    assert_eq!(counts(), (0, 0));
    let mut sent: Vec<_> = (0..3).map(|_| start(&session, "http://host/")).collect();
    assert_eq!(counts(), (2, 1));
    drop(sent.pop());
    assert_eq!(counts(), (2, 0));
    lock(&signals)[0].1.open();
    let response = run(sent.remove(0)).unwrap();
    assert_eq!(
        counts(),
        (2, 0),
        "the request should be in flight until the body of its response is read"
    );
    run(response.bytes()).unwrap();
    assert_eq!(counts(), (1, 0));
    drop(sent);
    assert_eq!(counts(), (0, 0));
}

#[test]
fn requests_of_a_closed_session_fail() {
    let (client, log) = recording_client(|_, _| respond("there"));
    let runtime = TestRuntime::new(0);
    let session = builder(client, &runtime).build().unwrap();
    let clone = session.clone();
    let early = session.get("http://host/").send();
    run(session.close(60 * SECOND));
    for request in [early, clone.get("http://host/").send()] {
        let error = run(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!((error.url(), error.attempts()), (Some("http://host/"), 0));
    }
    assert_eq!(lock(&log).len(), 0);
    // A second close returns at once.
    run(clone.close(60 * SECOND));
}

#[test]
fn close_waits_for_requests_in_flight_and_in_the_queue() {
    let signals: Arc<Mutex<Vec<_>>> = Arc::default();
    let runtime = TestRuntime::new(0);
    let session = builder(waiting_client(&signals), &runtime)
        .max_in_flight(1)
        .build()
        .unwrap();
    let first = start(&session, "http://host/first");
    let mut queued = start(&session, "http://host/queued");
    let mut closing = Box::pin(session.close(60 * SECOND));
    assert!(poll_until_stalled(&mut closing).is_pending());
    lock(&signals)[0].1.open();
    run(run(first).unwrap().bytes()).unwrap();
    // `close` also waits for queued requests.
    assert!(poll_until_stalled(&mut queued).is_pending());
    lock(&signals)[1].1.open();
    let response = run(queued).unwrap();
    assert!(poll_until_stalled(&mut closing).is_pending());
    run(response.bytes()).unwrap();
    run(closing);
}

#[test]
fn close_cancels_requests_after_the_grace_period() {
    let runtime = TestRuntime::new(0);
    let client = client(|request: Request<Body>| async move {
        if request.uri().path() == "/body" {
            return respond(Body::from_stream(stream::pending::<Result<&str, Error>>()));
        }
        pending().await
    });
    let session = builder(client, &runtime).build().unwrap();
    let mut head = start(&session, "http://host/head");
    let response = run(session.get("http://host/body").send()).unwrap();
    let mut body = Box::pin(response.bytes());
    assert!(poll_until_stalled(&mut body).is_pending());
    let mut closing = Box::pin(session.close(60 * SECOND));
    assert!(poll_until_stalled(&mut closing).is_pending());
    runtime.advance(59 * SECOND);
    assert!(poll_until_stalled(&mut closing).is_pending());
    assert!(poll_until_stalled(&mut head).is_pending());
    runtime.advance(SECOND);
    assert!(poll_until_stalled(&mut closing).is_pending());
    assert_eq!(run(head).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(run(body).unwrap_err().kind(), ErrorKind::Closed);
    run(closing);
}

/// A client whose `ended` completes when the signal is open.
struct EndingClient(Signal);

impl Fetch for EndingClient {
    async fn fetch(&self, _: Request<Body>) -> Result<http::Response<Body>, Error> {
        respond("there")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all("lasting")
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.0.wait())
    }
}

/// Middleware that does not implement `ended`.
struct Middleware(AnyClient);

impl Fetch for Middleware {
    async fn fetch(&self, request: Request<Body>) -> Result<http::Response<Body>, Error> {
        self.0.fetch(request).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

#[test]
fn close_waits_for_the_client_inside_middleware() {
    let runtime = TestRuntime::new(1);
    let (ended, shared) = (Signal::new(), runtime.shared());
    let client = EndingClient(ended.clone());
    let session = Session::builder(move |_| Ok((client, shared)))
        .wrap(Middleware)
        .build()
        .unwrap();
    let mut closing = Box::pin(session.close(Duration::ZERO));
    assert!(poll_until_stalled(&mut closing).is_pending());
    ended.open();
    run(closing);
}

#[test]
fn a_second_close_waits_for_the_first() {
    let runtime = TestRuntime::new(1);
    let (ended, shared) = (Signal::new(), runtime.shared());
    let client = EndingClient(ended.clone());
    let session = Session::builder(move |_| Ok((client, shared)));
    let session = session.build().unwrap();
    let mut first = Box::pin(session.close(Duration::ZERO));
    assert!(poll_until_stalled(&mut first).is_pending());
    let mut second = Box::pin(session.close(Duration::ZERO));
    assert!(poll_until_stalled(&mut second).is_pending());
    ended.open();
    run(first);
    run(second);
}

#[test]
fn close_ends_a_body_whose_chunks_are_always_ready() {
    let runtime = TestRuntime::new(0);
    let body = || Body::from_stream(stream::repeat("chunk").map(Ok::<_, Error>));
    let session = builder(client(move |_| ready(respond(body()))), &runtime)
        .build()
        .unwrap();
    let mut response = run(session.get("http://host/").send()).unwrap();
    assert!(run(response.chunk()).unwrap().is_some());
    let mut closing = Box::pin(session.close(Duration::ZERO));
    assert!(poll_until_stalled(&mut closing).is_pending());
    assert_eq!(run(response.chunk()).unwrap_err().kind(), ErrorKind::Closed);
    run(closing);
}

#[test]
fn close_does_not_wait_indefinitely_for_an_unread_response() {
    let runtime = TestRuntime::new(0);
    let body = || Body::from_stream(stream::pending::<Result<&str, Error>>());
    let session = builder(client(move |_| ready(respond(body()))), &runtime)
        .build()
        .unwrap();
    let response = run(session.get("http://host/").send()).unwrap();
    let mut closing = Box::pin(session.close(Duration::ZERO));
    assert!(poll_until_stalled(&mut closing).is_pending());
    runtime.advance(SECOND);
    run(closing);
    assert_eq!(run(response.bytes()).unwrap_err().kind(), ErrorKind::Closed);
}
