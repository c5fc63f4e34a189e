//! Tests of `Body` and `BlockingBody`.

mod support;

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_lite::{StreamExt, stream};
use http_body::{Frame, SizeHint};
use inflight_core::{BlockingBody, Body, Error, ErrorKind, Response};
use proptest::prelude::*;
use support::{Signal, poll, run};

/// A body that returns `frames`, and declares the length `declared_len` if it is `Some`.
struct Frames {
    frames: std::vec::IntoIter<Result<Frame<Bytes>, Error>>,
    declared_len: Option<u64>,
}

fn body_of_frames(frames: Vec<Frame<Bytes>>, declared_len: Option<u64>) -> Body {
    let frames: Vec<_> = frames.into_iter().map(Ok).collect();
    Body::wrap(Frames {
        frames: frames.into_iter(),
        declared_len,
    })
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.frames.next())
    }

    fn size_hint(&self) -> SizeHint {
        self.declared_len
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// Returns a streamed body, and a counter of the chunks that were read from it.
fn counted_body(chunks: Vec<&'static str>) -> (Body, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let chunks = chunks.into_iter().map(move |chunk| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(chunk)
    });
    (Body::from_stream(stream::iter(chunks)), count)
}

#[test]
fn bodies_and_responses_are_send_and_sync() {
    fn is_send_sync<T: Send + Sync + 'static>() {}
    fn value_is_send_sync<T: Send + Sync + 'static>(_: &T) {}
    is_send_sync::<Body>();
    is_send_sync::<BlockingBody>();
    is_send_sync::<Response>();
    value_is_send_sync(&Body::empty().into_stream());
    value_is_send_sync(&Body::empty().collect(1));
    // A body is `Sync` even if its stream is not.
    let only_send = stream::iter([Ok::<_, Error>("a")]).map(|chunk| {
        let cell = std::cell::Cell::new(chunk);
        cell.into_inner()
    });
    value_is_send_sync(&Body::from_stream(only_send));
}

#[test]
fn the_length_is_returned_if_it_is_known() {
    assert_eq!(Body::empty().len(), Some(0));
    assert!(Body::empty().is_empty());
    assert!(Body::default().is_empty());
    assert_eq!(Body::from("12345").len(), Some(5));
    assert_eq!(Body::from(vec![1u8, 2]).len(), Some(2));
    assert_eq!(Body::from("1".to_owned()).len(), Some(1));
    assert!(!Body::from("12345").is_empty());
    let (streamed, _) = counted_body(vec!["a"]);
    assert_eq!(streamed.len(), None);
    assert!(!streamed.is_empty());
    assert!(streamed.as_bytes().is_none());
    assert_eq!(body_of_frames(vec![], Some(3)).len(), Some(3));
}

#[test]
fn a_stream_is_not_read_before_the_first_poll() {
    let (mut body, count) = counted_body(vec!["a", "b", "c"]);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "a");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn chunk_skips_trailers_and_empty_frames() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let chunks = vec![
        Frame::data(Bytes::new()),
        Frame::data(Bytes::from("a")),
        Frame::data(Bytes::new()),
        Frame::trailers(trailers),
        Frame::data(Bytes::from("b")),
    ];
    let mut body = body_of_frames(chunks, None);
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "a");
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "b");
    assert!(run(body.chunk()).unwrap().is_none());
}

#[test]
fn chunk_returns_none_on_every_call_after_the_end() {
    let mut buffered = Body::from("a");
    assert_eq!(run(buffered.chunk()).unwrap().unwrap(), "a");
    for _ in 0..3 {
        assert!(run(buffered.chunk()).unwrap().is_none());
    }
    let mut streamed = Body::from_stream(EndsOnce {
        inner: stream::iter([Ok::<_, Error>("a"), Ok("b")]),
        ended: false,
    });
    assert!(run(streamed.chunk()).unwrap().is_some());
    assert!(run(streamed.chunk()).unwrap().is_some());
    for _ in 0..3 {
        assert!(run(streamed.chunk()).unwrap().is_none());
    }
}

/// A stream that panics if it is polled after its end. The contract of `Stream` allows this.
struct EndsOnce<S> {
    inner: S,
    ended: bool,
}

impl<S: Stream + Unpin> Stream for EndsOnce<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        assert!(!self.ended, "the stream was polled after its end");
        let next = Pin::new(&mut self.inner).poll_next(cx);
        self.ended = matches!(next, Poll::Ready(None));
        next
    }
}

#[test]
fn dropping_the_future_of_chunk_loses_no_data() {
    let signals = [Signal::new(), Signal::new()];
    let chunks = stream::iter([("one", signals[0].wait()), ("two", signals[1].wait())]).then(
        |(chunk, opened)| async move {
            opened.await;
            Ok::<_, Error>(chunk)
        },
    );
    let mut body = Body::from_stream(chunks);
    for (signal, chunk) in signals.iter().zip(["one", "two"]) {
        for _ in 0..3 {
            assert!(poll(&mut Box::pin(body.chunk())).is_pending());
        }
        signal.open();
        assert_eq!(run(body.chunk()).unwrap().unwrap(), chunk);
    }
    assert!(run(body.chunk()).unwrap().is_none());
}

#[test]
fn an_error_of_the_stream_becomes_the_source_of_an_io_error() {
    let chunks = [Ok("a"), Err("the disk failed")];
    let mut body = Body::from_stream(stream::iter(chunks));
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "a");
    let error = run(body.chunk()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the disk failed");
}

#[test]
fn collect_stops_at_its_limit() {
    assert_eq!(run(Body::from("12345").collect(5)).unwrap(), "12345");
    let error = run(Body::from("123456").collect(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    assert!(run(Body::empty().collect(0)).unwrap().is_empty());
    assert_eq!(
        run(Body::from("1").collect(0)).unwrap_err().kind(),
        ErrorKind::BodyTooLarge
    );

    // `collect` stops reading once the limit is exceeded.
    let (body, count) = counted_body(vec!["123", "456", "789", "abc"]);
    let error = run(body.collect(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    assert_eq!(count.load(Ordering::SeqCst), 2);

    // `collect` reads nothing if the declared length exceeds the limit.
    let (body, count) = counted_body(vec!["1"]);
    struct DeclaresSixBytes(Body);
    impl http_body::Body for DeclaresSixBytes {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(6)
        }
    }
    let error = run(Body::wrap(DeclaresSixBytes(body)).collect(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    assert_eq!(count.load(Ordering::SeqCst), 0);

    // `collect` enforces the limit even if the declared length is too small.
    let long = (0..5).map(|_| Frame::data(Bytes::from("12")));
    let error = run(body_of_frames(long.collect(), Some(2)).collect(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
}

#[test]
fn collect_returns_the_error_of_the_stream() {
    let chunks = [Ok("a"), Ok("b"), Err("broken"), Ok("c")];
    let error = run(Body::from_stream(stream::iter(chunks)).collect(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn a_large_declared_length_is_not_allocated_at_once() {
    // Allocating the declared length at once would abort the test.
    let body = body_of_frames(
        vec![Frame::data(Bytes::from("a")), Frame::data(Bytes::from("b"))],
        Some(u64::MAX),
    );
    assert_eq!(run(body.collect(u64::MAX)).unwrap(), "ab");
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn collect_returns_all_bytes_or_body_too_large(chunks in chunks(), limit in 0u64..70) {
        let whole = chunks.concat();
        let body = Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Error>)));
        match run(body.collect(limit)) {
            Ok(bytes) => {
                prop_assert!(whole.len() as u64 <= limit);
                prop_assert_eq!(bytes, whole);
            }
            Err(error) => {
                prop_assert!(whole.len() as u64 > limit);
                prop_assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
            }
        }
    }

    #[test]
    fn converting_a_stream_to_a_body_and_back_keeps_its_data(chunks in chunks()) {
        let input = stream::iter(chunks.clone().into_iter().map(Ok::<_, Error>));
        // Converts twice, because a body can also be made from the stream of a body.
        let body = Body::from_stream(Body::from_stream(input).into_stream());
        let output: Vec<Bytes> = run(body.into_stream().map(Result::unwrap).collect());
        let expected: Vec<_> = chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect();
        prop_assert_eq!(output, expected);
    }

    #[test]
    fn a_blocking_body_reads_all_its_bytes(bytes: Vec<u8>, step in 1usize..9) {
        let buffered = BlockingBody::from(Bytes::from(bytes.clone()));
        prop_assert_eq!(buffered.len(), Some(bytes.len() as u64));
        let reader = BlockingBody::from_reader(std::io::Cursor::new(bytes.clone()), None);
        prop_assert_eq!(reader.len(), None);
        for mut body in [buffered, reader] {
            let mut read = Vec::new();
            let mut buffer = vec![0; step];
            loop {
                let n = body.read(&mut buffer).unwrap();
                if n == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..n]);
            }
            prop_assert_eq!(&read, &bytes);
        }
    }
}
