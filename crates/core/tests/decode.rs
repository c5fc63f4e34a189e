//! Tests of content codings.

mod support;

use std::error::Error as StdError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_compression::Level;
use async_compression::futures::bufread::{
    BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
};
use async_compression::zstd::CParameter;
use bytes::Bytes;
use futures_lite::io::AsyncReadExt;
use futures_lite::{StreamExt, stream};
use http::{HeaderMap, Method};
use inflight_core::{
    Body, Error, ErrorKind, Phase, RequestBuilder, Response, Session, SessionBuilder,
};
use proptest::prelude::*;
use support::{
    Signal, TestRuntime, Wakes, lock, poll_until_stalled, responding, responding_on, run,
};

fn encoded_response(coding: &str, body: impl Into<Body>) -> http::Response<Body> {
    let mut response = http::Response::new(body.into());
    let coding = coding.parse().unwrap();
    response.headers_mut().insert("content-encoding", coding);
    response
}

/// Sends a request to a client that responds with `original`. Returns the response of the session.
fn receive(original: http::Response<Body>) -> Result<Response, Error> {
    let original = Mutex::new(Some(original));
    let session = responding(move |_| lock(&original).take().unwrap());
    let session = session.build().unwrap();
    run(session.get("http://host/").send())
}

fn read(coding: &str, body: impl Into<Body>) -> Result<Bytes, Error> {
    run(receive(encoded_response(coding, body))?.bytes())
}

fn in_chunks(bytes: &[u8], len: usize) -> Body {
    let chunks: Vec<_> = bytes.chunks(len).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(chunks).map(Ok::<_, Error>))
}

fn error_kind<T>(result: Result<T, Error>) -> ErrorKind {
    // `unwrap_err` could print a large body.
    result.err().expect("the result should be an error").kind()
}

type Encode = fn(&[u8]) -> Vec<u8>;

/// The codings with their encoders. Servers use the name `deflate` for the zlib format and for raw deflate.
const CODINGS: [(&str, Encode); 5] = [
    ("gzip", |plain| read_all(GzipEncoder::new(plain))),
    ("deflate", |plain| read_all(ZlibEncoder::new(plain))),
    ("deflate", |plain| read_all(DeflateEncoder::new(plain))),
    ("br", |plain| {
        read_all(BrotliEncoder::with_quality(plain, Level::Fastest))
    }),
    ("zstd", |plain| read_all(ZstdEncoder::new(plain))),
];

fn read_all(mut reader: impl futures_lite::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    run(reader.read_to_end(&mut bytes)).unwrap();
    bytes
}

const TEXT: &[u8] = b"a text, a text, and again a text that repeats what is a text";

// ---------------------------------------------------------------------------------------
// Decoding.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_coding_decodes_to_the_original_bytes(
        start in prop::collection::vec(any::<u8>(), 1..2000),
        repeats in 1usize..200,
        chunk_len in 1usize..3000,
    ) {
        let plain = start.repeat(repeats);
        for (coding, encode) in CODINGS {
            let body = in_chunks(&encode(&plain), chunk_len);
            prop_assert_eq!(&read(coding, body).unwrap(), &plain, "{}", coding);
        }
    }

    #[test]
    fn invalid_bytes_are_an_error_and_not_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..300),
    ) {
        for coding in ["gzip", "br", "zstd"] {
            // `Ok` is also accepted, because random bytes may be a valid brotli stream.
            if let Err(error) = read(coding, bytes.clone()) {
                prop_assert_eq!(error.kind(), ErrorKind::Decode);
            }
        }
    }
}

#[test]
fn decoding_removes_content_encoding_and_content_length() {
    for (coding, encode) in CODINGS {
        let mut original = encoded_response(coding, encode(TEXT));
        original.headers_mut().insert("content-length", 7.into());
        original.headers_mut().insert("x-kept", 1.into());
        let response = receive(original).unwrap();
        assert_eq!(response.content_length(), None);
        let names: Vec<_> = response
            .headers()
            .keys()
            .map(|name| name.as_str())
            .collect();
        assert_eq!(names, ["x-kept"]);
        assert_eq!(run(response.bytes()).unwrap(), TEXT);
    }
}

#[test]
fn names_of_codings_are_parsed_by_the_rules_of_http() {
    let gzip = CODINGS[0].1(TEXT);
    for name in [
        "GZip",
        "x-gzip",
        " gzip ",
        "identity, gzip",
        "gzip,",
        "gzip, identity",
    ] {
        assert_eq!(read(name, gzip.clone()).unwrap(), TEXT, "{name:?}");
    }
}

#[test]
fn concatenated_streams_are_decoded_as_one_body() {
    for (coding, encode) in [CODINGS[0], CODINGS[4]] {
        let twice = [encode(b"one, "), encode(b"two")].concat();
        for chunk_len in [1, 7, 1000] {
            let read = read(coding, in_chunks(&twice, chunk_len)).unwrap();
            assert_eq!(read, "one, two", "{coding} in chunks of {chunk_len}");
        }
    }
}

#[test]
fn an_empty_body_is_not_decoded() {
    for (coding, _) in CODINGS {
        assert_eq!(read(coding, in_chunks(b"", 1)).unwrap(), "");
    }
}

#[test]
fn a_chunk_is_returned_before_the_next_one_arrives() {
    for (coding, encode) in [CODINGS[0], CODINGS[4]] {
        let first = encode(b"first");
        let body = stream::iter([Ok::<_, Error>(first)]).chain(stream::pending());
        let mut response = receive(encoded_response(coding, Body::from_stream(body))).unwrap();
        let chunk = run(response.chunk()).unwrap().unwrap();
        assert_eq!(chunk, "first", "{coding}");
    }
}

// ---------------------------------------------------------------------------------------
// Responses that are not decoded.

/// Checks that a session returns `original` unchanged.
fn assert_unchanged(original: http::Response<Body>, method: Method) {
    let bytes = original.body().as_bytes().unwrap().clone();
    let (headers, length) = (original.headers().clone(), original.body().len());
    let original = Mutex::new(Some(original));
    let session = responding(move |_| lock(&original).take().unwrap());
    let session = session.build().unwrap();
    let response = run(session.request(method, "http://host/").send()).unwrap();
    assert_eq!(response.headers(), &headers);
    assert_eq!(response.content_length(), length);
    assert_eq!(run(response.bytes()).unwrap(), bytes);
}

#[test]
fn unknown_codings_are_not_decoded() {
    for coding in ["identity", "", "compress", "aes128gcm", "gzip2"] {
        assert_unchanged(encoded_response(coding, "as it is"), Method::GET);
    }
    assert_unchanged(http::Response::new(Body::from("as it is")), Method::GET);
}

#[test]
fn responses_without_a_body_are_not_decoded() {
    assert_unchanged(encoded_response("gzip", ""), Method::HEAD);
    for status in [204, 304, 200] {
        let mut original = encoded_response("gzip", "");
        *original.status_mut() = status.try_into().unwrap();
        assert_unchanged(original, Method::GET);
    }
}

#[test]
fn partial_content_is_not_decoded() {
    let mut original = encoded_response("gzip", "from the middle");
    *original.status_mut() = http::StatusCode::PARTIAL_CONTENT;
    assert_unchanged(original, Method::GET);
}

// ---------------------------------------------------------------------------------------
// Accept-Encoding.

/// Sends a request, and returns its headers as the client received them.
fn request_headers(
    build: impl FnOnce(SessionBuilder) -> SessionBuilder,
    send: impl FnOnce(&Session) -> RequestBuilder,
) -> HeaderMap {
    let seen: Arc<Mutex<HeaderMap>> = Arc::default();
    let record = seen.clone();
    let builder = responding(move |request| {
        *lock(&record) = request.headers().clone();
        encoded_response("gzip", CODINGS[0].1(TEXT))
    });
    let session = build(builder).build().unwrap();
    // The session decodes the response if the request has `Accept-Encoding`, even if the caller set it.
    let read = run(send(&session).bytes()).unwrap();
    let headers = lock(&seen).clone();
    assert_eq!(read == TEXT, headers.contains_key("accept-encoding"));
    headers
}

#[test]
fn codings_are_requested_unless_the_caller_sets_the_header() {
    let get = |session: &Session| session.get("http://host/");
    let headers = request_headers(|builder| builder, get);
    assert_eq!(headers["accept-encoding"], "gzip, deflate, br, zstd");
    let with_header = |session: &Session| get(session).header("accept-encoding", "gzip;q=0.5");
    assert_eq!(
        request_headers(|builder| builder, with_header)["accept-encoding"],
        "gzip;q=0.5"
    );
    let default = |builder: SessionBuilder| builder.header("accept-encoding", "gzip");
    assert_eq!(request_headers(default, get)["accept-encoding"], "gzip");
}

#[test]
fn no_coding_is_requested_if_decoding_is_off() {
    let get = |session: &Session| session.get("http://host/");
    let off = |builder: SessionBuilder| builder.decompress(false);
    assert!(request_headers(off, get).is_empty());
    assert!(
        request_headers(|builder| builder, |session| get(session).decompress(false)).is_empty()
    );
    assert_eq!(
        request_headers(off, |session| get(session).decompress(true)).len(),
        1
    );
}

#[test]
fn no_coding_is_requested_with_a_range() {
    let seen: Arc<Mutex<HeaderMap>> = Arc::default();
    let record = seen.clone();
    let session = responding(move |request| {
        *lock(&record) = request.headers().clone();
        http::Response::new(Body::empty())
    });
    let request = session.build().unwrap().get("http://host/");
    run(request.header("range", "bytes=0-9").bytes()).unwrap();
    assert!(!lock(&seen).contains_key("accept-encoding"));
}

// ---------------------------------------------------------------------------------------
// Errors.

#[test]
fn a_truncated_body_is_a_decode_error() {
    for (coding, encode) in CODINGS {
        let whole = encode(TEXT);
        for end in 1..whole.len() {
            for chunk_len in [1, whole.len()] {
                let truncated = in_chunks(&whole[..end], chunk_len);
                assert_eq!(
                    error_kind(read(coding, truncated)),
                    ErrorKind::Decode,
                    "{coding}, {end}"
                );
            }
        }
    }
}

#[test]
fn bytes_after_the_end_of_the_coding_are_a_decode_error() {
    for (coding, encode) in CODINGS {
        let more = [&encode(TEXT)[..], b"garbage"].concat();
        for chunk_len in [1, more.len() - 7, more.len()] {
            let result = read(coding, in_chunks(&more, chunk_len));
            assert_eq!(error_kind(result), ErrorKind::Decode, "{coding}");
        }
    }
}

#[test]
fn up_to_64_kib_of_zeros_after_gzip_are_ignored() {
    for (coding, encode) in CODINGS {
        let padded = |padding: usize, more: &[u8]| {
            let body = [&encode(TEXT)[..], &vec![0; padding], more].concat();
            read(coding, in_chunks(&body, 1000))
        };
        if coding != "gzip" {
            assert_eq!(error_kind(padded(1, b"")), ErrorKind::Decode, "{coding}");
            continue;
        }
        for padding in [1, 512, 64 << 10] {
            assert_eq!(padded(padding, b"").unwrap(), TEXT);
            assert_eq!(error_kind(padded(padding, b"\x1f")), ErrorKind::Decode);
        }
        assert_eq!(error_kind(padded((64 << 10) + 1, b"")), ErrorKind::Decode);
    }
}

#[test]
fn a_wrong_checksum_is_a_decode_error() {
    for (coding, encode) in [CODINGS[0], CODINGS[1]] {
        let mut bytes = encode(TEXT);
        let at = bytes.len() - 6 + usize::from(coding == "deflate") * 3;
        bytes[at] ^= 1;
        assert_eq!(
            error_kind(read(coding, bytes)),
            ErrorKind::Decode,
            "{coding}"
        );
    }
}

#[test]
fn several_codings_are_a_decode_error() {
    let twice = CODINGS[0].1(&CODINGS[0].1(TEXT));
    for coding in ["gzip, gzip", "br, unknown"] {
        assert_eq!(
            error_kind(receive(encoded_response(coding, twice.clone()))),
            ErrorKind::Decode
        );
    }
}

#[test]
fn the_body_of_a_redirect_is_not_decoded() {
    let session = responding(|request| match request.uri().path() {
        "/there" => http::Response::new("there".into()),
        _ => {
            let mut redirect = encoded_response("gzip", "no gzip");
            *redirect.status_mut() = http::StatusCode::FOUND;
            let location = http::HeaderValue::from_static("/there");
            redirect.headers_mut().insert("location", location);
            redirect
        }
    });
    let session = session.build().unwrap();
    assert_eq!(run(session.get("http://host/").text()).unwrap(), "there");
}

#[test]
fn max_body_counts_decoded_bytes() {
    for (coding, encode) in CODINGS {
        for (max_body, fits) in [(TEXT.len() as u64 - 1, false), (TEXT.len() as u64, true)] {
            let session = responding(move |_| encoded_response(coding, encode(TEXT)));
            let session = session.max_body(max_body).build().unwrap();
            let result = run(session.get("http://host/").bytes());
            match fits {
                true => assert_eq!(result.unwrap(), TEXT, "{coding}"),
                false => assert_eq!(error_kind(result), ErrorKind::BodyTooLarge, "{coding}"),
            }
        }
    }
}

#[test]
fn windows_larger_than_http_allows_are_a_decode_error() {
    // A window of 128 MiB. RFC 9659 allows 8 MiB.
    let parameters = [CParameter::window_log(27)];
    let plain = vec![0; 9 << 20];
    let encoder = ZstdEncoder::with_quality_and_params(&plain[..], Level::Fastest, &parameters);
    assert_eq!(
        error_kind(read("zstd", read_all(encoder))),
        ErrorKind::Decode
    );
    // An empty brotli stream that declares a window of 2^30 bytes.
    assert_eq!(error_kind(read("br", vec![0x11, 0xde])), ErrorKind::Decode);
}

#[test]
fn a_transfer_error_keeps_its_kind_and_follows_the_decoded_bytes() {
    for (coding, encode) in CODINGS {
        let plain = TEXT.repeat(10_000);
        let bytes = encode(&plain);
        let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
        let chunks = stream::iter([Ok(half), Err(Error::new(ErrorKind::Incomplete))]);
        let body = Body::wrap(FallibleBody(Box::pin(chunks)));
        let mut response = receive(encoded_response(coding, body)).unwrap();
        let mut read = 0;
        let error = loop {
            match run(response.chunk()) {
                Ok(chunk) => read += chunk.expect("the body should end with an error").len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{coding}");
        assert_eq!(error.url(), Some("http://host/"));
        assert!(read > 0 || coding == "br" || coding == "zstd", "{coding}");
        assert_eq!(
            run(response.chunk()).unwrap(),
            None,
            "the body should end after the error"
        );
    }
}

type Chunks =
    std::pin::Pin<Box<dyn futures_lite::Stream<Item = Result<Bytes, Error>> + Send + Sync>>;

/// A body that returns the errors of its chunks unchanged.
struct FallibleBody(Chunks);

impl http_body::Body for FallibleBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        let chunk = self.0.as_mut().poll_next(cx);
        chunk.map(|chunk| chunk.map(|chunk| chunk.map(http_body::Frame::data)))
    }
}

#[test]
fn an_error_names_the_coding() {
    let error = read("zstd", "no such thing").unwrap_err();
    assert!(error.to_string().contains("zstd"), "{error}");
    assert!(error.source().is_some());
}

// ---------------------------------------------------------------------------------------
// Decompression bombs.

/// Encodes `len` zeros. Returns a body of the encoded bytes in chunks of 1 KiB, a counter of the chunks
/// that were read, and the total number of chunks.
fn bomb(encode: Encode, len: usize) -> (Body, Arc<AtomicUsize>, usize) {
    let bytes = encode(&vec![0; len]);
    let chunks: Vec<_> = bytes.chunks(1024).map(Bytes::copy_from_slice).collect();
    let total = chunks.len();
    let read_chunks = Arc::new(AtomicUsize::new(0));
    let counter = read_chunks.clone();
    let chunks = stream::iter(chunks).map(move |chunk| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(chunk)
    });
    (Body::from_stream(chunks), read_chunks, total)
}

#[test]
fn a_decompression_bomb_is_rejected_before_most_of_it_is_read() {
    for (coding, encode) in [CODINGS[0], CODINGS[1], CODINGS[2]] {
        let (body, read_chunks, total) = bomb(encode, 64 << 20);
        let original = Mutex::new(Some(encoded_response(coding, body)));
        let session = responding(move |_| lock(&original).take().unwrap());
        let session = session.max_body(2 << 20).build().unwrap();
        let result = run(session.get("http://host/").bytes());
        assert_eq!(error_kind(result), ErrorKind::BodyTooLarge);
        let read_chunks = read_chunks.load(Ordering::SeqCst);
        assert!(
            read_chunks * 10 < total,
            "{coding}: {read_chunks} of {total} chunks were read"
        );
    }
}

#[test]
fn returning_one_chunk_reads_less_than_half_of_the_encoded_body() {
    // Noise compresses badly, so the encoded body has many chunks.
    let noise: Vec<u8> = (0..1u64 << 19)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) as u8 ^ (n >> 3) as u8)
        .collect();
    for (coding, encode) in CODINGS {
        let bytes = encode(&noise);
        let read_chunks = Arc::new(AtomicUsize::new(0));
        let counter = read_chunks.clone();
        let chunks: Vec<_> = bytes.chunks(1024).map(Bytes::copy_from_slice).collect();
        let total = chunks.len();
        let chunks = stream::iter(chunks).map(move |chunk| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(chunk)
        });
        let mut response = receive(encoded_response(coding, Body::from_stream(chunks))).unwrap();
        assert_eq!(read_chunks.load(Ordering::SeqCst), 0, "{coding}");
        run(response.chunk()).unwrap().unwrap();
        // zstd decodes blocks of 128 KiB, so it reads many encoded chunks for one decoded chunk.
        let read_chunks = read_chunks.load(Ordering::SeqCst);
        assert!(
            read_chunks * 2 < total,
            "{coding}: {read_chunks} of {total} chunks were read"
        );
    }
}

#[test]
fn a_highly_compressed_body_is_returned_in_small_chunks() {
    for (coding, encode) in CODINGS {
        let mut response = receive(encoded_response(coding, encode(&vec![0; 8 << 20]))).unwrap();
        let mut len = 0;
        while let Some(chunk) = run(response.chunk()).unwrap() {
            assert!(chunk.len() <= 64 * 1024, "{coding}: {} bytes", chunk.len());
            len += chunk.len();
        }
        assert_eq!(len, 8 << 20);
    }
}

#[test]
fn the_timeout_applies_to_a_highly_compressed_body() {
    for (coding, encode) in CODINGS {
        let bytes = encode(&vec![0; 8 << 20]);
        let session = responding(move |_| encoded_response(coding, bytes.clone()));
        let session = session.timeout(Duration::ZERO).build().unwrap();
        let error = run(session.get("http://host/").bytes()).unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Total), "{coding}: {error}");
    }
}

#[test]
fn decoding_a_highly_compressed_body_yields_to_other_tasks() {
    for (coding, encode) in CODINGS {
        let response = receive(encoded_response(coding, encode(&vec![0; 8 << 20]))).unwrap();
        let mut bytes = Box::pin(response.bytes());
        let (mut polls, (wakes, waker)) = (0, Wakes::new());
        let bytes = loop {
            polls += 1;
            match bytes.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(bytes) => break bytes.unwrap(),
                Poll::Pending => assert!(wakes.take() > 0, "{coding}: no wake-up"),
            }
        };
        assert_eq!(bytes.len(), 8 << 20);
        assert!(polls >= 8, "{coding}: {polls} polls");
    }
}

#[test]
fn read_timeout_restarts_even_if_the_bytes_decode_to_nothing() {
    for (coding, encode) in CODINGS {
        let bytes = encode(b"a text that is short and comes slowly");
        let runtime = TestRuntime::new(0);
        let signals: Vec<Signal> = bytes.iter().map(|_| Signal::new()).collect();
        let script = Mutex::new(Some((bytes, signals.clone())));
        let session = responding_on(&runtime, move |_| {
            let (bytes, signals) = lock(&script).take().unwrap();
            let chunks =
                stream::iter(bytes.into_iter().zip(signals)).then(|(byte, signal)| async move {
                    signal.wait().await;
                    Ok::<_, Error>(vec![byte])
                });
            encoded_response(coding, Body::from_stream(chunks))
        });
        let limit = Duration::from_secs(10);
        let session = session.read_timeout(limit).timeout(None);
        let session = session.build().unwrap();
        let mut text = Box::pin(session.get("http://host/").text());
        for signal in signals {
            assert!(poll_until_stalled(&mut text).is_pending(), "{coding}");
            runtime.advance(limit * 9 / 10);
            assert!(poll_until_stalled(&mut text).is_pending(), "{coding}");
            signal.open();
        }
        assert_eq!(run(text).unwrap(), "a text that is short and comes slowly");
    }
}
