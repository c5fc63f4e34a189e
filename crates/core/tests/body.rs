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

/// A body that yields these frames and announces a length if one is given.
struct Frames {
    frames: std::vec::IntoIter<Result<Frame<Bytes>, Error>>,
    announced: Option<u64>,
}

fn frames(frames: Vec<Frame<Bytes>>, announced: Option<u64>) -> Body {
    let frames: Vec<_> = frames.into_iter().map(Ok).collect();
    Body::wrap(Frames {
        frames: frames.into_iter(),
        announced,
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
        self.announced
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// Returns a body of these chunks, and a counter of the chunks that were read.
fn counted(pieces: Vec<&'static str>) -> (Body, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let pieces = pieces.into_iter().map(move |piece| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(piece)
    });
    (Body::from_stream(stream::iter(pieces)), count)
}

#[test]
fn bodies_and_responses_may_move_between_threads() {
    fn send_sync<T: Send + Sync + 'static>() {}
    fn value<T: Send + Sync + 'static>(_: &T) {}
    send_sync::<Body>();
    send_sync::<BlockingBody>();
    send_sync::<Response>();
    value(&Body::empty().into_stream());
    value(&Body::empty().collect(1));
    // A body is `Sync` even if its stream is not.
    let only_send = stream::iter([Ok::<_, Error>("a")]).map(|piece| {
        let cell = std::cell::Cell::new(piece);
        cell.into_inner()
    });
    value(&Body::from_stream(only_send));
}

#[test]
fn the_length_is_known_where_it_can_be() {
    assert_eq!(Body::empty().len(), Some(0));
    assert!(Body::empty().is_empty());
    assert!(Body::default().is_empty());
    assert_eq!(Body::from("12345").len(), Some(5));
    assert_eq!(Body::from(vec![1u8, 2]).len(), Some(2));
    assert_eq!(Body::from("1".to_owned()).len(), Some(1));
    assert!(!Body::from("12345").is_empty());
    let (streamed, _) = counted(vec!["a"]);
    assert_eq!(streamed.len(), None);
    assert!(!streamed.is_empty());
    assert!(streamed.as_bytes().is_none());
    assert_eq!(frames(vec![], Some(3)).len(), Some(3));
}

#[test]
fn nothing_is_read_before_it_is_polled() {
    let (mut body, count) = counted(vec!["a", "b", "c"]);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "a");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn chunks_pass_over_trailers_and_empty_pieces() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let pieces = vec![
        Frame::data(Bytes::new()),
        Frame::data(Bytes::from("a")),
        Frame::data(Bytes::new()),
        Frame::trailers(trailers),
        Frame::data(Bytes::from("b")),
    ];
    let mut body = frames(pieces, None);
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "a");
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "b");
    assert!(run(body.chunk()).unwrap().is_none());
}

#[test]
fn the_end_stays_the_end() {
    let mut buffered = Body::from("a");
    assert_eq!(run(buffered.chunk()).unwrap().unwrap(), "a");
    for _ in 0..3 {
        assert!(run(buffered.chunk()).unwrap().is_none());
    }
    let mut streamed = Body::from_stream(EndsOnce {
        inner: stream::iter([Ok::<_, Error>("a"), Ok("b")]),
        over: false,
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
    over: bool,
}

impl<S: Stream + Unpin> Stream for EndsOnce<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        assert!(!self.over, "polled after its end");
        let next = Pin::new(&mut self.inner).poll_next(cx);
        self.over = matches!(next, Poll::Ready(None));
        next
    }
}

#[test]
fn a_given_up_chunk_loses_nothing() {
    let signals = [Signal::new(), Signal::new()];
    let pieces = stream::iter([("one", signals[0].passed()), ("two", signals[1].passed())]).then(
        |(piece, passed)| async move {
            passed.await;
            Ok::<_, Error>(piece)
        },
    );
    let mut body = Body::from_stream(pieces);
    for (signal, piece) in signals.iter().zip(["one", "two"]) {
        for _ in 0..3 {
            assert!(poll(&mut Box::pin(body.chunk())).is_pending());
        }
        signal.open();
        assert_eq!(run(body.chunk()).unwrap().unwrap(), piece);
    }
    assert!(run(body.chunk()).unwrap().is_none());
}

#[test]
fn an_error_of_the_stream_is_io_with_its_cause() {
    let pieces = [Ok("a"), Err("the disk is gone")];
    let mut body = Body::from_stream(stream::iter(pieces));
    assert_eq!(run(body.chunk()).unwrap().unwrap(), "a");
    let error = run(body.chunk()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the disk is gone");
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

    // `collect` reads no further once the limit is exceeded.
    let (body, count) = counted(vec!["123", "456", "789", "abc"]);
    let error = run(body.collect(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    assert_eq!(count.load(Ordering::SeqCst), 2);

    // `collect` reads nothing if the announced length exceeds the limit.
    let (body, count) = counted(vec!["1"]);
    struct Announced(Body);
    impl http_body::Body for Announced {
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
    let error = run(Body::wrap(Announced(body)).collect(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    assert_eq!(count.load(Ordering::SeqCst), 0);

    // `collect` enforces the limit even if the announced length is too small.
    let long = (0..5).map(|_| Frame::data(Bytes::from("12")));
    let error = run(frames(long.collect(), Some(2)).collect(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
}

#[test]
fn collect_gives_what_the_transfer_met() {
    let pieces = [Ok("a"), Ok("b"), Err("broken"), Ok("c")];
    let error = run(Body::from_stream(stream::iter(pieces)).collect(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn a_great_promise_allocates_nothing_great() {
    // Allocating the announced length at once would abort the test.
    let body = frames(
        vec![Frame::data(Bytes::from("a")), Frame::data(Bytes::from("b"))],
        Some(u64::MAX),
    );
    assert_eq!(run(body.collect(u64::MAX)).unwrap(), "ab");
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn collect_gives_all_or_says_too_large(pieces in pieces(), limit in 0u64..70) {
        let whole = pieces.concat();
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Error>)));
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
    fn streams_go_in_and_come_out(pieces in pieces()) {
        let input = stream::iter(pieces.clone().into_iter().map(Ok::<_, Error>));
        // Converts twice, because a body can also be made from the stream of a body.
        let body = Body::from_stream(Body::from_stream(input).into_stream());
        let output: Vec<Bytes> = run(body.into_stream().map(Result::unwrap).collect());
        let expected: Vec<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        prop_assert_eq!(output, expected);
    }

    #[test]
    fn a_blocking_body_reads_what_it_was_given(bytes: Vec<u8>, step in 1usize..9) {
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
