//! Handlers that redirect.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::call::{Call, Refusal};
use super::inspect::base;

pub(super) async fn redirect(n: Path<u64>, call: Call) -> Result<Response, Refusal> {
    match call.param("absolute") {
        Some("true") => absolute(n, call).await,
        _ => relative(n, call).await,
    }
}

pub(super) async fn relative(Path(n): Path<u64>, _: Call) -> Result<Response, Refusal> {
    redirect_response(StatusCode::FOUND, &redirect_target(n, "relative-redirect")?)
}

pub(super) async fn absolute(Path(n): Path<u64>, call: Call) -> Result<Response, Refusal> {
    let url = base(&call) + &redirect_target(n, "absolute-redirect")?;
    redirect_response(StatusCode::FOUND, &url)
}

pub(super) async fn redirect_to(call: Call) -> Result<Response, Refusal> {
    let Some(url) = call.param("url") else {
        return Err(Refusal::bad_request("url is missing"));
    };
    let code: u16 = call.param_or("status_code", 302)?;
    let status = StatusCode::from_u16(code).ok();
    let Some(status) = status.filter(StatusCode::is_redirection) else {
        return Err(Refusal::bad_request(format!(
            "status_code={code} is not 3xx"
        )));
    };
    redirect_response(status, url)
}

/// Returns the target of the first of `n` redirects. The last one leads to `/get`.
fn redirect_target(n: u64, path: &str) -> Result<String, Refusal> {
    match n {
        0 => Err(Refusal::bad_request("at least one redirect is needed")),
        1 => Ok("/get".to_owned()),
        _ => Ok(format!("/{path}/{}", n - 1)),
    }
}

pub(super) fn redirect_response(status: StatusCode, url: &str) -> Result<Response, Refusal> {
    let location = HeaderValue::from_bytes(url.as_bytes())
        .map_err(|_| Refusal::bad_request("the URL is not allowed in a header"))?;
    Ok((status, [(LOCATION, location)]).into_response())
}
