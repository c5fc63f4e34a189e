//! Servers and mocks for tests.

use std::time::Duration;

use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;
use inflight::{BlockOn, Error, Retry, Session};
use inflight_origin::Origin;

use crate::TestResult;

#[test]
fn test_server() -> TestResult {
    // ANCHOR: test_server
    let server = Origin::start()?;
    let url = server.url("/status/418");
    // ANCHOR_END: test_server
    let status = inflight::block_on(async {
        let session = inflight::session()?;
        Ok::<_, Error>(session.get(url).send().await?.status())
    })?;
    assert_eq!(status, 418);
    assert_eq!(server.stats().requests, 1);
    Ok(())
}

// ANCHOR: mock
/// The function under test.
async fn price(session: &Session) -> Result<String, Error> {
    session.get("http://shop.test/price").text().await
}
// ANCHOR_END: mock

#[test]
fn mock() -> TestResult {
    // ANCHOR: mock

    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(When::get("/price"), Reply::text("12"));
    let session = mock.session().build()?;
    assert_eq!(runtime.block_on(price(&session))?, "12");
    mock.assert_requests(["GET /price"]);
    // ANCHOR_END: mock
    Ok(())
}

#[test]
fn virtual_time() -> TestResult {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    // ANCHOR: virtual_time
    mock.on(
        When::get("/price"),
        Reply::status(503).header("retry-after", "60"),
    );
    mock.on(When::get("/price"), Reply::text("12"));
    let session = mock.session().retry(Retry::new(1)).build()?;
    assert_eq!(runtime.block_on(price(&session))?, "12");
    assert_eq!(runtime.elapsed(), Duration::from_secs(60));
    // ANCHOR_END: virtual_time
    Ok(())
}
