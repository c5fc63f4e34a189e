//! Handlers that send bodies of a given length, or bodies with pauses.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::CONTENT_LENGTH;

use super::call::{Call, MAX_DELAY_MS, Refusal, answer, check_limit};
use super::statuses::final_status;
use crate::payload;

pub(super) const BINARY: &str = "application/octet-stream";
pub(super) const MAX_LEN: u64 = 100 << 20;
/// The largest body of `/drip`, as in httpbin.
const MAX_DRIP: u64 = 10 << 20;
/// The largest number of pages of `/links`, as in httpbin.
const MAX_LINKS: u64 = 200;

/// How many bytes of `/bytes` are generated at a time.
pub(super) const CHUNK_SIZE: u64 = 64 << 10;

pub(super) async fn bytes(Path(len): Path<u64>, call: Call) -> Result<Response, Refusal> {
    let mut response = pseudorandom_response(&call, len, CHUNK_SIZE)?;
    response.headers_mut().insert(CONTENT_LENGTH, len.into());
    Ok(response)
}

pub(super) async fn stream_bytes(Path(len): Path<u64>, call: Call) -> Result<Response, Refusal> {
    let size = call.param_or("chunk_size", 10 * 1024)?;
    if size == 0 {
        return Err(Refusal::bad_request("chunk_size must be at least 1"));
    }
    pseudorandom_response(&call, len, check_limit(1 << 20, size)?)
}

/// Returns a response with `len` bytes, sent in chunks of this size.
fn pseudorandom_response(call: &Call, len: u64, size: u64) -> Result<Response, Refusal> {
    let chunks = payload::chunks(check_limit(MAX_LEN, len)?, call.param_or("seed", 0)?, size);
    let body = Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)));
    Ok(answer(StatusCode::OK, BINARY, body))
}

/// Sends `numbytes` asterisks over `duration` seconds, after `delay` seconds.
pub(super) async fn drip(call: Call) -> Result<Response, Refusal> {
    let len = check_limit(MAX_DRIP, call.param_or("numbytes", 10)?)?;
    if len == 0 {
        return Err(Refusal::bad_request("numbytes must be at least 1"));
    }
    let duration = call.seconds_or("duration", 2.0)?;
    let delay = call.seconds_or("delay", 2.0)?;
    let status = final_status(call.param_or("code", 200)?)?;

    let start = call.clock.now() + delay;
    call.clock.sleep_until(start).await;
    let pause = duration.div_f64(len as f64);
    let dripped = stream::unfold((0, call.clock), move |(sent, clock)| async move {
        if sent == len {
            return None;
        }
        clock.sleep_until(start + pause.mul_f64(sent as f64)).await;
        // Sends several bytes at once if a pause is shorter than the precision of the timer.
        let due = clock
            .now()
            .saturating_duration_since(start)
            .div_duration_f64(pause.max(Duration::from_nanos(1)));
        let until = (due as u64).clamp(sent + 1, len);
        let drops = vec![b'*'; usize::try_from(until - sent).unwrap_or(1)];
        Some((Ok::<_, Infallible>(Bytes::from(drops)), (until, clock)))
    });
    let mut response = answer(status, BINARY, Body::from_stream(dripped));
    response.headers_mut().insert(CONTENT_LENGTH, len.into());
    Ok(response)
}

/// Sends `chunks` chunks of `size` bytes with a pause after each but the last.
pub(super) async fn slow_body(call: Call) -> Result<Response, Refusal> {
    let chunks: u64 = call.param_or("chunks", 10)?;
    let size: u64 = call.param_or("size", 10)?;
    let pause = Duration::from_millis(check_limit(MAX_DELAY_MS, call.param_or("pause_ms", 100)?)?);
    let len = check_limit(MAX_LEN, chunks.saturating_mul(size))?;

    let all = payload::chunks(len, call.param_or("seed", 0)?, size);
    let now = call.clock.now();
    let state = (all, call.clock, now);
    let paced = stream::unfold(state, move |(mut all, clock, at)| async move {
        let chunk = all.next()?;
        clock.sleep_until(at).await;
        let next = clock.now() + pause;
        Some((Ok::<_, Infallible>(chunk), (all, clock, next)))
    });
    Ok(answer(StatusCode::OK, BINARY, Body::from_stream(paced)))
}

/// Returns page `offset` of `n` pages, with a link to each of the others.
pub(super) async fn links(
    Path((n, offset)): Path<(u64, u64)>,
    _: Call,
) -> Result<Response, Refusal> {
    let links = (0..check_limit(MAX_LINKS, n)?)
        .filter(|other| *other != offset)
        .map(|other| format!("<a href=\"/links/{n}/{other}\">{other}</a>\n"));
    let page = format!(
        "<!DOCTYPE html>\n<title>Links</title>\n{}",
        links.collect::<String>()
    );
    Ok(answer(StatusCode::OK, "text/html; charset=utf-8", page))
}

pub(super) async fn utf8(_: Call) -> Response {
    const TEXT: &str = "<h1>Unicode in UTF-8</h1>\n<pre>\n\
        Latin     Příliš žluťoučký kůň, Ærøskøbing, Straße\n\
        Greek     Καλημέρα κόσμε\n\
        Cyrillic  Здравствуй, мир\n\
        Hebrew    שלום עולם\n\
        Arabic    مرحبا بالعالم\n\
        Hindi     नमस्ते दुनिया\n\
        Thai      สวัสดีชาวโลก\n\
        Chinese   你好,世界\n\
        Japanese  こんにちは世界\n\
        Korean    안녕하세요 세계\n\
        Signs     ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, € ‰ → ☃\n\
        Beyond 16 bits  𝄞 𐍈 🦀\n\
        </pre>\n";
    answer(StatusCode::OK, "text/html; charset=utf-8", TEXT)
}
