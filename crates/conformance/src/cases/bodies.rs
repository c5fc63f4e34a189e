//! Response bodies: complete, exact and streamed.

use std::time::Duration;

use futures_util::StreamExt;
use inflight_core::Response;
use inflight_origin::payload;
use inflight_origin::script::Script;
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_text};
use crate::context::{Context, EVENT_TIMEOUT, wait_for, within};
use crate::servers::{ok_response, start_scripted};
use crate::test_server::TestServer;

const LARGE: usize = 8 << 20;

/// A body of eight MiB with a Content-Length is received exactly.
#[apply(case!)]
#[marks(in_memory)]
async fn large_body_is_exact(context: Context) -> Result {
    let origin = context.httpbin()?;
    let url = origin.url(&format!("/bytes/{LARGE}?seed=1"));
    let bytes = context.session()?.get(url).bytes().await?;
    check(bytes == payload::bytes(LARGE, 1), "the bytes differ")
}

/// A chunked body of eight MiB is received exactly.
#[apply(case!)]
#[marks(in_memory)]
async fn large_chunked_body_is_exact(context: Context) -> Result {
    let origin = context.httpbin()?;
    let url = origin.url(&format!("/stream-bytes/{LARGE}?seed=2&chunk_size=10007"));
    let bytes = context.session()?.get(url).bytes().await?;
    check(bytes == payload::bytes(LARGE, 2), "the bytes differ")
}

/// Together, the chunks of a streamed body are the whole body, in order.
#[apply(case!)]
#[marks(in_memory)]
async fn streamed_body_is_exact(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    let url = origin.url(&format!("/bytes/{LARGE}?seed=3"));
    let mut chunks = session.get(url).send().await?.into_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        check(!chunk.is_empty(), "a chunk is empty")?;
        bytes.extend_from_slice(&chunk);
    }
    check(bytes == payload::bytes(LARGE, 3), "the bytes differ")
}

/// content_length() returns the length of the body if it is known, and None otherwise.
#[apply(case!)]
#[marks(anywhere)]
async fn content_length_is_returned_if_it_is_known(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for (path, length) in [
        ("/bytes/1000", Some(1000)),
        ("/bytes/0", Some(0)),
        ("/stream-bytes/1000", None),
    ] {
        let response = session.get(origin.url(path)).send().await?;
        check_equal(path, response.content_length(), length)?;
        response.bytes().await?;
    }
    Ok(())
}

/// The response is returned once its head has arrived, before the first byte of its body.
#[apply(case!)]
#[needs(early_head)]
async fn response_is_returned_before_its_body_arrives(context: Context) -> Result {
    let (go, gate) = async_channel::bounded::<()>(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
        if gate.recv_blocking().is_ok() {
            conn.send("late")?;
        }
        conn.read_to_close();
        Ok(())
    })?;
    let request = context.session()?.get(server.url("/"));
    let response = wait_for("the head without the body", request.send()).await??;
    check_equal("the status", response.status().as_u16(), 200)?;
    go.send(()).await?;
    check_equal("the body", response.text().await?, "late")
}

/// A chunk of a body of known length is returned before the server sends the next chunk.
#[apply(case!)]
async fn sized_body_is_streamed(context: Context) -> Result {
    let total = CHUNKS.iter().map(|chunk| chunk.len()).sum::<usize>();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
    check_streaming(context, head, str::to_owned, "").await
}

/// A chunk of a chunked body is returned before the server sends the next chunk.
#[apply(case!)]
async fn chunked_body_is_streamed(context: Context) -> Result {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let chunk = |chunk: &str| format!("{:x}\r\n{chunk}\r\n", chunk.len());
    check_streaming(context, head, chunk, "0\r\n\r\n").await
}

const CHUNKS: [&str; 4] = [
    "the first,",
    " the second chunk,",
    " a third",
    " and the end",
];

/// Checks that a body is returned in chunks, as the server sends it. The server sends the head
/// together with the first chunk, because some clients return a response only once its body has
/// begun. It sends each of the other chunks once the client has read the previous one.
async fn check_streaming(
    context: Context,
    head: String,
    frame: impl Fn(&str) -> String + Send + Sync + 'static,
    end: &'static str,
) -> Result {
    let (go, gate) = async_channel::bounded::<()>(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        conn.send(head.clone() + &frame(CHUNKS[0]))?;
        for chunk in &CHUNKS[1..] {
            if gate.recv_blocking().is_err() {
                return Ok(());
            }
            conn.send(frame(chunk))?;
        }
        conn.send(end)?;
        conn.read_to_close();
        Ok(())
    })?;
    let mut response = context.session()?.get(server.url("/")).send().await?;
    for (index, chunk) in CHUNKS.iter().enumerate() {
        if index > 0 {
            go.send(()).await?;
        }
        let label = format!("the chunk {chunk:?}");
        let read = wait_for(&label, read_exactly(&mut response, chunk.len()));
        check_equal("a chunk", read.await??, chunk.as_bytes())?;
    }
    check_equal(
        "the chunk after the last one",
        response.chunk().await?,
        None,
    )
}

/// Reads `len` bytes, which may arrive in any number of chunks.
async fn read_exactly(response: &mut Response, len: usize) -> Result<Vec<u8>> {
    let mut read = Vec::new();
    while read.len() < len {
        match response.chunk().await? {
            Some(chunk) => read.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(read)
}

/// The response is the same if it arrives byte by byte.
#[apply(case!)]
async fn response_may_arrive_byte_by_byte(context: Context) -> Result {
    let session = context.session()?;
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbyt\r\n1\r\ne\r\n0\r\n\r\n";
    for response in [ok_response("byte"), chunked.to_owned()] {
        let slowly =
            Script::new()
                .read_request()
                .send_slowly(response, 1, Duration::from_millis(1));
        let server = start_scripted(slowly.hang())?;
        check_text(session.get(server.url("/")), "byte").await?;
    }
    Ok(())
}

/// The client reads a body only as fast as the caller does, so a slow caller slows the server.
#[apply(case!)]
async fn unread_body_blocks_the_sender(context: Context) -> Result {
    // More than the socket buffers of both sides hold, and more than a client may reasonably read
    // ahead.
    const TOTAL: usize = 64 << 20;
    const STALL: Duration = Duration::from_millis(300);
    let (sender, sent) = async_channel::bounded(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
        conn.send(head)?;
        let _ = sender.send_blocking(conn.send_until_stalled(TOTAL, STALL)?);
        conn.read_to_close();
        Ok(())
    })?;
    let mut response = context.session()?.get(server.url("/")).send().await?;
    let first = response.chunk().await?;
    check(first.is_some(), "there is no first chunk")?;
    let sent = within("a write that blocks", EVENT_TIMEOUT, sent.recv()).await??;
    check(
        sent < TOTAL,
        format!("the client read all {TOTAL} bytes although the caller read only one chunk"),
    )
}
