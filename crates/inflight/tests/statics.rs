//! The listings of the book's chapter on statics and tests.
#![cfg(feature = "tokio")]

use inflight_origin::Origin;

// ANCHOR: static
use std::sync::LazyLock;

use inflight::Session;
use inflight::tokio::{self as backend, Tokio};

static SESSION: LazyLock<Session> = LazyLock::new(|| {
    let runtime = Tokio::global().expect("the system can start threads");
    let session = backend::builder_on(runtime).build();
    session.expect("the options are valid")
});
// ANCHOR_END: static

// ANCHOR: tests
#[tokio::test]
async fn first_test() {
    let origin = Origin::start().unwrap();
    let response = SESSION.get(origin.url("/page/1")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn second_test() {
    let origin = Origin::start().unwrap();
    let response = SESSION.get(origin.url("/page/2")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}
// ANCHOR_END: tests

// ANCHOR: own
#[tokio::test]
async fn test_with_its_own_session() {
    let origin = Origin::start().unwrap();
    let session = inflight::tokio::session().unwrap();
    let response = session.get(origin.url("/page/3")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}
// ANCHOR_END: own

// ANCHOR: runtimes
#[test]
fn runtimes_with_a_session_each() {
    let origin = Origin::start().unwrap();
    for _ in 0..2 {
        let runtime = Tokio::new(None).unwrap();
        let session = backend::builder_on(runtime).build().unwrap();
        // The session keeps its runtime alive, and any executor may poll its requests.
        let text = smol::block_on(session.get(origin.url("/page/4")).text());
        assert!(text.unwrap().contains('4'));
    }
}
// ANCHOR_END: runtimes

// ANCHOR: ended
#[test]
fn a_session_on_a_runtime_that_has_ended() {
    let start = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (first, second) = (start(), start());
    let session = first.block_on(async { inflight::tokio::session().unwrap() });
    drop(first);
    let sent = second.block_on(session.get("http://example.com/").send());
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), inflight::ErrorKind::NoRuntime);
}
// ANCHOR_END: ended
