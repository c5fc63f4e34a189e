//! Tests of `Session`, with a client that calls a function and a clock that the test controls.

mod support;

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future::{pending, ready};
use futures_lite::{StreamExt, stream};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Frame;
use inflight_core::{
    Body, BoxFuture, Deadline, Error, ErrorKind, Phase, RequestBuilder, Response, Runtime, Session,
    SessionBuilder, Support, gather,
};
use proptest::prelude::*;
use support::{
    EventListener, FunctionClient, Signal, TestRuntime, Wakes, builder, client, lock, poll,
    poll_until_stalled, respond, run, session,
};

/// Returns a client that responds with `ok`, and the list of the requests that it receives.
fn recording_client() -> (FunctionClient, Arc<Mutex<Vec<Request<()>>>>) {
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let record = seen.clone();
    let client = client(move |request: Request<Body>| {
        lock(&record).push(request.map(drop));
        ready(respond("ok"))
    });
    (client, seen)
}

/// Sends a request, and returns it as the client received it.
fn capture(
    build: impl FnOnce(SessionBuilder) -> SessionBuilder,
    make_request: impl FnOnce(&Session) -> RequestBuilder,
) -> Request<()> {
    let (client, seen) = recording_client();
    let session = build(builder(client, &TestRuntime::new(0)))
        .build()
        .unwrap();
    run(make_request(&session).send()).unwrap();
    let mut seen = lock(&seen);
    assert_eq!(seen.len(), 1);
    seen.pop().unwrap()
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

/// Returns all text that a program could print for an error and its causes.
fn error_text(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.url());
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}

const MINUTE: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------------------
// Types.

#[test]
fn sessions_and_their_futures_are_send() {
    fn is_clone_send_sync<T: Clone + Send + Sync + 'static>() {}
    fn is_send_sync<T: Send + Sync + 'static>() {}
    fn is_send_future<T: Future + Send + 'static>(_: T) {}
    is_clone_send_sync::<Session>();
    is_send_sync::<Error>();
    is_send_sync::<Response>();
    is_send_sync::<Body>();
    is_send_sync::<RequestBuilder>();

    let runtime = TestRuntime::new(0);
    let (client, _) = recording_client();
    let session = session(client, &runtime);
    let url = "http://host/".to_owned();
    is_send_future(session.get(&url).send());
    is_send_future(session.get(url.as_str()).bytes());
    is_send_future(session.get(&*url).text());
    is_send_future(session.get(url).json::<serde_json::Value>());
    is_send_future(session.execute(Request::new(Body::empty())));
    is_send_future(session.head("http://host/").into_future());
    let jobs = move || ["http://a/", "http://b/"].map(|url| session.get(url).text());
    is_send_future({
        let (jobs, runtime) = (jobs.clone(), runtime.clone());
        async move { gather(jobs()).on(&runtime).all().await }
    });
    is_send_future(async move { gather(jobs()).settled().await });
}

#[test]
fn a_clone_works_after_the_session_is_dropped() {
    let runtime = TestRuntime::new(1);
    let (client, _) = recording_client();
    let session = session(client, &runtime);
    let shared = session.runtime().clone();
    let urls = ["http://a/", "http://b/", "http://c/"];
    let clone = session.clone();
    let jobs = urls.into_iter().map(move |url| clone.get(url).text());
    drop(session);
    let texts = run(gather(jobs).on(&shared).all()).unwrap();
    assert_eq!(texts, ["ok"; 3]);
    runtime.shut_down();
}

// ---------------------------------------------------------------------------------------
// Requests.

#[test]
fn the_client_receives_the_method_and_the_url() {
    for (verb, method) in [
        (Session::get as fn(&Session, &'static str) -> _, Method::GET),
        (Session::head, Method::HEAD),
        (Session::post, Method::POST),
        (Session::put, Method::PUT),
        (Session::delete, Method::DELETE),
    ] {
        let request = capture(
            |builder| builder,
            |session| verb(session, "http://host:81/a?b=c#d"),
        );
        assert_eq!(request.method(), method);
        assert_eq!(request.uri(), "http://host:81/a?b=c");
    }
    let patch = capture(
        |builder| builder,
        |session| session.request(Method::PATCH, "http://h"),
    );
    assert_eq!(patch.method(), Method::PATCH);
    assert_eq!(patch.uri(), "http://h/");
}

#[test]
fn nothing_is_sent_before_the_future_is_polled() {
    let (client, seen) = recording_client();
    let session = session(client, &TestRuntime::new(0));
    drop(session.get("http://host/").send());
    drop(session.get("http://host/").text());
    assert!(lock(&seen).is_empty());
}

#[test]
fn headers_of_a_request_replace_headers_of_its_session() {
    let request = capture(
        |builder| {
            builder
                .header("accept", "text/html")
                .header("x-trace", "1")
                .header("x-many", "a")
                .header("x-many", "b")
                .header("x-replaced", "a")
                .header("x-replaced", "b")
        },
        |session| {
            session
                .get("http://host/")
                .header("Accept", "text/plain")
                .header("x-replaced", "request")
                .header("x-own", "1")
                .header("x-own", "2")
        },
    );
    let headers = request.headers();
    assert_eq!(values(headers, "accept"), ["text/plain"]);
    assert_eq!(values(headers, "x-trace"), ["1"]);
    assert_eq!(values(headers, "x-many"), ["a", "b"]);
    assert_eq!(values(headers, "x-replaced"), ["request"]);
    assert_eq!(values(headers, "x-own"), ["1", "2"]);
}

#[test]
fn invalid_headers_are_errors() {
    let runtime = TestRuntime::new(0);
    for (name, value) in [("no good", "v"), ("x-name", "line\nbreak"), ("", "v")] {
        let (client, seen) = recording_client();
        let error = builder(client, &runtime)
            .header(name, value)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);

        let (client, _) = recording_client();
        let session = session(client, &runtime);
        let request = session.get("http://host/").header(name, value);
        let error = run(request.send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(lock(&seen).is_empty());
    }
}

#[test]
fn a_header_value_cannot_contain_a_line_break_or_nul() {
    let (client, seen) = recording_client();
    let session = session(client, &TestRuntime::new(0));
    for value in ["a\r\nx-smuggled: b", "a\r", "a\0b"] {
        let request = session.get("http://host/").header("x-split", value);
        let error = run(request.send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{value:?}");
    }
    assert!(lock(&seen).is_empty());
}

#[test]
fn relative_urls_are_resolved_as_in_a_web_page() {
    let url = |base: &'static str, relative: &'static str| {
        let request = capture(
            |builder| builder.base_url(base),
            |session| session.get(relative),
        );
        request.uri().to_string()
    };
    assert_eq!(
        url("http://host/api/", "users?x=1"),
        "http://host/api/users?x=1"
    );
    assert_eq!(url("http://host/api", "users"), "http://host/users");
    assert_eq!(url("http://host/api/", "/users"), "http://host/users");
    assert_eq!(url("http://host/api/v1/", "../v2"), "http://host/api/v2");
    assert_eq!(url("http://host/api/", "http://other/x"), "http://other/x");
    assert_eq!(url("http://host/api/", "//other/x"), "http://other/x");
    assert_eq!(url("http://host/api/", ""), "http://host/api/");

    let (client, seen) = recording_client();
    let session = builder(client, &TestRuntime::new(0))
        .base_url("http://host/api/")
        .build()
        .unwrap();
    let request = Request::get("/there").header("x-own", "1");
    run(session.execute(request.body(Body::empty()).unwrap())).unwrap();
    let seen = lock(&seen);
    assert_eq!(seen[0].uri(), "http://host/there");
    assert_eq!(values(seen[0].headers(), "x-own"), ["1"]);
}

#[test]
fn a_url_with_only_a_query_replaces_the_query_of_the_base_url() {
    for (base, url) in [
        ("http://host/a/b/", "http://host/a/b/?q"),
        ("http://host/a/b", "http://host/a/b?q"),
        ("http://host/a/b?other", "http://host/a/b?q"),
    ] {
        let request = capture(
            |builder| builder.base_url(base),
            |session| session.get("?q"),
        );
        assert_eq!(request.uri(), url);
    }
}

#[test]
fn invalid_urls_are_errors() {
    let runtime = TestRuntime::new(0);
    let (client, seen) = recording_client();
    let session = session(client, &runtime);
    let too_long = format!("http://host/{}", "a".repeat(70_000));
    for url in [
        "",
        "/relative",
        "host",
        "http://",
        "http://ho st/",
        "http://h:99999/",
        "ftp://host/",
        "mailto:someone@host",
        "data:text/plain,hello",
        &too_long,
    ] {
        let error = run(session.get(url).send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{url}");
    }
    assert!(lock(&seen).is_empty());
    let (client, _) = recording_client();
    let error = builder(client, &runtime).base_url("/here").build();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidUrl);
    let (client, _) = recording_client();
    let error = builder(client, &runtime).base_url("file:///etc/").build();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidUrl);
}

#[test]
fn the_error_of_an_invalid_url_contains_the_invalid_text() {
    let (client, _) = recording_client();
    let session = session(client, &TestRuntime::new(0));
    for (text, shown) in [
        ("/relative", "/relative"),
        ("pages.test/path", "pages.test/path"),
        ("", "\"\""),
        ("http://", "http://"),
        ("http://host:99999/", "99999"),
        ("http://host:port/", "port"),
        ("http://two words/", "two words"),
        ("http://[::1/", "[::1"),
        ("ftp://host/file", "ftp"),
        ("file:///etc/hosts", "file"),
        ("mailto:me", "mailto"),
    ] {
        let error = run(session.get(text).send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{text:?}");
        let message = error.to_string();
        assert!(message.contains(shown), "{text:?}: {message}");
    }
}

#[test]
fn https_urls_are_unsupported_by_a_client_without_tls() {
    let (mut client, seen) = recording_client();
    client.capabilities.tls = Support::No("it was built without TLS");
    let session = session(client, &TestRuntime::new(0));
    assert!(!session.capabilities().tls.is_yes());
    let error = run(session.get("https://me:secret@host/x").send()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("it was built without TLS"));
    assert_eq!(error.url(), Some("https://host/x"));
    assert!(lock(&seen).is_empty());
    run(session.get("http://host/x").send()).unwrap();

    let request = capture(|builder| builder, |session| session.get("https://host/x"));
    assert_eq!(request.uri(), "https://host/x");
}

#[test]
fn json_is_sent_and_received() {
    let bodies: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let record = bodies.clone();
    let client = client(move |request: Request<Body>| {
        let echo = request.body().as_bytes().unwrap().clone();
        assert_eq!(
            values(request.headers(), "content-type"),
            ["application/json"]
        );
        lock(&record).push(echo.clone());
        ready(respond(echo))
    });
    let session = session(client, &TestRuntime::new(0));
    let value = serde_json::json!({"a": [1, 2]});
    let request = session.post("http://host/").json_body(&value);
    assert_eq!(run(request.json::<serde_json::Value>()).unwrap(), value);
    let request = session.post("http://host/").json_body(&value);
    let error = run(request.json::<Vec<u8>>()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(error.url(), Some("http://host/"));

    // JSON cannot represent a map whose keys are tuples.
    let tuple_keys = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = run(session.post("http://host/").json_body(&tuple_keys).send()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(lock(&bodies).len(), 2);
}

#[test]
fn text_that_is_not_json_is_a_decode_error() {
    let client = client(|_| ready(respond("<h1>Page 1</h1>")));
    let session = session(client, &TestRuntime::new(0));
    let page = session.get("http://host/").json::<serde_json::Value>();
    let error = run(page).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(error.url(), Some("http://host/"));
}

#[test]
fn a_json_body_keeps_the_content_type_header_of_the_request() {
    let content_type = "application/vnd.api+json";
    let request = capture(
        |builder| builder,
        |session| {
            let request = session
                .post("http://h/")
                .header("content-type", content_type);
            request.json_body(&serde_json::json!(1))
        },
    );
    assert_eq!(values(request.headers(), "content-type"), [content_type]);
}

// ---------------------------------------------------------------------------------------
// Credentials.

#[test]
fn credentials_in_the_url_become_basic_authentication() {
    let authorization = |url: &'static str| {
        let request = capture(|builder| builder, |session| session.get(url));
        let value = request.headers().get("authorization").cloned();
        value.inspect(|value| assert!(value.is_sensitive()))
    };
    // The expected values are from `echo -n 'me:secret' | base64`, with the user and password of each URL.
    assert_eq!(
        authorization("http://me:secret@host/").unwrap(),
        "Basic bWU6c2VjcmV0"
    );
    assert_eq!(authorization("http://me@host/").unwrap(), "Basic bWU6");
    assert_eq!(
        authorization("http://:secret@host/").unwrap(),
        "Basic OnNlY3JldA=="
    );
    assert_eq!(
        authorization("http://m%40e:s%3Ac@host/").unwrap(),
        "Basic bUBlOnM6Yw=="
    );
    assert!(authorization("http://host/").is_none());

    let request = capture(
        |builder| builder,
        |session| {
            session
                .get("http://me:secret@host/")
                .header("authorization", "Bearer x")
        },
    );
    assert_eq!(values(request.headers(), "authorization"), ["Bearer x"]);
}

#[test]
fn credentials_are_removed_from_the_uri() {
    let request = capture(
        |builder| builder,
        |session| session.get("http://me:secret@host/x"),
    );
    assert_eq!(request.uri(), "http://host/x");
}

#[test]
fn errors_never_show_credentials() {
    let runtime = TestRuntime::new(0);
    let client = client(|_| ready(Err(Error::new(ErrorKind::Connect))));
    let session = session(client, &runtime);
    for url in [
        "http://me:secret@host/x",
        "http://secret@host/x",
        "https://me:secret@host:8443/x",
        "ftp://me:secret@host/x",
        "http://me:secret@ho st/x",
        "http://me:secret@host:99999/x",
        "http://me:secret@host:port/x",
        "//me:secret@host/x",
        "secret@host/x",
    ] {
        let error = run(session.get(url).send()).unwrap_err();
        let text = error_text(&error);
        assert!(!text.contains("secret"), "{url}: {text}");
    }
}

#[test]
fn errors_do_not_show_the_credentials_of_a_url_without_its_scheme() {
    let (client, _) = recording_client();
    let session = session(client, &TestRuntime::new(0));
    let error = run(session.get("me:secret@host/x").send()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUrl);
    let text = error_text(&error);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn errors_of_a_client_that_prints_the_uri_do_not_show_credentials() {
    let client = client(|request: Request<Body>| {
        let cause = format!("no route to {}", request.uri());
        ready(Err(Error::new(ErrorKind::Connect).with_source(cause)))
    });
    let session = session(client, &TestRuntime::new(0));
    let error = run(session.get("http://me:secret@host/x").send()).unwrap_err();
    let text = error_text(&error);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn debug_output_does_not_show_credentials() {
    let (client, _) = recording_client();
    let session = session(client, &TestRuntime::new(0));
    let request = session.get("http://me:secret@host/x");
    assert!(!format!("{request:?}").contains("secret"));
    let response = run(request.send()).unwrap();
    assert!(!format!("{response:?}").contains("secret"), "{response:?}");
    assert!(!format!("{session:?}").contains("secret"));
}

// ---------------------------------------------------------------------------------------
// Responses.

#[test]
fn the_response_of_the_client_is_returned() {
    let client = client(|_| {
        let response = http::Response::builder()
            .status(404)
            .header("x-a", "1")
            .version(http::Version::HTTP_10)
            .body(Body::from("gone"));
        ready(Ok(response.unwrap()))
    });
    let session = session(client, &TestRuntime::new(0));
    let response = run(session.get("http://me:secret@host/x").send()).unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.version(), http::Version::HTTP_10);
    assert_eq!(values(response.headers(), "x-a"), ["1"]);
    assert_eq!(response.content_length(), Some(4));
    assert_eq!(response.url().unwrap().path(), "/x");
    let error = response.error_for_status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status);
    assert_eq!(error.status_code(), Some(StatusCode::NOT_FOUND));
    assert_eq!(error.url(), Some("http://host/x"));

    let text = run(session.get("http://host/x").text()).unwrap();
    assert_eq!(text, "gone");
    let response: http::Response<Body> = run(session.get("http://host/x").send()).unwrap().into();
    assert_eq!(response.status(), 404);
    let back = Response::from(response);
    assert_eq!(run(back.bytes()).unwrap(), "gone");
}

#[test]
fn error_for_status_fails_from_400_on() {
    for code in [200, 204, 301, 304, 399, 400, 404, 418, 500, 503, 599] {
        let client = client(move |_| {
            let response = http::Response::builder().status(code).body(Body::empty());
            ready(Ok(response.unwrap()))
        });
        let session = builder(client, &TestRuntime::new(0)).max_redirects(0);
        let response = run(session.build().unwrap().get("http://host/").send()).unwrap();
        let failed = response.error_for_status().err();
        let status = failed.and_then(|error| error.status_code());
        let expected = (code >= 400).then_some(code);
        assert_eq!(status.map(|status| status.as_u16()), expected);
    }
}

#[test]
fn errors_before_the_head_and_in_the_body_have_the_url() {
    let client = client(|request: Request<Body>| {
        if request.uri().path() == "/head" {
            return ready(Err(Error::new(ErrorKind::Protocol)));
        }
        let chunks = [Ok("a"), Err(Error::new(ErrorKind::Incomplete))];
        ready(respond(fallible_body(chunks)))
    });
    let session = session(client, &TestRuntime::new(0));
    let error = run(session.get("http://host/head").send()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.url(), Some("http://host/head"));

    let error = run(session.get("http://host/body").bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(error.url(), Some("http://host/body"));

    let mut response = run(session.get("http://host/body").send()).unwrap();
    assert_eq!(run(response.chunk()).unwrap().unwrap(), "a");
    let error = run(response.chunk()).unwrap_err();
    assert_eq!(error.url(), Some("http://host/body"));
    assert!(run(response.chunk()).unwrap().is_none());
}

#[test]
fn errors_of_a_stream_have_the_url() {
    let client = client(|_| {
        ready(respond(fallible_body([Err(Error::new(
            ErrorKind::Incomplete,
        ))])))
    });
    let session = session(client, &TestRuntime::new(0));
    let response = run(session.get("http://host/body").send()).unwrap();
    let chunks: Vec<_> = run(response.into_stream().collect());
    let error = chunks.into_iter().find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(error.url(), Some("http://host/body"));
}

/// Returns a body that produces these chunks and errors unchanged.
fn fallible_body<const N: usize>(chunks: [Result<&'static str, Error>; N]) -> Body {
    struct Chunks(std::vec::IntoIter<Result<Frame<Bytes>, Error>>);
    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            Poll::Ready(self.0.next())
        }
    }
    let frames: Vec<_> = chunks
        .into_iter()
        .map(|chunk| chunk.map(|data| Frame::data(Bytes::from(data))))
        .collect();
    Body::wrap(Chunks(frames.into_iter()))
}

#[test]
fn text_that_is_not_utf_8_is_a_decode_error() {
    let client = client(|_| ready(respond(vec![0xff, 0xff])));
    let session = session(client, &TestRuntime::new(0));
    let error = run(session.get("http://host/").text()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(error.url(), Some("http://host/"));
}

#[test]
fn max_body_limits_collected_bodies_and_not_streams() {
    let runtime = TestRuntime::new(0);
    let body = || client(|_| ready(respond(fallible_body([Ok("123"), Ok("456")]))));
    let session = builder(body(), &runtime).max_body(5).build().unwrap();
    let error = run(session.get("http://host/").bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    assert_eq!(error.url(), Some("http://host/"));
    let error = run(session.get("http://host/").text()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    let response = run(session.get("http://host/").send()).unwrap();
    assert_eq!(run(response.into_stream().count()), 2);

    let session = builder(body(), &runtime).max_body(6).build().unwrap();
    assert_eq!(run(session.get("http://host/").bytes()).unwrap(), "123456");
}

#[test]
fn content_length_does_not_change_while_the_body_is_read() {
    let chunks = || stream::iter([Ok::<_, Error>("12345"), Ok("67890")]);
    let client = client(move |request: Request<Body>| {
        if request.uri().path() == "/known" {
            struct SizedBody(Body, u64);
            impl http_body::Body for SizedBody {
                type Data = Bytes;
                type Error = Error;
                fn poll_frame(
                    mut self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
                    let polled = Pin::new(&mut self.0).poll_frame(cx);
                    if let Poll::Ready(Some(Ok(frame))) = &polled {
                        self.1 -= frame.data_ref().map_or(0, |data| data.len() as u64);
                    }
                    polled
                }
                fn size_hint(&self) -> http_body::SizeHint {
                    http_body::SizeHint::with_exact(self.1)
                }
            }
            return ready(respond(Body::wrap(SizedBody(
                Body::from_stream(chunks()),
                10,
            ))));
        }
        ready(respond(Body::from_stream(chunks())))
    });
    let session = session(client, &TestRuntime::new(0));
    for (path, length) in [("known", Some(10)), ("unknown", None)] {
        let mut response = run(session.get(format!("http://host/{path}")).send()).unwrap();
        assert_eq!(response.content_length(), length);
        while run(response.chunk()).unwrap().is_some() {
            assert_eq!(response.content_length(), length, "{path}");
        }
        assert_eq!(response.content_length(), length, "{path}, at the end");
    }
}

// ---------------------------------------------------------------------------------------
// Timeouts.

fn assert_timeout(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_timeout());
    assert_eq!(error.phase(), Some(Phase::Total));
    assert_eq!(error.url(), Some("http://host/"));
}

/// Returns a client that never responds and notifies the listener when its exchange is dropped.
fn silent_client(listener: &EventListener) -> FunctionClient {
    let events = listener.sender();
    client(move |_| {
        let notifier = events.notifier(0);
        async move {
            let _notifier = notifier;
            pending().await
        }
    })
}

#[test]
fn the_timeout_applies_before_the_head() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let session = builder(silent_client(&listener), &runtime)
        .timeout(10 * MINUTE)
        .build()
        .unwrap();
    let mut head = Box::pin(session.get("http://host/").send());
    assert!(poll_until_stalled(&mut head).is_pending());
    runtime.advance(9 * MINUTE);
    assert!(poll_until_stalled(&mut head).is_pending());
    assert!(listener.received().is_empty());
    runtime.advance(MINUTE);
    let error = run(head).unwrap_err();
    assert_timeout(&error);
    assert_eq!(
        listener.received(),
        [0],
        "the timeout should drop the exchange"
    );
    assert_eq!(runtime.active_sleeps(), 0);
}

#[test]
fn the_deadline_applies_in_the_queue_and_the_timeout_does_not() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let session = builder(silent_client(&listener), &runtime)
        .timeout(None::<Duration>)
        .max_in_flight(1)
        .build()
        .unwrap();
    let mut first = Box::pin(session.get("http://host/").send());
    assert!(poll(&mut first).is_pending());
    let request = session.get("http://host/").timeout(MINUTE);
    let mut queued = Box::pin(request.deadline(runtime.now() + 10 * MINUTE).send());
    assert!(poll(&mut queued).is_pending());
    runtime.advance(9 * MINUTE);
    assert!(poll(&mut queued).is_pending());
    runtime.advance(MINUTE);
    assert_eq!(run(queued).unwrap_err().kind(), ErrorKind::Deadline);
    assert!(
        listener.received().is_empty(),
        "the first request should not time out"
    );
}

#[test]
fn the_timeout_applies_within_the_body() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let events = listener.sender();
    let client = client(move |_| {
        let notifier = events.notifier(0);
        let chunks = stream::iter([Ok::<_, Error>("a")])
            .chain(stream::pending())
            .map(move |chunk| {
                let _dropped_with_the_exchange = &notifier;
                chunk
            });
        ready(respond(Body::from_stream(chunks)))
    });
    let session = builder(client, &runtime)
        .timeout(10 * MINUTE)
        .max_in_flight(1)
        .build()
        .unwrap();
    let mut response = run(session.get("http://host/").send()).unwrap();
    assert_eq!(run(response.chunk()).unwrap().unwrap(), "a");
    {
        let mut next = Box::pin(response.chunk());
        assert!(poll(&mut next).is_pending());
        runtime.advance(9 * MINUTE);
        assert!(poll(&mut next).is_pending());
        runtime.advance(MINUTE);
        assert_timeout(&run(next).unwrap_err());
    }
    assert_eq!(
        listener.received(),
        [0],
        "the timeout should drop the exchange"
    );
    assert_eq!(runtime.active_sleeps(), 0);
    // The body ends after an error. The permit is released although the response still exists.
    assert!(run(response.chunk()).unwrap().is_none());
    run(session.get("http://host/").send()).unwrap();
}

#[test]
fn the_timeout_includes_the_head_and_the_body() {
    let runtime = TestRuntime::new(0);
    let signal = Signal::new();
    let client = {
        let signal = signal.clone();
        client(move |_| {
            let opened = signal.wait();
            async move {
                opened.await;
                respond(Body::from_stream(stream::pending::<Result<&str, Error>>()))
            }
        })
    };
    let session = builder(client, &runtime)
        .timeout(10 * MINUTE)
        .build()
        .unwrap();
    let mut head = Box::pin(session.get("http://host/").send());
    assert!(poll(&mut head).is_pending());
    runtime.advance(6 * MINUTE);
    signal.open();
    let mut response = run(head).unwrap();
    let mut next = Box::pin(response.chunk());
    assert!(poll(&mut next).is_pending());
    runtime.advance(4 * MINUTE);
    assert_timeout(&run(next).unwrap_err());
}

#[test]
fn the_timeout_applies_to_a_body_that_is_always_ready() {
    let chunks = || stream::iter(["a"; 1000]).map(Ok::<_, Error>);
    let client = client(move |_| ready(respond(Body::from_stream(chunks()))));
    let session = builder(client, &TestRuntime::new(0))
        .timeout(Duration::ZERO)
        .build()
        .unwrap();
    // A head that is ready at once does not time out.
    let response = run(session.get("http://host/").send()).unwrap();
    assert_timeout(&run(response.bytes()).unwrap_err());
}

#[test]
fn the_timeout_of_a_request_replaces_the_timeout_of_the_session() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let session = builder(silent_client(&listener), &runtime)
        .timeout(10 * MINUTE)
        .build()
        .unwrap();
    let mut short = Box::pin(session.get("http://host/").timeout(MINUTE).send());
    let mut none = Box::pin(session.get("http://host/").timeout(None).send());
    assert!(poll(&mut short).is_pending());
    assert!(poll(&mut none).is_pending());
    runtime.advance(MINUTE);
    assert_timeout(&run(short).unwrap_err());
    runtime.advance(10_000 * MINUTE);
    assert!(poll(&mut none).is_pending());
}

#[test]
fn the_default_timeout_is_five_minutes() {
    let runtime = TestRuntime::new(0);
    let session = session(silent_client(&EventListener::new()), &runtime);
    let mut head = Box::pin(session.get("http://host/").send());
    assert!(poll(&mut head).is_pending());
    runtime.advance(5 * MINUTE);
    assert_timeout(&run(head).unwrap_err());
}

#[test]
fn an_exchange_that_never_waits_starts_no_timer() {
    let runtime = TestRuntime::new(0);
    let client = client(|_| ready(respond(fallible_body([Ok("123"), Ok("456")]))));
    let session = session(client, &runtime);
    assert_eq!(run(session.get("http://host/").text()).unwrap(), "123456");
    assert!(runtime.sleeps().is_empty());
}

#[test]
fn an_exchange_without_a_timeout_starts_no_timer() {
    let runtime = TestRuntime::new(0);
    let session = builder(silent_client(&EventListener::new()), &runtime)
        .timeout(None)
        .build()
        .unwrap();
    let mut head = Box::pin(session.get("http://host/").send());
    for _ in 0..3 {
        assert!(poll(&mut head).is_pending());
    }
    // A timeout that overflows `Instant` also starts no timer.
    let forever = session.get("http://host/").timeout(Duration::MAX);
    let mut forever = Box::pin(forever.send());
    assert!(poll(&mut forever).is_pending());
    assert!(runtime.sleeps().is_empty());
}

#[test]
fn an_exchange_with_a_short_timeout_starts_only_one_timer() {
    let runtime = TestRuntime::new(0);
    let signals: Vec<_> = (0..4).map(|_| Signal::new()).collect();
    let client = {
        let signals = signals.clone();
        client(move |_| {
            let mut opened = signals
                .iter()
                .map(Signal::wait)
                .collect::<Vec<_>>()
                .into_iter();
            async move {
                opened.next().unwrap().await;
                let chunks = stream::iter(opened).then(|opened| async {
                    opened.await;
                    Ok::<_, Error>("a")
                });
                respond(Body::from_stream(chunks))
            }
        })
    };
    let session = builder(client, &runtime)
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let mut text = Box::pin(session.get("http://host/").text());
    for signal in &signals {
        for _ in 0..3 {
            assert!(poll(&mut text).is_pending());
            assert_eq!(runtime.sleeps().len(), 1);
            assert_eq!(runtime.active_sleeps(), 1);
        }
        signal.open();
    }
    assert_eq!(run(text).unwrap(), "aaa");
    assert_eq!(runtime.sleeps().len(), 1);
    assert_eq!(
        runtime.active_sleeps(),
        0,
        "the timer should be dropped with its exchange"
    );
}

#[test]
fn exchanges_with_long_timeouts_share_a_timer() {
    let runtime = TestRuntime::new(0);
    let session = builder(silent_client(&EventListener::new()), &runtime)
        .timeout(MINUTE)
        .build()
        .unwrap();
    let mut heads: Vec<_> = (0..100)
        .map(|_| Box::pin(session.get("http://host/").send()))
        .collect();
    for head in &mut heads {
        assert!(poll(head).is_pending());
    }
    assert_eq!(runtime.active_sleeps(), 1);
    // The timer restarts only while exchanges wait.
    runtime.advance(MINUTE / 2);
    for head in &mut heads {
        assert!(poll(head).is_pending());
    }
    assert_eq!(runtime.active_sleeps(), 1);
    heads.clear();
    runtime.advance(MINUTE);
    assert_eq!(runtime.active_sleeps(), 0);
}

#[test]
fn an_exchange_outside_its_runtime_does_not_wait_for_the_shared_timer() {
    let runtime = TestRuntime::new(0);
    let session = builder(silent_client(&EventListener::new()), &runtime)
        .timeout(MINUTE)
        .build()
        .unwrap();
    let get = || Box::pin(session.get("http://host/").send());
    let mut inside = get();
    assert!(poll(&mut inside).is_pending());
    assert!(!runtime.sleeps().contains(&MINUTE));
    runtime.leave();
    let mut outside = get();
    assert!(poll(&mut outside).is_pending());
    assert!(runtime.sleeps().contains(&MINUTE));
    runtime.advance(MINUTE);
    let error = run(outside).unwrap_err();
    assert_timeout(&error);
    let reason = error.source().unwrap().to_string();
    assert!(reason.contains("outside"), "{reason}");
}

// ---------------------------------------------------------------------------------------
// The end of the runtime.

#[track_caller]
fn assert_runtime_ended(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::NoRuntime, "{error:?}");
    let message = error.to_string();
    assert!(message.contains("the test runtime"), "{message}");
    assert!(message.contains("has ended"), "{message}");
    assert_eq!(error.url(), Some("http://host/"));
}

#[test]
fn no_request_is_sent_after_the_runtime_has_ended() {
    let runtime = TestRuntime::new(0);
    let (client, seen) = recording_client();
    let session = builder(client, &runtime).timeout(None).build().unwrap();
    run(session.get("http://host/").send()).unwrap();
    runtime.shut_down();
    let error = run(session.get("http://host/").send()).unwrap_err();
    assert_runtime_ended(&error);
    assert_eq!(error.attempts(), 0);
    assert_eq!(lock(&seen).len(), 1);
    run(session.close(MINUTE));
}

#[test]
fn the_end_of_the_runtime_interrupts_a_request_that_waits() {
    let runtime = TestRuntime::new(0);
    let session = builder(silent_client(&EventListener::new()), &runtime)
        .max_in_flight(1)
        .build()
        .unwrap();
    let get = || Box::pin(session.get("http://host/").send());
    let (mut head, mut queued) = (get(), get());
    assert!(poll(&mut head).is_pending() && poll(&mut queued).is_pending());
    runtime.shut_down();
    assert_runtime_ended(&run(queued).unwrap_err());
    assert_runtime_ended(&run(head).unwrap_err());
}

#[test]
fn an_error_caused_by_the_end_of_the_runtime_is_the_source_of_a_no_runtime_error() {
    for (kind, is_caused) in [
        (ErrorKind::Connect, true),
        (ErrorKind::Io, true),
        (ErrorKind::Incomplete, true),
        (ErrorKind::Cancelled, true),
        (ErrorKind::Protocol, false),
        (ErrorKind::InvalidRequest, false),
    ] {
        let runtime = TestRuntime::new(0);
        let ending = runtime.clone();
        let client = client(move |_| {
            ending.shut_down();
            ready(Err(Error::new(kind)))
        });
        let error = run(session(client, &runtime).get("http://host/").send()).unwrap_err();
        if is_caused {
            assert_runtime_ended(&error);
            let source = Error::find_in(error.source().unwrap()).unwrap();
            assert_eq!(source.kind(), kind);
        } else {
            assert_eq!(error.kind(), kind);
        }
        assert_eq!(error.attempts(), 1);
    }
}

#[test]
fn the_end_of_the_runtime_interrupts_a_body() {
    let runtime = TestRuntime::new(0);
    let fails = client(|_| {
        ready(respond(fallible_body([
            Ok("1"),
            Err(Error::new(ErrorKind::Io)),
        ])))
    });
    let waits = client(|_| {
        ready(respond(Body::from_stream(stream::pending::<
            Result<Bytes, Error>,
        >())))
    });
    let mut responses = [fails, waits].map(|client| {
        let session = session(client, &runtime);
        run(session.get("http://host/").send()).unwrap()
    });
    assert_eq!(run(responses[0].chunk()).unwrap().unwrap(), "1");
    assert!(poll(&mut Box::pin(responses[1].chunk())).is_pending());
    runtime.shut_down();
    for mut response in responses {
        let error = run(response.chunk()).unwrap_err();
        assert_runtime_ended(&error);
    }
}

#[test]
fn exchanges_that_share_a_timer_are_woken_in_time() {
    let runtime = TestRuntime::new(0);
    let session = builder(silent_client(&EventListener::new()), &runtime)
        .timeout(MINUTE)
        .build()
        .unwrap();
    let mut head = Box::pin(session.get("http://host/").send());
    let (wakes, waker) = Wakes::new();
    let mut steps = 0;
    let error = loop {
        // Like an executor, polls again only after a wake-up.
        match head.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => break outcome.unwrap_err(),
            Poll::Pending => {
                while wakes.take() == 0 {
                    runtime.advance(Duration::from_millis(250));
                    steps += 1;
                }
            }
        }
    };
    assert_timeout(&error);
    assert_eq!(steps, 240, "the timeout should pass after one minute");
}

#[test]
fn the_timer_is_dropped_at_the_end_of_the_body() {
    let runtime = TestRuntime::new(0);
    let signal = Signal::new();
    let client = {
        let signal = signal.clone();
        client(move |_| {
            let opened = signal.wait();
            async move {
                opened.await;
                respond(fallible_body([Ok("a")]))
            }
        })
    };
    let session = builder(client, &runtime)
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let mut head = Box::pin(session.get("http://host/").send());
    assert!(poll(&mut head).is_pending());
    signal.open();
    let mut response = run(head).unwrap();
    assert_eq!(runtime.active_sleeps(), 1);
    while run(response.chunk()).unwrap().is_some() {}
    assert_eq!(runtime.active_sleeps(), 0);
}

#[test]
fn a_client_that_reads_the_deadline_receives_it() {
    let deadline = |reads: bool, timeout: Option<Duration>| {
        let (mut client, seen) = recording_client();
        client.capabilities.reads_deadline = reads;
        let session = builder(client, &TestRuntime::new(0))
            .timeout(timeout)
            .build()
            .unwrap();
        run(session.get("http://host/").send()).unwrap();
        let deadline: Option<Deadline> = lock(&seen)[0].extensions().get().copied();
        deadline.map(|Deadline(at)| at)
    };
    let before = Instant::now();
    let at = deadline(true, Some(10 * MINUTE)).expect("the request should have a deadline");
    assert!(at >= before + 10 * MINUTE);
    assert!(at <= Instant::now() + 10 * MINUTE);
    assert!(deadline(true, None).is_none());
    assert!(deadline(false, Some(MINUTE)).is_none());
}

// ---------------------------------------------------------------------------------------
// The limit of requests in flight.

#[test]
#[should_panic(expected = "limit of zero")]
fn a_limit_of_zero_panics() {
    let (client, _) = recording_client();
    let _ = builder(client, &TestRuntime::new(0)).max_in_flight(0);
}

/// Controls one exchange of a [`CountingClient`].
struct Exchange {
    head: Signal,
    body: Signal,
    fails: bool,
}

/// A client that counts its exchanges in flight.
struct CountingClient {
    exchanges: Mutex<Vec<Arc<Exchange>>>,
    // Returns whether the exchange with this index fails.
    fails: Box<dyn Fn(usize) -> bool + Send + Sync>,
    current: AtomicUsize,
    max: AtomicUsize,
}

struct InFlightGuard(Arc<CountingClient>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.current.fetch_sub(1, Ordering::SeqCst);
    }
}

impl CountingClient {
    fn new(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            exchanges: Mutex::default(),
            fails: Box::new(fails),
            current: AtomicUsize::new(0),
            max: AtomicUsize::new(0),
        })
    }

    fn client(self: &Arc<Self>) -> FunctionClient {
        let counted = self.clone();
        client(move |_| {
            let current = counted.current.fetch_add(1, Ordering::SeqCst) + 1;
            counted.max.fetch_max(current, Ordering::SeqCst);
            let in_flight = InFlightGuard(counted.clone());
            let mut exchanges = lock(&counted.exchanges);
            let exchange = Arc::new(Exchange {
                head: Signal::new(),
                body: Signal::new(),
                fails: (counted.fails)(exchanges.len()),
            });
            exchanges.push(exchange.clone());
            async move {
                exchange.head.wait().await;
                if exchange.fails {
                    return Err(Error::new(ErrorKind::Protocol));
                }
                let opened = exchange.body.wait();
                let chunks = stream::iter([Ok::<_, Error>("a")])
                    .chain(stream::once_future(async move {
                        opened.await;
                        Ok("b")
                    }))
                    .map(move |chunk| {
                        let _dropped_with_the_body = &in_flight;
                        chunk
                    });
                respond(Body::from_stream(chunks))
            }
        })
    }

    fn started(&self) -> usize {
        lock(&self.exchanges).len()
    }

    fn exchange(&self, index: usize) -> Arc<Exchange> {
        lock(&self.exchanges)[index].clone()
    }

    fn current(&self) -> usize {
        self.current.load(Ordering::SeqCst)
    }
}

fn limited_session(counted: &Arc<CountingClient>, limit: usize) -> Session {
    builder(counted.client(), &TestRuntime::new(0))
        .max_in_flight(limit)
        .timeout(None)
        .build()
        .unwrap()
}

type Sent = BoxFuture<'static, Result<Response, Error>>;

fn send(session: &Session) -> Sent {
    Box::pin(session.get("http://host/").send())
}

#[test]
fn clones_share_the_limit() {
    let counted = CountingClient::new(|_| false);
    let session = limited_session(&counted, 1);
    let (mut first, mut second) = (send(&session), send(&session.clone()));
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    assert_eq!(counted.started(), 1);
}

#[test]
fn a_permit_is_released_at_the_end_of_the_body() {
    let counted = CountingClient::new(|_| false);
    let session = limited_session(&counted, 1);
    let (mut first, mut second) = (send(&session), send(&session));
    assert!(poll(&mut first).is_pending());
    counted.exchange(0).head.open();
    let mut response = run(first).unwrap();
    assert!(poll(&mut second).is_pending());
    assert_eq!(
        counted.started(),
        1,
        "the first body should still hold the permit"
    );
    counted.exchange(0).body.open();
    while run(response.chunk()).unwrap().is_some() {}
    // The exchange has ended although the response still exists.
    assert!(poll(&mut second).is_pending());
    assert_eq!(counted.started(), 2);
    drop(response);
}

#[test]
fn a_permit_is_released_when_the_body_is_dropped() {
    let counted = CountingClient::new(|_| false);
    let session = limited_session(&counted, 1);
    let (mut first, mut second) = (send(&session), send(&session));
    assert!(poll(&mut first).is_pending());
    counted.exchange(0).head.open();
    let response = run(first).unwrap();
    assert!(poll(&mut second).is_pending());
    drop(response);
    assert!(poll(&mut second).is_pending());
    assert_eq!(counted.started(), 2);
}

#[test]
fn a_permit_is_released_after_an_error() {
    let counted = CountingClient::new(|index| index == 0);
    let session = limited_session(&counted, 1);
    let (mut first, mut second) = (send(&session), send(&session));
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    counted.exchange(0).head.open();
    run(&mut first).unwrap_err();
    // The permit is released although the failed future still exists.
    assert!(poll(&mut second).is_pending());
    assert_eq!(counted.started(), 2);
    drop(first);
}

#[test]
fn a_permit_is_released_when_the_future_is_dropped() {
    let counted = CountingClient::new(|_| false);
    let session = limited_session(&counted, 1);
    let (mut first, mut second, mut third) = (send(&session), send(&session), send(&session));
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    assert!(poll(&mut third).is_pending());
    // Drops the first request of the queue, and then the request in flight.
    drop(second);
    drop(first);
    assert!(poll_until_stalled(&mut third).is_pending());
    assert_eq!(counted.started(), 2);

    // Drops a request that was woken but has not taken its permit yet.
    let (mut fourth, mut fifth) = (send(&session), send(&session));
    assert!(poll(&mut fourth).is_pending());
    assert!(poll(&mut fifth).is_pending());
    drop(third);
    drop(fourth);
    assert!(poll_until_stalled(&mut fifth).is_pending());
    assert_eq!(counted.started(), 3);
    assert_eq!(counted.current(), 1);
}

#[test]
fn a_response_without_a_body_holds_no_permit() {
    let client = client(|_| ready(respond(Body::empty())));
    let session = builder(client, &TestRuntime::new(0))
        .max_in_flight(1)
        .build()
        .unwrap();
    let responses: Vec<_> = (0..3)
        .map(|_| run(session.head("http://host/").send()).unwrap())
        .collect();
    assert_eq!(responses.len(), 3);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Send,
    PollHeads,
    OpenHead(prop::sample::Index),
    OpenBody(prop::sample::Index),
    DropHead(prop::sample::Index),
    Read(prop::sample::Index),
    DropResponse(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => Just(Step::Send),
        4 => Just(Step::PollHeads),
        2 => index().prop_map(Step::OpenHead),
        2 => index().prop_map(Step::OpenBody),
        1 => index().prop_map(Step::DropHead),
        2 => index().prop_map(Step::Read),
        1 => index().prop_map(Step::DropResponse),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_limit_is_never_exceeded(
        limit in 1usize..5,
        failing in prop::collection::hash_set(0usize..30, 0..10),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let counted = CountingClient::new(move |index| failing.contains(&index));
        let session = limited_session(&counted, limit);
        let mut heads: Vec<Sent> = Vec::new();
        let mut responses: Vec<Response> = Vec::new();
        let poll_heads = |heads: &mut Vec<Sent>, responses: &mut Vec<Response>| {
            heads.retain_mut(|head| match poll_until_stalled(head) {
                Poll::Pending => true,
                Poll::Ready(result) => {
                    responses.extend(result.ok());
                    false
                }
            });
        };
        for step in steps {
            match step {
                Step::Send => heads.push(send(&session)),
                Step::PollHeads => poll_heads(&mut heads, &mut responses),
                Step::OpenHead(which) if counted.started() > 0 => {
                    counted.exchange(which.index(counted.started())).head.open();
                }
                Step::OpenBody(which) if counted.started() > 0 => {
                    counted.exchange(which.index(counted.started())).body.open();
                }
                Step::DropHead(which) if !heads.is_empty() => {
                    drop(heads.swap_remove(which.index(heads.len())));
                }
                Step::Read(which) if !responses.is_empty() => {
                    let response = which.get_mut(&mut responses);
                    let _ = poll(&mut Box::pin(response.chunk()));
                }
                Step::DropResponse(which) if !responses.is_empty() => {
                    drop(responses.swap_remove(which.index(responses.len())));
                }
                _ => {}
            }
            prop_assert!(counted.current() <= limit);
        }
        prop_assert!(counted.max.load(Ordering::SeqCst) <= limit);
        // The remaining requests complete only if no permit was lost.
        for _ in 0..200 {
            (0..counted.started()).for_each(|index| {
                counted.exchange(index).head.open();
                counted.exchange(index).body.open();
            });
            poll_heads(&mut heads, &mut responses);
            responses.retain_mut(|response| {
                matches!(poll(&mut Box::pin(response.chunk())), Poll::Ready(Ok(Some(_))))
            });
            if heads.is_empty() && responses.is_empty() {
                break;
            }
        }
        prop_assert!(heads.is_empty(), "a request never got a permit");
        prop_assert!(responses.is_empty());
        prop_assert!(counted.max.load(Ordering::SeqCst) <= limit);
        prop_assert_eq!(counted.current(), 0);
    }
}

// ---------------------------------------------------------------------------------------
// Building.

#[test]
fn build_returns_the_error_of_the_closure_that_creates_the_client() {
    let error = Session::builder(|_| -> Result<(FunctionClient, _), Error> {
        Err(Error::new(ErrorKind::NoRuntime))
    })
    .build()
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
}

#[test]
fn the_client_receives_the_options() {
    let runtime = TestRuntime::new(0).shared();
    let session = Session::builder(move |options| {
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(7)));
        assert!(!options.nodelay);
        Ok((recording_client().0, runtime))
    })
    .connect_timeout(Duration::from_secs(7))
    .client_options(|options| options.nodelay = false)
    .build()
    .unwrap();
    assert_eq!(session.capabilities().library, "function 1.0");
    assert_eq!(session.runtime().name(), "test");
}
