//! The handler of `/status/{code}`.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, LOCATION, PROXY_AUTHENTICATE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::call::{Call, Refusal};

/// The challenge that httpbin sends.
pub(super) const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"Fake Realm\"");

pub(super) async fn status(Path(code): Path<u16>, _: Call) -> Result<Response, Refusal> {
    let status = final_status(code)?;
    let header: Option<(HeaderName, HeaderValue)> = match code {
        301 | 302 | 303 | 305 | 307 | 308 => {
            Some((LOCATION, HeaderValue::from_static("/redirect/1")))
        }
        401 => Some((WWW_AUTHENTICATE, BASIC)),
        407 => Some((PROXY_AUTHENTICATE, BASIC)),
        _ => None,
    };
    let mut response = status.into_response();
    response.headers_mut().extend(header);
    Ok(response)
}

/// Converts a code to the status of a final response. Fails for 1xx, because a response with such a
/// status does not end an exchange (RFC 9110, section 15.2).
pub(super) fn final_status(code: u16) -> Result<StatusCode, Refusal> {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or_else(|| Refusal::bad_request(format!("{code} is not a final status: 200 to 999")))
}
