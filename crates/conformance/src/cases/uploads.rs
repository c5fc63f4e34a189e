//! Request bodies: they arrive completely, or the request fails.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_io::Timer;
use futures_util::stream::{self, StreamExt};
use inflight_core::bytes::Bytes;
use inflight_core::http_body::{Body as HttpBody, Frame, SizeHint};
use inflight_core::{Body, Error, ErrorKind, Multipart, Part, Progress};
use inflight_origin::payload;
use inflight_origin::script::{Script, ScriptedServer};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text, with_causes,
};
use crate::context::{Context, EVENT_TIMEOUT, drop_after, wait_for};
use crate::servers::{ok_response, start_origin, start_scripted, wait_for_close};
use crate::test_server::TestServer;

const LARGE: usize = 8 << 20;

/// A body that contains every possible byte is echoed exactly.
#[apply(case!)]
#[marks(in_memory)]
async fn small_body_is_echoed(context: Context) -> Result {
    let origin = context.httpbin()?;
    let every: Vec<u8> = (0..=255).collect();
    let request = context.session()?.post(origin.url("/echo"));
    check_equal(
        "the echo",
        request.body(every.clone()).bytes().await?,
        every,
    )
}

/// A body of 256 KiB is echoed, and the response starts before the request ends.
#[apply(case!)]
#[marks(in_memory)]
#[needs(full_duplex)]
async fn body_is_echoed_while_it_is_sent(context: Context) -> Result {
    let origin = context.httpbin()?;
    let bytes = payload::bytes(256 << 10, 4);
    let request = context.session()?.post(origin.url("/echo"));
    let echo = request.body(bytes.clone()).bytes().await?;
    check(echo == bytes, "the bytes differ")
}

/// Eight MiB in memory arrive exactly, with Content-Length.
#[apply(case!)]
#[marks(in_memory)]
async fn large_upload_has_a_content_length(context: Context) -> Result {
    let origin = context.httpbin()?;
    let bytes = payload::bytes(LARGE, 5);
    let request = context.session()?.put(origin.url("/upload"));
    let report: Value = request.body(bytes.clone()).json().await?;
    check_received(&report, &bytes)?;
    let length = report["content_length"].as_u64();
    check_equal("its Content-Length", length, Some(LARGE as u64))
}

/// A stream of eight MiB of unknown length arrives exactly, in chunks.
#[apply(case!)]
#[marks(in_memory)]
#[needs(streaming_upload)]
async fn streamed_upload_is_chunked(context: Context) -> Result {
    let origin = context.httpbin()?;
    let bytes = payload::bytes(LARGE, 6);
    let request = context.session()?.post(origin.url("/upload"));
    let report: Value = request.body(streamed_body(&bytes)).json().await?;
    check_received(&report, &bytes)?;
    check_equal("chunked", report["chunked"].as_bool(), Some(true))?;
    check_equal(
        "its Content-Length",
        &report["content_length"],
        &Value::Null,
    )
}

/// A body of unknown length arrives completely, or the error is of the kind unsupported.
#[apply(case!)]
async fn streamed_upload_is_complete_or_an_unsupported_error(context: Context) -> Result {
    let origin = start_origin()?;
    let bytes = payload::bytes(100_000, 7);
    let request = context.session()?.post(origin.url("/upload"));
    match request.body(streamed_body(&bytes)).json::<Value>().await {
        Ok(report) => check_received(&report, &bytes),
        Err(error) => {
            let kinds = [ErrorKind::Unsupported];
            check_error("a streamed upload", Err::<(), _>(error), &kinds)?;
            check_equal("requests that were sent", origin.stats().requests, 0)
        }
    }
}

/// A streamed body is echoed exactly.
#[apply(case!)]
#[marks(in_memory)]
#[needs(streaming_upload, full_duplex)]
async fn streamed_upload_is_echoed(context: Context) -> Result {
    let origin = context.httpbin()?;
    let bytes = payload::bytes(256 << 10, 8);
    let request = context.session()?.post(origin.url("/echo"));
    let echo = request.body(streamed_body(&bytes)).bytes().await?;
    check(echo == bytes, "the bytes differ")
}

/// A response in chunks that starts before the upload ends is complete: the caller receives each echo before it sends
/// the next part.
#[apply(case!)]
#[marks(in_memory)]
#[needs(streaming_upload, response_during_upload)]
async fn response_in_chunks_may_start_before_the_upload_ends(context: Context) -> Result {
    let origin = context.httpbin()?;
    let (parts, upload) = async_channel::unbounded::<Result<&str, Error>>();
    let request = context.session()?.post(origin.url("/echo"));
    send(&parts, "one")?;
    let mut response = request.body(Body::from_stream(upload)).send().await?;
    let first = response.chunk().await?;
    check_equal("the first echo", first.as_deref(), Some(&b"one"[..]))?;
    send(&parts, "two")?;
    let second = response.chunk().await?;
    check_equal("the second echo", second.as_deref(), Some(&b"two"[..]))?;
    drop(parts);
    check_equal("the end", response.chunk().await?, None)
}

fn send(parts: &async_channel::Sender<Result<&'static str, Error>>, part: &'static str) -> Result {
    let sent = parts.try_send(Ok(part));
    check(sent.is_ok(), "the client dropped the upload")
}

/// The server receives the first chunk before the second is produced.
#[apply(case!)]
#[needs(streaming_upload)]
async fn upload_is_sent_while_it_is_produced(context: Context) -> Result {
    let (sender, arrived) = async_channel::bounded(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_until(b"the first chunk")?;
        let _ = sender.send_blocking(());
        conn.read_until(b"the second chunk")?;
        conn.read_until(b"0\r\n\r\n")?;
        conn.answer("both")?;
        conn.read_to_close();
        Ok(())
    })?;
    let first = stream::once(async { Ok("the first chunk") });
    let second = stream::once(async move {
        let seen = wait_for("the first chunk at the server", arrived.recv()).await;
        match seen {
            Ok(_) => Ok("the second chunk"),
            Err(failure) => Err(io::Error::other(failure)),
        }
    });
    let body = Body::from_stream(first.chain(second));
    let request = context.session()?.post(server.url("/")).body(body);
    check_text(request, "both").await
}

/// A streamed body of known length is sent with Content-Length.
#[apply(case!)]
#[marks(in_memory)]
#[needs(streaming_upload)]
async fn sized_stream_has_a_content_length(context: Context) -> Result {
    let origin = context.httpbin()?;
    let bytes = payload::bytes(100_000, 9);
    let body = Body::wrap(DeclaredBody::new(bytes.len(), &bytes));
    let request = context.session()?.post(origin.url("/upload"));
    let report: Value = request.body(body).json().await?;
    check_received(&report, &bytes)?;
    let length = report["content_length"].as_u64();
    check_equal("its Content-Length", length, Some(bytes.len() as u64))
}

/// Pairs are sent as an HTML form sends them, whatever characters they contain.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn form_is_urlencoded(context: Context) -> Result {
    let origin = context.httpbin()?;
    let pairs = [("name", "Ærø & Fyn"), ("n", "1+1=2"), ("n", "")];
    let request = context.session()?.post(origin.url("/post"));
    let echo: Value = request.form(&pairs).json().await?;
    let expected = json!({ "name": "Ærø & Fyn", "n": ["1+1=2", ""] });
    check_equal("the form", &echo["form"], &expected)
}

/// Returns a form with every kind of part whose length is known. Also returns the fields and the
/// files that the origin should echo.
fn sized_form(dir: &TempDir) -> io::Result<(Multipart, Value, Value)> {
    let file = dir.path().join("a \"file\".txt");
    let text = "line\r\n".repeat(20_000);
    fs::write(&file, &text)?;
    let form = Multipart::new()
        .text("title", "Ærø")
        .text("title", "")
        .part(
            "json",
            Part::new(&b"{}"[..]).content_type("application/json"),
        )
        .part(
            "bytes",
            Part::new("<p>")
                .file_name("a.html")
                .content_type("text/html"),
        )
        .file("file", file);
    let fields = json!({ "title": ["Ærø", ""], "json": "{}" });
    Ok((form, fields, json!({ "bytes": "<p>", "file": text })))
}

/// A multipart form of texts, bytes and a file arrives exactly, with Content-Length.
#[apply(case!)]
#[marks(anywhere, tests_core)]
#[needs(streaming_upload)]
async fn multipart_form_is_sent_exactly(context: Context) -> Result {
    let origin = context.httpbin()?;
    let dir = tempfile::tempdir()?;
    let (form, fields, files) = sized_form(&dir)?;
    let request = context.session()?.post(origin.url("/post"));
    let echo: Value = request.multipart(form).json().await?;
    check_equal("the fields", &echo["form"], &fields)?;
    check(echo["files"] == files, "the files differ")?;
    let length = &echo["headers"]["Content-Length"];
    check(length.is_string(), "the form has no Content-Length")
}

/// A multipart form with a part of unknown length arrives exactly, in chunks.
#[apply(case!)]
#[marks(anywhere, tests_core)]
#[needs(streaming_upload)]
async fn multipart_form_with_a_stream_is_sent_exactly(context: Context) -> Result {
    let origin = context.httpbin()?;
    let bytes = payload::bytes(100_000, 13);
    let hidden = Part::new(streamed_body(&bytes)).file_name("stream");
    let form = Multipart::new().text("a", "b").part("s", hidden);
    let request = context.session()?.post(origin.url("/post"));
    let echo: Value = request.multipart(form.text("c", "d")).json().await?;
    check_equal("the fields", &echo["form"], &json!({ "a": "b", "c": "d" }))?;
    // The origin echoes a file that is not text as base64.
    let len = echo["files"]["s"].as_str().map_or(0, str::len);
    check(len > 130_000, format!("the stream is {len} characters"))?;
    check_equal("chunked", &echo["headers"]["Content-Length"], &Value::Null)
}

/// A file of eight MiB arrives exactly, with Content-Length.
#[apply(case!)]
#[marks(in_memory)]
#[needs(streaming_upload)]
async fn file_is_sent_exactly(context: Context) -> Result {
    let origin = context.httpbin()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("large");
    let bytes = payload::bytes(LARGE, 14);
    fs::write(&path, &bytes)?;
    let request = context.session()?.put(origin.url("/upload"));
    let report: Value = request.file(path).json().await?;
    check_received(&report, &bytes)?;
    let length = report["content_length"].as_u64();
    check_equal("its Content-Length", length, Some(LARGE as u64))
}

/// An open file is sent from its current position. After a redirect, it is sent again from the same
/// position.
#[apply(case!)]
#[marks(in_memory)]
#[needs(streaming_upload)]
async fn open_file_is_sent_from_its_position(context: Context) -> Result {
    let origin = context.httpbin()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("open");
    let bytes = payload::bytes(LARGE, 18);
    fs::write(&path, &bytes)?;
    let session = context.session()?;
    for to in ["/upload", "/redirect-to?status_code=307&url=/upload"] {
        let mut file = fs::File::open(&path)?;
        file.seek(SeekFrom::Start(1000))?;
        let request = session.put(origin.url(to)).open_file(file);
        check_received(&request.json().await?, &bytes[1000..])?;
    }
    Ok(())
}

/// A missing file is an error of the kind io, and nothing is sent.
#[apply(case!)]
async fn missing_file_is_an_io_error(context: Context) -> Result {
    let origin = start_origin()?;
    let dir = tempfile::tempdir()?;
    let session = context.session()?;
    let missing = dir.path().join("missing");
    let url = origin.url("/upload");
    let file = session.put(&url).file(&missing).text().await;
    check_error("the file", file, &[ErrorKind::Io])?;
    let form = Multipart::new().file("f", &missing);
    let form = session.post(&url).multipart(form).text().await;
    check_error("the form", form, &[ErrorKind::Io])?;
    check_equal("requests that were sent", origin.stats().requests, 0)
}

/// If a file becomes shorter after a body was created from it, the error is of the kind io, and the
/// server never reads a complete request.
#[apply(case!)]
#[needs(streaming_upload)]
async fn shrinking_file_is_an_io_error(context: Context) -> Result {
    let server = start_one_request_server()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file");
    fs::write(&path, payload::bytes(1000, 0))?;
    let session = context.session()?;
    let body = Body::from_file(&path, session.runtime().clone()).await?;
    fs::write(&path, payload::bytes(999, 0))?;
    check_request_error(session.post(server.url("/")).body(body), ErrorKind::Io).await?;
    check_never_complete(&server).await
}

/// A clone of a body, from try_clone, is sent like the original.
#[apply(case!)]
#[marks(in_memory, tests_core)]
#[needs(streaming_upload)]
async fn cloned_body_is_sent_like_the_original(context: Context) -> Result {
    let origin = context.httpbin()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file");
    let bytes = payload::bytes(100_000, 15);
    fs::write(&path, &bytes)?;
    let session = context.session()?;
    let body = Body::from_file(path, session.runtime().clone()).await?;
    for _ in 0..3 {
        let body = body.try_clone();
        let body = body.ok_or_else(|| Failure::new("a file body cannot be cloned"))?;
        let request = session.put(origin.url("/upload")).body(body);
        check_received(&request.json().await?, &bytes)?;
    }
    Ok(())
}

/// After a 307, a file, a form and a replayable stream are resent completely.
#[apply(case!)]
#[marks(in_memory)]
#[needs(streaming_upload)]
async fn redirected_upload_is_resent(context: Context) -> Result {
    let origin = context.httpbin()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file");
    let bytes = payload::bytes(200_000, 17);
    fs::write(&path, &bytes)?;
    let session = context.session()?;
    let to = |path| origin.url(&format!("/redirect-to?status_code=307&url={path}"));

    let (log, callback) = progress_log();
    let request = session.put(to("/upload")).file(path);
    let report: Value = request.on_upload_progress(callback).json().await?;
    check_received(&report, &bytes)?;
    let log = log.lock().map_or(0, |log| {
        let ends = log.iter().filter(|progress| progress.bytes == 200_000);
        ends.count()
    });
    check_equal("how often the file was sent", log, 2)?;

    let (form, fields, files) = sized_form(&dir)?;
    let request = session.post(to("/anything")).multipart(form);
    let echo: Value = request.json().await?;
    check_equal("the fields", &echo["form"], &fields)?;
    check(echo["files"] == files, "the files differ")?;

    let again = bytes.clone();
    let body = Body::replayable(move || streamed_body(&again));
    let request = session.post(to("/upload")).body(body);
    check_received(&request.json().await?, &bytes)
}

/// If the server does not read the body, the producer of the body has to wait.
#[apply(case!)]
#[needs(streaming_upload)]
async fn unread_upload_blocks_the_producer(context: Context) -> Result {
    // More than the socket buffers of both sides hold, and more than a client may reasonably read
    // ahead.
    const CHUNKS: usize = 1024;
    const QUIET: Duration = Duration::from_millis(300);
    let (done, hold) = async_channel::bounded::<()>(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_until(b"\r\n\r\n")?;
        // Waits until the case drops the sender.
        let _ = hold.recv_blocking();
        Ok(())
    })?;
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = produced.clone();
    let chunk = Bytes::from(vec![b'.'; 64 * 1024]);
    let chunks = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(chunk.clone())
    });
    let body = Body::from_stream(chunks.take(CHUNKS));
    let request = context.session()?.post(server.url("/")).body(body);
    let quiet = async {
        let mut before = 0;
        loop {
            Timer::after(QUIET).await;
            let now = produced.load(Ordering::SeqCst);
            if now > 0 && now == before {
                return Ok(now);
            }
            before = now;
        }
    };
    let taken = drop_after(request.send(), quiet).await?;
    drop(done);
    check(
        taken < CHUNKS,
        format!("all {CHUNKS} chunks were taken although the server read none"),
    )
}

/// Progress is reported in both directions, up to the whole body, with the total if it is known.
#[apply(case!)]
#[marks(in_memory, tests_core)]
#[needs(streaming_upload)]
async fn progress_of_uploads_and_downloads_is_reported(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    let bytes = payload::bytes(200_000, 16);
    for (body, total) in [
        (Body::from(bytes.clone()), Some(200_000)),
        (streamed_body(&bytes), None),
    ] {
        let (log, callback) = progress_log();
        let request = session.post(origin.url("/upload")).body(body);
        let report: Value = request.on_upload_progress(callback).json().await?;
        check_received(&report, &bytes)?;
        check_progress("the upload", &log, total)?;
    }
    for (path, total) in [
        ("/bytes/200000?seed=16", Some(200_000)),
        ("/stream-bytes/200000?seed=16", None),
        ("/coded/gzip/200000?seed=16", None),
    ] {
        let (log, callback) = progress_log();
        let response = session.get(origin.url(path)).send().await?;
        let read = response.on_progress(callback).bytes().await?;
        check(read == bytes, "the bytes differ")?;
        check_progress(path, &log, total)?;
    }
    Ok(())
}

type ProgressLog = Arc<Mutex<Vec<Progress>>>;

fn progress_log() -> (ProgressLog, impl Fn(Progress) + Send + Sync + 'static) {
    let log = ProgressLog::default();
    let record = log.clone();
    let callback = move |progress| {
        let mut log = record.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(progress);
    };
    (log, callback)
}

/// Checks that the progress increases up to the length of the body, and that each report has this
/// total.
fn check_progress(label: &str, log: &ProgressLog, total: Option<u64>) -> Result {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let rising = log.windows(2).all(|two| two[0].bytes < two[1].bytes);
    check(rising, format!("{label}: {log:?}"))?;
    check(
        log.len() > 1,
        format!("{label}: fewer than two reports: {log:?}"),
    )?;
    check_equal(label, log.last().map(|last| last.bytes), Some(200_000))?;
    let totals = log.iter().all(|progress| progress.total == total);
    check(totals, format!("{label}: {log:?}"))
}

/// If the body's stream fails, the error is of the kind io, and its cause is the stream's error.
#[apply(case!)]
#[needs(streaming_upload)]
async fn failing_upload_is_an_io_error(context: Context) -> Result {
    let server = start_one_request_server()?;
    let request = context.session()?.post(server.url("/"));
    let error = check_request_error(request.body(failing_body()), ErrorKind::Io).await?;
    let text = with_causes(&error);
    check(
        text.contains(STREAM_ERROR),
        format!("its cause is missing: {text}"),
    )
}

/// If a body's stream fails, the server never reads a complete request.
#[apply(case!)]
#[needs(streaming_upload)]
async fn failing_upload_is_never_complete(context: Context) -> Result {
    let server = start_one_request_server()?;
    let request = context.session()?.post(server.url("/"));
    let result = request.body(failing_body()).text().await;
    check(result.is_err(), "the request succeeded with half a body")?;
    check_never_complete(&server).await
}

/// If a body is shorter than its Content-Length, the request fails, and the server never reads a
/// complete request.
#[apply(case!)]
#[needs(streaming_upload)]
async fn short_upload_is_never_complete(context: Context) -> Result {
    let server = start_one_request_server()?;
    let body = Body::wrap(DeclaredBody::new(10, b"short"));
    let request = context.session()?.post(server.url("/")).body(body);
    let result = request.text().await;
    check(result.is_err(), "the request succeeded with half a body")?;
    check_never_complete(&server).await
}

/// If the server refuses an upload and closes the connection a moment later, the refusal is the
/// response.
#[apply(case!)]
async fn refusal_of_an_upload_is_returned_despite_the_close(context: Context) -> Result {
    let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
    let server = start_scripted(Script::new().read_head().send(refusal).close())?;
    let session = context.session()?;
    // Not a multiple of any buffer's size.
    let bytes = vec![b'x'; LARGE + 12_345];
    let stream = Body::wrap(DeclaredBody::new(bytes.len(), &bytes));
    for body in [streamed_body(&bytes), stream, Body::from(bytes)] {
        let response = session.put(server.url("/")).body(body).send().await?;
        check_equal("the status", response.status().as_u16(), 413)?;
        check_equal("the body", response.text().await?, "no")?;
    }
    Ok(())
}

/// A reset during an upload does not complete a response whose body ends with the connection.
#[apply(case!)]
async fn reset_during_an_upload_does_not_complete_the_response(context: Context) -> Result {
    let refusal = "HTTP/1.1 413 Content Too Large\r\n\r\nhalf of it";
    let server = start_scripted(Script::new().read_head().send(refusal).reset())?;
    let body = vec![b'x'; LARGE + 12_345];
    let request = context.session()?.put(server.url("/")).body(body);
    check_request_error(request, ErrorKind::Incomplete).await?;
    Ok(())
}

/// If the server responds early to a body that is too short, the bytes of the next request do not
/// complete this body.
#[apply(case!)]
#[needs(streaming_upload)]
async fn next_request_does_not_complete_a_short_upload(context: Context) -> Result {
    let server = ScriptedServer::start(|connection| match connection {
        0 => Script::new().read_head().send(ok_response("early")).hang(),
        _ => Script::new().read_request().send(ok_response("second")),
    })?;
    let session = context.session()?;
    let body = Body::wrap(DeclaredBody::new(10, b"short"));
    let first = session.post(server.url("/first")).body(body).text().await;
    if let Ok(text) = first {
        check_equal("the first body", text, "early")?;
    }
    let second = session.get(server.url("/second")).text().await?;
    check_equal("the second body", second, "second")
}

fn start_one_request_server() -> io::Result<Arc<ScriptedServer>> {
    start_scripted(
        Script::new()
            .read_request()
            .send(ok_response("taken"))
            .hang(),
    )
}

/// Checks that the server never reads a complete request, and that the client closes its connection
/// if it has opened one.
async fn check_never_complete(server: &Arc<ScriptedServer>) -> Result {
    if server.connections() > 0 {
        wait_for_close(server, 0, EVENT_TIMEOUT).await?;
    }
    check_equal("requests that were complete", server.requests().len(), 0)
}

const STREAM_ERROR: &str = "the stream broke";

fn failing_body() -> Body {
    let chunks = [Ok("half a "), Err(io::Error::other(STREAM_ERROR))];
    Body::from_stream(stream::iter(chunks))
}

fn streamed_body(bytes: &[u8]) -> Body {
    let chunks: Vec<_> = bytes.chunks(60_000).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Error>)))
}

/// Checks the length and the digest that `/upload` reports.
#[track_caller]
fn check_received(report: &Value, bytes: &[u8]) -> Result {
    let len = report["bytes"].as_u64();
    check_equal("the bytes that arrived", len, Some(bytes.len() as u64))?;
    let digest = Sha256::digest(bytes);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    check_equal("the digest", report["sha256"].as_str(), Some(&*digest))
}

/// A body whose declared length may differ from the length of its data.
struct DeclaredBody {
    /// The number of declared bytes that have not been returned yet.
    left: u64,
    chunks: VecDeque<Bytes>,
}

impl DeclaredBody {
    fn new(declared: usize, bytes: &[u8]) -> Self {
        Self {
            left: declared as u64,
            chunks: bytes.chunks(4096).map(Bytes::copy_from_slice).collect(),
        }
    }
}

impl HttpBody for DeclaredBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let chunk = self.chunks.pop_front();
        if let Some(chunk) = &chunk {
            self.left = self.left.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
