//! Retries after a response whose body ended early.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use inflight_core::{ErrorKind, Retry};
use inflight_origin::payload;
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_error};
use crate::context::Context;
use crate::test_server::TestServer;

const LEN: usize = 100_000;
/// Where the server closes the first connection: after this many bytes of the body.
const CUTS: [usize; 4] = [0, 1, LEN / 2, LEN - 1];

/// What the server sends after the first response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The range that the request asks for.
    Range,
    /// The whole body.
    Whole,
    /// The whole body of another version.
    OtherVersion,
}

/// Starts a server that cuts the body of its first response after `cut` bytes.
fn start_server(cut: usize, next: Next) -> Result<TestServer> {
    let versions = Arc::new([payload::bytes(LEN, 1), payload::bytes(LEN, 2)]);
    let server = TestServer::start(move |mut conn| {
        let head = conn.read_until(b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let is_first = conn.index == 0;
        let version = usize::from(!is_first && next == Next::OtherVersion);
        let content = &versions[version];
        let range = head.split("range: bytes=").nth(1);
        let from = range.and_then(|range| range.split('-').next()?.parse().ok());
        let from: usize = from.filter(|_| next == Next::Range).unwrap_or(0);
        let (status, range) = match from {
            0 => ("200 OK", String::new()),
            _ => (
                "206 Partial Content",
                format!("Content-Range: bytes {from}-{}/{LEN}\r\n", LEN - 1),
            ),
        };
        let length = LEN - from;
        conn.send(format!(
            "HTTP/1.1 {status}\r\nETag: \"{version}\"\r\nConnection: close\r\n{range}Content-Length: {length}\r\n\r\n"
        ))?;
        let end = if is_first { cut } else { LEN };
        conn.send(&content[from..end])
    })?;
    Ok(server)
}

async fn check_body(context: &Context, next: Next, seed: u64) -> Result {
    for cut in CUTS {
        let server = start_server(cut, next)?;
        let retry = Retry::new(2).delays(Duration::ZERO, Duration::ZERO);
        let session = context.builder().retry(retry).build()?;
        let bytes = session.get(server.url("/")).bytes().await?;
        check(
            bytes == payload::bytes(LEN, seed),
            format!("cut at {cut}: the bytes differ"),
        )?;
        check_equal("the requests", server.connections(), 2)?;
    }
    Ok(())
}

/// If a body ends early, the session requests the rest, and the caller gets all bytes.
#[apply(case!)]
async fn rest_of_a_cut_off_body_is_requested(context: Context) -> Result {
    check_body(&context, Next::Range, 1).await
}

/// If the server ignores the range, the body starts again.
#[apply(case!)]
async fn cut_off_body_starts_again_without_ranges(context: Context) -> Result {
    check_body(&context, Next::Whole, 1).await
}

/// If the resource has changed, the caller gets all bytes of the new version, and none of the old one.
#[apply(case!)]
async fn cut_off_body_starts_again_if_it_has_changed(context: Context) -> Result {
    check_body(&context, Next::OtherVersion, 2).await
}

/// A stream that ends early continues without a repeated or a missing byte, or fails.
#[apply(case!)]
async fn cut_off_stream_continues_or_fails(context: Context) -> Result {
    for next in [Next::Range, Next::Whole, Next::OtherVersion] {
        for cut in CUTS {
            let server = start_server(cut, next)?;
            let retry = Retry::new(2).delays(Duration::ZERO, Duration::ZERO);
            let session = context.builder().retry(retry).build()?;
            let response = session.get(server.url("/")).send().await?;
            let chunks = response.into_stream().try_collect::<Vec<_>>().await;
            check_equal("the requests", server.connections(), 2)?;
            if next == Next::OtherVersion && cut > 0 {
                check_error("the stream", chunks, &[ErrorKind::Incomplete])?;
                continue;
            }
            let seed = if next == Next::OtherVersion { 2 } else { 1 };
            let is_equal = chunks?.concat() == payload::bytes(LEN, seed);
            check(
                is_equal,
                format!("{next:?}, cut at {cut}: the bytes differ"),
            )?;
        }
    }
    Ok(())
}

/// Without retries, a body that ends early is an error, and no request follows.
#[apply(case!)]
async fn cut_off_body_without_retries_is_an_error(context: Context) -> Result {
    let server = start_server(LEN / 2, Next::Range)?;
    let result = context.session()?.get(server.url("/")).bytes().await;
    check_error("the body", result, &[ErrorKind::Incomplete])?;
    check_equal("the requests", server.connections(), 1)
}
