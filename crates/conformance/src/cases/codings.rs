//! Content codings: requested with Accept-Encoding, and decoded while the body is read.

use std::time::Duration;

use inflight_core::http::Method;
use inflight_core::{ErrorKind, Session};
use inflight_origin::payload;
use inflight_origin::script::Script;
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_error, check_text};
use crate::context::Context;
use crate::servers::{header_values, start_origin, start_scripted};
use crate::test_server::TestServer;

const ACCEPT_ENCODING: &str = "gzip, deflate, br, zstd";

/// The names of the codings in the origin's paths.
const CODINGS: [&str; 5] = ["gzip", "deflate", "bare-deflate", "br", "zstd"];

/// A session accepts gzip, deflate, br and zstd, and decodes responses in these codings.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn accept_encoding_is_sent_and_responses_are_decoded(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for (path, flag) in [
        ("/gzip", "gzipped"),
        ("/deflate", "deflated"),
        ("/brotli", "brotli"),
        ("/zstd", "zstd"),
    ] {
        let echo: Value = session.get(origin.url(path)).json().await?;
        check_equal(path, &echo[flag], &Value::Bool(true))?;
        let accepted = &echo["headers"]["Accept-Encoding"];
        check_equal("Accept-Encoding", accepted.as_str(), Some(ACCEPT_ENCODING))?;
    }
    Ok(())
}

/// A body of 256 KiB in any of the codings, or in deflate without the zlib header, is decoded
/// exactly.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn decoded_body_is_exact(context: Context) -> Result {
    const LEN: usize = 256 << 10;
    let origin = context.httpbin()?;
    let session = context.session()?;
    for coding in CODINGS {
        let url = origin.url(&format!("/coded/{coding}/{LEN}?seed=11"));
        let bytes = session.get(url).bytes().await?;
        let is_equal = bytes == payload::bytes(LEN, 11);
        check(is_equal, format!("{coding}: the bytes differ"))?;
    }
    Ok(())
}

/// A decoded response has neither a Content-Encoding nor a length.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn decoded_response_has_no_content_encoding_or_length(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for coding in CODINGS {
        let url = origin.url(&format!("/coded/{coding}/100"));
        let response = session.get(url).send().await?;
        for name in ["content-encoding", "content-length"] {
            check_equal(name, header_values(&response, name).len(), 0)?;
        }
        check_equal("the length", response.content_length(), None)?;
        check_equal("the body", response.bytes().await?, [0; 100].as_slice())?;
    }
    Ok(())
}

/// A request's own Accept-Encoding is sent unchanged, and the response is decoded.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn accept_encoding_of_the_request_is_sent_unchanged(context: Context) -> Result {
    let origin = context.httpbin()?;
    let request = context.session()?.get(origin.url("/gzip"));
    let echo: Value = request.header("accept-encoding", "br").json().await?;
    let accepted = &echo["headers"]["Accept-Encoding"];
    check_equal("Accept-Encoding", accepted.as_str(), Some("br"))
}

/// With decompress(false) no Accept-Encoding is sent, and bodies are not decoded.
#[apply(case!)]
#[marks(in_memory)]
async fn decompress_false_disables_decoding(context: Context) -> Result {
    let origin = context.httpbin()?;
    let off = context.builder().decompress(false).build()?;
    let on = context.session()?;
    for (path, coding, magic) in [
        ("/gzip", "gzip", &[0x1f, 0x8b][..]),
        ("/deflate", "deflate", &[0x78]),
        ("/zstd", "zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let url = origin.url(path);
        for request in [off.get(&url), on.get(&url).decompress(false)] {
            let response = request.send().await?;
            let codings = header_values(&response, "content-encoding");
            check_equal("Content-Encoding", codings, [coding.as_bytes()])?;
            let length = response.content_length();
            let bytes = response.bytes().await?;
            check(bytes.starts_with(magic), format!("{path} was decoded"))?;
            check_equal("the length", length, Some(bytes.len() as u64))?;
        }
    }
    let echo: Value = off.get(origin.url("/headers")).json().await?;
    let accepted = &echo["headers"]["Accept-Encoding"];
    check_equal("Accept-Encoding", accepted, &Value::Null)?;
    let request = off.get(origin.url("/gzip")).decompress(true);
    let echo: Value = request.json().await?;
    check_equal("gzipped", &echo["gzipped"], &Value::Bool(true))
}

/// The body of a redirect is not decoded, so an invalid coding does not fail the request.
#[apply(case!)]
#[marks(tests_core)]
async fn redirects_are_not_decoded(context: Context) -> Result {
    let redirect = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Encoding: gzip\r\n\
                    Content-Length: 7\r\n\r\nno gzip";
    let server = TestServer::start(move |mut conn| {
        loop {
            match &*conn.read_head()? {
                "/there" => conn.answer("there")?,
                _ => conn.send(redirect)?,
            }
        }
    })?;
    check_text(context.session()?.get(server.url("/")), "there").await
}

/// A response without a body (to HEAD, with 204 or 304, or of length 0) keeps its headers, including
/// Content-Encoding.
#[apply(case!)]
#[marks(tests_core)]
async fn responses_without_a_body_keep_their_headers(context: Context) -> Result {
    let session = context.session()?;
    for (method, status, length) in [
        (Method::HEAD, "200 OK", "Content-Length: 1000\r\n"),
        (Method::GET, "204 No Content", ""),
        (Method::GET, "304 Not Modified", "Content-Length: 1000\r\n"),
        (Method::GET, "200 OK", "Content-Length: 0\r\n"),
    ] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\n{length}\r\n");
        let server = start_scripted(Script::new().read_request().send(head).hang())?;
        let request = session.request(method, server.url("/"));
        let response = request.send().await?;
        check_equal(
            status,
            header_values(&response, "content-encoding"),
            [b"gzip"],
        )?;
        check_equal("the body", response.bytes().await?.len(), 0)?;
    }
    // The client detects only at the end of this body that it is empty.
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
    let server = start_scripted(
        Script::new()
            .read_request()
            .send(format!("{head}0\r\n\r\n"))
            .hang(),
    )?;
    let bytes = session.get(server.url("/")).bytes().await?;
    check_equal("the body without a chunk", bytes.len(), 0)
}

/// If the transfer of an encoded body ends early, the error is of the kind incomplete, as with any
/// other body.
#[apply(case!)]
async fn early_end_of_an_encoded_body_is_an_incomplete_error(context: Context) -> Result {
    let session = context.session()?;
    for (coding, bytes) in samples(&session).await? {
        let half = response(http_name(coding), bytes.len(), &bytes[..bytes.len() / 2]);
        let server = start_scripted(Script::new().read_request().send(half).close())?;
        let result = session.get(server.url("/")).bytes().await;
        check_error(coding, result, &[ErrorKind::Incomplete])?;
    }
    Ok(())
}

/// If the decoded size of a body exceeds max_body, the error is of the kind body_too_large.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn max_body_counts_decoded_bytes(context: Context) -> Result {
    const LEN: usize = 1 << 20;
    let origin = context.httpbin()?;
    let session = context.builder().max_body(LEN as u64 - 1).build()?;
    let exact = context.builder().max_body(LEN as u64).build()?;
    for coding in CODINGS {
        let url = origin.url(&format!("/coded/{coding}/{LEN}"));
        let result = session.get(&url).bytes().await;
        check_error(coding, result, &[ErrorKind::BodyTooLarge])?;
        check_equal(coding, exact.get(&url).bytes().await?.len(), LEN)?;
    }
    Ok(())
}

/// If an encoded body stalls, the error is of the kind timeout.
#[apply(case!)]
async fn timeout_applies_to_an_encoded_body(context: Context) -> Result {
    const SHORT: Duration = Duration::from_millis(300);
    let session = context.session()?;
    for (coding, bytes) in samples(&session).await? {
        let half = response(http_name(coding), bytes.len(), &bytes[..bytes.len() / 2]);
        let server = start_scripted(Script::new().read_request().send(half).hang())?;
        let result = session.get(server.url("/")).timeout(SHORT).bytes().await;
        check_error(coding, result, &[ErrorKind::Timeout])?;
    }
    Ok(())
}

/// After a decoded body is read to its end, its connection is reused.
#[apply(case!)]
#[needs(connection_reuse)]
async fn connection_is_reused_after_a_decoded_body(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    for n in 0..2 {
        for coding in CODINGS {
            let url = origin.url(&format!("/coded/{coding}/{}", 1000 + n));
            session.get(url).bytes().await?;
        }
    }
    super::connections::check_sharing(&origin.stats())
}

/// Returns the name of each coding, and a thousand bytes in this coding.
async fn samples(session: &Session) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let origin = start_origin()?;
    let mut samples = Vec::new();
    for coding in CODINGS {
        let url = origin.url(&format!("/coded/{coding}/1000?seed=12"));
        let bytes = session.get(url).decompress(false).bytes().await?;
        samples.push((coding, bytes.to_vec()));
    }
    Ok(samples)
}

/// Returns the name of a coding for Content-Encoding.
fn http_name(coding: &str) -> &str {
    match coding {
        "bare-deflate" => "deflate",
        other => other,
    }
}

/// Returns a response with the Content-Length `len` and with these bytes, which may be fewer than
/// `len`.
fn response(coding: &str, len: usize, bytes: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len}\r\n\r\n");
    [head.as_bytes(), bytes].concat()
}
