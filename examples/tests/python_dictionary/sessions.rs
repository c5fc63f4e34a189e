//! Sessions: their settings, and how they end.

use std::time::Duration;

use futures_lite::future::zip;
use inflight::ErrorKind;
use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;
use inflight_origin::Origin;
use serde_json::Value;

use crate::{TestResult, run, run_in_virtual_time};

#[test]
fn session() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/page/1");
        // ANCHOR: session
        let session = inflight::session()?;
        let text = session.get(url).text().await?;
        // ANCHOR_END: session
        assert!(text.contains("Page 1"));
        Ok(())
    })
}

#[test]
fn blocking_get() -> TestResult {
    let origin = Origin::start()?;
    let url = origin.url("/page/1");
    // ANCHOR: blocking_get
    let text = inflight::blocking::get(url)?.text()?;
    // ANCHOR_END: blocking_get
    assert!(text.contains("Page 1"));
    Ok(())
}

#[test]
fn block_on() {
    let main = async { "done" };
    // ANCHOR: block_on
    let result = inflight::block_on(main);
    // ANCHOR_END: block_on
    assert_eq!(result, "done");
}

#[test]
fn base_url() -> TestResult {
    run(async |origin: &Origin| {
        let api = origin.url("/anything/");
        // ANCHOR: base_url
        let session = inflight::builder().base_url(api).build()?;
        let response = session.get("users/7").send().await?;
        // ANCHOR_END: base_url
        assert_eq!(response.url().unwrap().path(), "/anything/users/7");
        Ok(())
    })
}

#[test]
fn default_headers() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/headers");
        // ANCHOR: default_headers
        let session = inflight::builder()
            .header("user-agent", "reader/1.0")
            .header("accept-language", "da")
            .build()?;
        let echo: Value = session.get(url).json().await?;
        // ANCHOR_END: default_headers
        assert_eq!(echo["headers"]["User-Agent"], "reader/1.0");
        assert_eq!(echo["headers"]["Accept-Language"], "da");
        Ok(())
    })
}

#[test]
fn close() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/page/1");
        let session = inflight::session()?;
        // ANCHOR: close
        session.close(Duration::from_secs(10)).await;
        let error = session.get(url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        // ANCHOR_END: close
        Ok(())
    })
}

#[test]
fn shutdown() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any(), Reply::pending());
        let session = mock.session().build()?;
        let in_flight = session.get("http://pages.test/").send();
        // ANCHOR: shutdown
        // At the signal: no new request starts, and requests in flight have 10 s to finish.
        let closing = session.close(Duration::from_secs(10));
        let (cancelled, ()) = zip(in_flight, closing).await;
        assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Closed);
        // ANCHOR_END: shutdown
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}
