//! Servers for the cases, with asynchronous waits for their events.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::{Response, Session, SessionBuilder, http};
use inflight_origin::script::{Script, Scripted};
use inflight_origin::tls::{Authority, Shown};
use inflight_origin::{Options, Origin, Stats, payload};
use serde_json::Value;

use crate::check::{Failure, Result, check, equal};
use crate::context::{EVENT_TIMEOUT, run_blocking};

pub(crate) fn origin() -> io::Result<Arc<Origin>> {
    Origin::start().map(Arc::new)
}

/// Returns an origin with TLS, and with this kind of certificate from this authority.
pub(crate) fn secured(authority: &Authority, shown: Shown) -> io::Result<Arc<Origin>> {
    let options = Options {
        tls: Some(authority.server(shown)?),
        ..Options::default()
    };
    Origin::bind(options).map(Arc::new)
}

/// Returns an origin with TLS, and a builder whose sessions trust its certificate.
pub(crate) fn trusted(builder: SessionBuilder) -> Result<(Arc<Origin>, SessionBuilder)> {
    trusted_with(builder, false)
}

/// Returns an origin with TLS, and with HTTP/2 if `http2`, and a builder whose sessions trust its certificate.
pub(crate) fn trusted_with(
    builder: SessionBuilder,
    http2: bool,
) -> Result<(Arc<Origin>, SessionBuilder)> {
    let authority = Authority::new()?;
    let options = Options {
        tls: Some(authority.server(Shown::Valid)?),
        http2,
        ..Options::default()
    };
    let origin = Arc::new(Origin::bind(options)?);
    Ok((origin, builder.add_root_certificate(authority.pem())))
}

/// Checks that bodies of three megabytes arrive completely in both directions.
pub(crate) async fn large_bodies_arrive(session: &Session, origin: &Origin) -> Result {
    const LEN: usize = 3_000_000;
    let url = origin.url(&format!("/bytes/{LEN}?seed=7"));
    let body = session.get(url).bytes().await?;
    let right = body == payload::bytes(LEN, 7);
    check(right, format!("{} bytes, which differ", body.len()))?;
    let upload = session.put(origin.url("/upload")).body(body);
    let received: Value = upload.json().await?;
    equal("the bytes that arrived", &received["bytes"], LEN)
}

/// Waits until the origin's counts meet a condition.
pub(crate) async fn counts(
    origin: &Arc<Origin>,
    what: &str,
    condition: impl Fn(&Stats) -> bool + Send + 'static,
) -> Result<Stats> {
    let origin = origin.clone();
    let reached = run_blocking(move || origin.wait_for(EVENT_TIMEOUT, condition)).await?;
    reached.map_err(|stats| Failure::new(format!("the origin did not observe {what}; {stats:?}")))
}

/// Returns a server that plays the same script on every connection.
pub(crate) fn scripted(script: Script) -> io::Result<Arc<Scripted>> {
    Scripted::same(script).map(Arc::new)
}

/// Returns a script that sends the same response to `n` requests, and then waits for the client's close.
pub(crate) fn answering(n: usize, response: &str) -> Script {
    let requests = (0..n).fold(Script::new(), |script, _| {
        script.read_request().send(response.to_owned())
    });
    requests.hang()
}

/// Waits until the server has read this many requests.
pub(crate) async fn requests(server: &Arc<Scripted>, n: usize) -> Result {
    let waiter = server.clone();
    if run_blocking(move || waiter.wait_for_requests(n, EVENT_TIMEOUT)).await? {
        return Ok(());
    }
    let received = server.requests().len();
    Err(Failure::new(format!(
        "the server read {received} requests, wanted {n}"
    )))
}

/// Waits until the client has closed this connection.
pub(crate) async fn closed(server: &Arc<Scripted>, connection: usize, time: Duration) -> Result {
    let waiter = server.clone();
    match run_blocking(move || waiter.wait_for_close(connection, time)).await? {
        Some(_) => Ok(()),
        None => Err(Failure::new(format!(
            "connection {connection} was not closed within {time:?}"
        ))),
    }
}

/// Returns a complete response with this body.
pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Returns the values of a header, in order.
pub(crate) fn values<'a>(response: &'a Response, name: &str) -> Vec<&'a [u8]> {
    let values = response.headers().get_all(name).iter();
    values.map(http::HeaderValue::as_bytes).collect()
}
