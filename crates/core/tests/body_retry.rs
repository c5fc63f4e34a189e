//! Tests of retries after a response whose body ended early. The time is virtual, and the server is a function.

use std::collections::VecDeque;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_compression::futures::bufread::GzipEncoder;
use bytes::Bytes;
use futures_lite::AsyncReadExt;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, RANGE,
};
use http_body::{Frame, SizeHint};
use inflight_core::{
    BlockOn, Body, ChunkOrRestart, Error, ErrorKind, Response, Retry, Runtime, SessionBuilder,
    Step, http, http_body,
};
use inflight_mock::{Mock, Reply, When};
use inflight_virtual::Virtual;

/// The content of the resource, and its content after it has changed.
const CONTENTS: [&str; 2] = ["0123456789", "abcdefghijkl"];

/// A body with a declared length, which ends with an error if it is cut.
struct CutBody {
    left: u64,
    frames: VecDeque<Result<Bytes, ErrorKind>>,
}

impl CutBody {
    fn new(content: &[u8], cut: usize, kind: ErrorKind) -> Self {
        let mut frames = VecDeque::new();
        let sent = &content[..cut.min(content.len())];
        frames.extend(
            sent.chunks(3)
                .map(|chunk| Ok(Bytes::copy_from_slice(chunk))),
        );
        if cut < content.len() {
            frames.push_back(Err(kind));
        }
        Self {
            left: content.len() as u64,
            frames,
        }
    }
}

impl http_body::Body for CutBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = self.frames.pop_front();
        if let Some(Ok(data)) = &frame {
            self.left -= data.len() as u64;
        }
        Poll::Ready(frame.map(|frame| frame.map(Frame::data).map_err(Error::new)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// How the server behaves after the first response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// It sends the range if the entity tag matches.
    Ranges,
    /// It sends at most two bytes of the range.
    ShortRanges,
    /// It always sends the whole body.
    IgnoresRanges,
    /// It sends no entity tag.
    NoValidator,
    /// The resource changes after the first response.
    Changes,
    /// It sends another range than the one that was requested.
    WrongRange,
    /// It refuses the range with the status 416.
    RefusesRange,
    /// It sends the body with a content coding.
    Encoded,
    /// It responds with 404 after the first response.
    Disappears,
    /// It responds with another media type after the first response.
    ChangesType,
}

use Server::{
    Changes, ChangesType, Disappears, Encoded, IgnoresRanges, NoValidator, Ranges, RefusesRange,
    ShortRanges, WrongRange,
};

impl Server {
    /// Responds to the request with this number, counted from 0. Cuts the first body after `cut` bytes.
    fn respond(self, number: usize, headers: &HeaderMap, cut: usize) -> http::Response<Body> {
        let version = usize::from(self == Changes && number > 0);
        let content = CONTENTS[version].as_bytes();
        let tag = format!("\"{version}\"");
        let first = headers.get(RANGE).map(|range| {
            assert_eq!(headers[IF_RANGE], "\"0\"");
            let first = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
            first.strip_suffix('-').unwrap().parse::<usize>().unwrap()
        });
        let first = first.filter(|_| ![IgnoresRanges, Changes, ChangesType].contains(&self));
        let mut response = http::Response::builder().header(CONTENT_TYPE, "text/plain");
        if number > 0 && self == ChangesType {
            response = http::Response::builder().header(CONTENT_TYPE, "text/html");
        }
        if self != NoValidator {
            response = response.header(ETAG, tag);
        }
        let cut = if number == 0 { cut } else { usize::MAX };
        let whole = |content: &[u8]| Body::wrap(CutBody::new(content, cut, ErrorKind::Incomplete));
        match (self, first) {
            (Disappears, _) if number > 0 => response.status(404).body(Body::empty()),
            (Encoded, None) => {
                let encoded = gzip(content);
                let body = whole(&encoded);
                response.header(CONTENT_ENCODING, "gzip").body(body)
            }
            (_, None) => response.body(whole(content)),
            (RefusesRange, Some(_)) => response.status(416).body(Body::empty()),
            (_, Some(first)) => {
                let first = if self == WrongRange { first - 1 } else { first };
                let end = match self {
                    ShortRanges => content.len().min(first + 2),
                    _ => content.len(),
                };
                let range = format!("bytes {first}-{}/{}", end - 1, content.len());
                let response = response.status(206).header(CONTENT_RANGE, range);
                response.body(whole(&content[first..end]))
            }
        }
        .unwrap()
    }
}

/// Returns the content in gzip, stored and not compressed.
fn gzip(content: &[u8]) -> Vec<u8> {
    let level = async_compression::Level::Precise(0);
    let mut encoder = GzipEncoder::with_quality(content, level);
    let mut encoded = Vec::new();
    futures_lite::future::block_on(encoder.read_to_end(&mut encoded)).unwrap();
    encoded
}

/// Returns a session with retries, whose requests the server answers. Also returns the number of requests.
fn start(server: Server, cut: usize) -> (Virtual, SessionBuilder, Arc<Mutex<usize>>) {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    let count: Arc<Mutex<usize>> = Arc::default();
    let requests = count.clone();
    let reply = Reply::from_fn(move |request| {
        let mut count = count.lock().unwrap();
        *count += 1;
        ready(Ok(server.respond(*count - 1, &request.headers, cut)))
    });
    mock.on(When::any().repeated(), reply);
    let retry = Retry::new(9).delays(Duration::ZERO, Duration::ZERO);
    let session = mock.session().retry(retry.budget(None));
    (runtime, session, requests)
}

/// How the caller reads the body.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Bytes,
    Parts,
    Chunks,
    Stream,
    File,
}

use Reader::{Chunks, File, Parts, Stream};

impl Reader {
    async fn read(self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        match self {
            Self::Bytes => return Ok(response.bytes().await?.to_vec()),
            Self::Parts => {
                while let Some(part) = response.chunk_or_restart().await? {
                    match part {
                        ChunkOrRestart::Chunk(chunk) => bytes.extend(chunk),
                        ChunkOrRestart::Restart => bytes.clear(),
                    }
                }
            }
            Self::Chunks => {
                while let Some(chunk) = response.chunk().await? {
                    bytes.extend(chunk);
                }
            }
            Self::Stream => {
                let chunks: Vec<_> = response.into_stream().try_collect().await?;
                bytes = chunks.concat();
            }
            Self::File => {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("file");
                let length = response.save_to(&path).await?;
                bytes = std::fs::read(path).unwrap();
                assert_eq!(bytes.len() as u64, length);
            }
        }
        Ok(bytes)
    }

    fn may_discard(self) -> bool {
        matches!(self, Self::Bytes | Self::Parts | Self::File)
    }
}

/// The places where the first body is cut.
const CUTS: [usize; 4] = [0, 1, 5, 9];

/// Checks what each reader gets for each cut. `expected` returns the content or the kind of the error, and the
/// number of requests.
fn check(
    server: Server,
    expected: impl Fn(usize, bool) -> (Result<&'static str, ErrorKind>, usize),
) {
    for cut in CUTS {
        for reader in [Reader::Bytes, Parts, Chunks, Stream, File] {
            let (runtime, session, requests) = start(server, cut);
            let session = session.build().unwrap();
            let read = runtime.block_on(async {
                let response = session.get("http://host/").send().await?;
                reader.read(response).await
            });
            let read = read.map(|bytes| String::from_utf8(bytes).unwrap());
            let got = read.as_deref().map_err(Error::kind);
            let (content, count) = expected(cut, reader.may_discard());
            let case = format!("{server:?}, cut at {cut}, {reader:?}");
            assert_eq!(got, content, "{case}");
            assert_eq!(*requests.lock().unwrap(), count, "{case}");
            assert_eq!(session.stats().in_flight, 0, "{case}");
        }
    }
}

const CONTENT: Result<&str, ErrorKind> = Ok(CONTENTS[0]);
const INCOMPLETE: Result<&str, ErrorKind> = Err(ErrorKind::Incomplete);

#[test]
fn the_rest_of_a_body_is_requested() {
    check(Ranges, |_, _| (CONTENT, 2));
}

#[test]
fn parts_are_requested_until_the_body_is_complete() {
    check(ShortRanges, |cut, _| match cut {
        0 => (CONTENT, 2),
        cut => (CONTENT, 1 + (10 - cut).div_ceil(2)),
    });
}

#[test]
fn without_ranges_the_bytes_of_the_same_body_are_skipped() {
    check(IgnoresRanges, |_, _| (CONTENT, 2));
}

#[test]
fn without_a_validator_the_body_starts_again_if_the_caller_can_discard_it() {
    check(NoValidator, |cut, may_discard| {
        match cut == 0 || may_discard {
            true => (CONTENT, 2),
            false => (INCOMPLETE, 1),
        }
    });
}

#[test]
fn bytes_of_two_versions_are_never_mixed() {
    check(Changes, |cut, may_discard| match cut == 0 || may_discard {
        true => (Ok(CONTENTS[1]), 2),
        false => (INCOMPLETE, 2),
    });
}

#[test]
fn after_a_wrong_or_refused_range_the_whole_body_is_requested_once() {
    for server in [WrongRange, RefusesRange] {
        check(server, |cut, _| match cut {
            0 => (CONTENT, 2),
            _ => (CONTENT, 3),
        });
    }
}

#[test]
fn an_encoded_body_starts_again() {
    // The head of a gzip file has 10 bytes, so no decoded byte has arrived before a cut.
    check(Encoded, |_, _| (CONTENT, 2));
    // Five decoded bytes have arrived.
    let (runtime, session, requests) = start(Encoded, 20);
    let session = session.build().unwrap();
    for (reader, expected) in [(Chunks, INCOMPLETE), (Reader::Bytes, CONTENT)] {
        *requests.lock().unwrap() = 0;
        let read = runtime.block_on(async {
            let response = session.get("http://host/").send().await?;
            reader.read(response).await
        });
        let read = read.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(read.as_deref().map_err(Error::kind), expected, "{reader:?}");
    }
}

#[test]
fn a_response_that_is_not_the_same_resource_does_not_continue_the_body() {
    for server in [Disappears, ChangesType] {
        check(server, |_, _| (INCOMPLETE, 2));
    }
}

#[test]
fn a_body_is_retried_only_if_the_policy_allows_it() {
    let count = |change: &dyn Fn(SessionBuilder) -> SessionBuilder, post: bool| {
        let (runtime, session, requests) = start(Ranges, 5);
        let session = change(session).build().unwrap();
        let request = match post {
            true => session.post("http://host/"),
            false => session.get("http://host/"),
        };
        let read = runtime.block_on(request.bytes());
        let requests = *requests.lock().unwrap();
        (read.map_err(|error| error.kind()).is_ok(), requests)
    };
    assert_eq!(count(&|session| session, false), (true, 2));
    assert_eq!(
        count(&|session| session.retry(Retry::new(0)), false),
        (false, 1)
    );
    assert_eq!(count(&|session| session, true), (false, 1));
    let any = Retry::new(1).any_method();
    // The server does not cut the second body. A POST is sent again as a whole.
    assert_eq!(
        count(&|session| session.retry(any.clone()), true),
        (true, 2)
    );
    let never = Retry::new(1).when(|_| false);
    assert_eq!(
        count(&|session| session.retry(never.clone()), false),
        (false, 1)
    );
}

#[test]
fn a_read_timeout_is_followed_by_a_request_for_the_rest() {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    let second = Duration::from_secs(1);
    let stalls = Reply::from_fn(|_| {
        let chunks = stream::iter([Ok::<_, Error>("01234")]).chain(stream::pending());
        let response = http::Response::builder().header(ETAG, "\"0\"");
        ready(Ok(response.body(Body::from_stream(chunks)).unwrap()))
    });
    mock.on(When::any(), stalls);
    let range = Reply::status(206)
        .body("56789")
        .header("content-range", "bytes 5-9/10");
    mock.on(When::any().header("range", "bytes=5-"), range);
    let retry = Retry::new(1).delays(second, second);
    let session = mock
        .session()
        .retry(retry)
        .read_timeout(2 * second)
        .build()
        .unwrap();
    let text = runtime.block_on(session.get("http://host/").text());
    assert_eq!(text.unwrap(), "0123456789");
    let took = runtime.elapsed();
    assert!(took >= 2 * second && took <= 3 * second, "{took:?}");
}

#[test]
fn the_retries_and_the_end_are_reported_once() {
    let (runtime, session, _) = start(ShortRanges, 5);
    let steps: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let log = steps.clone();
    let session = session.observe(move |event: &inflight_core::Event<'_>| {
        let name = match event.step {
            Step::Sending => "sending",
            Step::Retrying { error, .. } => {
                assert_eq!(error.unwrap().kind(), ErrorKind::Incomplete);
                "retrying"
            }
            Step::Done { .. } => "done",
            Step::Failed { .. } => "failed",
            _ => return,
        };
        log.lock().unwrap().push(name);
    });
    let session = session.build().unwrap();
    runtime
        .block_on(session.get("http://host/").bytes())
        .unwrap();
    let expected = [
        "sending", "retrying", "sending", "retrying", "sending", "retrying", "sending", "done",
    ];
    assert_eq!(*steps.lock().unwrap(), expected);
}

#[test]
fn the_timeout_and_the_retry_budget_limit_the_retries_of_a_body() {
    let (runtime, session, requests) = start(Ranges, 5);
    let minute = Duration::from_secs(60);
    let session = session.build().unwrap();
    let slow = Retry::new(3).delays(minute, minute).budget(None);
    let request = session
        .get("http://host/")
        .retry(slow)
        .timeout(Duration::from_nanos(1));
    let error = runtime.block_on(request.bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(*requests.lock().unwrap(), 1);
    let (runtime, session, requests) = start(Ranges, 5);
    let empty = inflight_core::RetryBudget::new(0, 0);
    let session = session.retry(Retry::new(3).budget(empty)).build().unwrap();
    let error = runtime
        .block_on(session.get("http://host/").bytes())
        .unwrap_err();
    assert!(error.is_retry_budget_exhausted(), "{error:?}");
    assert_eq!(*requests.lock().unwrap(), 1);
}

/// Returns a session whose requests get the responses in this order.
fn script(
    responses: impl IntoIterator<Item = http::Response<Body>>,
) -> (Virtual, Mock, SessionBuilder) {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    for response in responses {
        let response = Mutex::new(Some(response));
        let reply = Reply::from_fn(move |_| ready(Ok(response.lock().unwrap().take().unwrap())));
        mock.on(When::any(), reply);
    }
    let retry = Retry::new(9).delays(Duration::ZERO, Duration::ZERO);
    let session = mock.session().retry(retry.budget(None));
    (runtime, mock, session)
}

/// A body of unknown length, which ends with an error if it is cut.
fn unsized_body(content: &'static str, is_cut: bool) -> Body {
    let end = is_cut.then(|| Err(std::io::Error::other("cut")));
    Body::from_stream(stream::iter([Ok(content)].into_iter().chain(end)))
}

fn response(status: u16, headers: &[(&str, &str)], body: Body) -> http::Response<Body> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

#[test]
fn a_part_without_the_total_length_is_not_taken_for_the_rest() {
    let tag = ("etag", "\"0\"");
    let part = [tag, ("content-range", "bytes 5-9/*")];
    let (runtime, mock, session) = script([
        response(200, &[tag], unsized_body("01234", true)),
        response(206, &part, unsized_body("56789", false)),
        response(200, &[tag], unsized_body("0123456789abc", false)),
    ]);
    let session = session.build().unwrap();
    let text = runtime.block_on(session.get("http://host/").text());
    assert_eq!(text.unwrap(), "0123456789abc");
    assert_eq!(mock.requests().len(), 3);
}

#[test]
fn a_part_that_is_longer_than_declared_is_an_error() {
    let tag = ("etag", "\"0\"");
    let part = [tag, ("content-range", "bytes 5-9/10")];
    let (runtime, _mock, session) = script([
        response(200, &[tag], unsized_body("01234", true)),
        response(206, &part, unsized_body("56789abc", false)),
    ]);
    let session = session.build().unwrap();
    let error = runtime
        .block_on(session.get("http://host/").text())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn a_body_does_not_start_again_for_a_reader_that_uses_chunks_at_once() {
    for uses_stream in [true, false] {
        let (runtime, mock, session) = script([response(200, &[], unsized_body("01234", true))]);
        let session = session.build().unwrap();
        let rest = runtime.block_on(async {
            let mut response = session.get("http://host/").send().await?;
            let part = response.chunk_or_restart().await?.unwrap();
            assert_eq!(part, ChunkOrRestart::Chunk("01234".into()));
            match uses_stream {
                true => response
                    .into_stream()
                    .try_collect::<Vec<_>>()
                    .await
                    .map(|_| ()),
                false => response.bytes().await.map(|_| ()),
            }
        });
        assert_eq!(rest.unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(mock.requests().len(), 1);
    }
}

#[test]
fn a_body_with_another_coding_or_range_does_not_continue_the_first_one() {
    let gzip = [("content-encoding", "gzip")];
    let (runtime, _mock, session) = script([
        response(200, &gzip, unsized_body("01234", true)),
        response(200, &[], unsized_body("0123456789", false)),
    ]);
    let session = session.decompress(false).build().unwrap();
    let error = runtime
        .block_on(session.get("http://host/").bytes())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let range = |range| [("content-range", range)];
    for (second, succeeds) in [("bytes 2-5/9", true), ("bytes 2-5/8", false)] {
        let (runtime, mock, session) = script([
            response(206, &range("bytes 2-5/9"), unsized_body("23", true)),
            response(206, &range(second), unsized_body("2345", false)),
        ]);
        let session = session.build().unwrap();
        let request = session.get("http://host/").header("range", "bytes=2-5");
        assert_eq!(runtime.block_on(request.text()).is_ok(), succeeds);
        // The caller's range is sent again.
        let ranges = mock.requests();
        assert!(
            ranges
                .iter()
                .all(|request| request.headers[RANGE] == "bytes=2-5")
        );
        assert_eq!(ranges.len(), 2);
    }
}

#[test]
fn a_redirect_during_a_retry_is_followed_once() {
    let tag = ("etag", "\"0\"");
    let (runtime, mock, session) = script([
        response(302, &[("location", "http://a/")], Body::empty()),
        response(200, &[tag], unsized_body("01", true)),
        response(307, &[("location", "http://b/")], Body::empty()),
        response(
            206,
            &[tag, ("content-range", "bytes 2-4/6")],
            unsized_body("234", false),
        ),
        response(
            206,
            &[tag, ("content-range", "bytes 5-5/6")],
            unsized_body("", true),
        ),
        response(404, &[], Body::empty()),
    ]);
    let session = session.build().unwrap();
    let request = session
        .get("http://first/")
        .header("authorization", "secret");
    let error = runtime.block_on(request.text()).unwrap_err();
    // The requests after the redirect go to its target, without the credentials.
    mock.assert_requests([
        "GET http://first/",
        "GET http://a/",
        "GET http://a/",
        "GET http://b/",
        "GET http://b/",
        "GET http://b/",
    ]);
    assert_eq!((error.redirects(), error.attempts()), (2, 6));
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn retries_of_bodies_do_not_refill_the_budget() {
    let responses = (0..20).map(|_| response(200, &[], unsized_body("01", true)));
    let (runtime, mock, session) = script(responses);
    let retry = Retry::new(15).delays(Duration::ZERO, Duration::ZERO);
    let budget = inflight_core::RetryBudget::new(5, 100);
    let session = session.retry(retry.budget(budget)).build().unwrap();
    let error = runtime
        .block_on(session.get("http://host/").bytes())
        .unwrap_err();
    assert!(error.is_retry_budget_exhausted());
    assert_eq!((mock.requests().len(), error.attempts()), (6, 6));
    std::mem::forget(mock);
}

#[test]
fn a_dropped_body_ends_the_retry() {
    let (runtime, session, requests) = start(Ranges, 5);
    let minute = Duration::from_secs(60);
    let retry = Retry::new(1).delays(minute, minute).budget(None);
    let session = session.retry(retry).build().unwrap();
    runtime.block_on(async {
        let response = session.get("http://host/").send().await.unwrap();
        let mut chunks = Box::pin(response.into_stream());
        assert_eq!(chunks.next().await.unwrap().unwrap(), "012");
        assert_eq!(chunks.next().await.unwrap().unwrap(), "34");
        let pause =
            futures_util::future::select(chunks.next(), runtime.sleep(Duration::from_nanos(1)));
        assert!(matches!(
            pause.await,
            futures_util::future::Either::Right(_)
        ));
        assert_eq!(session.stats().in_flight, 1);
        drop(chunks);
        assert_eq!(session.stats().in_flight, 0);
    });
    assert_eq!(*requests.lock().unwrap(), 1);
}
