//! Timeouts: their errors and phases. A timeout never fires early.

use std::fmt;
use std::time::Duration;

use inflight_core::{Body, Error, ErrorKind, Phase, Runtime, Session, gather};
use inflight_origin::script::{Script, ScriptedServer};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_error};
use crate::context::{Context, EVENT_TIMEOUT, within};
use crate::servers::{start_origin, start_scripted, wait_for_counts};

const LIMIT: Duration = Duration::from_millis(300);
/// A request with the timeout [`LIMIT`] must end within this time.
const MAX_DURATION: Duration = Duration::from_secs(4);

/// If a connect takes longer than connect_timeout, the error is of the kind timeout.
#[apply(case!)]
async fn connect_timeout_is_a_timeout_error(context: Context) -> Result {
    check_connect_timeout(&context).await.map(drop)
}

/// If a connect takes longer than connect_timeout, the error is a timeout of the phase connect.
#[apply(case!)]
#[needs(connect_phase)]
async fn connect_timeout_reports_its_phase(context: Context) -> Result {
    let error = check_connect_timeout(&context).await?;
    check_equal("the phase", error.phase(), Some(Phase::Connect))?;
    check(error.is_connect(), "is_connect() is false")
}

async fn check_connect_timeout(context: &Context) -> Result<Error> {
    let unaccepting = crate::context::run_blocking(ScriptedServer::unaccepting_address).await??;
    let session = context.builder().connect_timeout(LIMIT).build()?;
    check_timeout(&session, session.get(unaccepting.url("/")).text()).await
}

/// If a connect takes longer than the request's timeout, the error is a timeout of the phase total.
#[apply(case!)]
async fn timeout_covers_connecting(context: Context) -> Result {
    let unaccepting = crate::context::run_blocking(ScriptedServer::unaccepting_address).await??;
    let session = context.builder().connect_timeout(None).timeout(LIMIT);
    let session = session.build()?;
    let error = check_timeout(&session, session.get(unaccepting.url("/")).text()).await?;
    check_equal("the phase", error.phase(), Some(Phase::Total))
}

/// If a server does not respond, the request's timeout ends the request.
#[apply(case!)]
#[marks(in_memory)]
async fn timeout_covers_the_head(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().timeout(LIMIT).build()?;
    let error = check_timeout(&session, session.get(origin.url("/hang")).text()).await?;
    check_equal("the phase", error.phase(), Some(Phase::Total))
}

/// If a body stalls, the request's timeout ends the request.
#[apply(case!)]
#[marks(in_memory)]
async fn timeout_covers_the_body(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().timeout(LIMIT).build()?;
    let error = check_timeout(&session, session.get(origin.url("/hang-body")).text()).await?;
    check_equal("the phase", error.phase(), Some(Phase::Total))
}

/// The request's timeout ends a body that arrives slowly but never pauses for long.
#[apply(case!)]
#[marks(in_memory)]
async fn timeout_covers_a_slow_body(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().timeout(LIMIT).build()?;
    let url = origin.url("/slow-body?chunks=1000&size=1&pause_ms=10");
    let error = check_timeout(&session, session.get(url).text()).await?;
    check_equal("the phase", error.phase(), Some(Phase::Total))
}

/// If a server does not read the request's body, the request's timeout ends the request.
#[apply(case!)]
async fn timeout_covers_sending(context: Context) -> Result {
    let server = start_scripted(Script::new().read_head().pause(Duration::from_secs(60)))?;
    let session = context.builder().timeout(LIMIT).build()?;
    // More than the socket buffers of both sides hold.
    let body = Body::from(vec![b'.'; 64 << 20]);
    let error = check_timeout(&session, session.post(server.url("/")).body(body).text()).await?;
    check_equal("the phase", error.phase(), Some(Phase::Total))
}

/// The timeout starts when the request gets its permit: ten requests of 300 ms one after another all
/// succeed with a timeout of 2 s.
#[apply(case!)]
async fn timeout_starts_with_the_permit(context: Context) -> Result {
    let origin = start_origin()?;
    let builder = context.builder().max_per_host(1);
    let session = builder.timeout(Duration::from_secs(2)).build()?;
    let requests = (0..10).map(|_| session.get(origin.url("/delay-ms/300")).bytes());
    let all = gather(requests).all().await;
    check(all.is_ok(), format!("{all:?}"))
}

/// The request's deadline includes the wait for a permit under max_in_flight.
#[apply(case!)]
async fn deadline_covers_the_queue(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.builder().max_in_flight(1).build()?;
    let mut first = session.get(origin.url("/hang-body")).send().await?;
    // Read a chunk, because an unread response would fail the queued request with another error.
    first.chunk().await?;
    let deadline = session.runtime().now() + LIMIT;
    let queued = session.get(origin.url("/page/1")).deadline(deadline).text();
    let result = within("the deadline", EVENT_TIMEOUT, queued).await?;
    check_error("the request", result, &[ErrorKind::Deadline])?;
    check_equal("requests that were sent", origin.stats().requests, 1)?;
    drop(first);
    Ok(())
}

/// The request's deadline includes the body, and the request then closes its connection.
#[apply(case!)]
async fn deadline_covers_the_body(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    let deadline = session.runtime().now() + LIMIT;
    let request = session.get(origin.url("/hang-body")).deadline(deadline);
    let result = within("the deadline", EVENT_TIMEOUT, request.bytes()).await?;
    check_error("the request", result, &[ErrorKind::Deadline])?;
    let ended = |stats: &inflight_origin::Stats| stats.aborted == 1;
    wait_for_counts(&origin, "the end of the request", ended).await?;
    Ok(())
}

/// A request that times out closes its connection.
#[apply(case!)]
async fn timed_out_request_closes_its_connection(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.builder().timeout(LIMIT).build()?;
    for (n, path) in ["/hang", "/hang-body"].into_iter().enumerate() {
        check_timeout(&session, session.get(origin.url(path)).text()).await?;
        let ended = move |stats: &inflight_origin::Stats| stats.aborted == n as u64 + 1;
        wait_for_counts(&origin, &format!("the end of {path}"), ended).await?;
    }
    Ok(())
}

/// Checks that the exchange ends with a timeout: not before [`LIMIT`], and not long after it.
async fn check_timeout<T: fmt::Debug>(
    session: &Session,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<Error> {
    let start = session.runtime().now();
    let result = within("the timeout", MAX_DURATION, exchange).await?;
    let took = session.runtime().now() - start;
    let error = check_error("the exchange", result, &[ErrorKind::Timeout])?;
    check(error.is_timeout(), "is_timeout() is false")?;
    check(
        took >= LIMIT,
        format!("the timeout of {LIMIT:?} fired after {took:?}"),
    )?;
    Ok(error)
}
