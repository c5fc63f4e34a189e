//! Message framing: where a response ends.

use std::time::Duration;

use inflight_core::{Error, ErrorKind, Phase};
use inflight_origin::script::Script;

use crate::case::suite;
use crate::check::{Failure, equal, fails};
use crate::context::{Context, EVENT_TIMEOUT, within};
use crate::servers::{answering, ok, scripted};
use crate::test_server::TestServer;

suite! { "framing":
    close_delimited_body_is_whole needs close_delimited =>
        "A body without a length ends when the connection is closed, on HTTP/1.0 and 1.1.";
    close_delimited_body_is_never_short =>
        "A body without a length is received completely or is an error, never something else.";
    reset_in_a_close_delimited_body_is_incomplete =>
        "A body without a length that ends with a reset is an error of the kind incomplete (RFC 9112, 8).";
    interim_responses_are_passed_over needs interim_responses =>
        "The responses 100, 102 and 103 before the final one are skipped.";
    interim_response_is_never_the_answer =>
        "An interim response is skipped or is an error, and is never returned as the final response.";
    chunk_sizes_are_hexadecimal =>
        "Chunk sizes are hexadecimal, in upper or lower case, with or without leading zeros.";
    bytes_behind_a_response_reach_nobody =>
        "Bytes that a server sends after a response are not part of any response.";
    bytes_between_two_requests_reach_nobody needs retired_connections =>
        "Bytes that a server sends later, before the next request, are not part of any response either (RFC 9112, 9.2).";
    answer_before_the_request_is_an_answer_or_an_error =>
        "A response that arrives before its request was sent is returned or is an error, at once.";
    head_that_trickles_is_held_to_the_time =>
        "A head that arrives slowly, byte by byte, is limited by head_timeout and by the request's timeout.";
    body_that_trickles_has_the_whole_time =>
        "A body that arrives slowly, byte by byte, is limited by the request's timeout and not by read_timeout.";
}

/// The time limit for slow responses, which would take minutes to send.
const TIME_LIMIT: Duration = Duration::from_millis(300);

async fn head_that_trickles_is_held_to_the_time(context: Context) -> Result<(), Failure> {
    let head = format!("HTTP/1.1 200 OK\r\nX-Slow: {}", "x".repeat(10_000));
    let script = Script::new()
        .read_request()
        .send_slowly(head, 1, TIME_LIMIT / 10);
    let server = scripted(script)?;
    let by_phase = context.builder().head_timeout(TIME_LIMIT).build()?;
    let whole = context.builder().timeout(TIME_LIMIT).build()?;
    for (session, phase) in [(by_phase, Phase::Head), (whole, Phase::Total)] {
        let response = session.get(server.url("/")).send();
        let response = within("the timeout", EVENT_TIMEOUT / 2, response).await?;
        let error = fails("the head", response, &[ErrorKind::Timeout])?;
        equal("the phase", error.phase(), Some(phase))?;
    }
    Ok(())
}

async fn body_that_trickles_has_the_whole_time(context: Context) -> Result<(), Failure> {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let body = "x".repeat(100_000);
    let script = Script::new().read_request().send(head);
    let server = scripted(script.send_slowly(body, 1, TIME_LIMIT / 10))?;
    let builder = context.builder().read_timeout(EVENT_TIMEOUT);
    let session = builder.timeout(TIME_LIMIT).build()?;
    let text = session.get(server.url("/")).text();
    let text = within("the timeout", EVENT_TIMEOUT / 2, text).await?;
    let error = fails("the body", text, &[ErrorKind::Timeout])?;
    equal("the phase", error.phase(), Some(Phase::Total))
}

async fn close_delimited_body_is_whole(context: Context) -> Result<(), Failure> {
    for version in ["1.0", "1.1"] {
        equal(version, close_delimited(&context, version).await?, TEXT)?;
    }
    Ok(())
}

async fn close_delimited_body_is_never_short(context: Context) -> Result<(), Failure> {
    for version in ["1.0", "1.1"] {
        right_or_refused(version, close_delimited(&context, version).await, TEXT)?;
    }
    Ok(())
}

async fn reset_in_a_close_delimited_body_is_incomplete(context: Context) -> Result<(), Failure> {
    for version in ["1.0", "1.1"] {
        let response = format!("HTTP/{version} 200 OK\r\nContent-Type: text/plain\r\n\r\n{TEXT}");
        let server = scripted(Script::new().read_request().send(response).reset())?;
        let text = context.session()?.get(server.url("/")).text().await;
        fails(version, text, &[ErrorKind::Incomplete])?;
    }
    Ok(())
}

const TEXT: &str = "until the end";

async fn close_delimited(context: &Context, version: &str) -> Result<String, CaseError> {
    let response = format!("HTTP/{version} 200 OK\r\nContent-Type: text/plain\r\n\r\n{TEXT}");
    let script = Script::new().read_request().send(response).close();
    let server = scripted(script)?;
    Ok(context.session()?.get(server.url("/")).text().await?)
}

async fn interim_responses_are_passed_over(context: Context) -> Result<(), Failure> {
    for interim in INTERIM {
        equal(interim, after_interim(&context, interim).await?, "final")?;
    }
    Ok(())
}

async fn interim_response_is_never_the_answer(context: Context) -> Result<(), Failure> {
    for interim in INTERIM {
        right_or_refused(interim, after_interim(&context, interim).await, "final")?;
    }
    Ok(())
}

const INTERIM: [&str; 4] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 102 Processing\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
];

async fn after_interim(context: &Context, interim: &str) -> Result<String, CaseError> {
    let server = scripted(answering(1, &(interim.to_owned() + &ok("final"))))?;
    let response = context.session()?.get(server.url("/")).send().await?;
    let status = response.status();
    let text = response.text().await?;
    Ok(if status == 200 {
        text
    } else {
        format!("{status}: {text}")
    })
}

/// An error of the exchange, which the case checks, or of the suite, which fails the case.
enum CaseError {
    Exchange(Error),
    Suite(Failure),
}

impl From<Error> for CaseError {
    fn from(error: Error) -> Self {
        Self::Exchange(error)
    }
}

impl From<Failure> for CaseError {
    fn from(failure: Failure) -> Self {
        Self::Suite(failure)
    }
}

impl From<std::io::Error> for CaseError {
    fn from(error: std::io::Error) -> Self {
        Self::Suite(error.into())
    }
}

impl From<CaseError> for Failure {
    #[track_caller]
    fn from(error: CaseError) -> Self {
        match error {
            CaseError::Exchange(error) => error.into(),
            CaseError::Suite(failure) => failure,
        }
    }
}

#[track_caller]
fn right_or_refused(
    what: &str,
    result: Result<String, CaseError>,
    right: &str,
) -> Result<(), Failure> {
    match result {
        Ok(text) => equal(what, text, right),
        Err(CaseError::Exchange(error)) => {
            let kinds = [ErrorKind::Protocol, ErrorKind::Unsupported];
            fails(what, Err::<(), _>(error), &kinds).map(drop)
        }
        Err(CaseError::Suite(failure)) => Err(failure),
    }
}

async fn chunk_sizes_are_hexadecimal(context: Context) -> Result<(), Failure> {
    let (a, b) = ("a".repeat(0xab), "b".repeat(0x1f));
    let response = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nAB\r\n{a}\r\n001f\r\n{b}\r\n0\r\n\r\n"
    );
    let server = scripted(answering(1, &response))?;
    equal(
        "the body",
        context.session()?.get(server.url("/")).text().await?,
        a + &b,
    )
}

/// The bytes are on the connection when the client reuses it, and must not be read as a response.
async fn bytes_behind_a_response_reach_nobody(context: Context) -> Result<(), Failure> {
    let first = ok("first") + &ok("poison");
    let server = inflight_origin::script::Scripted::start(move |connection| {
        let script = Script::new().read_request();
        match connection {
            0 => script.send(first.clone()).read_request(),
            _ => script,
        }
        .send(ok("second"))
        .hang()
    })?;
    let session = context.session()?;
    equal(
        "the first body",
        session.get(server.url("/1")).text().await?,
        "first",
    )?;
    match session.get(server.url("/2")).text().await {
        Ok(text) => equal("the second body", text, "second"),
        // An error is as good as a new connection.
        Err(error) => {
            let kinds = [ErrorKind::Protocol, ErrorKind::Incomplete];
            fails("the second request", Err::<(), _>(error), &kinds).map(drop)
        }
    }
}

async fn bytes_between_two_requests_reach_nobody(context: Context) -> Result<(), Failure> {
    let (go, gate) = async_channel::bounded::<()>(1);
    let (sender, closed) = async_channel::bounded(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        if conn.number > 0 {
            conn.answer("second")?;
        } else {
            conn.answer("first")?;
            let _ = gate.recv_blocking();
            conn.answer("poison")?;
            conn.read_to_close();
            // The case may already have failed.
            let _ = sender.send_blocking(());
        }
        conn.read_to_close();
        Ok(())
    })?;
    let session = context.session()?;
    equal(
        "the first body",
        session.get(server.url("/1")).text().await?,
        "first",
    )?;
    drop(go);
    // Some clients check a connection when they reuse it, others read at once. Bytes that arrive later,
    // at the time of the request, could not be distinguished from a fast response.
    let _ = within("the client's close", EVENT_TIMEOUT / 8, closed.recv()).await;
    match session.get(server.url("/2")).text().await {
        Ok(text) => equal("the second body", text, "second"),
        // An error is as good as a new connection.
        Err(error) => {
            let kinds = [ErrorKind::Protocol, ErrorKind::Incomplete];
            fails("the second request", Err::<(), _>(error), &kinds).map(drop)
        }
    }
}

/// On a new connection, such a response cannot be distinguished from a fast one.
async fn answer_before_the_request_is_an_answer_or_an_error(
    context: Context,
) -> Result<(), Failure> {
    let server = TestServer::start(|mut conn| {
        conn.answer("early")?;
        conn.read_to_close();
        Ok(())
    })?;
    match context.session()?.get(server.url("/")).text().await {
        Ok(text) => equal("the body", text, "early"),
        Err(error) => {
            let kinds = [ErrorKind::Protocol, ErrorKind::Incomplete];
            fails("the request", Err::<(), _>(error), &kinds).map(drop)
        }
    }
}
