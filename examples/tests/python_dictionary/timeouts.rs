//! Timeouts, one test for each kind.

use std::time::Duration;

use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;
use inflight::{ErrorKind, Phase};
use inflight_origin::Origin;
use inflight_origin::script::ScriptedServer;

use crate::{TestResult, run, run_in_virtual_time};

#[test]
fn total_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any().repeated(), Reply::pending());
        // ANCHOR: total_timeout
        let session = mock.session().timeout(Duration::from_secs(60)).build()?;
        let hanging = session
            .get("http://pages.test/")
            .timeout(Duration::from_secs(10));
        // ANCHOR_END: total_timeout
        let error = hanging.send().await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Total));
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}

#[test]
fn default_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any(), Reply::pending());
        let session = mock.session().build()?;
        // ANCHOR: default_timeout
        let error = session.get("http://pages.test/").send().await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(runtime.elapsed(), Duration::from_secs(300));
        // ANCHOR_END: default_timeout
        Ok(())
    })
}

#[test]
fn no_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        let hour = Duration::from_secs(3600);
        mock.on(When::any(), Reply::text("a report").after(hour));
        let session = mock.session().build()?;
        // ANCHOR: no_timeout
        let request = session.get("http://pages.test/report").timeout(None);
        // ANCHOR_END: no_timeout
        assert_eq!(request.text().await?, "a report");
        assert_eq!(runtime.elapsed(), hour);
        Ok(())
    })
}

#[test]
fn connect_timeout() -> TestResult {
    run(async |_: &Origin| {
        let silent = ScriptedServer::unaccepting_address()?;
        let timeout = Duration::from_millis(100);
        // ANCHOR: connect_timeout
        let session = inflight::builder().connect_timeout(timeout).build()?;
        // ANCHOR_END: connect_timeout
        let error = session.get(silent.url("/")).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        Ok(())
    })
}

#[test]
fn head_timeout() -> TestResult {
    run(async |origin: &Origin| {
        let timeout = Duration::from_millis(100);
        // ANCHOR: head_timeout
        let session = inflight::builder().head_timeout(timeout).build()?;
        // ANCHOR_END: head_timeout
        let error = session.get(origin.url("/hang")).send().await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Head));
        Ok(())
    })
}

#[test]
fn read_timeout() -> TestResult {
    run(async |origin: &Origin| {
        let timeout = Duration::from_millis(100);
        // ANCHOR: read_timeout
        let session = inflight::builder().read_timeout(timeout).build()?;
        // ANCHOR_END: read_timeout
        let response = session.get(origin.url("/hang-body")).send().await?;
        let error = response.text().await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Body));
        Ok(())
    })
}

#[test]
fn queue_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any().repeated(), Reply::pending());
        // ANCHOR: queue_timeout
        let session = mock
            .session()
            .max_in_flight(1)
            .queue_timeout(Duration::from_secs(5))
            .build()?;
        // ANCHOR_END: queue_timeout
        let (_, second) = futures_lite::future::zip(
            session.get("http://pages.test/1").send(),
            session.get("http://pages.test/2").send(),
        )
        .await;
        assert_eq!(second.unwrap_err().phase(), Some(Phase::Queue));
        // The time in the queue is not part of the 300 s of the first request.
        assert_eq!(runtime.elapsed(), Duration::from_secs(300));
        Ok(())
    })
}

#[test]
fn deadline() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any(), Reply::pending());
        let session = mock.session().build()?;
        // ANCHOR: deadline
        let deadline = session.runtime().now() + Duration::from_secs(10);
        let request = session.get("http://pages.test/").deadline(deadline);
        // ANCHOR_END: deadline
        let error = request.send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}
