//! Chapter 10 (`docs/src/tutorial/ch10.md`): retry safely.
//!
//! `send` repeats every request that fails. Change it so that
//!
//! - it retries a GET up to three times if the response has the status 503, and waits as long as the server
//!   requests with `Retry-After`;
//! - it sends a POST once, because the server may have processed a POST whose response is lost;
//! - it sends a GET once if the response has the status 404, because a retry would fail again.

use inflight::http::Method;
use inflight::{Error, Response, Session};

/// Sends a request and returns the response or the error of the last attempt.
pub async fn send(session: &Session, method: Method, url: &str) -> Result<Response, Error> {
    for _ in 0..3 {
        let result = session.request(method.clone(), url).send().await;
        if let Ok(response) = result
            && response.status().is_success()
        {
            return Ok(response);
        }
    }
    session.request(method, url).send().await
}
