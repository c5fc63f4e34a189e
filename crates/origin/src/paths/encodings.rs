//! Compressed responses, in a coding that the client may not accept.

use std::io::{self, Write};

use axum::extract::Path;
use axum::response::Response;
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use serde_json::{Map, Value};

use super::call::{Call, Refusal, answer};
use super::inspect::headers_of;
use crate::payload;

/// The largest body of `/coded`, which is made in memory.
const MAX_CODED: usize = 64 << 20;

pub(super) async fn gzip(call: Call) -> Result<Response, Refusal> {
    shown(&call, Coding::Gzip, "gzipped")
}

pub(super) async fn deflate(call: Call) -> Result<Response, Refusal> {
    shown(&call, Coding::Zlib, "deflated")
}

pub(super) async fn brotli(call: Call) -> Result<Response, Refusal> {
    shown(&call, Coding::Brotli, "brotli")
}

pub(super) async fn zstd(call: Call) -> Result<Response, Refusal> {
    shown(&call, Coding::Zstd, "zstd")
}

/// Returns `len` bytes in a coding: those of `/bytes` with a seed, zeros without.
pub(super) async fn coded(
    Path((coding, len)): Path<(String, usize)>,
    call: Call,
) -> Result<Response, Refusal> {
    let coding = Coding::named(&coding)?;
    if len > MAX_CODED {
        return Err(Refusal::bad(format!("{len} is more than {MAX_CODED}")));
    }
    let plain = match call.param("seed") {
        Some(_) => payload::bytes(len, call.param_or("seed", 0)?),
        None => vec![0; len],
    };
    encoded(coding, "application/octet-stream", &plain)
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Zlib,
    /// Deflate without zlib's frame, which some servers send as `deflate`.
    Bare,
    Brotli,
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Result<Coding, Refusal> {
        Ok(match name {
            "gzip" => Coding::Gzip,
            "deflate" => Coding::Zlib,
            "bare-deflate" => Coding::Bare,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => {
                return Err(Refusal::bad(format!(
                    "this server does not support the coding {name}"
                )));
            }
        })
    }

    /// Returns the name in `Content-Encoding`. `deflate` is the zlib format (RFC 9110, section 8.4.1.2).
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Zlib | Coding::Bare => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    fn encode(self, mut plain: &[u8]) -> io::Result<Vec<u8>> {
        let level = Compression::default();
        match self {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Coding::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Coding::Bare => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Coding::Brotli => {
                let mut encoded = Vec::new();
                // The default quality takes seconds for a MiB.
                let quick = BrotliEncoderParams {
                    quality: 3,
                    ..Default::default()
                };
                brotli::BrotliCompress(&mut plain, &mut encoded, &quick)?;
                Ok(encoded)
            }
            Coding::Zstd => zstd::encode_all(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }
}

fn shown(call: &Call, coding: Coding, done: &str) -> Result<Response, Refusal> {
    let shown: Map<String, Value> = Map::from_iter([
        (done.to_owned(), true.into()),
        ("headers".to_owned(), headers_of(call.headers())),
        ("method".to_owned(), call.head.method.as_str().into()),
        ("origin".to_owned(), call.peer.to_string().into()),
    ]);
    let plain = serde_json::to_vec(&shown).map_err(|error| Refusal::server(error.to_string()))?;
    encoded(coding, "application/json", &plain)
}

fn encoded(coding: Coding, media: &'static str, plain: &[u8]) -> Result<Response, Refusal> {
    let name = coding.name();
    let body = coding
        .encode(plain)
        .map_err(|error| Refusal::server(format!("{name}: {error}")))?;
    let mut response = answer(StatusCode::OK, media, body);
    response
        .headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    Ok(response)
}
