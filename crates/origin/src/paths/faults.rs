//! Handlers that fail or hang without breaking HTTP. For other faults, see
//! [`script`](crate::script).

use std::collections::HashMap;
use std::convert::Infallible;
use std::future;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use serde_json::json as value;

use super::call::{App, Call, Refusal, answer, json};
use crate::payload;

/// Returns the route of `/flaky`. Its handler counts the requests for each id.
pub(super) fn flaky_route() -> Router<App> {
    let attempts: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let handler = async move |call: Call| -> Result<Response, Refusal> {
        let failures: u64 = call.param_or("fail", 1)?;
        let id = call.param("id").unwrap_or("");
        let attempt = {
            let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = attempts.entry(id.to_owned()).or_default();
            *attempt += 1;
            *attempt
        };
        let mut response = json(&value!({ "id": id, "attempt": attempt }));
        if attempt <= failures {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    };
    Router::new().route("/flaky", any(handler))
}

/// Never responds. hyper drops the future when the client disconnects.
pub(super) async fn hang(_: Call) -> Response {
    future::pending().await
}

/// Responds with a head and the first bytes of a body that never continues.
pub(super) async fn hang_body(_: Call) -> Response {
    let start = stream::once(async { Ok::<_, Infallible>(Bytes::from(payload::bytes(16, 0))) });
    let body = Body::from_stream(start.chain(stream::pending()));
    let mut response = answer(StatusCode::OK, "application/octet-stream", body);
    let length = HeaderValue::from_static("1024");
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}
