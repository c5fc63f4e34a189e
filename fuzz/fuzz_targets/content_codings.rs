//! Content codings: a coded body decodes to what was encoded, whatever its chunks are. Other bytes decode to what
//! another decoder makes of them, and to no more than the limit.
#![no_main]

use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures_lite::stream;
use http::header::CONTENT_ENCODING;
use http::{Request, Response};
use inflight_core::{BlockOn, Body, ErrorKind, Session};
use inflight_fuzz::{session, split};
use inflight_virtual::Virtual;
use libfuzzer_sys::fuzz_target;

/// The session's limit on the decoded bytes.
const LIMIT: usize = 1 << 18;

/// The next response: its coding and its chunks.
static NEXT: Mutex<Option<(&str, Vec<Bytes>)>> = Mutex::new(None);

thread_local! {
    static CLIENT: (Virtual, Session) = {
        let runtime = Virtual::new();
        let session = session(&runtime, respond).max_body(LIMIT as u64).build();
        (runtime, session.expect("the options are valid"))
    };
}

fn respond(_: Request<Body>) -> Response<Body> {
    let next = NEXT.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (coding, chunks) = next.expect("there is a response for each request");
    let chunks = stream::iter(chunks.into_iter().map(Ok::<_, io::Error>));
    let response = Response::builder().header(CONTENT_ENCODING, coding);
    let response = response.body(Body::from_stream(chunks));
    response.expect("the response is valid")
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Gzip,
    Zlib,
    RawDeflate,
    Brotli,
    Zstd,
}

impl Format {
    const ALL: [Self; 5] = [
        Self::Gzip,
        Self::Zlib,
        Self::RawDeflate,
        Self::Brotli,
        Self::Zstd,
    ];

    fn coding(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib | Self::RawDeflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn encode(self, data: &[u8], level: u8) -> io::Result<Vec<u8>> {
        let compression = Compression::new(u32::from(level % 10));
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), compression);
                encoder.write_all(data)?;
                encoder.finish()
            }
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), compression);
                encoder.write_all(data)?;
                encoder.finish()
            }
            Self::RawDeflate => {
                let mut encoder = DeflateEncoder::new(Vec::new(), compression);
                encoder.write_all(data)?;
                encoder.finish()
            }
            Self::Brotli => {
                let mut coded = Vec::new();
                let quality = u32::from(level % 8);
                brotli::CompressorReader::new(data, 4096, quality, 18).read_to_end(&mut coded)?;
                Ok(coded)
            }
            Self::Zstd => zstd::stream::encode_all(data, i32::from(level % 10)),
        }
    }

    /// Decodes with another decoder, up to the limit and one byte.
    fn decode(self, coded: &[u8]) -> io::Result<Vec<u8>> {
        let decoder: Box<dyn Read> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(coded)),
            Self::Zlib => Box::new(ZlibDecoder::new(coded)),
            Self::RawDeflate => Box::new(DeflateDecoder::new(coded)),
            Self::Brotli => Box::new(brotli::Decompressor::new(coded, 4096)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(coded)?),
        };
        let mut decoded = Vec::new();
        decoder.take(LIMIT as u64 + 1).read_to_end(&mut decoded)?;
        Ok(decoded)
    }
}

/// Returns what a session makes of a coded body that arrives in chunks of this length.
fn receive(format: Format, coded: &[u8], len: u8) -> Result<Bytes, ErrorKind> {
    let next = (format.coding(), split(coded, len));
    *NEXT.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    CLIENT.with(|(runtime, session)| {
        let page = session.get("http://pages.test/").bytes();
        runtime.block_on(page).map_err(|error| error.kind())
    })
}

fuzz_target!(|input: (u8, u8, u8, bool, &[u8])| {
    let (format, level, len, is_coded, data) = input;
    let format = Format::ALL[usize::from(format) % Format::ALL.len()];
    if !is_coded {
        let coded = format.encode(data, level).expect("encoding does not fail");
        let received = receive(format, &coded, len);
        assert_eq!(received.as_deref(), Ok(data));
        return;
    }
    let received = receive(format, data, len);
    assert_eq!(received, receive(format, data, 0), "depends on the chunks");
    assert!(matches!(
        &received,
        Ok(_) | Err(ErrorKind::Decode | ErrorKind::BodyTooLarge)
    ));
    if let Ok(body) = received {
        assert!(body.len() <= LIMIT);
        check_decoded(format, data, &body);
    }
});

/// Checks that another decoder gets the same bytes from a body that a session accepts.
fn check_decoded(format: Format, coded: &[u8], body: &Bytes) {
    // A session accepts an empty body, and zeros after gzip. It determines the format of `deflate` by the bytes.
    if coded.is_empty() {
        assert!(body.is_empty());
        return;
    }
    let decoded = match format {
        Format::Zlib | Format::RawDeflate => {
            let formats = [Format::Zlib, Format::RawDeflate];
            formats.iter().find_map(|format| format.decode(coded).ok())
        }
        format => format.decode(coded).ok(),
    };
    match decoded {
        Some(decoded) => assert_eq!(body[..], decoded[..]),
        None => assert!(
            format == Format::Gzip && coded.ends_with(&[0]),
            "the other decoder refuses the body"
        ),
    }
}
