//! Bodies of requests: whole or not at all.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures_util::stream::{self, StreamExt};
use inflight_core::bytes::Bytes;
use inflight_core::http_body::{Body as HttpBody, Frame, SizeHint};
use inflight_core::{Body, Error, ErrorKind};
use inflight_origin::payload;
use inflight_origin::script::{Script, Scripted};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

use crate::case::suite;
use crate::check::{Failure, check, equal, fails, with_causes};
use crate::context::{Context, PATIENCE, within};
use crate::servers::{closed, ok, origin, scripted};
use crate::staged::Staged;

suite! { "uploads":
    small_body_comes_back =>
        "A body of every byte there is comes back from an echo.";
    body_comes_back_while_it_is_sent needs full_duplex =>
        "An echo of 256 KiB, of which the server answers the first bytes before it has the last.";
    large_upload_says_its_length =>
        "Eight MiB in memory arrive to the byte, with Content-Length.";
    streamed_upload_is_chunked needs streaming_upload =>
        "Eight MiB of unknown length arrive to the byte, in chunks.";
    streamed_upload_is_whole_or_unsupported =>
        "A body of unknown length arrives whole or is refused as unsupported.";
    streamed_upload_comes_back needs streaming_upload, full_duplex =>
        "A streamed body comes back from an echo.";
    upload_is_sent_while_it_is_produced needs streaming_upload =>
        "The server has the first piece before the second is made.";
    sized_stream_says_its_length needs streaming_upload =>
        "A streamed body that knows its length is sent with Content-Length.";
    failing_upload_is_io needs streaming_upload =>
        "An error in the body's stream is of the kind io, with that error as its cause.";
    failing_upload_is_never_complete needs streaming_upload =>
        "A body whose stream fails never looks complete to the server.";
    short_upload_is_never_complete needs streaming_upload =>
        "A body that ends before the length it promised is an error, and never looks complete.";
}

const LARGE: usize = 8 << 20;

async fn small_body_comes_back(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let every: Vec<u8> = (0..=255).collect();
    let request = context.session()?.post(origin.url("/echo"));
    equal(
        "the echo",
        request.body(every.clone()).bytes().await?,
        every,
    )
}

async fn body_comes_back_while_it_is_sent(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let bytes = payload::bytes(256 << 10, 4);
    let request = context.session()?.post(origin.url("/echo"));
    let echo = request.body(bytes.clone()).bytes().await?;
    check(echo == bytes, "the bytes differ")
}

async fn large_upload_says_its_length(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let bytes = payload::bytes(LARGE, 5);
    let request = context.session()?.put(origin.url("/upload"));
    let shown: Value = request.body(bytes.clone()).json().await?;
    arrived(&shown, &bytes)?;
    let length = shown["content_length"].as_u64();
    equal("its Content-Length", length, Some(LARGE as u64))
}

async fn streamed_upload_is_chunked(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let bytes = payload::bytes(LARGE, 6);
    let request = context.session()?.post(origin.url("/upload"));
    let shown: Value = request.body(streamed(&bytes)).json().await?;
    arrived(&shown, &bytes)?;
    equal("chunked", shown["chunked"].as_bool(), Some(true))?;
    equal("its Content-Length", &shown["content_length"], &Value::Null)
}

async fn streamed_upload_is_whole_or_unsupported(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let bytes = payload::bytes(100_000, 7);
    let request = context.session()?.post(origin.url("/upload"));
    match request.body(streamed(&bytes)).json::<Value>().await {
        Ok(shown) => arrived(&shown, &bytes),
        Err(error) => {
            let kinds = [ErrorKind::Unsupported];
            fails("a streamed upload", Err::<(), _>(error), &kinds)?;
            equal("requests that were sent", origin.stats().requests, 0)
        }
    }
}

async fn streamed_upload_comes_back(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let bytes = payload::bytes(256 << 10, 8);
    let request = context.session()?.post(origin.url("/echo"));
    let echo = request.body(streamed(&bytes)).bytes().await?;
    check(echo == bytes, "the bytes differ")
}

async fn upload_is_sent_while_it_is_produced(context: Context) -> Result<(), Failure> {
    let (sender, arrived) = async_channel::bounded(1);
    let server = Staged::start(move |mut stage| {
        stage.read_until(b"the first piece")?;
        let _ = sender.send_blocking(());
        stage.read_until(b"the second piece")?;
        stage.read_until(b"0\r\n\r\n")?;
        stage.answer("both")?;
        stage.read_to_close();
        Ok(())
    })?;
    let first = stream::once(async { Ok("the first piece") });
    let second = stream::once(async move {
        let seen = within(
            "the first piece at the server",
            PATIENCE / 2,
            arrived.recv(),
        )
        .await;
        match seen {
            Ok(_) => Ok("the second piece"),
            Err(failure) => Err(io::Error::other(failure)),
        }
    });
    let body = Body::from_stream(first.chain(second));
    let request = context.session()?.post(server.url("/")).body(body);
    equal("the answer", request.text().await?, "both")
}

async fn sized_stream_says_its_length(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let bytes = payload::bytes(100_000, 9);
    let body = Body::wrap(Promised::new(bytes.len(), &bytes));
    let request = context.session()?.post(origin.url("/upload"));
    let shown: Value = request.body(body).json().await?;
    arrived(&shown, &bytes)?;
    let length = shown["content_length"].as_u64();
    equal("its Content-Length", length, Some(bytes.len() as u64))
}

async fn failing_upload_is_io(context: Context) -> Result<(), Failure> {
    let server = taking_one()?;
    let request = context.session()?.post(server.url("/"));
    let result = request.body(failing()).text().await;
    let error = fails("a failing upload", result, &[ErrorKind::Io])?;
    let text = with_causes(&error);
    check(text.contains(TAPE), format!("its cause is lost: {text}"))
}

async fn failing_upload_is_never_complete(context: Context) -> Result<(), Failure> {
    let server = taking_one()?;
    let request = context.session()?.post(server.url("/"));
    let result = request.body(failing()).text().await;
    check(result.is_err(), "half a body was a success")?;
    never_complete(&server).await
}

async fn short_upload_is_never_complete(context: Context) -> Result<(), Failure> {
    let server = taking_one()?;
    let body = Body::wrap(Promised::new(10, b"short"));
    let request = context.session()?.post(server.url("/")).body(body);
    let result = request.text().await;
    check(result.is_err(), "half a body was a success")?;
    never_complete(&server).await
}

fn taking_one() -> io::Result<Arc<Scripted>> {
    scripted(Script::new().read_request().send(ok("taken")).hang())
}

/// The connection ends, if there was one, and no request was whole by then.
async fn never_complete(server: &Arc<Scripted>) -> Result<(), Failure> {
    if server.connections() > 0 {
        closed(server, 0, PATIENCE).await?;
    }
    equal("requests that were complete", server.requests().len(), 0)
}

const TAPE: &str = "the tape tore";

fn failing() -> Body {
    let pieces = [Ok("half a "), Err(io::Error::other(TAPE))];
    Body::from_stream(stream::iter(pieces))
}

fn streamed(bytes: &[u8]) -> Body {
    let pieces: Vec<_> = bytes.chunks(60_000).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Error>)))
}

#[track_caller]
fn arrived(shown: &Value, bytes: &[u8]) -> Result<(), Failure> {
    let len = shown["bytes"].as_u64();
    equal("the bytes that arrived", len, Some(bytes.len() as u64))?;
    let digest = Sha256::digest(bytes);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    equal("their digest", shown["sha256"].as_str(), Some(&*digest))
}

/// A body that promises a length and then gives what it has.
struct Promised {
    left: u64,
    pieces: VecDeque<Bytes>,
}

impl Promised {
    fn new(promised: usize, bytes: &[u8]) -> Self {
        Self {
            left: promised as u64,
            pieces: bytes.chunks(4096).map(Bytes::copy_from_slice).collect(),
        }
    }
}

impl HttpBody for Promised {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = self.pieces.pop_front();
        if let Some(piece) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
