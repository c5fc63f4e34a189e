//! Test servers for the cases, and async functions that wait until a server has read a request or seen
//! a connection close. An origin is a server with httpbin's paths. A scripted server plays a fixed
//! script on each connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::{Response, Session, SessionBuilder, http};
use inflight_origin::script::{Script, ScriptedServer};
use inflight_origin::tls::{Authority, CertificateKind};
use inflight_origin::{Options, Origin, Stats, payload};
use serde_json::Value;

use crate::check::{Failure, Result, check, check_equal};
use crate::context::{EVENT_TIMEOUT, run_blocking};

pub(crate) fn start_origin() -> io::Result<Arc<Origin>> {
    Origin::start().map(Arc::new)
}

/// Starts an origin with TLS and with a certificate of this kind from `authority`.
pub(crate) fn start_tls_origin(
    authority: &Authority,
    kind: CertificateKind,
) -> io::Result<Arc<Origin>> {
    let options = Options {
        tls: Some(authority.server(kind)?),
        ..Options::default()
    };
    Origin::bind(options).map(Arc::new)
}

/// Starts an origin with TLS. Returns it, and a builder whose sessions trust the origin's
/// certificate.
pub(crate) fn start_trusted_origin(
    builder: SessionBuilder,
) -> Result<(Arc<Origin>, SessionBuilder)> {
    start_trusted_origin_with(builder, false)
}

/// Starts an origin with TLS, and with HTTP/2 if `http2` is true. Returns it, and a builder whose
/// sessions trust the origin's certificate.
pub(crate) fn start_trusted_origin_with(
    builder: SessionBuilder,
    http2: bool,
) -> Result<(Arc<Origin>, SessionBuilder)> {
    let authority = Authority::new()?;
    let options = Options {
        tls: Some(authority.server(CertificateKind::Valid)?),
        http2,
        ..Options::default()
    };
    let origin = Arc::new(Origin::bind(options)?);
    Ok((origin, builder.add_root_certificate(authority.pem())))
}

/// Checks that bodies of three megabytes arrive completely in both directions.
pub(crate) async fn check_large_bodies(session: &Session, origin: &Origin) -> Result {
    const LEN: usize = 3_000_000;
    let url = origin.url(&format!("/bytes/{LEN}?seed=7"));
    let body = session.get(url).bytes().await?;
    let is_equal = body == payload::bytes(LEN, 7);
    check(
        is_equal,
        format!("the body ({} bytes) is not the expected one", body.len()),
    )?;
    let upload = session.put(origin.url("/upload")).body(body);
    let received: Value = upload.json().await?;
    check_equal("the bytes that arrived", &received["bytes"], LEN)
}

/// Waits until `condition` holds for the origin's counts.
pub(crate) async fn wait_for_counts(
    origin: &Arc<Origin>,
    label: &str,
    condition: impl Fn(&Stats) -> bool + Send + 'static,
) -> Result<Stats> {
    let origin = origin.clone();
    let reached = run_blocking(move || origin.wait_for(EVENT_TIMEOUT, condition)).await?;
    reached.map_err(|stats| Failure::new(format!("the origin did not observe {label}; {stats:?}")))
}

/// Starts a server that runs the same script on every connection.
pub(crate) fn start_scripted(script: Script) -> io::Result<Arc<ScriptedServer>> {
    ScriptedServer::with_script(script).map(Arc::new)
}

/// Returns a script that sends the same response to `n` requests, and then waits until the client
/// closes the connection.
pub(crate) fn response_script(n: usize, response: &str) -> Script {
    let requests = (0..n).fold(Script::new(), |script, _| {
        script.read_request().send(response.to_owned())
    });
    requests.hang()
}

/// Waits until the server has read this many requests.
pub(crate) async fn wait_for_requests(server: &Arc<ScriptedServer>, n: usize) -> Result {
    let waiter = server.clone();
    if run_blocking(move || waiter.wait_for_requests(n, EVENT_TIMEOUT)).await? {
        return Ok(());
    }
    let received = server.requests().len();
    Err(Failure::new(format!(
        "the server read {received} requests, wanted {n}"
    )))
}

/// Waits until the client has closed this connection. Fails after `time`.
pub(crate) async fn wait_for_close(
    server: &Arc<ScriptedServer>,
    connection: usize,
    time: Duration,
) -> Result {
    let waiter = server.clone();
    match run_blocking(move || waiter.wait_for_close(connection, time)).await? {
        Some(_) => Ok(()),
        None => Err(Failure::new(format!(
            "connection {connection} was not closed within {time:?}"
        ))),
    }
}

/// Returns a complete response with the status 200 and this body.
pub(crate) fn ok_response(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Returns the values of a header, in order.
pub(crate) fn header_values<'a>(response: &'a Response, name: &str) -> Vec<&'a [u8]> {
    let values = response.headers().get_all(name).iter();
    values.map(http::HeaderValue::as_bytes).collect()
}
