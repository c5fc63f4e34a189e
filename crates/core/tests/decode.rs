//! The promises of a session about content codings.

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
use support::{Signal, TestRuntime, Wakes, answering, answering_on, lock, poll_until_stalled, run};

fn coded(coding: &str, body: impl Into<Body>) -> http::Response<Body> {
    let mut response = http::Response::new(body.into());
    let coding = coding.parse().unwrap();
    response.headers_mut().insert("content-encoding", coding);
    response
}

/// What a session makes of an answer.
fn received(answer: http::Response<Body>) -> Result<Response, Error> {
    let answer = Mutex::new(Some(answer));
    let session = answering(move |_| lock(&answer).take().unwrap());
    let session = session.build().unwrap();
    run(session.get("http://host/").send())
}

fn read(coding: &str, body: impl Into<Body>) -> Result<Bytes, Error> {
    run(received(coded(coding, body))?.bytes())
}

fn in_pieces(bytes: &[u8], len: usize) -> Body {
    let pieces: Vec<_> = bytes.chunks(len).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(pieces).map(Ok::<_, Error>))
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    // Not `unwrap_err`, which would print what may be a large success.
    result.err().expect("a success is none").kind()
}

type Encode = fn(&[u8]) -> Vec<u8>;

/// The name of a coding with what makes it. `deflate` is there twice, as servers send two kinds.
const CODINGS: [(&str, Encode); 5] = [
    ("gzip", |plain| all(GzipEncoder::new(plain))),
    ("deflate", |plain| all(ZlibEncoder::new(plain))),
    ("deflate", |plain| all(DeflateEncoder::new(plain))),
    ("br", |plain| {
        all(BrotliEncoder::with_quality(plain, Level::Fastest))
    }),
    ("zstd", |plain| all(ZstdEncoder::new(plain))),
];

fn all(mut reader: impl futures_lite::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    run(reader.read_to_end(&mut bytes)).unwrap();
    bytes
}

const TEXT: &[u8] = b"a text, a text, and again a text that repeats what is a text";

// ---------------------------------------------------------------------------------------
// What comes out.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_coding_decodes_to_the_byte(
        start in prop::collection::vec(any::<u8>(), 1..2000),
        repeats in 1usize..200,
        piece in 1usize..3000,
    ) {
        let plain = start.repeat(repeats);
        for (coding, encode) in CODINGS {
            let body = in_pieces(&encode(&plain), piece);
            prop_assert_eq!(&read(coding, body).unwrap(), &plain, "{}", coding);
        }
    }

    #[test]
    fn what_is_no_coding_is_an_error_and_not_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..300),
    ) {
        for coding in ["gzip", "br", "zstd"] {
            // Random bytes may be a brotli stream.
            if let Err(error) = read(coding, bytes.clone()) {
                prop_assert_eq!(error.kind(), ErrorKind::Decode);
            }
        }
    }
}

#[test]
fn a_decoded_response_says_nothing_of_the_coded_one() {
    for (coding, encode) in CODINGS {
        let mut answer = coded(coding, encode(TEXT));
        answer.headers_mut().insert("content-length", 7.into());
        answer.headers_mut().insert("x-kept", 1.into());
        let response = received(answer).unwrap();
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
fn names_of_codings_are_read_as_http_has_them() {
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
fn files_in_a_row_are_one_body() {
    for (coding, encode) in [CODINGS[0], CODINGS[4]] {
        let twice = [encode(b"one, "), encode(b"two")].concat();
        for piece in [1, 7, 1000] {
            let read = read(coding, in_pieces(&twice, piece)).unwrap();
            assert_eq!(read, "one, two", "{coding} in pieces of {piece}");
        }
    }
}

#[test]
fn nothing_in_a_coding_is_nothing() {
    for (coding, _) in CODINGS {
        assert_eq!(read(coding, in_pieces(b"", 1)).unwrap(), "");
    }
}

#[test]
fn a_piece_is_there_before_the_next_is_sent() {
    for (coding, encode) in [CODINGS[0], CODINGS[4]] {
        let first = encode(b"first");
        let body = stream::iter([Ok::<_, Error>(first)]).chain(stream::pending());
        let mut response = received(coded(coding, Body::from_stream(body))).unwrap();
        let piece = run(response.chunk()).unwrap().unwrap();
        assert_eq!(piece, "first", "{coding}");
    }
}

// ---------------------------------------------------------------------------------------
// What is left alone.

/// The answer comes out as it went in.
fn untouched(answer: http::Response<Body>, method: Method) {
    let bytes = answer.body().as_bytes().unwrap().clone();
    let (headers, length) = (answer.headers().clone(), answer.body().len());
    let answer = Mutex::new(Some(answer));
    let session = answering(move |_| lock(&answer).take().unwrap());
    let session = session.build().unwrap();
    let response = run(session.request(method, "http://host/").send()).unwrap();
    assert_eq!(response.headers(), &headers);
    assert_eq!(response.content_length(), length);
    assert_eq!(run(response.bytes()).unwrap(), bytes);
}

#[test]
fn codings_that_are_unknown_or_none_are_left_alone() {
    for coding in ["identity", "", "compress", "aes128gcm", "gzip2"] {
        untouched(coded(coding, "as it is"), Method::GET);
    }
    untouched(http::Response::new(Body::from("as it is")), Method::GET);
}

#[test]
fn what_has_no_body_is_left_alone() {
    untouched(coded("gzip", ""), Method::HEAD);
    for status in [204, 304, 200] {
        let mut answer = coded("gzip", "");
        *answer.status_mut() = status.try_into().unwrap();
        untouched(answer, Method::GET);
    }
}

#[test]
fn a_part_of_a_coded_body_is_left_alone() {
    let mut answer = coded("gzip", "from the middle");
    *answer.status_mut() = http::StatusCode::PARTIAL_CONTENT;
    untouched(answer, Method::GET);
}

// ---------------------------------------------------------------------------------------
// What is asked for.

/// The headers of a request.
fn asked(
    build: impl FnOnce(SessionBuilder) -> SessionBuilder,
    send: impl FnOnce(&Session) -> RequestBuilder,
) -> HeaderMap {
    let seen: Arc<Mutex<HeaderMap>> = Arc::default();
    let record = seen.clone();
    let builder = answering(move |request| {
        *lock(&record) = request.headers().clone();
        coded("gzip", CODINGS[0].1(TEXT))
    });
    let session = build(builder).build().unwrap();
    // Whoever asks for a coding by hand gets it decoded all the same.
    let read = run(send(&session).bytes()).unwrap();
    let headers = lock(&seen).clone();
    assert_eq!(read == TEXT, headers.contains_key("accept-encoding"));
    headers
}

#[test]
fn codings_are_asked_for_unless_the_caller_does() {
    let get = |session: &Session| session.get("http://host/");
    let headers = asked(|builder| builder, get);
    assert_eq!(headers["accept-encoding"], "gzip, deflate, br, zstd");
    let own = |session: &Session| get(session).header("accept-encoding", "gzip;q=0.5");
    assert_eq!(
        asked(|builder| builder, own)["accept-encoding"],
        "gzip;q=0.5"
    );
    let default = |builder: SessionBuilder| builder.header("accept-encoding", "gzip");
    assert_eq!(asked(default, get)["accept-encoding"], "gzip");
}

#[test]
fn without_decoding_nothing_is_asked_for() {
    let get = |session: &Session| session.get("http://host/");
    let off = |builder: SessionBuilder| builder.decompress(false);
    assert!(asked(off, get).is_empty());
    assert!(asked(|builder| builder, |session| get(session).decompress(false)).is_empty());
    assert_eq!(asked(off, |session| get(session).decompress(true)).len(), 1);
}

#[test]
fn no_coding_is_asked_for_with_a_range() {
    let seen: Arc<Mutex<HeaderMap>> = Arc::default();
    let record = seen.clone();
    let session = answering(move |request| {
        *lock(&record) = request.headers().clone();
        http::Response::new(Body::empty())
    });
    let request = session.build().unwrap().get("http://host/");
    run(request.header("range", "bytes=0-9").bytes()).unwrap();
    assert!(!lock(&seen).contains_key("accept-encoding"));
}

// ---------------------------------------------------------------------------------------
// What is wrong.

#[test]
fn a_coded_body_cut_anywhere_is_decode() {
    for (coding, encode) in CODINGS {
        let whole = encode(TEXT);
        for end in 1..whole.len() {
            for piece in [1, whole.len()] {
                let cut = in_pieces(&whole[..end], piece);
                assert_eq!(
                    kind(read(coding, cut)),
                    ErrorKind::Decode,
                    "{coding}, {end}"
                );
            }
        }
    }
}

#[test]
fn bytes_after_the_end_of_the_coding_are_decode() {
    for (coding, encode) in CODINGS {
        let more = [&encode(TEXT)[..], b"garbage"].concat();
        for piece in [1, more.len() - 7, more.len()] {
            let result = read(coding, in_pieces(&more, piece));
            assert_eq!(kind(result), ErrorKind::Decode, "{coding}");
        }
    }
}

#[test]
fn a_sum_that_is_wrong_is_decode() {
    for (coding, encode) in [CODINGS[0], CODINGS[1]] {
        let mut bytes = encode(TEXT);
        let at = bytes.len() - 6 + usize::from(coding == "deflate") * 3;
        bytes[at] ^= 1;
        assert_eq!(kind(read(coding, bytes)), ErrorKind::Decode, "{coding}");
    }
}

#[test]
fn several_codings_are_decode() {
    let twice = CODINGS[0].1(&CODINGS[0].1(TEXT));
    for coding in ["gzip, gzip", "br, unknown"] {
        assert_eq!(
            kind(received(coded(coding, twice.clone()))),
            ErrorKind::Decode
        );
    }
}

#[test]
fn the_coding_of_a_redirect_does_not_matter() {
    let session = answering(|request| match request.uri().path() {
        "/there" => http::Response::new("there".into()),
        _ => {
            let mut redirect = coded("gzip", "no gzip");
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
            let session = answering(move |_| coded(coding, encode(TEXT)));
            let session = session.max_body(max_body).build().unwrap();
            let result = run(session.get("http://host/").bytes());
            match fits {
                true => assert_eq!(result.unwrap(), TEXT, "{coding}"),
                false => assert_eq!(kind(result), ErrorKind::BodyTooLarge, "{coding}"),
            }
        }
    }
}

#[test]
fn windows_beyond_those_of_http_are_decode() {
    // 128 MiB, where RFC 9659 has 8.
    let parameters = [CParameter::window_log(27)];
    let plain = vec![0; 9 << 20];
    let encoder = ZstdEncoder::with_quality_and_params(&plain[..], Level::Fastest, &parameters);
    assert_eq!(kind(read("zstd", all(encoder))), ErrorKind::Decode);
    // The mark of a large window, one of 2^30, and the end: a whole stream to the library.
    assert_eq!(kind(read("br", vec![0x11, 0xde])), ErrorKind::Decode);
}

#[test]
fn a_transfer_that_fails_keeps_its_kind_and_what_came_before() {
    for (coding, encode) in CODINGS {
        let plain = TEXT.repeat(10_000);
        let bytes = encode(&plain);
        let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
        let pieces = stream::iter([Ok(half), Err(Error::new(ErrorKind::Incomplete))]);
        let body = Body::wrap(Failing(Box::pin(pieces)));
        let mut response = received(coded(coding, body)).unwrap();
        let mut read = 0;
        let error = loop {
            match run(response.chunk()) {
                Ok(piece) => read += piece.expect("an error is no end").len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{coding}");
        assert_eq!(error.url(), Some("http://host/"));
        assert!(read > 0 || coding == "br" || coding == "zstd", "{coding}");
        assert_eq!(
            run(response.chunk()).unwrap(),
            None,
            "the end stays the end"
        );
    }
}

type Pieces =
    std::pin::Pin<Box<dyn futures_lite::Stream<Item = Result<Bytes, Error>> + Send + Sync>>;

/// A body whose errors are those of a transfer.
struct Failing(Pieces);

impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        let piece = self.0.as_mut().poll_next(cx);
        piece.map(|piece| piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}

#[test]
fn an_error_says_what_was_not_understood() {
    let error = read("zstd", "no such thing").unwrap_err();
    assert!(error.to_string().contains("zstd"), "{error}");
    assert!(error.source().is_some());
}

// ---------------------------------------------------------------------------------------
// Bombs.

/// Zeros in a coding, in pieces of a kilobyte, with a count of the pieces that were taken.
fn bomb(encode: Encode, len: usize) -> (Body, Arc<AtomicUsize>, usize) {
    let bytes = encode(&vec![0; len]);
    let pieces: Vec<_> = bytes.chunks(1024).map(Bytes::copy_from_slice).collect();
    let total = pieces.len();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let pieces = stream::iter(pieces).map(move |piece| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(piece)
    });
    (Body::from_stream(pieces), taken, total)
}

#[test]
fn a_bomb_is_too_large_long_before_it_is_decoded() {
    for (coding, encode) in [CODINGS[0], CODINGS[1], CODINGS[2]] {
        let (body, taken, total) = bomb(encode, 64 << 20);
        let answer = Mutex::new(Some(coded(coding, body)));
        let session = answering(move |_| lock(&answer).take().unwrap());
        let session = session.max_body(2 << 20).build().unwrap();
        let result = run(session.get("http://host/").bytes());
        assert_eq!(kind(result), ErrorKind::BodyTooLarge);
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken * 10 < total, "{coding}: {taken} of {total} pieces");
    }
}

#[test]
fn a_reader_that_pauses_holds_one_piece() {
    // Noise, of which no coding makes less.
    let noise: Vec<u8> = (0..1u64 << 19)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) as u8 ^ (n >> 3) as u8)
        .collect();
    for (coding, encode) in CODINGS {
        let bytes = encode(&noise);
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let pieces: Vec<_> = bytes.chunks(1024).map(Bytes::copy_from_slice).collect();
        let total = pieces.len();
        let pieces = stream::iter(pieces).map(move |piece| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(piece)
        });
        let mut response = received(coded(coding, Body::from_stream(pieces))).unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 0, "{coding}");
        run(response.chunk()).unwrap().unwrap();
        // zstd decodes a block of 128 KiB at a time.
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken * 2 < total, "{coding}: {taken} of {total} pieces");
    }
}

#[test]
fn what_a_few_bytes_swell_to_comes_in_pieces() {
    for (coding, encode) in CODINGS {
        let mut response = received(coded(coding, encode(&vec![0; 8 << 20]))).unwrap();
        let mut len = 0;
        while let Some(piece) = run(response.chunk()).unwrap() {
            assert!(piece.len() <= 64 * 1024, "{coding}: {} bytes", piece.len());
            len += piece.len();
        }
        assert_eq!(len, 8 << 20);
    }
}

#[test]
fn what_a_few_bytes_swell_to_is_held_to_the_time() {
    for (coding, encode) in CODINGS {
        let bytes = encode(&vec![0; 8 << 20]);
        let session = answering(move |_| coded(coding, bytes.clone()));
        let session = session.timeout(Duration::ZERO).build().unwrap();
        let error = run(session.get("http://host/").bytes()).unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Total), "{coding}: {error}");
    }
}

#[test]
fn what_a_few_bytes_swell_to_leaves_others_their_turn() {
    for (coding, encode) in CODINGS {
        let response = received(coded(coding, encode(&vec![0; 8 << 20]))).unwrap();
        let mut bytes = Box::pin(response.bytes());
        let (mut polls, (wakes, waker)) = (0, Wakes::new());
        let bytes = loop {
            polls += 1;
            match bytes.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(bytes) => break bytes.unwrap(),
                Poll::Pending => assert!(wakes.take() > 0, "{coding}: it would hang"),
            }
        };
        assert_eq!(bytes.len(), 8 << 20);
        assert!(polls >= 8, "{coding}: {polls} polls");
    }
}

#[test]
fn bytes_that_come_are_no_silence_although_nothing_can_be_made_of_them_yet() {
    for (coding, encode) in CODINGS {
        let bytes = encode(b"a text that is short and comes slowly");
        let runtime = TestRuntime::new(0);
        let signals: Vec<Signal> = bytes.iter().map(|_| Signal::new()).collect();
        let script = Mutex::new(Some((bytes, signals.clone())));
        let session = answering_on(&runtime, move |_| {
            let (bytes, signals) = lock(&script).take().unwrap();
            let pieces =
                stream::iter(bytes.into_iter().zip(signals)).then(|(byte, signal)| async move {
                    signal.passed().await;
                    Ok::<_, Error>(vec![byte])
                });
            coded(coding, Body::from_stream(pieces))
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
