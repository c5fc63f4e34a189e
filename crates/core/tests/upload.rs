//! Tests of request bodies: files, forms, replayable bodies and progress.

mod support;

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{StreamExt, stream};
use http::Request;
use inflight_core::{
    BlockingBody, Body, Cancel, Capabilities, Error, ErrorKind, Fetch, FetchBlocking, Multipart,
    Offload, Part, Phase, Progress, RequestBuilder, Session,
};
use support::{TestRuntime, lock, poll, responding_on, run};

const BODY_LIMIT: u64 = 1 << 20;

fn read(body: Body) -> Result<Bytes, Error> {
    run(body.collect(BODY_LIMIT))
}

fn stream_of(chunks: &'static [&'static str]) -> Body {
    Body::from_stream(stream::iter(chunks).map(|chunk| Ok::<_, Error>(*chunk)))
}

/// Writes a file of `len` bytes, and returns its path and content. No two of its 64 KiB chunks are equal.
fn write_file(dir: &Path, len: usize) -> (std::path::PathBuf, Vec<u8>) {
    let path = dir.join(format!("{len} bytes"));
    let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn open(path: impl Into<std::path::PathBuf>, runtime: &TestRuntime) -> Result<Body, Error> {
    run(Body::from_file(path, runtime.shared()))
}

/// Sends a request, and returns it as the client received it.
fn capture(make_request: impl FnOnce(&Session) -> RequestBuilder) -> Result<Request<Body>, Error> {
    let seen: Arc<Mutex<Option<Request<Body>>>> = Arc::default();
    let record = seen.clone();
    let session = responding_on(&TestRuntime::new(0), move |request| {
        *lock(&record) = Some(request);
        http::Response::new(Body::empty())
    });
    run(make_request(&session.build().unwrap()).send())?;
    Ok(lock(&seen).take().unwrap())
}

fn content_type(request: &Request<Body>) -> &str {
    request.headers()["content-type"].to_str().unwrap()
}

// ---------------------------------------------------------------------------------------
// Replayable bodies.

#[test]
fn a_replayable_body_has_the_same_content_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = write_file(dir.path(), 100_000);
    let runtime = TestRuntime::new(0);
    for (body, expected) in [
        (Body::empty(), &b""[..]),
        (Body::from("text"), b"text"),
        (open(path, &runtime).unwrap(), &bytes),
        (Body::replayable(|| stream_of(&["a", "b"])), b"ab"),
        (Body::from("text").on_progress(|_| ()), b"text"),
    ] {
        let first = body.try_clone().unwrap();
        let second = first.try_clone().unwrap();
        assert_eq!(second.len(), body.len());
        for body in [body, second, first] {
            assert_eq!(read(body).unwrap(), expected);
        }
    }
}

#[test]
fn a_stream_cannot_be_cloned() {
    assert!(stream_of(&["once"]).try_clone().is_none());
    assert!(
        stream_of(&["once"])
            .on_progress(|_| ())
            .try_clone()
            .is_none()
    );
    let twice = Body::replayable(|| stream_of(&["a"]));
    assert!(twice.on_progress(|_| ()).try_clone().is_some());
}

#[test]
fn a_replayable_body_is_produced_only_once_if_it_is_not_cloned() {
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = produced.clone();
    let body = Body::replayable(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        stream_of(&["text"])
    });
    assert_eq!(produced.load(Ordering::SeqCst), 1);
    read(body).unwrap();
    assert_eq!(produced.load(Ordering::SeqCst), 1);
}

// ---------------------------------------------------------------------------------------
// Files.

#[test]
fn a_file_is_read_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::new(0);
    for len in [0, 1, 65_536, 65_537, 1_000_000] {
        let (path, bytes) = write_file(dir.path(), len);
        let mut body = open(&path, &runtime).unwrap();
        assert_eq!(body.len(), Some(len as u64));
        let mut read = Vec::new();
        while let Some(chunk) = run(body.chunk()).unwrap() {
            assert!(chunk.len() <= 65_536);
            read.extend_from_slice(&chunk);
            assert_eq!(body.len(), Some((len - read.len()) as u64));
        }
        assert!(read == bytes, "{len} bytes");
    }
}

#[test]
fn a_file_is_not_read_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = write_file(dir.path(), 1_000_000);
    let runtime = TestRuntime::new(0);
    let mut body = open(&path, &runtime).unwrap();
    assert_eq!(
        runtime.blocking_started().get(),
        1,
        "opening the file should only read its length"
    );
    run(body.chunk()).unwrap();
    run(body.chunk()).unwrap();
    assert_eq!(
        runtime.blocking_started().get(),
        3,
        "reading a chunk should take one blocking call"
    );
}

#[test]
fn a_missing_file_is_an_io_error_that_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::new(0);
    for path in [dir.path().join("missing"), dir.path().to_owned()] {
        let error = open(&path, &runtime).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let names_path = error.to_string().contains(&*path.to_string_lossy());
        assert!(
            names_path && std::error::Error::source(&error).is_some(),
            "{error}"
        );
    }
    // The same applies to a file that was removed after it was opened.
    let (path, _) = write_file(dir.path(), 10);
    let body = open(&path, &runtime).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(read(body).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_file_that_shrinks_is_an_error_and_a_file_that_grows_is_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::new(0);
    let (path, bytes) = write_file(dir.path(), 1000);
    let shorter = open(&path, &runtime).unwrap();
    fs::write(&path, &bytes[..999]).unwrap();
    let error = read(shorter).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("shorter"), "{error}");

    let longer = open(&path, &runtime).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(
        read(longer).unwrap(),
        bytes[..999],
        "the body should have the length that the file had when it was opened"
    );
}

#[test]
fn a_request_sends_a_file_with_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = write_file(dir.path(), 100_000);
    let request = capture(|session| session.put("http://h/").file(&path)).unwrap();
    assert_eq!(request.body().len(), Some(100_000));
    assert!(request.body().try_clone().is_some());
    assert_eq!(read(request.into_body()).unwrap(), bytes);

    let missing = capture(|session| session.put("http://h/").file(dir.path().join("no")));
    let error = missing.unwrap_err();
    assert_eq!(
        (error.kind(), error.url()),
        (ErrorKind::Io, Some("http://h/"))
    );
}

/// Opens a file and seeks to `start`.
fn open_at(path: &Path, start: u64) -> fs::File {
    let mut file = fs::File::open(path).unwrap();
    file.seek(SeekFrom::Start(start)).unwrap();
    file
}

#[test]
fn an_open_file_is_sent_from_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = write_file(dir.path(), 200_000);
    for start in [0, 1, 100_000, 200_000, 300_000] {
        let file = open_at(&path, start);
        let request = capture(|session| session.put("http://h/").open_file(file)).unwrap();
        let rest = bytes.get(start as usize..).unwrap_or_default();
        assert_eq!(request.body().len(), Some(rest.len() as u64));
        assert!(read(request.into_body()).unwrap() == rest, "from {start}");
    }
    // The path is not needed after the file is open.
    let file = open_at(&path, 0);
    fs::remove_file(&path).unwrap();
    let body = run(Body::from_open_file(file, TestRuntime::new(0).shared()));
    assert!(read(body.unwrap()).unwrap() == bytes);
}

#[test]
fn a_clone_of_an_open_file_body_starts_at_the_same_position() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = write_file(dir.path(), 200_000);
    let mut file = open_at(&path, 1000);
    let runtime = TestRuntime::new(0);
    let shared = file.try_clone().unwrap();
    let mut body = run(Body::from_open_file(shared, runtime.shared())).unwrap();
    let again = body.try_clone().unwrap();
    let first = run(body.chunk()).unwrap().unwrap();
    // Reads the clone after a part of the first body was read.
    assert!(read(again).unwrap() == bytes[1000..]);
    let rest = read(body).unwrap();
    assert!([first, rest].concat() == bytes[1000..]);
    if cfg!(unix) {
        assert_eq!(file.stream_position().unwrap(), 1000);
    }
}

#[test]
fn an_open_file_that_shrinks_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = write_file(dir.path(), 1000);
    let body = run(Body::from_open_file(
        open_at(&path, 10),
        TestRuntime::new(0).shared(),
    ));
    fs::write(&path, &bytes[..999]).unwrap();
    let error = read(body.unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("shorter"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_sent_once_and_a_directory_is_an_error() {
    use std::io::Write;

    let (reader, mut writer) = std::io::pipe().unwrap();
    let pipe = fs::File::from(std::os::fd::OwnedFd::from(reader));
    let runtime = TestRuntime::new(0);
    let body = run(Body::from_open_file(pipe, runtime.shared())).unwrap();
    assert_eq!(body.len(), None);
    assert!(body.try_clone().is_none());
    writer.write_all(b"through a pipe").unwrap();
    drop(writer);
    assert_eq!(read(body).unwrap(), "through a pipe");

    let dir = tempfile::tempdir().unwrap();
    let directory = fs::File::open(dir.path()).unwrap();
    let error = run(Body::from_open_file(directory, runtime.shared())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn the_timeout_applies_while_a_file_is_opened() {
    let runtime = TestRuntime::new(0);
    runtime.hold_blocking();
    let session = responding_on(&runtime, |_| http::Response::new(Body::empty()));
    let session = session.timeout(Duration::from_secs(1)).build().unwrap();
    let mut sent = session.put("http://h/").file("somewhere").send();
    assert!(poll(&mut sent).is_pending());
    runtime.advance(Duration::from_secs(1));
    assert_eq!(run(sent).unwrap_err().phase(), Some(Phase::Total));
}

/// A blocking client that reads the whole body, and returns it as the body of the response.
struct BlockingClient;

impl FetchBlocking for BlockingClient {
    fn fetch_blocking(
        &self,
        request: Request<BlockingBody>,
        _: &Cancel,
    ) -> Result<http::Response<BlockingBody>, Error> {
        let mut bytes = Vec::new();
        let len = request.body().len();
        let read = request.into_body().read_to_end(&mut bytes);
        read.map_err(Error::from_read)?;
        assert!(len.is_none_or(|len| len == bytes.len() as u64));
        Ok(http::Response::new(Bytes::from(bytes).into()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all("blocking")
    }
}

#[test]
fn a_blocking_client_reads_a_file_in_the_call_that_sends_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = write_file(dir.path(), 200_000);
    let runtime = TestRuntime::new(0);
    let client = Offload::new(BlockingClient, runtime.shared());
    let seen = Arc::new(AtomicUsize::new(0));
    let recorded = seen.clone();
    let form = |path: &Path| Multipart::new().text("a", "b").file("f", path);
    let bodies = [
        open(&path, &runtime).unwrap(),
        run(Body::from_open_file(open_at(&path, 0), runtime.shared())).unwrap(),
        open(&path, &runtime).unwrap().on_progress(move |progress| {
            recorded.store(progress.bytes as usize, Ordering::SeqCst);
        }),
        capture(|session| session.post("http://h/").multipart(form(&path)))
            .unwrap()
            .into_body(),
    ];
    for body in bodies {
        let (before, len) = (runtime.blocking_started().get(), body.len());
        let echo = run(client.fetch(Request::new(body))).unwrap().into_body();
        assert_eq!(
            runtime.blocking_started().get(),
            before + 1,
            "the request should take one blocking call"
        );
        assert_eq!(echo.len(), len);
        let echo = read(echo).unwrap();
        assert!(echo.windows(bytes.len()).any(|part| part == bytes));
    }
    assert_eq!(seen.load(Ordering::SeqCst), bytes.len());

    let body = open(&path, &runtime).unwrap();
    fs::remove_file(&path).unwrap();
    let error = run(client.fetch(Request::new(body))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

// ---------------------------------------------------------------------------------------
// Forms.

fn post_form(form: Multipart) -> Request<Body> {
    capture(|session| session.post("http://h/").multipart(form)).unwrap()
}

#[test]
fn a_form_is_encoded_as_in_browsers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("na\"me.txt");
    fs::write(&path, "in a file").unwrap();
    let form = Multipart::new()
        .text("field", "välue\r\n--")
        .text("n\"a\r\nme", "")
        .file("file", &path)
        .part(
            "html",
            Part::new("<p>")
                .file_name("a.html")
                .content_type("text/html"),
        )
        .part(
            "json",
            Part::new(vec![b'1']).content_type("application/json"),
        )
        .part("stream", Part::new(stream_of(&["a", "b"])));
    let request = post_form(form);
    let content_type = content_type(&request).to_owned();
    let boundary = content_type
        .strip_prefix("multipart/form-data; boundary=")
        .unwrap();
    assert_eq!(boundary.len(), 32);
    assert_eq!(
        request.body().len(),
        None,
        "the length of a form with a stream should be unknown"
    );
    let body = read(request.into_body()).unwrap();
    let expected = [
        "--B\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\nvälue\r\n--\r\n",
        "--B\r\nContent-Disposition: form-data; name=\"n%22a%0D%0Ame\"\r\n\r\n\r\n",
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"na%22me.txt\"\r\n\
         Content-Type: application/octet-stream\r\n\r\nin a file\r\n",
        "--B\r\nContent-Disposition: form-data; name=\"html\"; filename=\"a.html\"\r\n\
         Content-Type: text/html\r\n\r\n<p>\r\n",
        "--B\r\nContent-Disposition: form-data; name=\"json\"\r\n\
         Content-Type: application/json\r\n\r\n1\r\n",
        "--B\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\nab\r\n",
        "--B--\r\n",
    ];
    let expected = expected.concat().replace("--B", &format!("--{boundary}"));
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
}

#[test]
fn a_form_of_replayable_parts_has_a_length_and_can_be_cloned() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = write_file(dir.path(), 70_000);
    let form = || Multipart::new().text("a", "b").file("f", &path);
    let body = post_form(form()).into_body();
    let again = body.try_clone().unwrap();
    let (len, first) = (body.len().unwrap(), read(body).unwrap());
    assert_eq!(first.len() as u64, len);
    assert_eq!(read(again).unwrap(), first);

    let stream = Part::new(stream_of(&["once"]));
    assert!(
        post_form(form().part("s", stream))
            .body()
            .try_clone()
            .is_none()
    );
    let twice = Part::new(Body::replayable(|| stream_of(&["twice"])));
    assert!(
        post_form(form().part("s", twice))
            .body()
            .try_clone()
            .is_some()
    );
    assert_eq!(
        read(post_form(Multipart::new()).into_body()).unwrap().len(),
        38
    );
}

#[test]
fn each_form_has_a_different_boundary() {
    let (one, two) = (post_form(Multipart::new()), post_form(Multipart::new()));
    assert_ne!(content_type(&one), content_type(&two));
}

#[test]
fn a_form_replaces_the_content_type_header_of_the_request() {
    let request = capture(|session| {
        let request = session
            .post("http://h/")
            .header("content-type", "text/plain");
        request.multipart(Multipart::new())
    });
    let request = request.unwrap();
    assert_eq!(request.headers().get_all("content-type").iter().count(), 1);
    assert!(content_type(&request).starts_with("multipart/form-data; "));
}

#[test]
fn an_invalid_media_type_is_an_invalid_request() {
    let form = Multipart::new().part("a", Part::new("b").content_type("text/\r\nplain"));
    let error = capture(|session| session.post("http://h/").multipart(form)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn a_part_is_not_produced_before_earlier_parts_are_read() {
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = produced.clone();
    let chunks = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>("chunk")
    });
    let part = Part::new(Body::from_stream(chunks.take(1000)));
    let mut body = post_form(Multipart::new().text("a", "b").part("s", part)).into_body();
    // Reads the head of the first part, the text of the first part, and the head of the second part.
    for _ in 0..3 {
        run(body.chunk()).unwrap();
    }
    assert_eq!(produced.load(Ordering::SeqCst), 0);
    run(body.chunk()).unwrap();
    assert_eq!(
        produced.load(Ordering::SeqCst),
        1,
        "the part should produce only the chunk that is read"
    );
}

#[test]
fn pairs_are_sent_as_a_url_encoded_form() {
    let request = capture(|session| session.post("http://h/").form(&[("a b", "é&"), ("c", "")]));
    let request = request.unwrap();
    assert_eq!(content_type(&request), "application/x-www-form-urlencoded");
    assert_eq!(read(request.into_body()).unwrap(), "a+b=%C3%A9%26&c=");
    let error = capture(|session| session.post("http://h/").form(&7)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn the_last_body_replaces_earlier_ones() {
    let form = || Multipart::new();
    let request = capture(|session| session.post("http://h/").multipart(form()).body("text"));
    let request = request.unwrap();
    assert!(request.headers().get("content-type").is_none());
    assert_eq!(read(request.into_body()).unwrap(), "text");
    let request = capture(|session| session.post("http://h/").json_body(&1).form(&[("a", 1)]));
    assert_eq!(read(request.unwrap().into_body()).unwrap(), "a=1");
    let request = capture(|session| session.post("http://h/").file("none").json_body(&1));
    let request = request.unwrap();
    assert_eq!(content_type(&request), "application/json");
    assert_eq!(read(request.into_body()).unwrap(), "1");
}

// ---------------------------------------------------------------------------------------
// Progress.

type Seen = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

fn recorder() -> (Seen, impl Fn(Progress) + Send + Sync + 'static) {
    let seen = Seen::default();
    let record = seen.clone();
    (seen, move |progress: Progress| {
        lock(&record).push((progress.bytes, progress.total));
    })
}

#[test]
fn a_body_in_memory_reports_progress_in_chunks() {
    let (seen, callback) = recorder();
    let body = Body::from(vec![7; 150_000]).on_progress(callback);
    assert_eq!(body.len(), Some(150_000));
    let again = body.try_clone().unwrap();
    assert_eq!(read(body).unwrap(), vec![7; 150_000]);
    let total = Some(150_000);
    let expected = [(65_536, total), (131_072, total), (150_000, total)];
    assert_eq!(*lock(&seen), expected);
    lock(&seen).clear();
    read(again).unwrap();
    assert_eq!(*lock(&seen), expected, "the clone should start from zero");
}

#[test]
fn a_stream_reports_progress_as_it_is_read() {
    let (seen, callback) = recorder();
    let mut body = stream_of(&["ab", "c", "def"]).on_progress(callback);
    assert!(lock(&seen).is_empty());
    for expected in [(2, None), (3, None), (6, None)] {
        run(body.chunk()).unwrap().unwrap();
        assert_eq!(lock(&seen).last(), Some(&expected));
    }
    assert_eq!(run(body.chunk()).unwrap(), None);
    assert_eq!(lock(&seen).len(), 3);
}

#[test]
fn progress_is_reported_for_requests_and_responses() {
    let (up, upload_callback) = recorder();
    let (down, download_callback) = recorder();
    let session = responding_on(&TestRuntime::new(0), |request| {
        http::Response::new(Body::from(read(request.into_body()).unwrap()))
    });
    let session = session.build().unwrap();
    let request = session
        .post("http://h/")
        .on_upload_progress(upload_callback);
    let response = run(request.body("four").send()).unwrap();
    assert_eq!(*lock(&up), [(4, Some(4))]);
    let response = response.on_progress(download_callback);
    assert_eq!(response.content_length(), Some(4));
    assert_eq!(run(response.text()).unwrap(), "four");
    assert_eq!(*lock(&down), [(4, Some(4))]);

    // A request without a body reports no progress.
    let (none, callback) = recorder();
    run(session.get("http://h/").on_upload_progress(callback).send()).unwrap();
    assert!(lock(&none).is_empty());
}
