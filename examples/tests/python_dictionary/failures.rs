//! Errors, redirects and retries.

use std::time::Duration;

use inflight::{ErrorKind, Retry};
use inflight_origin::Origin;
use serde_json::Value;

use crate::{TestResult, run};

#[test]
fn raise_for_status() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/status/404");
        // ANCHOR: raise_for_status
        let response = session.get(url).send().await?;
        assert_eq!(response.status(), 404);
        let error = response.error_for_status().unwrap_err();
        assert_eq!(error.status_code().unwrap(), 404);
        // ANCHOR_END: raise_for_status
        Ok(())
    })
}

#[test]
fn raise_for_every_status() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/status/503");
        // ANCHOR: raise_for_every_status
        let session = inflight::builder().error_for_status(true).build()?;
        let error = session.get(url).text().await.unwrap_err();
        // ANCHOR_END: raise_for_every_status
        assert_eq!(error.kind(), ErrorKind::Status);
        Ok(())
    })
}

#[test]
fn exceptions() -> TestResult {
    run(async |_: &Origin| {
        let refused = format!("http://{}/", inflight_origin::script::refused_address()?);
        let session = inflight::session()?;
        // ANCHOR: exceptions
        let advice = match session.get(refused).text().await {
            Ok(_) => "the page has arrived",
            Err(error) if error.is_timeout() => "the server is slow",
            Err(error) => match error.kind() {
                ErrorKind::Connect | ErrorKind::Resolve => "is the server running?",
                ErrorKind::Incomplete => "fetch the page again",
                _ => "read the message",
            },
        };
        // ANCHOR_END: exceptions
        assert_eq!(advice, "is the server running?");
        Ok(())
    })
}

#[test]
fn early_end() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        // The server declares 100 bytes and closes the connection after 10.
        let url = origin.url("/range/100?cut=10");
        // ANCHOR: early_end
        let error = session.get(url).bytes().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        // ANCHOR_END: early_end
        Ok(())
    })
}

#[test]
fn retries() -> TestResult {
    run(async |origin: &Origin| {
        // The server answers the first two requests with 503.
        let url = origin.url("/flaky?fail=2&id=retries");
        // ANCHOR: retries
        let retry = Retry::new(3).delays(Duration::from_millis(10), Duration::from_secs(1));
        let session = inflight::builder().retry(retry).build()?;
        let response = session.get(url).send().await?;
        assert_eq!(response.attempts(), 3);
        // ANCHOR_END: retries
        assert_eq!(response.status(), 200);
        Ok(())
    })
}

#[test]
fn redirects_off() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/redirect/1");
        // ANCHOR: redirects_off
        let response = session.get(url).max_redirects(0).send().await?;
        assert_eq!(response.status(), 302);
        // ANCHOR_END: redirects_off
        Ok(())
    })
}

#[test]
fn redirects_on() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/redirect/2");
        // ANCHOR: redirects_on
        let response = session.get(url).send().await?;
        assert_eq!(response.status(), 200);
        for redirect in response.history() {
            assert_eq!(redirect.status(), 302);
        }
        // ANCHOR_END: redirects_on
        assert_eq!(response.history().len(), 2);
        Ok(())
    })
}

#[test]
fn max_redirects() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/redirect/3");
        // ANCHOR: max_redirects
        let session = inflight::builder().max_redirects(2).build()?;
        let error = session.get(url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyRedirects);
        // ANCHOR_END: max_redirects
        Ok(())
    })
}

#[test]
fn redirected_credentials() -> TestResult {
    run(async |origin: &Origin| {
        let other = Origin::start()?;
        let elsewhere = other.url("/headers");
        let url = origin.url("/redirect-to");
        // ANCHOR: redirected_credentials
        let session = inflight::session()?;
        let request = session
            .get(url)
            .query(&[("url", elsewhere)])
            .bearer_auth("token");
        let echo: Value = request.json().await?;
        assert!(echo["headers"]["Authorization"].is_null());
        // ANCHOR_END: redirected_credentials
        assert_eq!(other.stats().requests, 1);
        Ok(())
    })
}
