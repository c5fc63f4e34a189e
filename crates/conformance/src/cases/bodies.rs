//! Bodies of responses: whole, exact, and as they come.

use std::time::Duration;

use futures_util::StreamExt;
use inflight_core::Response;
use inflight_origin::payload;
use inflight_origin::script::Script;

use crate::case::suite;
use crate::check::{Failure, check, equal};
use crate::context::{Context, PATIENCE, within};
use crate::servers::{ok, scripted};
use crate::staged::Staged;

suite! { "bodies":
    large_body_is_exact [in_memory] =>
        "Eight MiB of known length come out to the byte.";
    large_chunked_body_is_exact [in_memory] =>
        "Eight MiB in chunks come out to the byte.";
    streamed_body_is_exact [in_memory] =>
        "The pieces of a body, one after another, are the body.";
    content_length_is_told [anywhere] =>
        "A response says its body's length when it is known, and else nothing.";
    head_resolves_before_the_body needs early_head =>
        "The response is there when its head is, before the first byte of its body.";
    sized_body_comes_as_it_is_sent =>
        "A piece of a body of known length is there before the server sends the next.";
    chunked_body_comes_as_it_is_sent =>
        "A chunk is there before the server sends the next.";
    response_may_come_byte_by_byte =>
        "How the bytes are cut into packets changes nothing.";
    unread_body_holds_the_sender =>
        "Nothing is read before it is asked for: whoever reads slowly slows the sender.";
}

const LARGE: usize = 8 << 20;

async fn large_body_is_exact(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let url = origin.url(&format!("/bytes/{LARGE}?seed=1"));
    let bytes = context.session()?.get(url).bytes().await?;
    check(bytes == payload::bytes(LARGE, 1), "the bytes differ")
}

async fn large_chunked_body_is_exact(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let url = origin.url(&format!("/stream-bytes/{LARGE}?seed=2&chunk_size=10007"));
    let bytes = context.session()?.get(url).bytes().await?;
    check(bytes == payload::bytes(LARGE, 2), "the bytes differ")
}

async fn streamed_body_is_exact(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    let url = origin.url(&format!("/bytes/{LARGE}?seed=3"));
    let mut pieces = session.get(url).send().await?.into_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        check(!piece.is_empty(), "an empty piece is no piece")?;
        bytes.extend_from_slice(&piece);
    }
    check(bytes == payload::bytes(LARGE, 3), "the bytes differ")
}

async fn content_length_is_told(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    for (path, length) in [
        ("/bytes/1000", Some(1000)),
        ("/bytes/0", Some(0)),
        ("/stream-bytes/1000", None),
    ] {
        let response = session.get(origin.url(path)).send().await?;
        equal(path, response.content_length(), length)?;
        response.bytes().await?;
    }
    Ok(())
}

async fn head_resolves_before_the_body(context: Context) -> Result<(), Failure> {
    let (go, gate) = async_channel::bounded::<()>(1);
    let server = Staged::start(move |mut stage| {
        stage.read_head()?;
        stage.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
        if gate.recv_blocking().is_ok() {
            stage.send("late")?;
        }
        stage.read_to_close();
        Ok(())
    })?;
    let request = context.session()?.get(server.url("/"));
    let response = within("the head without the body", PATIENCE / 2, request.send()).await??;
    equal("the status", response.status().as_u16(), 200)?;
    go.try_send(())
        .map_err(|_| Failure::new("the server is gone"))?;
    equal("the body", response.text().await?, "late")
}

async fn sized_body_comes_as_it_is_sent(context: Context) -> Result<(), Failure> {
    let total = PIECES.iter().map(|piece| piece.len()).sum::<usize>();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
    comes_as_it_is_sent(context, head, str::to_owned, "").await
}

async fn chunked_body_comes_as_it_is_sent(context: Context) -> Result<(), Failure> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let chunk = |piece: &str| format!("{:x}\r\n{piece}\r\n", piece.len());
    comes_as_it_is_sent(context, head, chunk, "0\r\n\r\n").await
}

const PIECES: [&str; 4] = [
    "the first,",
    " the second piece,",
    " a third",
    " and the end",
];

/// The head comes with the first piece, so that this is not about early heads; each piece after
/// it waits for the one before to have been read.
async fn comes_as_it_is_sent(
    context: Context,
    head: String,
    framed: impl Fn(&str) -> String + Send + Sync + 'static,
    end: &'static str,
) -> Result<(), Failure> {
    let (go, gate) = async_channel::bounded::<()>(1);
    let server = Staged::start(move |mut stage| {
        stage.read_head()?;
        stage.send(head.clone() + &framed(PIECES[0]))?;
        for piece in &PIECES[1..] {
            if gate.recv_blocking().is_err() {
                return Ok(());
            }
            stage.send(framed(piece))?;
        }
        stage.send(end)?;
        stage.read_to_close();
        Ok(())
    })?;
    let mut response = context.session()?.get(server.url("/")).send().await?;
    for (index, piece) in PIECES.iter().enumerate() {
        if index > 0 {
            go.send(())
                .await
                .map_err(|_| Failure::new("the server is gone"))?;
        }
        let what = format!("the piece {piece:?}");
        let read = within(
            &what,
            PATIENCE / 2,
            read_exactly(&mut response, piece.len()),
        );
        equal("a piece", read.await??, piece.as_bytes())?;
    }
    equal("what follows", response.chunk().await?, None)
}

/// Pieces may come together or in parts.
async fn read_exactly(response: &mut Response, len: usize) -> Result<Vec<u8>, Failure> {
    let mut read = Vec::new();
    while read.len() < len {
        match response.chunk().await? {
            Some(chunk) => read.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(read)
}

async fn response_may_come_byte_by_byte(context: Context) -> Result<(), Failure> {
    let session = context.session()?;
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbyt\r\n1\r\ne\r\n0\r\n\r\n";
    for response in [ok("byte"), chunked.to_owned()] {
        let slowly =
            Script::new()
                .read_request()
                .send_slowly(response, 1, Duration::from_millis(1));
        let server = scripted(slowly.hang())?;
        equal(
            "the body",
            session.get(server.url("/")).text().await?,
            "byte",
        )?;
    }
    Ok(())
}

async fn unread_body_holds_the_sender(context: Context) -> Result<(), Failure> {
    // More than two kernels' buffers hold, and than a client may reasonably read ahead.
    const TOTAL: usize = 64 << 20;
    const STALL: Duration = Duration::from_millis(300);
    let (sender, taken) = async_channel::bounded(1);
    let server = Staged::start(move |mut stage| {
        stage.read_head()?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
        stage.send(head)?;
        let _ = sender.send_blocking(stage.send_until_stalled(TOTAL, STALL)?);
        stage.read_to_close();
        Ok(())
    })?;
    let mut response = context.session()?.get(server.url("/")).send().await?;
    let first = response.chunk().await?;
    check(first.is_some(), "there is no first piece")?;
    let taken = within("an end to the sending", PATIENCE, taken.recv()).await?;
    let taken = taken.map_err(|_| Failure::new("the client left"))?;
    check(
        taken < TOTAL,
        format!("the client took all {TOTAL} bytes though it was asked for one piece"),
    )
}
