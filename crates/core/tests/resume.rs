//! Tests of downloads that continue where an earlier one ended.

mod support;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{fs, io};

use bytes::Bytes;
use futures_lite::{StreamExt, stream};
use http::{HeaderMap, Request, StatusCode};
use http_body::{Frame, SizeHint};
use inflight_core::{
    BlockOn, Body, CompleteFile, Deadline, Error, ErrorKind, Progress, RequestBuilder, Retry,
    RetryBudget, Session,
};
use inflight_threads::Threads;
use support::{EVENT_TIMEOUT, TestRuntime, client, lock, poll, run, session};

const URL: &str = "http://host/book";
const TAG: (&str, &str) = ("etag", "\"a\"");

/// A session whose client returns prepared responses, one for each request.
struct Server {
    threads: Threads,
    session: Session,
    replies: Arc<Mutex<VecDeque<http::Response<Body>>>>,
    requests: Arc<Mutex<Vec<HeaderMap>>>,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let replies: Arc<Mutex<VecDeque<http::Response<Body>>>> = Arc::default();
        let requests: Arc<Mutex<Vec<_>>> = Arc::default();
        let (next, record) = (replies.clone(), requests.clone());
        let client = client(move |request: Request<Body>| {
            lock(&record).push(request.headers().clone());
            let reply = lock(&next).pop_front().expect("an unexpected request");
            async move { Ok(reply) }
        });
        let threads = Threads::new();
        let runtime = Arc::new(threads.clone());
        let session = Session::builder(|_| Ok((client, runtime))).build();
        Self {
            threads,
            session: session.unwrap(),
            replies,
            requests,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("book")
    }

    fn get(&self) -> RequestBuilder {
        self.session.get(URL)
    }

    /// Downloads with these responses. Returns the result, and the headers of the requests.
    fn download(
        &self,
        request: RequestBuilder,
        replies: impl IntoIterator<Item = http::Response<Body>>,
    ) -> (Result<u64, Error>, Vec<HeaderMap>) {
        lock(&self.replies).extend(replies);
        let result = self.threads.block_on(request.resume_to(self.path()));
        assert_eq!(lock(&self.replies).len(), 0, "responses without a request");
        (result, std::mem::take(&mut *lock(&self.requests)))
    }

    /// Downloads the bytes `01234` of ten, with the tag `"a"`, and then the transfer is cut off.
    fn cut_off(&self) {
        let (result, _) = self.download(self.get(), [cut(200, &[TAG], "01234", 10)]);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Incomplete);
        assert_eq!(self.names(), ["book.part", "book.part.json"]);
        assert_eq!(self.part(), "01234");
    }

    /// Checks that the file is complete, and that nothing else is left.
    fn check_complete(&self, result: Result<u64, Error>, content: &str) {
        assert_eq!(result.unwrap(), content.len() as u64);
        assert_eq!(fs::read_to_string(self.path()).unwrap(), content);
        assert_eq!(self.names(), ["book"]);
    }

    fn part(&self) -> String {
        fs::read_to_string(self.directory.path().join("book.part")).unwrap()
    }

    fn names(&self) -> Vec<String> {
        names(self.directory.path())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn reply(
    status: u16,
    fields: &[(&'static str, &'static str)],
    body: impl Into<Body>,
) -> http::Response<Body> {
    let mut response = http::Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

/// A response that declares `len` bytes and is cut off after `body`.
fn cut(
    status: u16,
    fields: &[(&'static str, &'static str)],
    body: &'static str,
    len: u64,
) -> http::Response<Body> {
    let chunks = [Ok(body.into()), Err(Error::new(ErrorKind::Incomplete))];
    let body = DeclaredBody {
        len,
        chunks: chunks.into(),
    };
    reply(status, fields, Body::wrap(body))
}

/// A body whose declared length need not be true.
struct DeclaredBody {
    len: u64,
    chunks: VecDeque<Result<Bytes, Error>>,
}

impl http_body::Body for DeclaredBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.chunks.pop_front().map(|chunk| chunk.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len)
    }
}

/// A body of unknown length.
fn streamed(chunks: &[&'static str]) -> Body {
    let chunks: Vec<_> = chunks.iter().map(|chunk| Bytes::from(*chunk)).collect();
    Body::from_stream(stream::iter(chunks).map(Ok::<_, Error>))
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// Returns the `Range` of each request.
fn ranges(requests: &[HeaderMap]) -> Vec<Option<&str>> {
    let range = |headers| value(headers, "range");
    requests.iter().map(range).collect()
}

fn at_once(retries: usize) -> Retry {
    Retry::new(retries).delays(Duration::ZERO, Duration::ZERO)
}

const REST: (&str, &str) = ("content-range", "bytes 5-9/10");

#[test]
fn a_download_without_a_partial_file_is_a_plain_get_of_the_uncoded_body() {
    let server = Server::start();
    fs::write(server.path(), "old").unwrap();
    let (result, requests) = server.download(server.get(), [reply(200, &[TAG], "0123456789")]);
    server.check_complete(result, "0123456789");
    assert_eq!(ranges(&requests), [None]);
    assert_eq!(value(&requests[0], "if-range"), None);
    assert_eq!(value(&requests[0], "accept-encoding"), Some("identity"));

    let (result, _) = server.download(server.get(), [reply(200, &[], Body::empty())]);
    server.check_complete(result, "");
}

#[test]
fn a_second_download_requests_only_the_rest_and_reports_all_bytes() {
    let server = Server::start();
    fs::write(server.path(), "old").unwrap();
    let (_, _) = server.download(server.get(), [cut(200, &[TAG], "01234", 10)]);
    assert_eq!(fs::read_to_string(server.path()).unwrap(), "old");
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let log = seen.clone();
    let request = server
        .get()
        .on_progress(move |progress| lock(&log).push(progress));
    let rest = reply(206, &[REST, TAG], streamed(&["567", "89"]));
    let (result, requests) = server.download(request, [rest]);
    server.check_complete(result, "0123456789");
    assert_eq!(ranges(&requests), [Some("bytes=5-")]);
    assert_eq!(value(&requests[0], "if-range"), Some("\"a\""));
    assert_eq!(value(&requests[0], "accept-encoding"), Some("identity"));
    let seen = lock(&seen);
    let seen: Vec<_> = seen.iter().map(|seen| (seen.bytes, seen.total)).collect();
    assert_eq!(seen, [(8, Some(10)), (10, Some(10))]);
}

#[test]
fn the_retry_policy_continues_a_download_within_the_call() {
    let server = Server::start();
    let continued = || {
        [
            cut(200, &[TAG], "012", 10),
            cut(206, &[("content-range", "bytes 3-9/10")], "34", 7),
            reply(206, &[REST], "56789"),
        ]
    };
    let (result, requests) = server.download(server.get().retry(at_once(2)), continued());
    server.check_complete(result, "0123456789");
    let expected = [None, Some("bytes=3-"), Some("bytes=5-")];
    assert_eq!(ranges(&requests), expected);

    // A retry before a response counts too.
    let retried = [reply(503, &[], "busy")].into_iter().chain(continued());
    let retried = retried.take(3);
    let (result, _) = server.download(server.get().retry(at_once(2)), retried);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(server.part(), "01234");

    // The policy decides by the error, and the budget applies.
    let (result, _) = server.download(
        server
            .get()
            .retry(at_once(2).when(|outcome| outcome.status().is_some_and(|status| status == 503))),
        [cut(206, &[REST], "5", 5)],
    );
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Incomplete);
    let (result, _) = server.download(
        server
            .get()
            .retry(at_once(2).budget(RetryBudget::new(0, 0))),
        [cut(206, &[("content-range", "bytes 6-9/10")], "6", 4)],
    );
    assert!(result.unwrap_err().is_retry_budget_exhausted());
    assert_eq!(server.part(), "0123456");
}

#[test]
fn the_requests_of_a_download_share_the_timeout() {
    let runtime = TestRuntime::new(0);
    let replies = [cut(200, &[TAG], "01234", 10), reply(206, &[REST], "56789")];
    let replies = Mutex::new(VecDeque::from(replies));
    let deadlines: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (log, clock) = (deadlines.clone(), runtime.clone());
    let mut client = client(move |request: Request<Body>| {
        let Deadline(deadline) = request.extensions().get().copied().unwrap();
        lock(&log).push(deadline);
        clock.advance(Duration::from_secs(5));
        let reply = lock(&replies).pop_front().unwrap();
        async move { Ok(reply) }
    });
    client.capabilities.reads_deadline = true;
    let session = session(client, &runtime);
    let directory = tempfile::tempdir().unwrap();
    let request = session.get(URL).retry(at_once(1));
    let request = request.timeout(Duration::from_secs(60));
    let len = run(request.resume_to(directory.path().join("book")));
    assert_eq!(len.unwrap(), 10);
    let deadlines = lock(&deadlines);
    assert_eq!(deadlines.len(), 2);
    assert_eq!(deadlines[0], deadlines[1]);
}

#[test]
fn a_download_that_has_no_time_left_is_not_continued() {
    let server = Server::start();
    let request = server.get().timeout(EVENT_TIMEOUT);
    // The pause is a random part of this time.
    let long = Duration::from_secs(1 << 40);
    let slow = Retry::new(1).delays(long, long);
    let (result, _) = server.download(request.retry(slow), [cut(200, &[TAG], "01234", 10)]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(server.part(), "01234");
}

#[test]
fn a_whole_body_replaces_the_partial_file() {
    let server = Server::start();
    server.cut_off();
    // The resource has changed, or the server supports no ranges.
    let (result, requests) =
        server.download(server.get(), [cut(200, &[("etag", "\"b\"")], "ab", 3)]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(ranges(&requests), [Some("bytes=5-")]);
    assert_eq!(server.part(), "ab");
    let rest = reply(206, &[("content-range", "bytes 2-2/3")], "c");
    let (result, requests) = server.download(server.get(), [rest]);
    server.check_complete(result, "abc");
    assert_eq!(value(&requests[0], "if-range"), Some("\"b\""));
}

#[test]
fn a_part_that_does_not_continue_the_file_is_requested_again_without_a_range() {
    let multipart = ("content-type", "multipart/byteranges; boundary=b");
    let parts = [
        reply(206, &[("content-range", "bytes 0-9/10")], "0123456789"),
        reply(206, &[("content-range", "bytes 5-9/11")], "56789"),
        reply(206, &[REST, ("etag", "\"b\"")], "56789"),
        reply(206, &[REST], "5678"),
        reply(206, &[multipart], "--b\r\n"),
        reply(206, &[], "56789"),
        reply(416, &[("content-range", "bytes */4")], ""),
        reply(416, &[("content-range", "bytes */5")], ""),
        reply(416, &[], ""),
    ];
    for part in parts {
        let label = format!("{part:?}");
        let server = Server::start();
        server.cut_off();
        let (result, requests) = server.download(server.get(), [part, reply(200, &[], "whole")]);
        assert_eq!(ranges(&requests), [Some("bytes=5-"), None], "{label}");
        server.check_complete(result, "whole");
    }
}

#[test]
fn a_server_that_never_sends_the_whole_is_an_error_and_the_partial_file_remains() {
    let server = Server::start();
    server.cut_off();
    let wrong = || reply(206, &[("content-range", "bytes 0-9/10")], "0123456789");
    let (result, requests) = server.download(server.get(), [wrong(), wrong()]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(ranges(&requests), [Some("bytes=5-"), None]);
    let refused = || reply(416, &[("content-range", "bytes */3")], "");
    let (result, _) = server.download(server.get(), [refused(), refused()]);
    let status = result.unwrap_err().status_code().unwrap();
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(server.part(), "01234");
}

#[test]
fn a_complete_partial_file_is_confirmed_by_the_server() {
    let server = Server::start();
    // The program was killed before the file got its name.
    let (_, _) = server.download(server.get(), [cut(200, &[TAG], "0123456789", 10)]);
    assert_eq!(server.part(), "0123456789");
    let complete = reply(416, &[("content-range", "bytes */10")], "");
    let (result, requests) = server.download(server.get(), [complete]);
    assert_eq!(ranges(&requests), [Some("bytes=10-")]);
    server.check_complete(result, "0123456789");
}

#[test]
fn an_error_status_leaves_the_partial_file_and_creates_none() {
    let server = Server::start();
    for status in [404, 204, 304] {
        let (result, _) = server.download(server.get(), [reply(status, &[], Body::empty())]);
        let error = result.unwrap_err();
        assert_eq!(error.status_code().unwrap(), status);
        assert!(error.to_string().contains(URL), "{error}");
        assert_eq!(server.names(), Vec::<String>::new());
    }
    server.cut_off();
    // Also if the session makes statuses errors.
    let request = server.get().error_for_status(true);
    let (result, _) = server.download(request, [reply(503, &[], "busy")]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Status);
    assert_eq!(server.part(), "01234");
    let request = server.get().error_for_status(true);
    let replies = [reply(416, &[], ""), reply(200, &[], "whole")];
    let (result, _) = server.download(request, replies);
    server.check_complete(result, "whole");
}

#[test]
fn without_a_strong_validator_or_for_another_url_a_download_starts_over() {
    let server = Server::start();
    let weak = [
        ("etag", "W/\"a\""),
        ("last-modified", "Tue, 01 Jul 2025 10:00:00 GMT"),
    ];
    for field in weak {
        let (result, _) = server.download(server.get(), [cut(200, &[field], "01234", 10)]);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Incomplete);
        assert_eq!(server.names(), Vec::<String>::new());
    }
    // Within a call too.
    let replies = [cut(200, &[], "01234", 10), reply(200, &[], "other")];
    let (result, requests) = server.download(server.get().retry(at_once(1)), replies);
    assert_eq!(ranges(&requests), [None, None]);
    server.check_complete(result, "other");
    fs::remove_file(server.path()).unwrap();

    server.cut_off();
    let other = server.session.get("http://host/other");
    let (result, requests) = server.download(other, [reply(404, &[], "")]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Status);
    assert_eq!(ranges(&requests), [None]);
    assert_eq!(server.part(), "01234");
    for description in ["", "{\"url\":\"http://host/book\",\"valid"] {
        fs::write(server.directory.path().join("book.part.json"), description).unwrap();
        let (_, requests) = server.download(server.get(), [reply(404, &[], "")]);
        assert_eq!(ranges(&requests), [None]);
    }
}

#[test]
fn a_strong_date_is_a_validator() {
    let server = Server::start();
    let fields = [
        ("last-modified", "Tue, 01 Jul 2025 10:00:00 GMT"),
        ("date", "Tue, 01 Jul 2025 10:05:00 GMT"),
    ];
    let (_, _) = server.download(server.get(), [cut(200, &fields, "01234", 10)]);
    let (result, requests) = server.download(server.get(), [reply(206, &[REST], "56789")]);
    server.check_complete(result, "0123456789");
    assert_eq!(value(&requests[0], "if-range"), Some(fields[0].1));
}

#[test]
fn shorter_parts_and_an_unknown_length_are_continued_without_retries() {
    let server = Server::start();
    let (_, _) = server.download(server.get(), [cut(200, &[TAG], "01", 10)]);
    let parts = [
        reply(206, &[("content-range", "bytes 2-4/10")], "234"),
        reply(206, &[REST], "56789"),
    ];
    let (result, requests) = server.download(server.get(), parts);
    assert_eq!(ranges(&requests), [Some("bytes=2-"), Some("bytes=5-")]);
    server.check_complete(result, "0123456789");

    // The length is unknown to both, so only a range behind the end confirms it.
    let failing = stream::iter([Ok("01234"), Err(Error::new(ErrorKind::Incomplete))]);
    let first = reply(200, &[TAG], Body::from_stream(failing));
    let (_, _) = server.download(server.get(), [first]);
    let parts = [
        reply(206, &[("content-range", "bytes 5-9/*")], "56789"),
        reply(416, &[("content-range", "bytes */10")], ""),
    ];
    let (result, requests) = server.download(server.get(), parts);
    assert_eq!(ranges(&requests), [Some("bytes=5-"), Some("bytes=10-")]);
    server.check_complete(result, "0123456789");
}

#[test]
fn a_body_of_another_length_than_declared_never_becomes_the_file() {
    let server = Server::start();
    server.cut_off();
    let short = reply(206, &[REST], streamed(&["567"]));
    let (result, _) = server.download(server.get(), [short]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(server.part(), "01234567");
    let rest = ("content-range", "bytes 8-9/10");
    let long = reply(206, &[rest], streamed(&["8", "9!"]));
    let (result, _) = server.download(server.get(), [long]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(server.names(), Vec::<String>::new());
}

/// Returns a response that sends `01234` and then nothing.
fn hanging() -> http::Response<Body> {
    let first = stream::once(Ok::<_, Error>("01234"));
    reply(
        200,
        &[TAG],
        Body::from_stream(first.chain(stream::pending())),
    )
}

/// Polls a download until the partial file has `01234`.
async fn poll_until_written(server: &Server, download: &mut (impl Future + Unpin)) {
    let part = server.directory.path().join("book.part");
    while !fs::read(&part).is_ok_and(|bytes| bytes == b"01234") {
        assert!(poll(download).is_pending());
        futures_lite::future::yield_now().await;
    }
}

#[test]
fn a_dropped_download_keeps_the_bytes_that_have_arrived() {
    let server = Server::start();
    lock(&server.replies).push_back(hanging());
    let mut download = server.get().resume_to(server.path());
    server
        .threads
        .block_on(poll_until_written(&server, &mut download));
    drop(download);
    lock(&server.requests).clear();
    let (result, requests) = server.download(server.get(), [reply(206, &[REST], "56789")]);
    assert_eq!(ranges(&requests), [Some("bytes=5-")]);
    server.check_complete(result, "0123456789");
}

#[test]
fn a_second_download_to_the_same_path_fails_while_the_first_one_runs() {
    let server = Server::start();
    lock(&server.replies).push_back(hanging());
    let mut download = server.get().resume_to(server.path());
    server
        .threads
        .block_on(poll_until_written(&server, &mut download));
    let (result, requests) = server.download(server.session.get("http://host/other"), []);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("another download"), "{cause}");
    // The only request is that of the first download.
    assert_eq!(requests.len(), 1);
    assert_eq!(server.part(), "01234");
}

#[test]
fn a_request_that_is_not_a_plain_get_is_refused() {
    let server = Server::start();
    let requests = [
        server.session.post(URL),
        server.get().body("text"),
        server.get().file("upload"),
        server.get().header("range", "bytes=0-4"),
        server.get().header("if-range", "\"a\""),
    ];
    for request in requests {
        let (result, requests) = server.download(request, []);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert_eq!(requests.len(), 0);
    }
    assert_eq!(server.names(), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_written_is_an_io_error_before_any_request() {
    let server = Server::start();
    for path in ["missing/book", "."] {
        let path = server.directory.path().join(path);
        let error = server.threads.block_on(server.get().resume_to(path));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Io);
    }
    fs::create_dir(server.directory.path().join("book.part")).unwrap();
    let (result, requests) = server.download(server.get(), []);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(requests.len(), 0);
}

#[cfg(unix)]
#[test]
fn the_file_keeps_the_mode_and_the_symbolic_link_of_the_old_one() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for mode in [0o600, 0o440] {
        let server = Server::start();
        let real = server.directory.path().join("real");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, PermissionsExt::from_mode(mode)).unwrap();
        symlink(&real, server.path()).unwrap();
        let (_, _) = server.download(server.get(), [cut(200, &[TAG], "01234", 10)]);
        assert_eq!(
            server.names(),
            ["book", "real", "real.part", "real.part.json"]
        );
        let (result, _) = server.download(server.get(), [reply(206, &[REST], "56789")]);
        assert_eq!(result.unwrap(), 10);
        assert_eq!(fs::read(&real).unwrap(), b"0123456789");
        let permissions = fs::metadata(&real).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode);
        assert_eq!(server.names(), ["book", "real"]);
    }
}

#[test]
fn on_progress_reports_the_body_of_every_request() {
    let server = Server::start();
    lock(&server.replies).push_back(reply(200, &[], "0123456789"));
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let log = seen.clone();
    let request = server
        .get()
        .on_progress(move |progress| lock(&log).push(progress.bytes));
    server.threads.block_on(request.bytes()).unwrap();
    assert_eq!(*lock(&seen), [10]);
}

#[test]
fn a_file_that_gets_no_name_is_kept_for_the_next_call() {
    let server = Server::start();
    lock(&server.replies).push_back(reply(200, &[TAG], "0123456789"));
    let refuse = |_: CompleteFile| Err::<(), _>(io::Error::other("no name"));
    let first = server.get().resume_with(server.path(), refuse);
    let error = server.threads.block_on(first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(
        (server.part().as_str(), server.names().len()),
        ("0123456789", 2)
    );

    // The second call gives the file another name.
    let complete = reply(416, &[("content-range", "bytes */10")], "");
    lock(&server.replies).push_back(complete);
    let other = server.directory.path().join("other");
    let second = server
        .get()
        .resume_with(server.path(), move |mut file| file.persist_new(&other));
    assert!(server.threads.block_on(second).unwrap());
    assert_eq!(server.names(), ["other"]);
}
