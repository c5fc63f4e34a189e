//! Handlers that set, delete and show cookies. The origin itself stores no cookies.

use axum::extract::Path;
use axum::response::Response;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json as value};

use super::call::{Call, Refusal, json};
use super::inspect::latin1;
use super::redirects::redirect_response;

pub(super) async fn list(call: Call) -> Response {
    let mut cookies = Map::new();
    for header in call.headers().get_all(COOKIE) {
        for cookie in latin1(header.as_bytes()).split(';') {
            if let Some((name, value)) = cookie.split_once('=') {
                cookies.insert(name.trim().to_owned(), Value::from(value.trim()));
            }
        }
    }
    json(&value!({ "cookies": cookies }))
}

pub(super) async fn set(call: Call) -> Result<Response, Refusal> {
    let cookies = call.query.iter();
    redirect_to_list(cookies.map(|(name, value)| format!("{name}={value}; Path=/")))
}

pub(super) async fn set_one(
    Path((name, value)): Path<(String, String)>,
    _: Call,
) -> Result<Response, Refusal> {
    redirect_to_list([format!("{name}={value}; Path=/")].into_iter())
}

pub(super) async fn delete(call: Call) -> Result<Response, Refusal> {
    let cookies = call.query.iter();
    redirect_to_list(cookies.map(|(name, _)| {
        format!("{name}=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/")
    }))
}

/// Sets these cookies and redirects to `/cookies`.
fn redirect_to_list(cookies: impl Iterator<Item = String>) -> Result<Response, Refusal> {
    let mut response = redirect_response(StatusCode::FOUND, "/cookies")?;
    for cookie in cookies {
        let cookie = HeaderValue::from_bytes(cookie.as_bytes())
            .map_err(|_| Refusal::bad_request("this cookie is not allowed in a header"))?;
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}
