//! Compressed answers, in an encoding that the client may not have asked for.

use std::io::{self, Write};

use axum::response::Response;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::HeaderValue;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use serde_json::{Map, Value};

use super::call::{Call, Refusal, answer};
use super::inspect::headers_of;

pub(super) async fn gzip(call: Call) -> Result<Response, Refusal> {
    encoded(&call, "gzip", "gzipped", |plain| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain)?;
        encoder.finish()
    })
}

/// `deflate` is the zlib format (RFC 9110, section 8.4.1.2), not the bare one that some servers send.
pub(super) async fn deflate(call: Call) -> Result<Response, Refusal> {
    encoded(&call, "deflate", "deflated", |plain| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain)?;
        encoder.finish()
    })
}

pub(super) async fn brotli(call: Call) -> Result<Response, Refusal> {
    encoded(&call, "br", "brotli", |mut plain| {
        let mut encoded = Vec::new();
        brotli::BrotliCompress(&mut plain, &mut encoded, &Default::default())?;
        Ok(encoded)
    })
}

pub(super) async fn zstd(call: Call) -> Result<Response, Refusal> {
    encoded(&call, "zstd", "zstd", |plain| {
        zstd::encode_all(plain, zstd::DEFAULT_COMPRESSION_LEVEL)
    })
}

fn encoded(
    call: &Call,
    coding: &'static str,
    done: &str,
    encode: impl FnOnce(&[u8]) -> io::Result<Vec<u8>>,
) -> Result<Response, Refusal> {
    let shown: Map<String, Value> = Map::from_iter([
        (done.to_owned(), true.into()),
        ("headers".to_owned(), headers_of(call.headers())),
        ("method".to_owned(), call.head.method.as_str().into()),
        ("origin".to_owned(), call.peer.to_string().into()),
    ]);
    let failed = |error: &dyn std::fmt::Display| Refusal::server(format!("{coding}: {error}"));
    let plain = serde_json::to_vec(&shown).map_err(|error| failed(&error))?;
    let body = encode(&plain).map_err(|error| failed(&error))?;
    let mut response = answer(StatusCode::OK, "application/json", body);
    response
        .headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    Ok(response)
}
