//! Tests of the mock client.

use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::Duration;

use inflight_core::http::{Method, StatusCode};
use inflight_core::{
    AddressGuard, BlockOn, Body, Error, ErrorKind, Phase, Response, Retry, Session, SessionBuilder,
    gather,
};
use inflight_mock::{Mock, Reply, When};
use inflight_virtual::Virtual;

const SECOND: Duration = Duration::from_secs(1);

fn runtime_and_mock() -> (Virtual, Mock) {
    let runtime = Virtual::new();
    (runtime.clone(), Mock::new(runtime))
}

fn session(builder: SessionBuilder) -> Session {
    builder.base_url("http://site.test/").build().unwrap()
}

fn get(runtime: &Virtual, session: &Session, url: &str) -> Result<Response, Error> {
    runtime.block_on(session.get(url).send())
}

#[test]
fn each_rule_is_used_once_in_order_unless_it_is_repeated() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::get("/page"), Reply::text("one"));
    mock.on(When::get("/page"), Reply::text("two"));
    mock.on(When::any().repeated(), Reply::status(404));
    let session = session(mock.session());
    for expected in ["one", "two"] {
        let text = runtime.block_on(session.get("page").text());
        assert_eq!(text.unwrap(), expected);
    }
    for _ in 0..3 {
        let status = get(&runtime, &session, "page").unwrap().status();
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    mock.assert_all_used();
}

#[test]
fn a_rule_applies_to_the_requests_that_satisfy_its_condition() {
    let (runtime, mock) = runtime_and_mock();
    let reply = |text: &str| Reply::text(text.to_owned());
    mock.on(When::get("/a?x=1").repeated(), reply("query"));
    mock.on(When::get("http://other.test/a").repeated(), reply("host"));
    mock.on(
        When::get("/a").header("x-key", "k").repeated(),
        reply("header"),
    );
    mock.on(When::post("/a").body("content").repeated(), reply("body"));
    let long = |request: &inflight_mock::RecordedRequest| request.uri.path().len() > 10;
    mock.on(When::any().matches(long).repeated(), reply("predicate"));
    mock.on(When::get("/a").repeated(), reply("path"));
    let session = session(mock.session());
    for (request, expected) in [
        (session.get("a?x=1"), "query"),
        (session.get("a?x=2"), "path"),
        (session.get("http://other.test/a"), "host"),
        (session.get("a").header("x-key", "k"), "header"),
        (session.get("a").header("x-key", "other"), "path"),
        (session.post("a").body("content"), "body"),
        (session.get("a-long-path"), "predicate"),
        (session.get("a"), "path"),
    ] {
        assert_eq!(runtime.block_on(request.text()).unwrap(), expected);
    }
}

#[test]
fn requests_are_recorded() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::post("/items"), Reply::json(&["made"]));
    let session = session(mock.session().header("x-all", "yes"));
    let request = session.post("items").json_body(&[1, 2]);
    let made: Vec<String> = runtime.block_on(request.json()).unwrap();
    assert_eq!(made, ["made"]);
    let requests = mock.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].method, Method::POST);
    assert_eq!(requests[0].to_string(), "POST http://site.test/items");
    assert_eq!(requests[0].header("x-all"), Some("yes"));
    assert_eq!(requests[0].json(), serde_json::json!([1, 2]));
    assert_eq!(requests[0].text(), "[1,2]");
}

#[test]
fn the_error_for_a_request_without_a_rule_lists_the_rules() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::get("/used"), Reply::status(200));
    mock.on(When::post("/page").header("x-key", "k"), Reply::status(200));
    let session = session(mock.session());
    get(&runtime, &session, "used").unwrap();
    let error = get(&runtime, &session, "page").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let message = error.to_string();
    for part in [
        "no rule for GET http://site.test/page",
        "\n  GET /used (another URL)",
        "\n  POST /page with x-key: k (another method)",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(
        panic_message(|| mock.assert_all_used()),
        "not used: POST /page with x-key: k\n\
         the mock has no rule for GET http://site.test/page; its rules are\n  \
         GET /used (another URL)\n  \
         POST /page with x-key: k (another method)"
    );
}

#[test]
fn the_message_explains_why_each_rule_does_not_apply() {
    let (runtime, mock) = runtime_and_mock();
    let post = || When::post("/a");
    let rules = [
        (post().times(2), "already used 2 times"),
        (post().header("x-a", "1"), "no header x-a"),
        (post().header("x-b", "1"), "x-b: 2, 3"),
        (post().body("text"), "the body is \"other\""),
        (post().matches(|_| false), "the function returned false"),
        (When::any_method("/b"), "another URL"),
        (When::put("/a"), "another method"),
    ];
    for (when, _) in &rules {
        mock.on(when.clone(), Reply::status(200));
    }
    let session = session(mock.session());
    let request = || session.post("a").header("x-b", "2").header("x-b", "3");
    for _ in 0..2 {
        runtime.block_on(request().send()).unwrap();
    }
    let error = runtime.block_on(request().body("other").send());
    let message = error.unwrap_err().to_string();
    for (when, reason) in rules {
        let line = format!("\n  {when} ({reason})");
        assert!(message.contains(&line), "{line} is not in {message}");
    }
    panic_message(|| mock.assert_all_used());
}

/// Returns the message of a panic of `function`. Also checks that the mock and its conditions need no
/// `AssertUnwindSafe`.
#[track_caller]
fn panic_message(function: impl FnOnce() + UnwindSafe) -> String {
    let panic = catch_unwind(function).unwrap_err();
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

/// Sends a request for which the mock has no rule, and ignores the error.
fn send_unexpected_request(runtime: &Virtual, mock: &Mock) -> Session {
    let session = session(mock.session());
    let _ = get(runtime, &session, "unexpected");
    session
}

#[test]
fn dropping_the_last_clone_panics_after_an_unexpected_request_whose_error_was_ignored() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::get("/page"), Reply::status(200));
    let clone = mock.clone();
    let session = send_unexpected_request(&runtime, &mock);
    drop(mock);
    let message = panic_message(|| drop(clone));
    for part in ["no rule for GET http://site.test/unexpected", "GET /page"] {
        assert!(message.contains(part), "{message}");
    }
    // The requests have been reported, so dropping the session does not panic.
    drop(session);
}

#[test]
fn dropping_the_last_session_panics_if_a_request_was_unexpected_after_the_mock_was_dropped() {
    let (runtime, mock) = runtime_and_mock();
    let session = session(mock.session());
    drop(mock);
    let _ = get(&runtime, &session, "unexpected");
    let message = panic_message(std::panic::AssertUnwindSafe(|| drop(session)));
    assert_eq!(
        message,
        "the mock has no rule for GET http://site.test/unexpected: it has no rules"
    );
}

#[test]
fn dropping_the_mock_does_not_hide_the_panic_of_a_test() {
    let (runtime, mock) = runtime_and_mock();
    drop(send_unexpected_request(&runtime, &mock));
    let message = panic_message(move || {
        let _mock = mock;
        panic!("the test failed for another reason");
    });
    assert_eq!(message, "the test failed for another reason");
}

#[test]
fn dropping_the_mock_panics_only_if_an_assertion_has_not_reported_all_requests() {
    let (runtime, mock) = runtime_and_mock();
    drop(send_unexpected_request(&runtime, &mock));
    for _ in 0..2 {
        let message = panic_message(|| mock.assert_all_used());
        assert!(message.contains("no rule for"), "{message}");
    }
    drop(mock);

    let (runtime, mock) = runtime_and_mock();
    drop(send_unexpected_request(&runtime, &mock));
    panic_message(|| mock.assert_all_used());
    drop(send_unexpected_request(&runtime, &mock));
    let message = panic_message(|| drop(mock));
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn the_message_describes_at_most_five_unexpected_requests() {
    let (runtime, mock) = runtime_and_mock();
    let session = session(mock.session());
    for n in 0..8 {
        let _ = get(&runtime, &session, &n.to_string());
    }
    let message = panic_message(|| mock.assert_all_used());
    assert_eq!(message.lines().count(), 6, "{message}");
    assert!(
        message.ends_with("\n3 more requests without a rule"),
        "{message}"
    );
}

#[test]
fn each_method_has_a_condition() {
    let (runtime, mock) = runtime_and_mock();
    let session = session(mock.session());
    type Condition = fn(&'static str) -> When;
    let methods: [(Method, Condition); 7] = [
        (Method::GET, When::get),
        (Method::HEAD, When::head),
        (Method::POST, When::post),
        (Method::PUT, When::put),
        (Method::PATCH, When::patch),
        (Method::DELETE, When::delete),
        (Method::OPTIONS, When::options),
    ];
    for (method, condition) in methods {
        mock.on(condition("/a"), Reply::status(200));
        mock.on(When::any_method("/b"), Reply::status(204));
        let send = |path| runtime.block_on(session.request(method.clone(), path).send());
        assert_eq!(send("a").unwrap().status(), 200, "{method}");
        assert_eq!(send("b").unwrap().status(), 204, "{method}");
        assert_eq!(condition("/a").to_string(), format!("{method} /a"));
    }
    mock.assert_all_used();
}

#[test]
fn a_rule_with_times_applies_that_often_and_must_be_used_that_often() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::get("/page").times(2), Reply::text("first"));
    mock.on(When::get("/page").times(3), Reply::text("later"));
    let session = session(mock.session());
    for expected in ["first", "first", "later"] {
        let text = runtime.block_on(session.get("page").text());
        assert_eq!(text.unwrap(), expected);
    }
    let message = panic_message(|| mock.assert_all_used());
    assert_eq!(message, "used 1 of 3 times: GET /page");
    for _ in 0..2 {
        get(&runtime, &session, "page").unwrap();
    }
    mock.assert_all_used();
    let message = panic_message(|| drop(When::any().times(0)));
    assert!(message.contains("assert_request_count"), "{message}");
}

#[test]
fn assert_requests_compares_the_order_and_shows_a_diff() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::any().repeated(), Reply::status(200));
    let session = session(mock.session());
    mock.assert_requests::<&str>([]);
    for path in ["a", "b?x=1", "c"] {
        get(&runtime, &session, path).unwrap();
    }
    mock.assert_requests(["GET /a", "GET /b", "GET http://site.test/c"]);
    mock.assert_requests(["GET /a", "GET /b?x=1", "GET /c"].map(str::to_owned));
    let head = "the requests differ (- expected, + received):";
    let site = "http://site.test";
    for (expected, difference) in [
        (
            vec!["GET /a", "POST /b", "GET /c"],
            format!("\n    GET {site}/a\n  - POST /b\n  + GET {site}/b?x=1\n    GET {site}/c"),
        ),
        (
            vec!["GET /b", "GET /a", "GET /c"],
            format!("\n  - GET /b\n    GET {site}/a\n  + GET {site}/b?x=1\n    GET {site}/c"),
        ),
        (
            vec!["GET /a", "GET /b", "GET /c", "GET /d"],
            format!("\n    GET {site}/a\n    GET {site}/b?x=1\n    GET {site}/c\n  - GET /d"),
        ),
        (
            vec!["GET /a", "GET /b"],
            format!("\n    GET {site}/a\n    GET {site}/b?x=1\n  + GET {site}/c"),
        ),
    ] {
        let message = panic_message(|| mock.assert_requests(expected));
        assert_eq!(message, format!("{head}{difference}"));
    }
    let message = panic_message(|| mock.assert_requests(["/a"]));
    assert_eq!(
        message,
        r#""/a" is not a method and a URL, such as "GET /page""#
    );
}

#[test]
fn assert_request_count_counts_the_requests_that_satisfy_a_condition() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::any().repeated(), Reply::status(200));
    let session = session(mock.session());
    for path in ["a", "a", "b"] {
        get(&runtime, &session, path).unwrap();
    }
    mock.assert_request_count(When::get("/a"), 2);
    mock.assert_request_count(When::any(), 3);
    mock.assert_request_count(When::post("/a"), 0);
    let message = panic_message(|| mock.assert_request_count(When::get("/a"), 1));
    let site = "http://site.test";
    assert_eq!(
        message,
        format!(
            "expected 1 of GET /a, received 2; 3 requests in total\n  GET {site}/a\n  GET {site}/a\n  GET {site}/b"
        )
    );
}

#[test]
fn a_static_mock_is_unwind_safe() {
    fn assert_unwind_safe<T: UnwindSafe + RefUnwindSafe + Send + Sync>(_: &T) {}
    static MOCK: LazyLock<(Virtual, Mock)> = LazyLock::new(runtime_and_mock);
    assert_unwind_safe(&MOCK.1);
    let message = panic_message(|| MOCK.1.assert_requests(["GET /a"]));
    assert!(message.ends_with("- GET /a"), "{message}");
}

#[test]
fn timeouts_apply_to_delayed_and_pending_replies() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::get("/slow"), Reply::text("late").after(9 * SECOND));
    mock.on(When::get("/never"), Reply::pending());
    let session = session(mock.session().timeout(10 * SECOND));
    assert_eq!(
        runtime.block_on(session.get("slow").text()).unwrap(),
        "late"
    );
    assert_eq!(runtime.elapsed(), 9 * SECOND);
    let error = get(&runtime, &session, "never").unwrap_err();
    assert_eq!(error.phase(), Some(Phase::Total));
    assert_eq!(runtime.elapsed(), 19 * SECOND);
}

#[test]
fn chunks_arrive_one_by_one_and_can_end_in_an_error() {
    let (runtime, mock) = runtime_and_mock();
    let chunks = || Reply::chunks(["a", "b", "c"], SECOND);
    mock.on(When::get("/whole"), chunks());
    mock.on(
        When::get("/cut"),
        chunks().then_fails(ErrorKind::Incomplete),
    );
    mock.on(When::get("/stalls"), Reply::chunks(["a", "b"], 5 * SECOND));
    let session = session(mock.session().read_timeout(3 * SECOND));
    assert_eq!(
        runtime.block_on(session.get("whole").text()).unwrap(),
        "abc"
    );
    assert_eq!(runtime.elapsed(), 3 * SECOND);
    runtime.block_on(async {
        let mut response = session.get("cut").send().await.unwrap();
        for chunk in ["a", "b", "c"] {
            assert_eq!(response.chunk().await.unwrap().unwrap(), chunk);
        }
        let error = response.chunk().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete);
    });
    let error = runtime.block_on(session.get("stalls").text()).unwrap_err();
    assert_eq!(error.phase(), Some(Phase::Body));
}

#[test]
fn the_session_retries_after_errors_of_the_mock() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::any(), Reply::error(ErrorKind::Connect));
    mock.on(
        When::any(),
        Reply::from_fn(|_| async { Err(Error::timeout(Phase::Connect)) }),
    );
    mock.on(When::any(), Reply::status(200));
    let retry = Retry::new(2);
    let session = session(mock.session().retry(retry));
    let response = get(&runtime, &session, "page").unwrap();
    assert_eq!(response.attempts(), 3);
    mock.assert_all_used();
}

#[test]
fn a_hundred_slow_pages_take_as_long_as_one() {
    let (runtime, mock) = runtime_and_mock();
    let page = Reply::text("page").after(SECOND);
    mock.on(When::any().repeated(), page);
    let session = session(mock.session());
    let pages = (0..100).map(|n| session.get(format!("{n}")).text());
    let texts = runtime.block_on(gather(pages).all()).unwrap();
    assert_eq!(texts.len(), 100);
    assert_eq!(runtime.elapsed(), SECOND);
}

#[test]
fn the_session_follows_redirects_and_removes_credentials() {
    let (runtime, mock) = runtime_and_mock();
    let redirect = Reply::status(302).header("location", "http://other.test/b");
    mock.on(When::get("/a"), redirect);
    mock.on(When::get("http://other.test/b"), Reply::text("there"));
    let session = session(mock.session());
    let request = session.get("a").bearer_auth("secret");
    assert_eq!(runtime.block_on(request.text()).unwrap(), "there");
    let requests = mock.requests();
    assert_eq!(requests[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(requests[1].header("authorization"), None);
}

#[test]
fn a_streamed_body_is_recorded_as_a_whole() {
    let (runtime, mock) = runtime_and_mock();
    mock.on(When::any(), Reply::status(204));
    let session = session(mock.session());
    let chunks = futures_lite::stream::iter(["a", "b"].map(Ok::<_, Error>));
    let request = session.post("upload").body(Body::from_stream(chunks));
    runtime.block_on(request.send()).unwrap();
    assert_eq!(mock.requests()[0].text(), "ab");
    assert_eq!(mock.requests()[0].declared_length, None);
}

#[test]
fn a_session_with_an_address_guard_cannot_be_built() {
    let (_, mock) = runtime_and_mock();
    let guarded = mock.session().address_guard(AddressGuard::public());
    let error = guarded.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
