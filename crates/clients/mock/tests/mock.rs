//! Tests of the mock client.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
        "(used) GET /used",
        "POST /page with x-key: k",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let panic = catch_unwind(AssertUnwindSafe(|| mock.assert_all_used())).unwrap_err();
    let problems = panic.downcast_ref::<String>().unwrap();
    assert_eq!(
        problems,
        "not used: POST /page with x-key: k\nno rule for: GET http://site.test/page"
    );
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
