//! Handlers that check credentials.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json as value;

use super::call::{Call, json};
use super::statuses::BASIC;

type UserAndPassword = (String, String);

pub(super) async fn basic(Path(expected): Path<UserAndPassword>, call: Call) -> Response {
    let refused = (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, BASIC)]);
    check_credentials(&expected, &call).unwrap_or_else(|| refused.into_response())
}

/// Responds with 404 and not with 401 if the credentials are wrong.
pub(super) async fn hidden_basic(Path(expected): Path<UserAndPassword>, call: Call) -> Response {
    check_credentials(&expected, &call).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

pub(super) async fn bearer(call: Call) -> Response {
    const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
    match credentials(&call, "bearer") {
        Some(token) => json(&value!({ "authenticated": true, "token": token })),
        None => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, BEARER)]).into_response(),
    }
}

/// Returns a response with status 200 if the request has these credentials.
fn check_credentials((user, password): &UserAndPassword, call: &Call) -> Option<Response> {
    let given = STANDARD.decode(credentials(call, "basic")?).ok()?;
    (given == format!("{user}:{password}").as_bytes())
        .then(|| json(&value!({ "authenticated": true, "user": user })))
}

/// Returns the request's credentials if they use this scheme. The scheme's name is case-insensitive
/// (RFC 9110, section 11.1).
fn credentials<'a>(call: &'a Call, scheme: &str) -> Option<&'a str> {
    let header = call.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (given, credentials) = header.split_once(' ')?;
    given
        .eq_ignore_ascii_case(scheme)
        .then(|| credentials.trim())
}
