//! Handlers that compress their response, whether the client accepts the coding or not.

use std::io::{self, Read};

use axum::extract::Path;
use axum::response::Response;
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use serde_json::json as value;

use super::call::{Call, Refusal, answer, check_limit};
use super::inspect::headers_of;
use crate::payload;

/// The largest body of `/coded`. The handler builds it in memory.
const MAX_CODED: u64 = 64 << 20;

/// Responds with `len` bytes in a coding. With a seed, they are the bytes of `/bytes`. Without a seed,
/// they are zeros.
pub(super) async fn coded(
    Path((coding, len)): Path<(String, u64)>,
    call: Call,
) -> Result<Response, Refusal> {
    let coding = Coding::from_name(&coding)?;
    let len = check_limit(MAX_CODED, len)? as usize;
    let plain = match call.param("seed") {
        Some(_) => payload::bytes(len, call.param_or("seed", 0)?),
        None => vec![0; len],
    };
    encode_response(coding, "application/octet-stream", &plain)
}

#[derive(Clone, Copy)]
pub(super) enum Coding {
    Gzip,
    Zlib,
    /// Deflate without the header and the checksum of zlib. Some servers send this as `deflate`.
    BareDeflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn from_name(name: &str) -> Result<Coding, Refusal> {
        Ok(match name {
            "gzip" => Coding::Gzip,
            "deflate" => Coding::Zlib,
            "bare-deflate" => Coding::BareDeflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => {
                return Err(Refusal::bad_request(format!(
                    "this server does not support the coding {name}"
                )));
            }
        })
    }

    /// Returns the name in `Content-Encoding`. `deflate` is the zlib format (RFC 9110, section 8.4.1.2).
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Zlib | Coding::BareDeflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    fn encode(self, mut plain: &[u8]) -> io::Result<Vec<u8>> {
        let level = Compression::default();
        let mut encoded = Vec::new();
        match self {
            Coding::Gzip => GzEncoder::new(plain, level).read_to_end(&mut encoded)?,
            Coding::Zlib => ZlibEncoder::new(plain, level).read_to_end(&mut encoded)?,
            Coding::BareDeflate => DeflateEncoder::new(plain, level).read_to_end(&mut encoded)?,
            Coding::Brotli => {
                // With the default quality, brotli takes seconds for a MiB.
                let quick = BrotliEncoderParams {
                    quality: 3,
                    ..Default::default()
                };
                brotli::BrotliCompress(&mut plain, &mut encoded, &quick)?
            }
            Coding::Zstd => return zstd::encode_all(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        };
        Ok(encoded)
    }
}

/// Responds with the request as compressed JSON.
pub(super) async fn echo(call: Call, coding: Coding, flag: &str) -> Result<Response, Refusal> {
    let request = value!({
        flag: true,
        "headers": headers_of(call.headers()),
        "method": call.head.method.as_str(),
        "origin": call.peer,
    });
    encode_response(coding, "application/json", request.to_string().as_bytes())
}

fn encode_response(coding: Coding, media: &'static str, plain: &[u8]) -> Result<Response, Refusal> {
    let name = coding.name();
    let body = coding
        .encode(plain)
        .map_err(|error| Refusal::server_error(format!("{name}: {error}")))?;
    let mut response = answer(StatusCode::OK, media, body);
    response
        .headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    Ok(response)
}
