//! `Retry-After` and `Date`: the pause before a retry, in virtual time.
#![no_main]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::DateTime;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use inflight_core::{BlockOn, Body, Retry};
use inflight_fuzz::session;
use inflight_virtual::Virtual;
use libfuzzer_sys::fuzz_target;

/// A session in virtual time wakes every few seconds, so a longer pause would take long in real time too.
const TIMEOUT: Duration = Duration::from_secs(100_000);

// The input has the values of `Retry-After` and of `Date`, each on a line. The second line may be missing.
fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (after, date) = (lines.next().unwrap_or_default(), lines.next());
    let Ok(after) = HeaderValue::from_bytes(after) else {
        return;
    };
    let date = date.and_then(|date| HeaderValue::from_bytes(date).ok());
    let (status, elapsed) = send(after.clone(), date.clone());
    let Some(pause) = expected(&after, date.as_ref()) else {
        return;
    };
    // A session does not retry if the pause ends after the deadline.
    let result = match pause < TIMEOUT {
        true => (StatusCode::OK, pause),
        false => (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO),
    };
    assert_eq!((status, elapsed), result, "{after:?}, {date:?}");
});

/// Sends a request whose first response has these headers. Returns the last status and the time.
fn send(after: HeaderValue, date: Option<HeaderValue>) -> (StatusCode, Duration) {
    let is_first = AtomicBool::new(true);
    let respond = move |_: Request<Body>| {
        let mut response = Response::new(Body::empty());
        if is_first.swap(false, Ordering::Relaxed) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, after.clone());
            if let Some(date) = &date {
                headers.insert(DATE, date.clone());
            }
        }
        response
    };
    let runtime = Virtual::new();
    let retry = Retry::new(1).delays(Duration::ZERO, Duration::ZERO);
    let session = session(&runtime, respond)
        .retry(retry)
        .timeout(TIMEOUT)
        .error_for_status(false)
        .build()
        .expect("the options are valid");
    let response = runtime.block_on(session.get("http://pages.test/").send());
    let status = response.expect("a response is not an error").status();
    (status, runtime.elapsed())
}

/// Returns the pause, or `None` if it depends on the clock or if only the session knows the format of a date.
fn expected(after: &HeaderValue, date: Option<&HeaderValue>) -> Option<Duration> {
    let Ok(after) = after.to_str() else {
        return Some(Duration::ZERO);
    };
    let after = after.trim();
    if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(after.parse().unwrap_or(u64::MAX)));
    }
    if !after.contains(|c: char| c.is_ascii_digit()) {
        return Some(Duration::ZERO);
    }
    let (until, now) = (imf_seconds(after)?, imf_seconds(date?.to_str().ok()?)?);
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// Returns the seconds since 1970 of a date in the format that RFC 9110 prefers, which is case-sensitive.
fn imf_seconds(text: &str) -> Option<u64> {
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    let is_imf = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string() == text;
    is_imf.then(|| u64::try_from(date.timestamp()).ok())?
}
