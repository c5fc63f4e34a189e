//! The session's policy: redirects, cookies, retries, limits, and timeouts by phase.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight_core::http::{Method, StatusCode, header};
use inflight_core::{Body, CookieJar, ErrorKind, JobError, Phase, Retry, gather};
use inflight_origin::Origin;
use inflight_origin::script::{Script, ScriptedServer};
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text,
};
use crate::context::{Context, EVENT_TIMEOUT, within};
use crate::servers::{ok_response, start_origin, start_scripted, wait_for_counts};
use crate::test_server::TestServer;

/// Relative and absolute redirects are followed, and the response lists them in its history.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn redirects_are_followed(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for path in ["/redirect/3", "/absolute-redirect/3"] {
        let response = session.get(origin.url(path)).send().await?;
        check_equal(path, response.status(), StatusCode::OK)?;
        check_equal(
            "the URL",
            response.url().map(|url| url.path()),
            Some("/get"),
        )?;
        check_equal("the attempts", response.attempts(), 4)?;
        let history = response.history();
        check_equal("the history", history.len(), 3)?;
        let first = history[0].url().map(|url| url.path());
        check_equal("the first", first, Some(path))?;
        check(
            history.iter().all(|hop| hop.status() == StatusCode::FOUND),
            "a status of the history is not 302",
        )?;
        response.bytes().await?;
    }
    Ok(())
}

/// Bytes of a Location that are not UTF-8 are percent-encoded, as in browsers.
#[apply(case!)]
#[needs(opaque_response_headers, connection_reuse)]
async fn non_ascii_location_is_percent_encoded(context: Context) -> Result {
    for (location, target) in [
        (&b"/caf\xe9"[..], "/caf%E9"),
        (b"/caf\xc3\xa9", "/caf%C3%A9"),
    ] {
        let server = start_redirecting(&[location])?;
        check_text(context.session()?.get(server.url("/")), "there").await?;
        check_equal("the target", &*server.requests()[1].target, target)?;
    }
    Ok(())
}

/// A redirect with an empty Location is returned as the response. A redirect with two different
/// Locations is an error of the kind protocol.
#[apply(case!)]
async fn empty_and_different_locations_are_not_followed(context: Context) -> Result {
    let empty = start_redirecting(&[b""])?;
    let response = context.session()?.get(empty.url("/")).send().await?;
    check_equal("the status", response.status(), StatusCode::FOUND)?;
    let different = start_redirecting(&[b"/a", b"/b"])?;
    check_request_error(
        context.session()?.get(different.url("/")),
        ErrorKind::Protocol,
    )
    .await?;
    check_equal("requests", different.requests().len(), 1)
}

/// Starts a server that responds to the first request on each connection with a redirect that has
/// these values of Location.
fn start_redirecting(locations: &[&[u8]]) -> io::Result<Arc<ScriptedServer>> {
    let mut redirect = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n".to_vec();
    for location in locations {
        redirect.extend_from_slice(b"Location: ");
        redirect.extend_from_slice(location);
        redirect.extend_from_slice(b"\r\n");
    }
    redirect.extend_from_slice(b"\r\n");
    let script = Script::new().read_request().send(redirect).read_request();
    start_scripted(script.send(ok_response("there")).hang())
}

/// 301 and 302 turn a POST into a GET, and 303 turns every method except HEAD into a GET. 307 and
/// 308 resend the method and the body (RFC 9110, 15.4).
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn redirects_keep_or_change_the_method(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for (code, method, becomes) in [
        (301, Method::POST, "GET"),
        (302, Method::POST, "GET"),
        (302, Method::PUT, "PUT"),
        (303, Method::PUT, "GET"),
        (307, Method::POST, "POST"),
        (308, Method::PATCH, "PATCH"),
    ] {
        let label = format!("{method} after {code}");
        let url = origin.url(&format!("/redirect-to?url=/anything&status_code={code}"));
        let request = session.request(method, url).body("content");
        let echo: Value = request.json().await?;
        check_equal(&label, echo["method"].as_str(), Some(becomes))?;
        let data = if becomes == "GET" { "" } else { "content" };
        check_equal(&label, echo["data"].as_str(), Some(data))?;
    }
    Ok(())
}

/// More than ten redirects, or more than max_redirects, are an error of the kind
/// too_many_redirects.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn too_many_redirects_are_an_error(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    session.get(origin.url("/redirect/10")).text().await?;
    let eleven = session.get(origin.url("/redirect/11"));
    let error = check_request_error(eleven, ErrorKind::TooManyRedirects).await?;
    check_equal("the attempts", error.attempts(), 11)?;
    let session = context.builder().max_redirects(2).build()?;
    let three = session.get(origin.url("/redirect/3"));
    check_request_error(three, ErrorKind::TooManyRedirects)
        .await
        .map(drop)
}

/// A 307 for a request with a streamed body is an error of the kind redirect_refused.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn redirect_of_a_streamed_body_is_refused(context: Context) -> Result {
    let origin = context.httpbin()?;
    let url = origin.url("/redirect-to?url=/anything&status_code=307");
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>("content")]);
    let request = context.session()?.put(url).body(Body::from_stream(chunks));
    check_request_error(request, ErrorKind::RedirectRefused).await?;
    Ok(())
}

/// After a redirect to another host or port, Authorization and Cookie are not sent, even if a second
/// redirect leads back to the first host.
#[apply(case!)]
#[marks(tests_core)]
async fn credentials_are_not_sent_to_another_host(context: Context) -> Result {
    let (first, second) = (start_origin()?, start_origin()?);
    let session = context.session()?;
    let back = first.url("/headers");
    let elsewhere = second.url(&format!("/redirect-to?url={back}"));
    for (to, stays) in [
        ("/headers", true),
        (&*second.url("/headers"), false),
        (&*elsewhere, false),
    ] {
        let url = first.url(&format!("/redirect-to?url={}", escape_query(to)));
        let request = session
            .get(url)
            .header(header::AUTHORIZATION, "Bearer mine");
        let echo: Value = request.header(header::COOKIE, "crumb=1").json().await?;
        for name in ["Authorization", "Cookie"] {
            let sent = echo["headers"].get(name).is_some();
            check_equal(&format!("{name} at {to}"), sent, stays)?;
        }
    }
    Ok(())
}

/// Escapes a URL for use in a query.
fn escape_query(url: &str) -> String {
    url.replace('%', "%25")
        .replace('&', "%26")
        .replace('?', "%3F")
}

/// The small body of a redirect is read, so that the next request can reuse the connection.
#[apply(case!)]
#[needs(connection_reuse, unrepeatable_reuse)]
async fn connection_is_reused_after_a_redirect(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    session.get(origin.url("/redirect/5")).text().await?;
    // There may be more than one connection, because a pool may get a connection back a moment
    // late.
    let connections = origin.stats().connections_accepted;
    check(
        connections <= 3,
        format!("{connections} connections for 6 requests"),
    )
}

/// With a cookie jar, the session sends a cookie with each request until the cookie is deleted. If a
/// redirect sets the cookie, the session sends it to the target of the redirect too.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn cookies_of_the_jar_are_sent(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().cookies(CookieJar::new()).build()?;
    // The response is a redirect to /cookies, which shows the cookies.
    let set = session.get(origin.url("/cookies/set?crumb=1&crust=2"));
    let echo: Value = set.json().await?;
    check_equal("crumb", echo["cookies"]["crumb"].as_str(), Some("1"))?;
    check_equal("crust", echo["cookies"]["crust"].as_str(), Some("2"))?;
    let delete = session.get(origin.url("/cookies/delete?crumb"));
    let echo: Value = delete.json().await?;
    check_equal("crumb", echo["cookies"].get("crumb").is_some(), false)?;
    check_equal("crust", echo["cookies"]["crust"].as_str(), Some("2"))
}

/// A cookie with bytes outside ASCII is sent unchanged or left out, and the session can send further
/// requests.
#[apply(case!)]
#[needs(connection_reuse)]
async fn non_ascii_cookies_do_not_break_the_session(context: Context) -> Result {
    let set = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: city=Z\xc3\xbcrich\r\nContent-Length: 0\r\n\r\n";
    let script = Script::new().read_request().send(&set[..]).read_request();
    let server = start_scripted(script.send(ok_response("there")).hang())?;
    let session = context.builder().cookies(CookieJar::new()).build()?;
    session.get(server.url("/")).send().await?.bytes().await?;
    check_text(session.get(server.url("/")), "there").await?;
    let all = &b"a=1; city=Z\xc3\xbcrich"[..];
    let expected = match context.capabilities.opaque_request_headers.is_yes() {
        true => all,
        false => &b"a=1"[..],
    };
    let requests = server.requests();
    check_equal("the cookies", requests[1].header("cookie"), Some(expected))
}

/// A request's own Cookie header replaces the cookies of the jar.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn cookies_of_the_request_replace_the_jars(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().cookies(CookieJar::new()).build()?;
    session
        .get(origin.url("/cookies/set?crumb=1"))
        .bytes()
        .await?;
    let request = session.get(origin.url("/cookies"));
    let echo: Value = request.header(header::COOKIE, "own=2").json().await?;
    check_equal("crumb", echo["cookies"].get("crumb").is_some(), false)?;
    check_equal("own", echo["cookies"]["own"].as_str(), Some("2"))
}

/// With retries, a request is resent after a 503 until it succeeds, up to the number of retries.
#[apply(case!)]
#[marks(tests_core)]
async fn failures_are_retried(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.builder().retry(quick_retry(3)).build()?;
    let response = session.get(origin.url("/flaky?fail=2&id=a")).send().await?;
    check_equal("the status", response.status(), StatusCode::OK)?;
    check_equal("the attempts", response.attempts(), 3)?;
    response.bytes().await?;
    let response = session.get(origin.url("/flaky?fail=9&id=b")).send().await?;
    check_equal(
        "the status",
        response.status(),
        StatusCode::SERVICE_UNAVAILABLE,
    )?;
    check_equal("the attempts", response.attempts(), 4)?;
    response.bytes().await?;
    check_equal("requests", origin.stats().requests, 7)
}

fn quick_retry(retries: usize) -> Retry {
    Retry::new(retries).delays(Duration::from_millis(1), Duration::from_millis(10))
}

/// A retry waits for the time in Retry-After.
#[apply(case!)]
#[marks(tests_core)]
async fn retry_waits_for_retry_after(context: Context) -> Result {
    let busy =
        "HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = inflight_origin::script::ScriptedServer::start(move |connection| {
        let answer = match connection {
            0 => busy,
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone",
        };
        Script::new().read_request().send(answer)
    })?;
    let session = context.builder().retry(quick_retry(1)).build()?;
    let start = std::time::Instant::now();
    check_text(session.get(server.url("/")), "done").await?;
    let took = start.elapsed();
    check(
        took >= Duration::from_secs(1),
        format!("retried after {took:?}"),
    )
}

/// After a Retry-After, no other request to the host starts before its time has passed.
#[apply(case!)]
async fn retry_after_delays_the_whole_host(context: Context) -> Result {
    let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let times = arrivals.clone();
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        times.push(Instant::now());
        let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n";
        let head = match times.len() {
            1 => busy,
            _ => "HTTP/1.1 200 OK\r\n",
        };
        drop(times);
        let rest = "Content-Length: 0\r\nConnection: close\r\n\r\n";
        conn.send(format!("{head}{rest}"))?;
        conn.read_to_close();
        Ok(())
    })?;
    let session = context.builder().retry(Retry::new(0)).build()?;
    // The retries are on, and used up.
    let post = session.post(server.url("/")).retry(quick_retry(1));
    check_equal("the status", post.send().await?.status().as_u16(), 503)?;
    let pages = (0..3).map(|n| session.get(server.url(&format!("/{n}"))).bytes());
    let all = gather(pages).all().await;
    check(all.is_ok(), format!("{all:?}"))?;
    let times = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    let first = times[0];
    let early = times[1..].iter().map(|at| at.duration_since(first));
    let early = early.filter(|after| *after < Duration::from_secs(1));
    check_equal("early requests", early.count(), 0)
}

/// The requests to one host start at the rate of max_rate_per_host, and requests to other hosts do not wait.
#[apply(case!)]
async fn max_rate_per_host_is_never_exceeded(context: Context) -> Result {
    const INTERVAL: Duration = Duration::from_millis(50);
    let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let times = arrivals.clone();
    let server = TestServer::start(move |mut conn| {
        loop {
            conn.read_head()?;
            let now = Instant::now();
            times
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(now);
            conn.answer("done")?;
        }
    })?;
    let other = start_origin()?;
    let session = context.builder().max_rate_per_host(1, INTERVAL).build()?;
    let start = Instant::now();
    let pages = (0..8).map(|n| session.get(server.url(&format!("/{n}"))).bytes());
    let (all, elsewhere) = futures_util::future::join(
        async { gather(pages).all().await.map_err(JobError::into_kind) },
        session.get(other.url("/page/1")).text(),
    )
    .await;
    check(all.is_ok(), format!("{all:?}"))?;
    elsewhere?;
    let times = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    check_equal("requests", times.len(), 8)?;
    // A request may arrive late, and the next one then follows sooner.
    for (n, at) in times.iter().enumerate() {
        let after = at.duration_since(start);
        let earliest = INTERVAL * n as u32;
        check(
            after >= earliest,
            format!("request {n} arrived after {after:?}"),
        )?;
    }
    Ok(())
}

/// A POST is not retried, unless retries are enabled for every method.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn posts_are_not_retried(context: Context) -> Result {
    let origin = context.httpbin()?;
    for (retry, id, attempts) in [
        (quick_retry(3), "a", 1),
        (quick_retry(3).any_method(), "b", 2),
    ] {
        let session = context.builder().retry(retry).build()?;
        let url = origin.url(&format!("/flaky?fail=1&id={id}"));
        let response = session.post(url).body("once").send().await?;
        check_equal("the attempts", response.attempts(), attempts)?;
        response.bytes().await?;
    }
    Ok(())
}

const LIMIT: Duration = Duration::from_millis(300);

/// If a server does not respond, head_timeout ends the request with a timeout of the phase head.
#[apply(case!)]
#[marks(in_memory)]
async fn head_timeout_reports_its_phase(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().head_timeout(LIMIT).build()?;
    let exchange = session.get(origin.url("/hang")).text();
    check_timeout(
        within("the head", EVENT_TIMEOUT, exchange).await?,
        Phase::Head,
    )
}

/// If a body stalls, read_timeout ends the request with a timeout of the phase body.
#[apply(case!)]
#[marks(in_memory)]
async fn read_timeout_reports_its_phase(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().read_timeout(LIMIT).build()?;
    let exchange = session.get(origin.url("/hang-body")).text();
    check_timeout(
        within("the body", EVENT_TIMEOUT, exchange).await?,
        Phase::Body,
    )
}

/// A slow body whose pauses are shorter than read_timeout is read to its end.
#[apply(case!)]
#[marks(in_memory)]
async fn read_timeout_does_not_end_a_slow_body(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().read_timeout(Duration::from_secs(2));
    let url = origin.url("/slow-body?chunks=25&size=1&pause_ms=100");
    let bytes = session.build()?.get(url).bytes().await?;
    check_equal("the length", bytes.len(), 25)
}

/// If a request waits too long for a permit, queue_timeout ends it with a timeout of the phase
/// queue.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn queue_timeout_reports_its_phase(context: Context) -> Result {
    let origin = context.httpbin()?;
    let builder = context.builder().max_in_flight(1).queue_timeout(LIMIT);
    let session = builder.build()?;
    let first = session.get(origin.url("/hang")).text();
    let queued = session.get(origin.url("/page/1")).text();
    // The first request gets the only permit and never releases it.
    let both = futures_util::future::select(Box::pin(first), Box::pin(queued));
    match within("the queue", EVENT_TIMEOUT, both).await? {
        futures_util::future::Either::Right((result, _)) => check_timeout(result, Phase::Queue),
        futures_util::future::Either::Left(_) => Err(Failure::new("/hang has responded")),
    }
}

fn check_timeout(result: Result<String, inflight_core::Error>, phase: Phase) -> Result {
    let error = check_error("the exchange", result, &[ErrorKind::Timeout])?;
    check_equal("the phase", error.phase(), Some(phase))
}

/// The server never has more requests at once than max_per_host, and requests to other hosts do not
/// wait for these requests.
#[apply(case!)]
#[marks(tests_core)]
async fn max_per_host_limits_requests_in_flight(context: Context) -> Result {
    const MAX_PER_HOST: u64 = 3;
    let (slow, other) = (start_origin()?, start_origin()?);
    let session = context
        .builder()
        .max_per_host(MAX_PER_HOST as usize)
        .build()?;
    let pages = (0..12).map(|_| session.get(slow.url("/delay-ms/50")).bytes());
    let all = async {
        let done = gather(pages).all().await;
        done.map_err(JobError::into_kind)
    };
    let elsewhere = session.get(other.url("/page/1")).text();
    let (all, elsewhere) = futures_util::future::join(all, elsewhere).await;
    check(all.is_ok(), format!("{all:?}"))?;
    elsewhere?;
    let ended = |stats: &inflight_origin::Stats| stats.in_flight == 0 && stats.requests == 12;
    let stats = wait_for_counts(&slow, "twelve requests", ended).await?;
    let peak = stats.peak_in_flight;
    check(peak <= MAX_PER_HOST, format!("{peak} requests at once"))
}

/// If unread responses hold every permit, the next request fails with that reason instead of
/// waiting.
#[apply(case!)]
#[marks(tests_core)]
async fn request_fails_if_unread_responses_hold_all_permits(context: Context) -> Result {
    let origin: std::sync::Arc<Origin> = start_origin()?;
    let session = context.builder().max_in_flight(2).build()?;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(session.get(origin.url("/hang-body")).send().await?);
    }
    let queued = session.get(origin.url("/page/1")).text();
    let result = within("the error", EVENT_TIMEOUT, queued).await?;
    let error = check_error("the queue", result, &[ErrorKind::Timeout])?;
    check_equal("the phase", error.phase(), Some(Phase::Queue))?;
    check(
        error.to_string().contains("unread response"),
        format!("the error does not mention unread responses: {error}"),
    )?;
    held.pop();
    session.get(origin.url("/page/1")).text().await?;
    Ok(())
}

/// close() closes every connection, and later requests fail with an error of the kind closed.
#[apply(case!)]
async fn close_closes_every_connection(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    let pages = (0..10).map(|n| session.get(origin.url(&format!("/page/{n}"))).text());
    gather(pages).all().await?;
    within("close", EVENT_TIMEOUT, session.close(EVENT_TIMEOUT)).await?;
    let closed = |stats: &inflight_origin::Stats| stats.connections_open == 0;
    wait_for_counts(&origin, "the end of the connections", closed).await?;
    check_request_error(session.get(origin.url("/page/1")), ErrorKind::Closed).await?;
    Ok(())
}

/// If a request is in flight when the grace period of close() ends, the error is of the kind closed.
#[apply(case!)]
async fn close_cancels_requests_in_flight(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    let hanging = ["/hang", "/hang-body"].map(|path| session.get(origin.url(path)).text());
    let hanging = gather(hanging).settled();
    let closing = async {
        let both_arrived = |stats: &inflight_origin::Stats| stats.requests == 2;
        wait_for_counts(&origin, "two requests", both_arrived).await?;
        session.close(Duration::ZERO).await;
        Ok::<_, Failure>(())
    };
    let both = futures_util::future::join(hanging, closing);
    let (hanging, closed) = within("close", 2 * EVENT_TIMEOUT, both).await?;
    closed?;
    for result in hanging.results {
        let result = result.map_err(JobError::into_kind);
        match result {
            Err(inflight_core::JobErrorKind::Failed(error)) => {
                check_equal("the kind", error.kind(), ErrorKind::Closed)?;
            }
            other => return Err(Failure::new(format!("not closed: {other:?}"))),
        }
    }
    Ok(())
}
