//! Chapter 10: retry safely.
//!
//! `send` repeats every request that fails. Change it so that
//!
//! - a GET is retried up to three times if its response has the status 503, and not before the time that the
//!   server requests with `Retry-After`;
//! - a POST is sent once. If its response is lost, the server may have processed it;
//! - a GET whose response has the status 404 is sent once. It would fail again.

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
