//! Connections: reused when that is safe, and only then.

use std::io::{self, Read};
use std::net::Shutdown;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use inflight_core::http::Method;
use inflight_core::{Error, ErrorKind, Session, gather};
use inflight_origin::Stats;
use inflight_origin::script::{Script, Scripted, Step};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Failure, Result, check, equal, equal_or_fails, fails, returns};
use crate::context::{Context, EVENT_TIMEOUT};
use crate::servers::{answering, closed, ok, origin, scripted};
use crate::test_server::{Rendezvous, TestServer};

/// Some of ten sequential requests share a connection.
#[apply(case!)]
#[needs(connection_reuse)]
async fn sequential_requests_share_a_connection(context: Context) -> Result {
    let origin = origin()?;
    let session = context.session()?;
    for n in 0..10 {
        session
            .get(origin.url(&format!("/page/{n}")))
            .bytes()
            .await?;
    }
    let stats = origin.stats();
    equal("requests", stats.requests, 10)?;
    shared(&stats)
}

/// Checks that some requests shared a connection. A pool may get a connection back a moment after its body
/// was read (libcurl's does, on its own thread). A request before that moment uses another connection, but
/// not every time.
pub(super) fn shared(stats: &Stats) -> Result {
    let (requests, connections) = (stats.requests, stats.connections_accepted);
    check(
        connections < requests,
        format!("{requests} sequential requests used {connections} connections"),
    )
}

/// After HEAD, 204, 304, chunked bodies, empty bodies and error statuses the connection is reused.
#[apply(case!)]
#[needs(connection_reuse)]
async fn connection_is_reused_after_every_ending(context: Context) -> Result {
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
        share_connections(&context, method, path, "").await?;
    }
    Ok(())
}

/// Uploads use an idle connection, and the connection is reused after them.
#[apply(case!)]
#[needs(connection_reuse, unrepeatable_reuse)]
async fn connection_is_reused_after_uploads(context: Context) -> Result {
    share_connections(&context, Method::POST, "/upload", "an upload").await?;
    share_connections(&context, Method::PUT, "/upload", "another").await?;
    share_connections(&context, Method::POST, "/post", "").await
}

/// Checks that some of ten such requests share a connection.
async fn share_connections(
    context: &Context,
    method: Method,
    path: &str,
    body: &'static str,
) -> Result {
    let origin = origin()?;
    let session = context.session()?;
    for _ in 0..10 {
        let request = session.request(method.clone(), origin.url(path));
        request.body(body).bytes().await?;
    }
    shared(&origin.stats()).map_err(|failure| Failure::new(format!("{method} {path}: {failure}")))
}

/// After Connection: close the connection carries no other request.
#[apply(case!)]
async fn connection_close_is_obeyed(context: Context) -> Result {
    carries_one_request(&context, "HTTP/1.1 200 OK\r\nConnection: close").await
}

/// After an HTTP/1.0 response without keep-alive the connection carries no other request.
#[apply(case!)]
async fn http10_connection_carries_one_request(context: Context) -> Result {
    carries_one_request(&context, "HTTP/1.0 200 OK").await
}

async fn carries_one_request(context: &Context, head: &str) -> Result {
    let session = context.session()?;
    let response = format!("{head}\r\nContent-Length: 4\r\n\r\nlast");
    let script = Script::new().read_request().send(response);
    // The server would respond to a second request on the connection.
    let server = scripted(script.read_request().send(ok("one too many")).hang())?;
    for n in 1..=3 {
        returns(session.get(server.url("/")), "last").await?;
        equal("connections", server.connections(), n)?;
    }
    Ok(())
}

/// A GET whose reused connection ends without a response is resent once, on another connection.
#[apply(case!)]
#[needs(connection_reuse)]
async fn get_on_a_dead_connection_is_sent_once_more(context: Context) -> Result {
    check_resent(&context, &[Method::GET]).await
}

/// A PUT or a DELETE is also resent, as these methods are idempotent (RFC 9110, 9.2.2).
#[apply(case!)]
#[needs(connection_reuse, unrepeatable_reuse)]
async fn put_on_a_dead_connection_is_sent_once_more(context: Context) -> Result {
    check_resent(&context, &[Method::PUT, Method::DELETE]).await
}

async fn check_resent(context: &Context, methods: &[Method]) -> Result {
    for method in methods {
        for end in [Step::Close, Step::Reset] {
            let what = format!("{method} before {end:?}");
            // If the pool gets its connection back too late, the request uses another one, and the
            // test has to be repeated.
            let mut tried = 0;
            while !was_resent(context, method, &end, &what).await? {
                tried += 1;
                check(
                    tried < 50,
                    format!("{what}: the connection is never reused"),
                )?;
            }
        }
    }
    Ok(())
}

/// Returns whether the request used the dead connection.
async fn was_resent(context: &Context, method: &Method, end: &Step, what: &str) -> Result<bool> {
    let end = end.clone();
    let server = Scripted::start(move |connection| match connection {
        0 => Script::new()
            .read_request()
            .send(ok("warm"))
            .read_request()
            .then(end.clone()),
        _ => Script::new().read_request().send(ok("again")),
    })?;
    let session = context.session()?;
    returns(session.get(server.url("/first")), "warm").await?;
    let request = session.request(method.clone(), server.url("/second"));
    equal(what, request.text().await?, "again")?;
    let received = times_received(&server, "/second");
    check(received <= 2, format!("{what}: sent {received} times"))?;
    Ok(received == 2)
}

/// A GET whose new connection ends without a response is an error and is not resent.
#[apply(case!)]
async fn connection_that_dies_young_is_not_tried_again(context: Context) -> Result {
    for end in [Step::Close, Step::Reset] {
        let what = format!("GET before {end:?}");
        let server = scripted(Script::new().read_request().then(end))?;
        let result = context.session()?.get(server.url("/first")).text().await;
        fails(&what, result, &[ErrorKind::Incomplete])?;
        equal(&what, times_received(&server, "/first"), 1)?;
    }
    Ok(())
}

/// A POST whose connection ends without a response is an error and is not resent.
#[apply(case!)]
async fn post_on_a_dying_connection_is_sent_once(context: Context) -> Result {
    ends_without_a_response(&context, Method::POST).await
}

/// Checks that a request whose connection ends without a response is not resent. The server responds to the
/// first request of the session, and reads the second without a response.
async fn ends_without_a_response(context: &Context, method: Method) -> Result {
    for end in [Step::Close, Step::Reset] {
        let what = format!("{method} before {end:?}");
        let server = Scripted::start(move |connection| {
            let script = match connection {
                0 => Script::new().read_request().send(ok("warm")),
                _ => Script::new(),
            };
            script.read_request().then(end.clone())
        })?;
        let session = context.session()?;
        returns(session.get(server.url("/first")), "warm").await?;
        let request = session.request(method.clone(), server.url("/second"));
        let result = request.body("once").text().await;
        fails(&what, result, &[ErrorKind::Incomplete])?;
        equal(&what, times_received(&server, "/second"), 1)?;
    }
    Ok(())
}

/// After the server has closed the idle connection, a POST uses another connection and gets one
/// response.
#[apply(case!)]
async fn post_after_the_servers_close_is_answered_once(context: Context) -> Result {
    let (report_close, closed) = async_channel::bounded(1);
    let (report_rest, rest) = async_channel::bounded(1);
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        if conn.number > 0 {
            conn.read_until(b"once")?;
            return conn.answer("posted");
        }
        conn.answer("warm")?;
        // Over loopback, the client's kernel has the FIN when this returns.
        conn.stream.shutdown(Shutdown::Write)?;
        let _ = report_close.send_blocking(());
        let mut rest = Vec::new();
        conn.stream.set_read_timeout(Some(EVENT_TIMEOUT))?;
        // A client that closes a connection with unread bytes sends a reset.
        let _ = conn.stream.read_to_end(&mut rest);
        let _ = report_rest.send_blocking(rest);
        Ok(())
    })?;
    let session = context.session()?;
    returns(session.get(server.url("/")), "warm").await?;
    closed.recv().await?;
    returns(session.post(server.url("/")).body("once"), "posted").await?;
    // An open connection would keep the server waiting.
    drop(session);
    equal(
        "what the ended connection carried",
        rest.recv().await?.len(),
        0,
    )
}

/// The server closes each connection 0 to 5 ms after its response: of 2,000 GETs, 20 at once, none
/// fails.
#[apply(case!)]
#[needs(dead_connections)]
async fn no_get_is_lost_to_connections_that_end_a_moment_later(context: Context) -> Result {
    let server = Scripted::start(|connection| {
        let script = Script::new().read_request().send(ok("page"));
        script.pause(Duration::from_millis(connection as u64 % 6))
    })?;
    let session = context.session()?;
    let pages = (0..2000).map(|n| session.get(server.url(&format!("/{n}"))).text());
    for page in gather(pages).limit(20).settled().await.results {
        equal("a page", page?, "page")?;
    }
    Ok(())
}

/// After HTTP/1.0 responses with keep-alive, requests succeed, on the same connection or on others.
#[apply(case!)]
async fn http10_keep_alive_harms_no_request(context: Context) -> Result {
    let answer = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\npage";
    let server = scripted(answering(10, answer))?;
    let session = context.session()?;
    for _ in 0..5 {
        returns(session.get(server.url("/")), "page").await?;
        returns(session.post(server.url("/")).body("content"), "page").await?;
    }
    equal("requests", server.requests().len(), 10)
}

/// A request with Expect: 100-continue is sent completely when the server responds with 100.
#[apply(case!)]
async fn expectation_is_met(context: Context) -> Result {
    let session = context.session()?;
    let script = Script::new()
        .read_head()
        .send("HTTP/1.1 100 Continue\r\n\r\n");
    let server = scripted(script.read_body().send(ok("read")).hang())?;
    let request = session.put(server.url("/")).body("content");
    returns(request.header("expect", "100-continue"), "read").await?;
    equal("the body", &server.requests()[0].body[..], b"content")
}

/// A 417 to Expect: 100-continue is the response, or the request is resent without the expectation
/// (RFC 9110, 10.1.1).
#[apply(case!)]
#[needs(early_responses)]
async fn refused_expectation_is_an_answer(context: Context) -> Result {
    let session = context.session()?;
    let refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
    // The client may send the body nevertheless.
    let script = Script::new().read_head().send(refusal).read_request();
    let server = scripted(script.send(ok("again")).hang())?;
    let request = session.put(server.url("/")).body("content");
    let response = request.header("expect", "100-continue").send().await?;
    let wanted = match response.status().as_u16() {
        417 => "no",
        _ => "again",
    };
    equal("the body", response.text().await?, wanted)
}

/// With max_per_host 1, twenty requests reach the server in the order in which they were started.
#[apply(case!)]
async fn requests_that_wait_are_sent_in_their_order(context: Context) -> Result {
    let server = Scripted::same(answering(20, &ok("page")))?;
    let session = context.builder().max_per_host(1).build()?;
    let pages = (0..20).map(|n| session.get(server.url(&format!("/{n}"))).text());
    gather(pages).all().await?;
    let sent: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    let wanted: Vec<_> = (0..20).map(|n| format!("/{n}")).collect();
    equal("the order", sent, wanted)
}

/// After the server closed the idle connection, a request succeeds or fails, and the server never
/// receives it twice.
#[apply(case!)]
async fn closed_idle_connection_sends_nothing_twice(context: Context) -> Result {
    // The client may or may not have noticed the close when it sends, so this is repeated.
    for round in 0..20 {
        for method in [Method::GET, Method::POST] {
            let server = scripted(Script::new().read_request().send(ok("once")).close())?;
            let session = context.session()?;
            returns(session.get(server.url("/first")), "once").await?;
            let request = session.request(method.clone(), server.url("/second"));
            let what = format!("{method} in round {round}");
            let result = request.body("once").text().await;
            let received = times_received(&server, "/second");
            match result {
                Ok(_) => equal(&what, received, 1)?,
                Err(_) => check(received <= 1, format!("{what}: sent twice"))?,
            }
            equal_or_fails(&what, result, "once", &[ErrorKind::Incomplete])?;
        }
    }
    Ok(())
}

fn times_received(server: &Scripted, target: &str) -> usize {
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
    in_order(&texts)?;
    equal("requests at once", rendezvous[0].peak(), 100)
}

/// The server receives a hundred requests before it responds to any, with a task for each request.
#[apply(case!)]
#[needs(a_hundred_at_once)]
async fn a_hundred_tasks_are_in_flight_at_once(context: Context) -> Result {
    let (server, rendezvous) = batch_server(100)?;
    let session = context.session()?;
    let jobs = (0..100).map(|n| session.get(server.url(&format!("/0/{n}"))).text());
    let texts = gather(jobs).limit(100).on(session.runtime()).all().await?;
    in_order(&texts)?;
    equal("requests at once", rendezvous[0].peak(), 100)
}

/// With more requests at once than a blocking pool has threads, every request gets its response.
#[apply(case!)]
async fn six_hundred_requests_are_all_answered(context: Context) -> Result {
    let origin = origin()?;
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
    equal("responses", settled.results.len(), 600)?;
    for (n, result) in settled.results.into_iter().enumerate() {
        let right = inflight_origin::payload::page(n as u64);
        check(
            result? == right,
            format!("request {n} has the response to another"),
        )?;
    }
    equal("requests", origin.stats().requests, 600)
}

/// Twenty connections that were in use at once are reused by twenty later requests.
#[apply(case!)]
#[needs(connection_reuse)]
async fn idle_connections_are_kept_for_all(context: Context) -> Result {
    let (server, rendezvous) = batch_server(20)?;
    let session = context.session()?;
    // The pool gets a connection back a moment after the end of its response, so a batch may be too
    // early for some of them. But each new connection is available for the next batch. Eventually a
    // batch reuses twenty, unless the pool keeps fewer.
    for batch in 0..BATCHES {
        let before = server.connections();
        let jobs = (0..20).map(|n| session.get(server.url(&format!("/{batch}/{n}"))).text());
        in_order(&gather(jobs).all().await?)?;
        equal("requests at once", rendezvous[batch].peak(), 20)?;
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

/// Returns a server that responds to a batch of requests (`/0/..`, `/1/..`) once it has `n` of them, with the
/// last segment of each path.
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

fn in_order(texts: &[String]) -> Result {
    let right: Vec<_> = (0..texts.len()).map(|n| n.to_string()).collect();
    equal("the responses", texts, right)
}

/// With max_idle_per_host 0 every request uses a new connection.
#[apply(case!)]
async fn idle_limit_of_zero_keeps_none(context: Context) -> Result {
    let builder = context.builder();
    let session = builder.client_options(|options| options.max_idle_per_host = 0);
    equal(
        "connections",
        connections_of(&session.build()?, 3, Duration::ZERO).await?,
        3,
    )
}

/// With max_idle_per_host 1, the pool keeps one of two connections that were in use at once.
#[apply(case!)]
#[needs(connection_reuse)]
async fn idle_limit_for_each_host_is_kept(context: Context) -> Result {
    let (server, rendezvous) = batch_server(2)?;
    let builder = context.builder();
    let session = builder.client_options(|options| options.max_idle_per_host = 1);
    let session = session.build()?;
    for batch in 0..3 {
        let jobs = (0..2).map(|n| session.get(server.url(&format!("/{batch}/{n}"))).text());
        in_order(&gather(jobs).all().await?)?;
        equal("requests at once", rendezvous[batch].peak(), 2)?;
    }
    // Each later batch has to open at least one.
    let connections = server.connections();
    check(
        connections >= 4,
        format!("three batches of two requests used {connections} connections"),
    )
}

/// With max_idle 1, the pool keeps at most one of the connections to two servers.
#[apply(case!)]
#[needs(connection_reuse)]
async fn idle_limit_in_all_is_kept(context: Context) -> Result {
    let origins = [origin()?, origin()?];
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
    // Two without a limit, six if the pool keeps the last one used, four if it keeps the first.
    check(
        connections >= 4,
        format!("six requests to two servers in turn used {connections} connections"),
    )
}

/// The connection of a job that panics while it reads a body is not reused.
#[apply(case!)]
async fn panic_returns_no_connection(context: Context) -> Result {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let script = Script::new().read_request().send(half);
    let script = script.await_close(EVENT_TIMEOUT).send("stale");
    let fresh = Script::new().read_request().send(ok("fresh")).hang();
    let server = Arc::new(Scripted::start(move |connection| match connection {
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
            // As `panic!` does, but without a message on standard error.
            resume_unwind(Box::new("on purpose"));
            #[expect(unreachable_code, reason = "it has the type of a job")]
            Ok::<_, Error>(())
        }
    };
    let panicked = gather([job]).on(session.runtime()).settled().await;
    check(
        panicked.results.iter().all(|result| result.is_err()),
        "the job did not panic",
    )?;
    returns(session.get(url), "fresh").await?;
    closed(&server, 0, EVENT_TIMEOUT).await
}

/// A connection that was idle for longer than idle_timeout is not reused.
#[apply(case!)]
#[needs(connection_reuse)]
async fn idle_timeout_ends_idle_connections(context: Context) -> Result {
    // Some clients count in whole seconds.
    const IDLE: Duration = Duration::from_secs(1);
    const LONGER: Duration = Duration::from_millis(2200);
    let builder = context.builder();
    let session = builder.client_options(|options| options.idle_timeout = IDLE);
    equal(
        "connections",
        connections_of(&session.build()?, 2, LONGER).await?,
        2,
    )
}

/// Returns how many connections `n` requests use, with a pause after each.
async fn connections_of(session: &Session, n: u64, pause: Duration) -> Result<u64> {
    let origin = origin()?;
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
