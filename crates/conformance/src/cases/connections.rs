//! Connections: clients reuse them, but only when this is safe.

use std::io::{self, Read};
use std::net::Shutdown;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use inflight_core::http::Method;
use inflight_core::{Error, ErrorKind, Session, gather};
use inflight_origin::Stats;
use inflight_origin::script::{Script, ScriptedServer, Step};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_equal_or_error, check_error, check_text,
};
use crate::context::{Context, EVENT_TIMEOUT};
use crate::servers::{ok_response, response_script, start_origin, start_scripted, wait_for_close};
use crate::test_server::{Rendezvous, TestServer};

/// Of ten sequential requests, at least two share a connection.
#[apply(case!)]
#[needs(connection_reuse)]
async fn sequential_requests_share_a_connection(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    for n in 0..10 {
        session
            .get(origin.url(&format!("/page/{n}")))
            .bytes()
            .await?;
    }
    let stats = origin.stats();
    check_equal("requests", stats.requests, 10)?;
    check_sharing(&stats)
}

/// Checks that at least two requests shared a connection. A pool may get a connection back only a
/// moment after the caller has read the body: for example, libcurl returns it on libcurl's own
/// thread. A request before that moment uses another connection, but not all requests are so early.
pub(super) fn check_sharing(stats: &Stats) -> Result {
    let (requests, connections) = (stats.requests, stats.connections_accepted);
    check(
        connections < requests,
        format!("{requests} sequential requests used {connections} connections"),
    )
}

/// error_for_status reads a short body, so that the next request can reuse the connection.
#[apply(case!)]
#[needs(connection_reuse)]
async fn connection_is_reused_after_error_for_status(context: Context) -> Result {
    let missing =
        "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n";
    let server = start_scripted(response_script(10, missing))?;
    let session = context.session()?;
    for _ in 0..10 {
        let response = session.get(server.url("/")).send().await?;
        check_error(
            "the status",
            response.error_for_status(),
            &[ErrorKind::Status],
        )?;
        while session.stats().in_flight > 0 {
            Timer::after(Duration::from_millis(1)).await;
        }
    }
    let connections = server.connections();
    check(connections < 10, format!("{connections} connections"))
}

/// After HEAD, 204, 304, chunked bodies, empty bodies and error statuses the connection is reused.
#[apply(case!)]
#[needs(connection_reuse)]
async fn connection_is_reused_after_every_kind_of_response(context: Context) -> Result {
    let endings = [
        (Method::HEAD, "/bytes/1000"),
        (Method::GET, "/status/204"),
        (Method::GET, "/status/304"),
        (Method::GET, "/stream-bytes/1000"),
        (Method::GET, "/bytes/0"),
        (Method::GET, "/status/404"),
        (Method::DELETE, "/delete"),
    ];
    for (method, path) in endings {
        check_sharing_after(&context, method, path, "").await?;
    }
    Ok(())
}

/// An upload reuses an idle connection, and a later request reuses the upload's connection.
#[apply(case!)]
#[needs(connection_reuse, unrepeatable_reuse)]
async fn connection_is_reused_after_uploads(context: Context) -> Result {
    check_sharing_after(&context, Method::POST, "/upload", "an upload").await?;
    check_sharing_after(&context, Method::PUT, "/upload", "another").await?;
    check_sharing_after(&context, Method::POST, "/post", "").await
}

/// Checks that at least two of ten sequential requests with this method share a connection.
async fn check_sharing_after(
    context: &Context,
    method: Method,
    path: &str,
    body: &'static str,
) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    for _ in 0..10 {
        let request = session.request(method.clone(), origin.url(path));
        request.body(body).bytes().await?;
    }
    check_sharing(&origin.stats())
        .map_err(|failure| Failure::new(format!("{method} {path}: {failure}")))
}

/// After Connection: close the connection carries no other request.
#[apply(case!)]
async fn connection_is_not_reused_after_connection_close(context: Context) -> Result {
    check_one_request_per_connection(&context, "HTTP/1.1 200 OK\r\nConnection: close").await
}

/// After an HTTP/1.0 response without keep-alive the connection carries no other request.
#[apply(case!)]
async fn http10_connection_without_keep_alive_is_not_reused(context: Context) -> Result {
    check_one_request_per_connection(&context, "HTTP/1.0 200 OK").await
}

async fn check_one_request_per_connection(context: &Context, head: &str) -> Result {
    let session = context.session()?;
    let response = format!("{head}\r\nContent-Length: 4\r\n\r\nlast");
    let script = Script::new().read_request().send(response);
    // A second request on the same connection would get the other response.
    let server = start_scripted(
        script
            .read_request()
            .send(ok_response("one too many"))
            .hang(),
    )?;
    for n in 1..=3 {
        check_text(session.get(server.url("/")), "last").await?;
        check_equal("connections", server.connections(), n)?;
    }
    Ok(())
}

/// If a reused connection ends without a response, a GET is resent once, on another connection.
#[apply(case!)]
#[needs(connection_reuse)]
async fn get_on_a_dead_connection_is_resent_once(context: Context) -> Result {
    check_resent(&context, &[Method::GET]).await
}

/// If a reused connection ends without a response, a PUT or a DELETE is also resent, because these
/// methods are idempotent (RFC 9110, 9.2.2).
#[apply(case!)]
#[needs(connection_reuse, unrepeatable_reuse)]
async fn put_and_delete_on_a_dead_connection_are_resent(context: Context) -> Result {
    check_resent(&context, &[Method::PUT, Method::DELETE]).await
}

async fn check_resent(context: &Context, methods: &[Method]) -> Result {
    for method in methods {
        for end in [Step::Close, Step::Reset] {
            let label = format!("{method} before {end:?}");
            // If the pool gets the connection back too late, the request uses another connection,
            // and the test has to be repeated.
            let mut tried = 0;
            while !was_resent(context, method, &end, &label).await? {
                tried += 1;
                check(
                    tried < 50,
                    format!("{label}: the connection is never reused"),
                )?;
            }
        }
    }
    Ok(())
}

/// Sends two requests. The server closes or resets the first connection when it has read a second
/// request on it. Returns whether the second request used that connection and was resent.
async fn was_resent(context: &Context, method: &Method, end: &Step, label: &str) -> Result<bool> {
    let end = end.clone();
    let server = ScriptedServer::start(move |connection| match connection {
        0 => Script::new()
            .read_request()
            .send(ok_response("warm"))
            .read_request()
            .then(end.clone()),
        _ => Script::new().read_request().send(ok_response("again")),
    })?;
    let session = context.session()?;
    check_text(session.get(server.url("/first")), "warm").await?;
    let request = session.request(method.clone(), server.url("/second"));
    check_equal(label, request.text().await?, "again")?;
    let received = count_received(&server, "/second");
    check(received <= 2, format!("{label}: sent {received} times"))?;
    Ok(received == 2)
}

/// If a new connection ends without a response, a GET fails and is not resent.
#[apply(case!)]
async fn get_on_a_new_connection_that_ends_is_not_resent(context: Context) -> Result {
    for end in [Step::Close, Step::Reset] {
        let label = format!("GET before {end:?}");
        let server = start_scripted(Script::new().read_request().then(end))?;
        let result = context.session()?.get(server.url("/first")).text().await;
        check_error(&label, result, &[ErrorKind::Incomplete])?;
        check_equal(&label, count_received(&server, "/first"), 1)?;
    }
    Ok(())
}

/// If a connection ends without a response, a POST fails and is not resent.
#[apply(case!)]
async fn post_on_a_connection_that_ends_is_not_resent(context: Context) -> Result {
    check_not_resent(&context, Method::POST).await
}

/// Checks that a request is not resent if its connection ends without a response. The server
/// responds to the first request of the session. It reads the second request and closes or resets
/// the connection.
async fn check_not_resent(context: &Context, method: Method) -> Result {
    for end in [Step::Close, Step::Reset] {
        let label = format!("{method} before {end:?}");
        let server = ScriptedServer::start(move |connection| {
            let script = match connection {
                0 => Script::new().read_request().send(ok_response("warm")),
                _ => Script::new(),
            };
            script.read_request().then(end.clone())
        })?;
        let session = context.session()?;
        check_text(session.get(server.url("/first")), "warm").await?;
        let request = session.request(method.clone(), server.url("/second"));
        let result = request.body("once").text().await;
        check_error(&label, result, &[ErrorKind::Incomplete])?;
        check_equal(&label, count_received(&server, "/second"), 1)?;
    }
    Ok(())
}

/// After the server has closed an idle connection, a POST uses another connection and gets one
/// response.
#[apply(case!)]
async fn post_after_an_idle_close_uses_another_connection(context: Context) -> Result {
    let (report_close, closed) = async_channel::bounded(1);
    let (report_rest, rest) = async_channel::bounded(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        if conn.index > 0 {
            conn.read_until(b"once")?;
            return conn.answer("posted");
        }
        conn.answer("warm")?;
        // Over loopback, the FIN has reached the client's socket when this returns.
        conn.stream.shutdown(Shutdown::Write)?;
        let _ = report_close.send_blocking(());
        let mut rest = Vec::new();
        conn.stream.set_read_timeout(Some(EVENT_TIMEOUT))?;
        // If the client closes the connection while bytes are unread, it sends a reset, and this read
        // fails.
        let _ = conn.stream.read_to_end(&mut rest);
        let _ = report_rest.send_blocking(rest);
        Ok(())
    })?;
    let session = context.session()?;
    check_text(session.get(server.url("/")), "warm").await?;
    closed.recv().await?;
    check_text(session.post(server.url("/")).body("once"), "posted").await?;
    // Dropping the session closes the first connection, so that the server stops reading from it.
    drop(session);
    check_equal(
        "bytes that were sent on the ended connection",
        rest.recv().await?.len(),
        0,
    )
}

/// If the server closes each connection 0 to 5 ms after its response, none of 2,000 GETs fails. 20
/// of the GETs are in flight at once.
#[apply(case!)]
#[needs(dead_connections)]
async fn gets_succeed_if_connections_end_after_each_response(context: Context) -> Result {
    let server = ScriptedServer::start(|connection| {
        let script = Script::new().read_request().send(ok_response("page"));
        script.pause(Duration::from_millis(connection as u64 % 6))
    })?;
    let session = context.session()?;
    let pages = (0..2000).map(|n| session.get(server.url(&format!("/{n}"))).text());
    for page in gather(pages).limit(20).settled().await.results {
        check_equal("a page", page?, "page")?;
    }
    Ok(())
}

/// After HTTP/1.0 responses with keep-alive, requests succeed, on the same connection or on others.
#[apply(case!)]
async fn requests_succeed_after_http10_keep_alive(context: Context) -> Result {
    let answer = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\npage";
    let server = start_scripted(response_script(10, answer))?;
    let session = context.session()?;
    for _ in 0..5 {
        check_text(session.get(server.url("/")), "page").await?;
        check_text(session.post(server.url("/")).body("content"), "page").await?;
    }
    check_equal("requests", server.requests().len(), 10)
}

/// A request with Expect: 100-continue is sent completely when the server responds with 100.
#[apply(case!)]
async fn request_is_sent_completely_after_100_continue(context: Context) -> Result {
    let session = context.session()?;
    let script = Script::new()
        .read_head()
        .send("HTTP/1.1 100 Continue\r\n\r\n");
    let server = start_scripted(script.read_body().send(ok_response("read")).hang())?;
    let request = session.put(server.url("/")).body("content");
    check_text(request.header("expect", "100-continue"), "read").await?;
    check_equal("the body", &server.requests()[0].body[..], b"content")
}

/// If the server responds to Expect: 100-continue with 417, the 417 is returned, or the request is
/// resent without the expectation (RFC 9110, 10.1.1).
#[apply(case!)]
async fn status_417_is_returned_or_the_request_is_resent(context: Context) -> Result {
    let session = context.session()?;
    let refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
    // The client may still send the body.
    let script = Script::new().read_head().send(refusal).read_request();
    let server = start_scripted(script.send(ok_response("again")).hang())?;
    let request = session.put(server.url("/")).body("content");
    let response = request.header("expect", "100-continue").send().await?;
    let expected = match response.status().as_u16() {
        417 => "no",
        _ => "again",
    };
    check_equal("the body", response.text().await?, expected)
}

/// With max_per_host 1, twenty requests reach the server in the order in which the caller started
/// them.
#[apply(case!)]
async fn queued_requests_are_sent_in_order(context: Context) -> Result {
    let server = ScriptedServer::with_script(response_script(20, &ok_response("page")))?;
    let session = context.builder().max_per_host(1).build()?;
    let pages = (0..20).map(|n| session.get(server.url(&format!("/{n}"))).text());
    gather(pages).all().await?;
    let sent: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    let expected: Vec<_> = (0..20).map(|n| format!("/{n}")).collect();
    check_equal("the order", sent, expected)
}

/// After the server has closed an idle connection, a request succeeds or fails, and the server never
/// receives the request twice.
#[apply(case!)]
async fn request_after_an_idle_close_is_received_at_most_once(context: Context) -> Result {
    // The client may or may not have noticed the close when it sends the request, so this is
    // repeated.
    for round in 0..20 {
        for method in [Method::GET, Method::POST] {
            let server = start_scripted(
                Script::new()
                    .read_request()
                    .send(ok_response("once"))
                    .close(),
            )?;
            let session = context.session()?;
            check_text(session.get(server.url("/first")), "once").await?;
            let request = session.request(method.clone(), server.url("/second"));
            let label = format!("{method} in round {round}");
            let result = request.body("once").text().await;
            let received = count_received(&server, "/second");
            match result {
                Ok(_) => check_equal(&label, received, 1)?,
                Err(_) => check(received <= 1, format!("{label}: sent twice"))?,
            }
            check_equal_or_error(&label, result, "once", &[ErrorKind::Incomplete])?;
        }
    }
    Ok(())
}

fn count_received(server: &ScriptedServer, target: &str) -> usize {
    let requests = server.requests();
    requests
        .iter()
        .filter(|request| request.target == target)
        .count()
}

/// The server receives a hundred requests before it responds to any.
#[apply(case!)]
#[needs(a_hundred_at_once)]
async fn a_hundred_requests_are_in_flight_at_once(context: Context) -> Result {
    let (server, rendezvous) = batch_server(100)?;
    let session = context.session()?;
    let jobs = (0..100).map(|n| session.get(server.url(&format!("/0/{n}"))).text());
    let texts = gather(jobs).limit(100).all().await?;
    check_order(&texts)?;
    check_equal("requests at once", rendezvous[0].peak(), 100)
}

/// If each of a hundred requests runs in its own task, the server receives all of them before it
/// responds to any.
#[apply(case!)]
#[needs(a_hundred_at_once)]
async fn a_hundred_tasks_are_in_flight_at_once(context: Context) -> Result {
    let (server, rendezvous) = batch_server(100)?;
    let session = context.session()?;
    let jobs = (0..100).map(|n| session.get(server.url(&format!("/0/{n}"))).text());
    let texts = gather(jobs).limit(100).on(session.runtime()).all().await?;
    check_order(&texts)?;
    check_equal("requests at once", rendezvous[0].peak(), 100)
}

/// With more requests at once than a blocking pool has threads, every request gets its response.
#[apply(case!)]
async fn six_hundred_requests_at_once_succeed(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    let jobs = (0..600).map(|n| {
        session
            .get(origin.url(&format!("/page/{n}?delay_ms=20")))
            .text()
    });
    let settled = gather(jobs)
        .limit(600)
        .on(session.runtime())
        .settled()
        .await;
    check_equal("responses", settled.results.len(), 600)?;
    for (n, result) in settled.results.into_iter().enumerate() {
        let expected = inflight_origin::payload::page(n as u64);
        check(
            result? == expected,
            format!("request {n} got the response to another request"),
        )?;
    }
    check_equal("requests", origin.stats().requests, 600)
}

/// Twenty later requests reuse twenty connections that were in use at once.
#[apply(case!)]
#[needs(connection_reuse)]
async fn twenty_idle_connections_are_reused(context: Context) -> Result {
    let (server, rendezvous) = batch_server(20)?;
    let session = context.session()?;
    // The pool gets a connection back a moment after the end of its response, so a batch may start
    // too early to reuse all connections of the previous batch. Each new connection stays available
    // for later batches. So eventually a batch reuses twenty, unless the pool keeps fewer than twenty.
    for batch in 0..BATCHES {
        let before = server.connections();
        let jobs = (0..20).map(|n| session.get(server.url(&format!("/{batch}/{n}"))).text());
        check_order(&gather(jobs).all().await?)?;
        check_equal("requests at once", rendezvous[batch].peak(), 20)?;
        if server.connections() == before {
            return Ok(());
        }
    }
    Err(Failure::new(format!(
        "each of {BATCHES} batches of 20 requests opened connections, {} in all",
        server.connections()
    )))
}

const BATCHES: usize = 12;

/// Starts a server that responds to a batch of requests once it has received `n` of them. The path
/// of a request consists of the number of its batch and the text of its response, as in `/0/17`.
fn batch_server(n: usize) -> io::Result<(TestServer, Arc<[Rendezvous; BATCHES]>)> {
    let batches: Arc<[Rendezvous; BATCHES]> = Arc::default();
    let rendezvous = batches.clone();
    let server = TestServer::start(move |mut conn| {
        loop {
            let target = conn.read_head()?;
            let mut parts = target.split('/').skip(1);
            let batch: Option<usize> = parts.next().and_then(|batch| batch.parse().ok());
            let batch = batch.and_then(|batch| batches.get(batch));
            batch
                .ok_or(io::ErrorKind::InvalidData)?
                .wait_for_arrivals(n)?;
            conn.answer(parts.next().unwrap_or_default())?;
        }
    })?;
    Ok((server, rendezvous))
}

fn check_order(texts: &[String]) -> Result {
    let expected: Vec<_> = (0..texts.len()).map(|n| n.to_string()).collect();
    check_equal("the responses", texts, expected)
}

/// With max_idle_per_host 0 every request uses a new connection.
#[apply(case!)]
async fn max_idle_per_host_zero_keeps_no_connection(context: Context) -> Result {
    let builder = context.builder();
    let session = builder.client_options(|options| options.max_idle_per_host = 0);
    check_equal(
        "connections",
        count_connections(&session.build()?, 3, Duration::ZERO).await?,
        3,
    )
}

/// With max_idle_per_host 1, the pool keeps one of two connections that were in use at once.
#[apply(case!)]
#[needs(connection_reuse)]
async fn max_idle_per_host_limits_idle_connections(context: Context) -> Result {
    let (server, rendezvous) = batch_server(2)?;
    let builder = context.builder();
    let session = builder.client_options(|options| options.max_idle_per_host = 1);
    let session = session.build()?;
    for batch in 0..3 {
        let jobs = (0..2).map(|n| session.get(server.url(&format!("/{batch}/{n}"))).text());
        check_order(&gather(jobs).all().await?)?;
        check_equal("requests at once", rendezvous[batch].peak(), 2)?;
    }
    // Each batch after the first has to open at least one connection.
    let connections = server.connections();
    check(
        connections >= 4,
        format!("three batches of two requests used {connections} connections"),
    )
}

/// With max_idle 1, the pool keeps at most one of the connections to two servers.
#[apply(case!)]
#[needs(connection_reuse)]
async fn max_idle_limits_idle_connections(context: Context) -> Result {
    let origins = [start_origin()?, start_origin()?];
    let builder = context.builder();
    let session = builder.client_options(|options| options.max_idle = Some(1));
    let session = session.build()?;
    for _ in 0..3 {
        for origin in &origins {
            session.get(origin.url("/bytes/1")).bytes().await?;
        }
    }
    let connections = origins
        .iter()
        .map(|origin| origin.stats().connections_accepted);
    let connections: u64 = connections.sum();
    // Without a limit there are two connections. With the limit there are six if the pool keeps the
    // connection that was used last, and four if it keeps the first one.
    check(
        connections >= 4,
        format!("six requests to two servers in turn used {connections} connections"),
    )
}

/// The connection of a job that panics while it reads a body is not reused.
#[apply(case!)]
async fn connection_of_a_panicked_job_is_not_reused(context: Context) -> Result {
    // Some clients close the connection only when the server sends something.
    const SILENCE: Duration = Duration::from_secs(1);
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let script = Script::new().read_request().send(half);
    let script = script.await_close(SILENCE).send("stale").hang();
    let fresh = Script::new()
        .read_request()
        .send(ok_response("fresh"))
        .hang();
    let server = Arc::new(ScriptedServer::start(move |connection| match connection {
        0 => script.clone(),
        _ => fresh.clone(),
    })?);
    let session = context.session()?;
    let url = server.url("/");
    let job = {
        let (session, url) = (session.clone(), url.clone());
        async move {
            let mut response = session.get(url).send().await?;
            response.chunk().await?;
            // Panics like `panic!`, but prints no message to standard error.
            resume_unwind(Box::new("on purpose"));
            #[expect(
                unreachable_code,
                reason = "this line sets the output type of the block"
            )]
            Ok::<_, Error>(())
        }
    };
    let panicked = gather([job]).on(session.runtime()).settled().await;
    check(
        panicked.results.iter().all(|result| result.is_err()),
        "the job did not panic",
    )?;
    check_text(session.get(url), "fresh").await?;
    wait_for_close(&server, 0, EVENT_TIMEOUT).await
}

/// A connection that was idle for longer than idle_timeout is not reused.
#[apply(case!)]
#[needs(connection_reuse)]
async fn connection_is_not_reused_after_idle_timeout(context: Context) -> Result {
    // Some clients measure the idle time in whole seconds.
    const IDLE: Duration = Duration::from_secs(1);
    const LONGER: Duration = Duration::from_millis(2200);
    let builder = context.builder();
    let session = builder.client_options(|options| options.idle_timeout = IDLE);
    check_equal(
        "connections",
        count_connections(&session.build()?, 2, LONGER).await?,
        2,
    )
}

/// Returns how many connections `n` requests use, with a pause after each.
async fn count_connections(session: &Session, n: u64, pause: Duration) -> Result<u64> {
    let origin = start_origin()?;
    for page in 0..n {
        session
            .get(origin.url(&format!("/page/{page}")))
            .bytes()
            .await?;
        if !pause.is_zero() {
            Timer::after(pause).await;
        }
    }
    Ok(origin.stats().connections_accepted)
}
