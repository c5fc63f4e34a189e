//! Observers: the events that a session reports.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inflight_core::{Connection, ErrorKind, Event, Session, Step};
use inflight_origin::script::Script;
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Failure, Result, check, check_equal};
use crate::context::{Context, drop_after};
use crate::servers::{start_origin, start_scripted, wait_for_requests};

/// The steps of the requests in the order of their events, each with the number of its request.
type Log = Arc<Mutex<Vec<(u64, RecordedStep)>>>;

#[derive(Debug, Clone, PartialEq)]
enum RecordedStep {
    Step(&'static str),
    Connected(Connection),
    Chunk(u64),
    Uploaded(u64),
    Done(u64),
    Failed(ErrorKind),
}

fn session_with_log(context: &Context) -> Result<(Session, Log)> {
    let log = Log::default();
    let recorded = log.clone();
    let session = context.builder().observe(move |event: &Event<'_>| {
        let step = match event.step {
            Step::Connected(connection) => RecordedStep::Connected(connection),
            Step::Chunk { bytes } => RecordedStep::Chunk(bytes as u64),
            Step::Uploaded(so_far) => RecordedStep::Uploaded(so_far.bytes),
            Step::Done { bytes, .. } => RecordedStep::Done(bytes),
            Step::Failed { error } => RecordedStep::Failed(error.kind()),
            step => RecordedStep::Step(step.name()),
        };
        let mut log = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        log.push((event.request, step));
    });
    Ok((session.build()?, log))
}

fn recorded_steps(log: &Log, request: u64) -> Vec<RecordedStep> {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let of_request = log.iter().filter(|(number, _)| *number == request);
    of_request.map(|(_, step)| step.clone()).collect()
}

/// An observer receives the events of a request in this order: its start, its connection, the head
/// and the chunks of its response, and its end.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn request_events_are_reported_in_order(context: Context) -> Result {
    let origin = context.httpbin()?;
    let (session, log) = session_with_log(&context)?;
    session.get(origin.url("/bytes/4000")).bytes().await?;
    let steps = recorded_steps(&log, 1);
    check_equal(
        "the start",
        &steps[..2],
        &[RecordedStep::Step("started"), RecordedStep::Step("sending")],
    )?;
    check(
        matches!(steps[2], RecordedStep::Connected(_)),
        "no connection is reported",
    )?;
    check_equal(
        "the event after the connection",
        &steps[3],
        &RecordedStep::Step("sent"),
    )?;
    check_equal(
        "the event after the sending",
        &steps[4],
        &RecordedStep::Step("head"),
    )?;
    let chunks = &steps[5..steps.len() - 1];
    let sum: u64 = chunks
        .iter()
        .map(|chunk| match chunk {
            RecordedStep::Chunk(bytes) => *bytes,
            _ => 0,
        })
        .sum();
    check_equal("the chunks", sum, 4000)?;
    check_equal("the end", steps.last(), Some(&RecordedStep::Done(4000)))
}

/// The progress of an upload is reported up to the last byte, before the event that the request was
/// sent.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn upload_progress_is_reported(context: Context) -> Result {
    const LEN: u64 = 200_000;
    let origin = context.httpbin()?;
    let (session, log) = session_with_log(&context)?;
    let upload = session.post(origin.url("/upload"));
    upload.body(vec![7; LEN as usize]).bytes().await?;
    let steps = recorded_steps(&log, 1);
    let position = |wanted: &RecordedStep| steps.iter().position(|step| step == wanted);
    let (all, sent) = (
        position(&RecordedStep::Uploaded(LEN)),
        position(&RecordedStep::Step("sent")),
    );
    check(
        all.is_some() && all < sent,
        format!("the whole upload is not reported before `sent`: {steps:?}"),
    )?;
    let is_last = matches!(steps.last(), Some(RecordedStep::Done(_)));
    check(is_last, "the end is not the last event")
}

/// The connection of the first request is reported as new, and the session counts as many
/// connections as the server.
#[apply(case!)]
#[needs(connection_events)]
async fn new_connections_are_reported(context: Context) -> Result {
    let origin = start_origin()?;
    let (session, log) = session_with_log(&context)?;
    session.get(origin.url("/bytes/10")).bytes().await?;
    check_equal(
        "the connection",
        &recorded_steps(&log, 1)[2],
        &RecordedStep::Connected(Connection::New),
    )?;
    let accepted = origin.stats().connections_accepted;
    check_equal(
        "connections opened",
        session.stats().opened,
        Some(accepted as u64),
    )?;
    check_equal("connections reused", session.stats().reused, Some(0))
}

/// A reused connection is reported as reused and counted.
#[apply(case!)]
#[needs(connection_events, connection_reuse)]
async fn reused_connections_are_reported(context: Context) -> Result {
    const MAX_REQUESTS: u64 = 20;
    let origin = start_origin()?;
    let (session, log) = session_with_log(&context)?;
    // The pool may get the connection back a moment after the response.
    for request in 1..=MAX_REQUESTS {
        session.get(origin.url("/bytes/10")).bytes().await?;
        let steps = recorded_steps(&log, request);
        if steps[2] == RecordedStep::Connected(Connection::Reused) {
            let stats = session.stats();
            // A connection may come back to the pool while a request opens a new one. The request
            // then uses the older connection, but the client counts both, so the exact counts are
            // unknown.
            let reused = stats.reused.unwrap_or(0);
            check((1..=request).contains(&reused), format!("{reused} reused"))?;
            let opened = stats.opened.unwrap_or(0);
            check((1..=request).contains(&opened), format!("{opened} opened"))?;
            return Ok(());
        }
        check_equal(
            "the connection",
            &steps[2],
            &RecordedStep::Connected(Connection::New),
        )?;
    }
    Err(Failure::new("no connection was reported as reused"))
}

/// If the connection ends within the head, the failure is reported with the kind of error that the
/// caller gets.
#[apply(case!)]
#[marks(tests_core)]
async fn failures_are_reported(context: Context) -> Result {
    let server = start_scripted(Script::new().read_request().send("HTTP/1.1 200").close())?;
    let (session, log) = session_with_log(&context)?;
    let error = session.get(server.url("/")).send().await.err();
    let error = error.ok_or_else(|| Failure::new("a truncated head was accepted as a response"))?;
    let last = recorded_steps(&log, 1).pop();
    check_equal("the end", last, Some(RecordedStep::Failed(error.kind())))
}

/// A dropped request is reported as cancelled, and no event follows.
#[apply(case!)]
#[marks(tests_core)]
async fn dropped_requests_are_reported_as_cancelled(context: Context) -> Result {
    let server = start_scripted(Script::new().read_request().hang())?;
    let (session, log) = session_with_log(&context)?;
    drop_after(
        session.get(server.url("/")).send(),
        wait_for_requests(&server, 1),
    )
    .await?;
    check_equal(
        "the end",
        recorded_steps(&log, 1).last(),
        Some(&RecordedStep::Step("cancelled")),
    )?;
    session.close(Duration::ZERO).await;
    let cancelled = recorded_steps(&log, 1).pop();
    check_equal(
        "the end after close",
        cancelled,
        Some(RecordedStep::Step("cancelled")),
    )
}
