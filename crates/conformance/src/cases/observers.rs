//! What a session tells those who observe it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inflight_core::{Connection, ErrorKind, Event, Session, Step};
use inflight_origin::script::Script;

use crate::case::suite;
use crate::check::{Failure, check, equal};
use crate::context::{Context, abandon};
use crate::servers::{origin, requests, scripted};

suite! { "observers":
    requests_are_told_step_by_step [anywhere] =>
        "A request is told from its start over its connection, its head and its pieces to its end, in this order.";
    uploads_are_told [in_memory] =>
        "What is taken of a request's body is told up to its end, before the request is done.";
    connections_are_told needs connection_events =>
        "The first request's connection is told to be new, as the server sees it, and counted.";
    kept_connections_are_told needs connection_events, connection_reuse =>
        "A request on a kept connection is told so, and counted.";
    failures_are_told =>
        "A connection that ends within the head is told as a failure of the kind that the caller gets.";
    dropped_requests_are_told =>
        "A request that is dropped is told to be cancelled, and nothing of it is told later.";
}

type Log = Arc<Mutex<Vec<(u64, Told)>>>;

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Step(&'static str),
    Connected(Connection),
    Chunk(u64),
    Uploaded(u64),
    Done(u64),
    Failed(ErrorKind),
}

fn observed(context: &Context) -> Result<(Session, Log), Failure> {
    let log = Log::default();
    let told = log.clone();
    let session = context.builder().observe(move |event: &Event<'_>| {
        let step = match event.step {
            Step::Connected(connection) => Told::Connected(connection),
            Step::Chunk { bytes } => Told::Chunk(bytes as u64),
            Step::Uploaded(so_far) => Told::Uploaded(so_far.bytes),
            Step::Done { bytes } => Told::Done(bytes),
            Step::Failed { error } => Told::Failed(error.kind()),
            step => Told::Step(step.name()),
        };
        let mut log = told.lock().unwrap_or_else(PoisonError::into_inner);
        log.push((event.request, step));
    });
    Ok((session.build()?, log))
}

fn told(log: &Log, request: u64) -> Vec<Told> {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let own = log.iter().filter(|(number, _)| *number == request);
    own.map(|(_, told)| told.clone()).collect()
}

async fn requests_are_told_step_by_step(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let (session, log) = observed(&context)?;
    session.get(origin.url("/bytes/4000")).bytes().await?;
    let told = told(&log, 1);
    equal(
        "the start",
        &told[..2],
        &[Told::Step("started"), Told::Step("sending")],
    )?;
    check(
        matches!(told[2], Told::Connected(_)),
        "no connection is told",
    )?;
    equal("then", &told[3], &Told::Step("sent"))?;
    equal("then", &told[4], &Told::Step("head"))?;
    let pieces = &told[5..told.len() - 1];
    let sum: u64 = pieces
        .iter()
        .map(|piece| match piece {
            Told::Chunk(bytes) => *bytes,
            _ => 0,
        })
        .sum();
    equal("the pieces", sum, 4000)?;
    equal("the end", told.last(), Some(&Told::Done(4000)))
}

async fn uploads_are_told(context: Context) -> Result<(), Failure> {
    const LEN: u64 = 200_000;
    let origin = context.pages()?;
    let (session, log) = observed(&context)?;
    let upload = session.post(origin.url("/upload"));
    upload.body(vec![7; LEN as usize]).bytes().await?;
    let told = told(&log, 1);
    let place = |wanted: &Told| told.iter().position(|told| told == wanted);
    let (all, sent) = (place(&Told::Uploaded(LEN)), place(&Told::Step("sent")));
    check(all.is_some() && all < sent, format!("not told: {told:?}"))?;
    let is_last = matches!(told.last(), Some(Told::Done(_)));
    check(is_last, "the end is not the last that is told")
}

async fn connections_are_told(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let (session, log) = observed(&context)?;
    session.get(origin.url("/bytes/10")).bytes().await?;
    equal(
        "the connection",
        &told(&log, 1)[2],
        &Told::Connected(Connection::New),
    )?;
    let seen = origin.stats().connections_accepted;
    equal("those counted", session.stats().opened, Some(seen as u64))?;
    equal("those kept", session.stats().reused, Some(0))
}

async fn kept_connections_are_told(context: Context) -> Result<(), Failure> {
    const MOST: u64 = 20;
    let origin = origin()?;
    let (session, log) = observed(&context)?;
    // A client may need a moment to have its connection back.
    for request in 1..=MOST {
        session.get(origin.url("/bytes/10")).bytes().await?;
        let told = told(&log, request);
        if told[2] == Told::Connected(Connection::Reused) {
            let stats = session.stats();
            // One that was made for a request may lose to one that came back meanwhile.
            let reused = stats.reused.unwrap_or(0);
            check((1..=request).contains(&reused), format!("{reused} kept"))?;
            // One may have been begun that nobody needed, when the first came back.
            let made = stats.opened.unwrap_or(0);
            check((1..=request).contains(&made), format!("{made} made"))?;
            return Ok(());
        }
        equal(
            "the connection",
            &told[2],
            &Told::Connected(Connection::New),
        )?;
    }
    Err(Failure::new("no connection was told to be a kept one"))
}

async fn failures_are_told(context: Context) -> Result<(), Failure> {
    let server = scripted(Script::new().read_request().send("HTTP/1.1 200").close())?;
    let (session, log) = observed(&context)?;
    let error = session.get(server.url("/")).send().await.err();
    let error = error.ok_or_else(|| Failure::new("a cut head was taken for a response"))?;
    let last = told(&log, 1).pop();
    equal("the end", last, Some(Told::Failed(error.kind())))
}

async fn dropped_requests_are_told(context: Context) -> Result<(), Failure> {
    let server = scripted(Script::new().read_request().hang())?;
    let (session, log) = observed(&context)?;
    abandon(session.get(server.url("/")).send(), requests(&server, 1)).await?;
    equal(
        "the end",
        told(&log, 1).last(),
        Some(&Told::Step("cancelled")),
    )?;
    session.close(Duration::ZERO).await;
    let cancelled = told(&log, 1).pop();
    equal(
        "the end after close",
        cancelled,
        Some(Told::Step("cancelled")),
    )
}
