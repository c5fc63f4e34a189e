//! Hooks and middleware.

use std::sync::{Arc, Mutex};

use inflight::backend::{AnyClient, Capabilities, Fetch};
use inflight::http::{HeaderValue, Request, Response};
use inflight::observe::{Event, Step};
use inflight::{Body, Error};
use inflight_origin::Origin;
use serde_json::Value;

use crate::{TestResult, run};

#[test]
fn trace_config() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/redirect/1");
        let log = Arc::new(Mutex::new(Vec::new()));
        let events = log.clone();
        // ANCHOR: trace_config
        let session = inflight::builder()
            .observe(move |event: &Event<'_>| {
                let mut events = events.lock().unwrap();
                match event.step {
                    Step::Redirected { .. } => events.push("redirected"),
                    Step::Done { .. } => events.push("done"),
                    _ => {}
                }
            })
            .build()?;
        // ANCHOR_END: trace_config
        session.get(url).text().await?;
        assert_eq!(*log.lock().unwrap(), ["redirected", "done"]);
        Ok(())
    })
}

// ANCHOR: middleware
/// Adds a header to each request, also after a redirect.
struct AddVersion(AnyClient);

impl Fetch for AddVersion {
    async fn fetch(&self, mut request: Request<Body>) -> Result<Response<Body>, Error> {
        let headers = request.headers_mut();
        headers.insert("x-version", HeaderValue::from_static("2"));
        self.0.fetch(request).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}
// ANCHOR_END: middleware

#[test]
fn middleware() -> TestResult {
    run(async |origin: &Origin| {
        let url = origin.url("/headers");
        // ANCHOR: middleware

        let session = inflight::builder().wrap(AddVersion).build()?;
        // ANCHOR_END: middleware
        let echo: Value = session.get(url).json().await?;
        assert_eq!(echo["headers"]["X-Version"], "2");
        Ok(())
    })
}

#[test]
fn progress() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/bytes/100000");
        let last = Arc::new(Mutex::new((0, None)));
        let seen = last.clone();
        // ANCHOR: progress
        let request = session.get(url).on_progress(move |progress| {
            *seen.lock().unwrap() = (progress.bytes, progress.total);
        });
        // ANCHOR_END: progress
        request.bytes().await?;
        assert_eq!(*last.lock().unwrap(), (100_000, Some(100_000)));
        Ok(())
    })
}
