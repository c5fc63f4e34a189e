//! A handler that sends a range of a body (RFC 9110, section 14).

use std::io;
use std::ops::Range;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::bodies::{BINARY, CHUNK_SIZE, MAX_LEN};
use super::call::{Call, Refusal, answer, check_limit};
use crate::payload;

/// Sends the body of `/bytes/{len}`, or the range that the request asks for. With `cut`, closes the
/// connection after at most this many bytes of the body.
pub(super) async fn range(Path(len): Path<u64>, call: Call) -> Result<Response, Refusal> {
    let len = check_limit(MAX_LEN, len)?;
    let seed: u64 = call.param_or("seed", 0)?;
    let cut: u64 = call.param_or("cut", u64::MAX)?;
    let tag = format!("\"{len}-{seed}\"");
    let asked = requested_range(call.headers(), &tag, len);
    let (status, sent) = match &asked {
        None => (StatusCode::OK, 0..len),
        Some(range) if range.is_empty() => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        Some(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
    };
    let mut response = answer(status, BINARY, body(sent.clone(), seed, cut));
    let content_range = match status {
        StatusCode::PARTIAL_CONTENT => Some(format!("bytes {}-{}/{len}", sent.start, sent.end - 1)),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{len}")),
        _ => None,
    };
    let invalid =
        |error: http::header::InvalidHeaderValue| Refusal::server_error(error.to_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, (sent.end - sent.start).into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, tag.try_into().map_err(invalid)?);
    if let Some(content_range) = content_range {
        headers.insert(CONTENT_RANGE, content_range.try_into().map_err(invalid)?);
    }
    Ok(response)
}

/// Returns the range that the request asks for: an empty range if the body has no such bytes, and `None`
/// for the whole body. The server ignores several ranges, and a range of another version of the body.
fn requested_range(headers: &HeaderMap, tag: &str, len: u64) -> Option<Range<u64>> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    if headers.get(IF_RANGE).is_some_and(|wanted| wanted != tag) {
        return None;
    }
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let last: u64 = last.parse().ok()?;
        return Some(len.saturating_sub(last)..len);
    }
    let first: u64 = first.parse().ok()?;
    let end = match last {
        "" => len,
        last => last.parse::<u64>().ok()?.saturating_add(1).min(len),
    };
    Some(first.min(len)..end)
}

/// Returns these bytes as a body that fails after `cut` bytes.
fn body(range: Range<u64>, seed: u64, cut: u64) -> Body {
    let end = range.end.min(range.start.saturating_add(cut));
    let is_cut = end < range.end;
    let chunks = payload::chunks_of(range.start..end, seed, CHUNK_SIZE);
    let chunks = stream::iter(chunks.map(|chunk| Ok(Bytes::from(chunk))));
    let failure = stream::once(async move {
        // hyper sends the bytes before the failure only if the body waits in between.
        tokio::task::yield_now().await;
        Err(io::Error::other("the body is cut off"))
    });
    match is_cut {
        true => Body::from_stream(chunks.chain(failure)),
        false => Body::from_stream(chunks),
    }
}
