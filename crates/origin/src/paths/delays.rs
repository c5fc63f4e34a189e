//! Handlers that respond after a delay.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use super::call::{
    Call, MAX_DELAY_MS, Refusal, answer, check_limit, json, seconds as duration, text,
};
use super::inspect;
use crate::payload;

/// The longest delay that httpbin allows.
const MAX_SECONDS: f64 = 10.0;

pub(super) async fn seconds(Path(seconds): Path<f64>, call: Call) -> Result<Response, Refusal> {
    // `f64::min` would turn NaN into 10.
    let seconds = if seconds > MAX_SECONDS {
        MAX_SECONDS
    } else {
        seconds
    };
    let delay = duration("delay", seconds)?;
    let body = inspect::echo(&call).await?;
    Ok(call.delay_response(delay, json(&body)).await)
}

pub(super) async fn millis(Path(millis): Path<u64>, call: Call) -> Result<Response, Refusal> {
    let delay = Duration::from_millis(check_limit(MAX_DELAY_MS, millis)?);
    let body = format!("waited {millis} ms\n");
    Ok(call.delay_response(delay, text(StatusCode::OK, body)).await)
}

pub(super) async fn page(Path(n): Path<u64>, call: Call) -> Result<Response, Refusal> {
    let page = answer(StatusCode::OK, "text/html; charset=utf-8", payload::page(n));
    let delay = Duration::from_millis(check_limit(MAX_DELAY_MS, call.param_or("delay_ms", 0)?)?);
    match delay {
        Duration::ZERO => Ok(page),
        delay => Ok(call.delay_response(delay, page).await),
    }
}
