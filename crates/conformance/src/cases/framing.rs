//! Message framing: where a response ends.

use std::time::Duration;

use inflight_core::{Error, ErrorKind, Phase};
use inflight_origin::script::Script;
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Result, check_equal, check_equal_or_error, check_error, check_text};
use crate::context::{Context, EVENT_TIMEOUT, wait_for, within};
use crate::servers::{ok_response, response_script, start_scripted};
use crate::test_server::TestServer;

/// A body without a length ends when the connection is closed, on HTTP/1.0 and 1.1.
#[apply(case!)]
#[needs(close_delimited)]
async fn close_delimited_body_is_complete(context: Context) -> Result {
    for version in ["1.0", "1.1"] {
        check_equal(
            version,
            read_close_delimited(&context, version).await??,
            TEXT,
        )?;
    }
    Ok(())
}

/// A body without a length is received completely or is an error.
#[apply(case!)]
async fn close_delimited_body_is_complete_or_an_error(context: Context) -> Result {
    for version in ["1.0", "1.1"] {
        let text = read_close_delimited(&context, version).await?;
        check_equal_or_error(version, text, TEXT, &REFUSAL_KINDS)?;
    }
    Ok(())
}

/// If a reset ends a body without a length, the error is of the kind incomplete (RFC 9112, 8).
#[apply(case!)]
async fn reset_in_a_close_delimited_body_is_an_incomplete_error(context: Context) -> Result {
    for version in ["1.0", "1.1"] {
        let response = format!("HTTP/{version} 200 OK\r\nContent-Type: text/plain\r\n\r\n{TEXT}");
        let server = start_scripted(Script::new().read_request().send(response).reset())?;
        let text = context.session()?.get(server.url("/")).text().await;
        check_error(version, text, &[ErrorKind::Incomplete])?;
    }
    Ok(())
}

const TEXT: &str = "until the end";

/// The kinds of error with which a client may refuse a response.
const REFUSAL_KINDS: [ErrorKind; 2] = [ErrorKind::Protocol, ErrorKind::Unsupported];

/// The kinds of error with which a request may fail on a connection with unexpected bytes. The
/// client may also open a new connection instead.
const POISONED_KINDS: [ErrorKind; 2] = [ErrorKind::Protocol, ErrorKind::Incomplete];

async fn read_close_delimited(context: &Context, version: &str) -> Result<Result<String, Error>> {
    let response = format!("HTTP/{version} 200 OK\r\nContent-Type: text/plain\r\n\r\n{TEXT}");
    let script = Script::new().read_request().send(response).close();
    let server = start_scripted(script)?;
    Ok(context.session()?.get(server.url("/")).text().await)
}

/// The interim responses 100, 102 and 103 before the final response are skipped.
#[apply(case!)]
#[needs(interim_responses)]
async fn interim_responses_are_skipped(context: Context) -> Result {
    for interim in INTERIM {
        let answer = read_after_interim(&context, interim).await??;
        check_equal(interim, answer, (200, "final".to_owned()))?;
    }
    Ok(())
}

/// An interim response is skipped or is an error, and is never returned as the final response.
#[apply(case!)]
async fn interim_response_is_never_returned_as_the_final_one(context: Context) -> Result {
    for interim in INTERIM {
        let answer = read_after_interim(&context, interim).await?;
        check_equal_or_error(interim, answer, (200, "final".to_owned()), &REFUSAL_KINDS)?;
    }
    Ok(())
}

const INTERIM: [&str; 4] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 102 Processing\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
];

/// Returns the status and the body of a response after these interim responses.
async fn read_after_interim(
    context: &Context,
    interim: &str,
) -> Result<Result<(u16, String), Error>> {
    let server = start_scripted(response_script(
        1,
        &(interim.to_owned() + &ok_response("final")),
    ))?;
    let request = context.session()?.get(server.url("/"));
    let answer = async {
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    };
    Ok(answer.await)
}

/// Chunk sizes are hexadecimal, in upper or lower case, with or without leading zeros.
#[apply(case!)]
async fn chunk_sizes_are_hexadecimal(context: Context) -> Result {
    let (a, b) = ("a".repeat(0xab), "b".repeat(0x1f));
    let response = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nAB\r\n{a}\r\n001f\r\n{b}\r\n0\r\n\r\n"
    );
    let server = start_scripted(response_script(1, &response))?;
    check_text(context.session()?.get(server.url("/")), a + &b).await
}

/// Bytes that a server sends after a response are not part of any response.
#[apply(case!)]
async fn bytes_after_a_response_are_never_returned(context: Context) -> Result {
    // The response `poison` is already on the connection when the second request is sent. The client
    // must not read `poison` as the response to that request.
    let first = ok_response("first") + &ok_response("poison");
    let server = inflight_origin::script::ScriptedServer::start(move |connection| {
        let script = Script::new().read_request();
        match connection {
            0 => script.send(first.clone()).read_request(),
            _ => script,
        }
        .send(ok_response("second"))
        .hang()
    })?;
    let session = context.session()?;
    check_text(session.get(server.url("/1")), "first").await?;
    let second = session.get(server.url("/2")).text().await;
    check_equal_or_error("the second body", second, "second", &POISONED_KINDS)
}

/// Bytes that a server sends between two requests are not part of any response (RFC 9112, 9.2).
#[apply(case!)]
#[needs(retired_connections)]
async fn bytes_between_two_requests_are_never_returned(context: Context) -> Result {
    let (go, gate) = async_channel::bounded::<()>(1);
    let (sender, closed) = async_channel::bounded(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        if conn.index > 0 {
            conn.answer("second")?;
        } else {
            conn.answer("first")?;
            let _ = gate.recv_blocking();
            conn.answer("poison")?;
            conn.read_to_close();
            // Sending fails if the case has already failed.
            let _ = sender.send_blocking(());
        }
        conn.read_to_close();
        Ok(())
    })?;
    let session = context.session()?;
    check_text(session.get(server.url("/1")), "first").await?;
    drop(go);
    // Some clients check a connection when they reuse it, and others read from it while it is idle.
    // If the bytes arrived after the second request was sent, no client could distinguish them from a
    // fast response. So the case waits until the client has closed the connection or had time to
    // receive the bytes.
    let _ = within("the client's close", EVENT_TIMEOUT / 8, closed.recv()).await;
    let second = session.get(server.url("/2")).text().await;
    check_equal_or_error("the second body", second, "second", &POISONED_KINDS)
}

/// If a response arrives before its request was sent, the client returns the response or an error
/// without waiting.
#[apply(case!)]
async fn response_before_the_request_is_returned_or_an_error(context: Context) -> Result {
    // On a new connection, this response cannot be distinguished from a fast response.
    let server = TestServer::start(|mut conn| {
        conn.answer("early")?;
        conn.read_to_close();
        Ok(())
    })?;
    let text = context.session()?.get(server.url("/")).text().await;
    check_equal_or_error("the body", text, "early", &POISONED_KINDS)
}

/// The timeout for slow responses. Without a timeout, they would take minutes.
const TIME_LIMIT: Duration = Duration::from_millis(300);

/// If a head arrives slowly, byte by byte, head_timeout or the request's timeout ends the request.
#[apply(case!)]
async fn timeouts_limit_a_slow_head(context: Context) -> Result {
    let head = format!("HTTP/1.1 200 OK\r\nX-Slow: {}", "x".repeat(10_000));
    let script = Script::new()
        .read_request()
        .send_slowly(head, 1, TIME_LIMIT / 10);
    let server = start_scripted(script)?;
    let by_phase = context.builder().head_timeout(TIME_LIMIT).build()?;
    let whole = context.builder().timeout(TIME_LIMIT).build()?;
    for (session, phase) in [(by_phase, Phase::Head), (whole, Phase::Total)] {
        let response = session.get(server.url("/")).send();
        let response = wait_for("the timeout", response).await?;
        let error = check_error("the head", response, &[ErrorKind::Timeout])?;
        check_equal("the phase", error.phase(), Some(phase))?;
    }
    Ok(())
}

/// If a body arrives slowly, byte by byte, the request's timeout ends the request, and read_timeout
/// does not.
#[apply(case!)]
async fn only_the_total_timeout_limits_a_slow_body(context: Context) -> Result {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let body = "x".repeat(100_000);
    let script = Script::new().read_request().send(head);
    let server = start_scripted(script.send_slowly(body, 1, TIME_LIMIT / 10))?;
    let builder = context.builder().read_timeout(EVENT_TIMEOUT);
    let session = builder.timeout(TIME_LIMIT).build()?;
    let text = session.get(server.url("/")).text();
    let text = wait_for("the timeout", text).await?;
    let error = check_error("the body", text, &[ErrorKind::Timeout])?;
    check_equal("the phase", error.phase(), Some(Phase::Total))
}
