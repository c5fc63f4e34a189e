//! Tests of observers and of connection statistics.

mod support;

use std::future::ready;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::pending;
use futures_lite::stream::{self, StreamExt};
use http::{Method, StatusCode};
use inflight_core::{
    Body, Connection, Error, ErrorKind, Event, Retry, SessionBuilder, Step, Trace,
};
use support::{TestRuntime, builder, client, lock, poll, respond, responding, run};

type Log = Arc<Mutex<Vec<String>>>;

/// Adds an observer that logs one line for each event. Returns the builder and the log.
///
/// A line has the form `request.attempt step detail`. The attempt is 0 before the request is first sent.
fn with_log(builder: SessionBuilder) -> (SessionBuilder, Log) {
    let log = Log::default();
    let lines = log.clone();
    let builder = builder.observe(move |event: &Event<'_>| {
        let detail = match event.step {
            Step::Sent { at } => at.map_or(String::new(), |_| " with time".to_owned()),
            Step::Connected(connection) => format!(" {connection}"),
            Step::Uploaded(so_far) => format!(" {}", so_far.bytes),
            Step::Head { status, .. } => format!(" {}", status.as_u16()),
            Step::Redirected { to } => format!(" {}", to.unwrap().path()),
            Step::Chunk { bytes } => format!(" {bytes}"),
            Step::Done { status, bytes } => format!(" {} {bytes}", status.as_u16()),
            Step::Failed { error } => format!(" {}", error.kind()),
            _ => String::new(),
        };
        let (request, attempt) = (event.request, event.attempt);
        let name = event.step.name();
        lock(&lines).push(format!("{request}.{attempt} {name}{detail}"));
    });
    (builder, log)
}

fn take_lines(log: &Log) -> Vec<String> {
    std::mem::take(&mut *lock(log))
}

fn response_with_status(status: StatusCode) -> http::Response<Body> {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[test]
fn an_observer_receives_all_events_of_a_request() {
    let (builder, log) = with_log(responding(|_| {
        let chunks = ["abc", "de"].map(Ok::<_, Error>);
        http::Response::new(Body::from_stream(stream::iter(chunks)))
    }));
    let session = builder.build().unwrap();
    run(session.get("http://host/").text()).unwrap();
    let expected = [
        "1.0 started",
        "1.1 sending",
        "1.1 connected unknown",
        "1.1 sent",
        "1.1 head 200",
        "1.1 chunk 3",
        "1.1 chunk 2",
        "1.1 done 200 5",
    ];
    assert_eq!(take_lines(&log), expected);
    // The second request has the next id.
    run(session.head("http://host/").send()).unwrap();
    assert_eq!(take_lines(&log)[0], "2.0 started");
}

#[test]
fn an_observer_of_a_request_receives_only_the_events_of_that_request() {
    let (builder, log) = with_log(responding(|_| http::Response::new(Body::empty())));
    let session = builder.build().unwrap();
    let request_log = Log::default();
    let seen = request_log.clone();
    let request = session
        .get("http://host/")
        .observe(move |event: &Event<'_>| {
            lock(&seen).push(format!("{}.{}", event.request, event.attempt));
        });
    run(request.send()).unwrap();
    run(session.get("http://host/").send()).unwrap();
    // The observer of the session receives the events of both requests, with the same ids.
    let all = take_lines(&log);
    let count = |request: &str| all.iter().filter(|line| line.starts_with(request)).count();
    assert_eq!(count("1."), take_lines(&request_log).len());
    assert_eq!(count("1."), count("2."));
}

#[test]
fn queued_is_reported_if_the_session_has_a_limit() {
    let runtime = TestRuntime::new(0);
    let silent = client(|_| pending());
    let (builder, log) = with_log(builder(silent, &runtime).max_in_flight(1));
    let session = builder.build().unwrap();
    let mut first = Box::pin(session.get("http://host/1").send());
    let mut second = Box::pin(session.get("http://host/2").send());
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    assert_eq!(
        take_lines(&log),
        [
            "1.0 started",
            "1.0 queued",
            "1.1 sending",
            "2.0 started",
            "2.0 queued"
        ],
    );
    drop(first);
    assert_eq!(take_lines(&log), ["1.1 cancelled"]);
    assert!(poll(&mut second).is_pending());
    assert_eq!(take_lines(&log), ["2.1 sending"]);
}

#[test]
fn redirects_and_retries_are_reported() {
    let (builder, log) = with_log(responding(|request| match request.uri().path() {
        "/from" => {
            let mut response = response_with_status(StatusCode::FOUND);
            let location = http::HeaderValue::from_static("/to");
            response.headers_mut().insert("location", location);
            response
        }
        "/to" => response_with_status(StatusCode::SERVICE_UNAVAILABLE),
        _ => response_with_status(StatusCode::OK),
    }));
    let once = Retry::new(1).delays(Duration::ZERO, Duration::ZERO);
    let session = builder.retry(once).build().unwrap();
    run(session.get("http://host/from").send()).unwrap();
    let expected = [
        "1.0 started",
        "1.1 sending",
        "1.1 connected unknown",
        "1.1 sent",
        "1.1 head 302",
        "1.1 redirected /to",
        "1.2 sending",
        "1.2 connected unknown",
        "1.2 sent",
        "1.2 head 503",
        "1.2 retrying",
        "1.3 sending",
        "1.3 connected unknown",
        "1.3 sent",
        "1.3 head 503",
        "1.3 done 503 0",
    ];
    assert_eq!(take_lines(&log), expected);
}

#[test]
fn failures_are_reported_with_their_kind() {
    let failing = client(|_| async { Err(Error::new(ErrorKind::Connect)) });
    let (failing, log) = with_log(builder(failing, &TestRuntime::new(0)));
    let failing = failing.build().unwrap();
    run(failing.get("http://host/").send()).unwrap_err();
    assert_eq!(take_lines(&log).last().unwrap(), "1.1 failed connect");
    run(failing.close(Duration::ZERO));
    run(failing.get("http://host/").send()).unwrap_err();
    assert_eq!(take_lines(&log), ["2.0 started", "2.0 failed closed"]);

    let (broken, log) = with_log(responding(|_| {
        let chunks = [Ok("abc"), Err(std::io::Error::other("cut"))];
        http::Response::new(Body::from_stream(stream::iter(chunks)))
    }));
    let broken = broken.build().unwrap();
    run(broken.get("http://host/").text()).unwrap_err();
    assert_eq!(take_lines(&log)[5..], ["1.1 chunk 3", "1.1 failed io"]);
}

#[test]
fn a_dropped_response_is_reported_as_cancelled_once() {
    let endless = || Body::from_stream(stream::repeat("a").map_ok());
    let (session, log) = with_log(responding(move |_| http::Response::new(endless())));
    let session = session.build().unwrap();
    let mut response = run(session.get("http://host/").send()).unwrap();
    run(response.chunk()).unwrap();
    drop(response);
    assert_eq!(
        take_lines(&log)[4..],
        ["1.1 head 200", "1.1 chunk 1", "1.1 cancelled"]
    );
    // A future that was never polled reports nothing.
    drop(session.get("http://host/").send());
    assert!(take_lines(&log).is_empty());
}

trait MapOk: stream::Stream<Item = &'static str> + Sized {
    fn map_ok(self) -> impl stream::Stream<Item = Result<&'static str, Error>> + Send
    where
        Self: Send,
    {
        stream::StreamExt::map(self, Ok)
    }
}

impl<S: stream::Stream<Item = &'static str>> MapOk for S {}

#[test]
fn uploads_are_reported_for_each_chunk() {
    let reading_client = || {
        client(|request| async move {
            request.into_body().collect(1 << 20).await?;
            respond(Body::empty())
        })
    };
    let runtime = TestRuntime::new(0);
    let (session, log) = with_log(builder(reading_client(), &runtime));
    let session = session.build().unwrap();
    run(session.post("http://host/").body("abc").send()).unwrap();
    assert_eq!(
        take_lines(&log)[2..4],
        ["1.1 uploaded 3", "1.1 sent with time"]
    );

    let chunks = stream::iter(["abc", "de"].map(Ok::<_, Error>));
    let streamed = session.post("http://host/").body(Body::from_stream(chunks));
    run(streamed.send()).unwrap();
    let expected = ["2.1 uploaded 3", "2.1 uploaded 5", "2.1 sent with time"];
    assert_eq!(take_lines(&log)[2..5], expected);

    // A request without a body reports no upload.
    run(session.post("http://host/").send()).unwrap();
    assert!(take_lines(&log)[2].ends_with("connected unknown"));
}

#[test]
fn a_client_reports_its_connections() {
    let reporting = client(|request| async move {
        Trace::of(&request).report_new_connection();
        // The second report is ignored.
        Trace::of(&request).report_new_connection();
        respond(Body::empty())
    });
    let (session, log) = with_log(builder(reporting, &TestRuntime::new(0)));
    let session = session.build().unwrap();
    run(session.get("http://host/").send()).unwrap();
    assert_eq!(
        take_lines(&log)[2..5],
        ["1.1 connected new", "1.1 sent", "1.1 head 200"]
    );
}

#[test]
fn a_connection_is_not_reported_after_the_last_step() {
    let traces: Arc<Mutex<Vec<Trace>>> = Arc::default();
    let kept = traces.clone();
    let silent = client(move |request| {
        lock(&kept).push(Trace::of(&request));
        pending()
    });
    let (builder, log) = with_log(builder(silent, &TestRuntime::new(0)));
    let session = builder.build().unwrap();
    let mut request = Box::pin(session.get("http://host/").send());
    assert!(poll(&mut request).is_pending());
    drop(request);
    // The thread of a blocking client may finish a connection later.
    lock(&traces)[0].report_new_connection();
    assert_eq!(
        take_lines(&log),
        ["1.0 started", "1.1 sending", "1.1 cancelled"]
    );
}

#[test]
fn all_observers_receive_the_same_events() {
    let (builder, one) = with_log(responding(|_| http::Response::new(Body::empty())));
    let (builder, other) = with_log(builder);
    let session = builder.build().unwrap();
    run(session.get("http://host/").send()).unwrap();
    let events = take_lines(&one);
    assert!(events.len() > 3);
    assert_eq!(events, take_lines(&other));
}

#[test]
fn an_event_has_the_method_the_url_and_the_elapsed_time() {
    let runtime = TestRuntime::new(0);
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let events = seen.clone();
    let silent = client(|_| pending());
    let session = builder(silent, &runtime)
        .timeout(Duration::from_secs(2))
        .observe(move |event: &Event<'_>| {
            let url = event.url.unwrap().to_string();
            lock(&events).push((event.method.clone(), url, event.elapsed));
        })
        .build()
        .unwrap();
    {
        let mut request = pin!(session.get("http://me:secret@host/page").send());
        assert!(poll(&mut request).is_pending());
        runtime.advance(Duration::from_secs(2));
        run(request).unwrap_err();
    }
    let seen = lock(&seen);
    for (method, url, _) in &*seen {
        assert_eq!((method, &**url), (&Method::GET, "http://host/page"));
    }
    assert_eq!(seen[0].2, Duration::ZERO);
    assert_eq!(seen.last().unwrap().2, Duration::from_secs(2));
}

#[test]
fn all_events_of_a_request_have_its_name() {
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let names = seen.clone();
    let session = responding(|request| match request.uri().path() {
        "/from" => {
            let mut response = response_with_status(StatusCode::FOUND);
            let location = http::HeaderValue::from_static("/to");
            response.headers_mut().insert("location", location);
            response
        }
        _ => http::Response::new(Body::from("page")),
    });
    let session = session
        .observe(move |event: &Event<'_>| {
            lock(&names).push((event.attempt, event.route.map(str::to_owned)));
        })
        .build()
        .unwrap();
    run(session.get("http://host/from").name("pages").text()).unwrap();
    let events = std::mem::take(&mut *lock(&seen));
    assert_eq!(events.last().unwrap().0, 2);
    assert!(
        events
            .iter()
            .all(|(_, route)| route.as_deref() == Some("pages")),
        "{events:?}"
    );
    // A name may be an owned string. The last name counts.
    let owned = format!("page {}", 7);
    let request = session.get("http://host/to").name("replaced").name(owned);
    run(request.text()).unwrap();
    let events = std::mem::take(&mut *lock(&seen));
    assert!(
        events
            .iter()
            .all(|(_, route)| route.as_deref() == Some("page 7"))
    );
    run(session.get("http://host/to").text()).unwrap();
    assert!(lock(&seen).iter().all(|(_, route)| route.is_none()));
}

#[test]
fn a_request_without_observers_has_no_extensions() {
    let bare = client(|request| async move {
        assert!(request.extensions().is_empty());
        respond(Body::empty())
    });
    let session = builder(bare, &TestRuntime::new(0)).build().unwrap();
    run(session.get("http://host/").send()).unwrap();
    run(session.get("http://host/").name("page").send()).unwrap();
}

#[test]
fn connections_are_counted_if_the_client_reports_them() {
    let counting = |reports: bool| {
        let runtime = TestRuntime::new(0).shared();
        inflight_core::Session::builder(move |options| {
            let connections = options.connections.clone();
            let mut counting = client(move |request| {
                connections.record_opened();
                connections.record_reused(&Trace::of(&request));
                connections.record_reused(&Trace::of(&request));
                async { respond(Body::empty()) }
            });
            if !reports {
                let reason = "it does not report connections";
                counting.capabilities.connection_events = inflight_core::Support::No(reason);
            }
            Ok((counting, runtime))
        })
        .build()
        .unwrap()
    };
    for (reports, opened, reused) in [(true, Some(1), Some(2)), (false, None, None)] {
        let session = counting(reports);
        run(session.get("http://host/").send()).unwrap();
        let stats = session.stats();
        assert_eq!((stats.opened, stats.reused), (opened, reused));
    }
    assert_eq!(Connection::Reused.to_string(), "reused");
}

#[test]
fn a_request_that_cannot_be_built_is_reported_as_failed() {
    let (builder, log) = with_log(responding(|_| http::Response::new(Body::empty())));
    let session = builder.build().unwrap();
    run(session.get("ftp://host/").send()).unwrap_err();
    assert_eq!(take_lines(&log), ["1.0 started", "1.0 failed invalid_url"]);
    run(session.get("http://host/").header("a", "\n").send()).unwrap_err();
    assert_eq!(
        take_lines(&log),
        ["2.0 started", "2.0 failed invalid_request"]
    );
}

#[test]
fn error_for_status_reports_a_failure_and_reads_the_rest_of_a_short_body() {
    for (len, is_short) in [(16 << 10, true), ((16 << 10) + 1, false)] {
        let runtime = TestRuntime::new(0);
        let reached_end = Arc::new(Mutex::new(false));
        let end = reached_end.clone();
        let missing = client(move |_| {
            let end = end.clone();
            let chunks = [1, len - 1].map(|len| Ok::<_, Error>(vec![b'x'; len]));
            let chunks = stream::iter(chunks).chain(stream::poll_fn(move |_| {
                *lock(&end) = true;
                Poll::Ready(None)
            }));
            let mut response = response_with_status(StatusCode::NOT_FOUND);
            *response.body_mut() = Body::from_stream(chunks);
            ready(Ok(response))
        });
        let (builder, log) = with_log(builder(missing, &runtime));
        let session = builder.build().unwrap();
        let response = run(session.get("http://host/").send()).unwrap();
        let error = response.error_for_status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Status);
        assert_eq!(take_lines(&log).last().unwrap(), "1.1 failed status");
        runtime.tick();
        assert_eq!(*lock(&reached_end), is_short);
        assert_eq!(session.stats().in_flight, 0);
        assert!(take_lines(&log).is_empty());
    }
}
