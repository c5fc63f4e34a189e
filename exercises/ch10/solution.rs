//! The session knows which requests are safe to repeat, which statuses are worth a retry, and how long to wait. It
//! repeats a POST only if you call `Retry::any_method`.

use inflight::http::Method;
use inflight::{Error, Response, Retry, Session};

/// Sends a request and returns the response or the error of the last attempt.
pub async fn send(session: &Session, method: Method, url: &str) -> Result<Response, Error> {
    let request = session.request(method, url).retry(Retry::new(3));
    request.send().await
}
