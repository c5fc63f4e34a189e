//! Name resolution by the session's resolver.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use inflight_core::{ErrorKind, Phase, Resolve, Session};
use inflight_origin::payload::page;
use inflight_origin::script::{ScriptedServer, refused_address};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text,
};
use crate::context::{Context, run_blocking, wait_for, within};
use crate::servers::{ok_response, response_script, start_origin, start_scripted};

/// The client connects to the address that the resolver returns, and sends the host of the URL as
/// Host.
#[apply(case!)]
async fn client_connects_to_the_resolved_address(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("found")))?;
    let port = server.addr().port();
    let session = session_with_resolver(&context, |name, port| match name {
        "pages.test" => Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]),
        _ => Err(io::Error::other("an unexpected name")),
    })?;
    check_text(session.get(format!("http://pages.test:{port}/")), "found").await?;
    let received = server.requests();
    let host = received[0].header("host").map(String::from_utf8_lossy);
    let expected = format!("pages.test:{port}");
    check_equal("Host", host.as_deref(), Some(&*expected))
}

/// If the first address refuses the connection, the client tries the next.
#[apply(case!)]
async fn addresses_are_tried_in_order(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("found")))?;
    let port = server.addr().port();
    let session = session_with_resolver(&context, |_, port| {
        Ok(vec![unused_address(port), loopback_address(port)])
    })?;
    check_text(session.get(format!("http://pages.test:{port}/")), "found").await
}

/// If the first address does not respond, the client soon tries the next in parallel (RFC 8305).
#[apply(case!)]
#[needs(parallel_connects)]
async fn silent_address_does_not_delay_the_next(context: Context) -> Result {
    // A client that first waits for the silent address takes longer than this.
    const SOON: Duration = Duration::from_secs(2);
    let silent = run_blocking(ScriptedServer::unaccepting_address).await??;
    let server = start_scripted(response_script(1, &ok_response("found")))?;
    let addresses = vec![silent.addr(), server.addr()];
    let session = session_with_resolver(&context, move |_, _| Ok(addresses.clone()))?;
    let request = session.get("http://pages.test/").text();
    let text = within("a response from the second address", SOON, request).await??;
    check_equal("the body", text, "found")
}

/// If all addresses of a name refuse the connection, the error is of the kind connect.
#[apply(case!)]
async fn refusal_by_all_addresses_is_a_connect_error(context: Context) -> Result {
    let port = refused_address()?.port();
    let session = session_with_resolver(&context, |_, port| {
        Ok(vec![unused_address(port), loopback_address(port)])
    })?;
    let request = session.get(format!("http://pages.test:{port}/"));
    check_request_error(request, ErrorKind::Connect)
        .await
        .map(drop)
}

/// If the resolver fails, the error is of the kind resolve.
#[apply(case!)]
async fn failing_look_up_is_a_resolve_error(context: Context) -> Result {
    let session = session_with_resolver(&context, |_, _| Err(io::Error::other("no such name")))?;
    let error = check_request_error(session.get("http://pages.test/"), ErrorKind::Resolve).await?;
    check(error.is_connect(), "is_connect() is false")?;
    check_equal(
        "the URL of the error",
        error.url(),
        Some("http://pages.test/"),
    )
}

/// If the resolver returns no address, the error is of the kind resolve.
#[apply(case!)]
async fn name_without_addresses_is_a_resolve_error(context: Context) -> Result {
    let session = session_with_resolver(&context, |_, _| Ok(Vec::new()))?;
    let request = session.get("http://pages.test/");
    check_request_error(request, ErrorKind::Resolve)
        .await
        .map(drop)
}

/// If the system's resolver does not find a name, the error is of the kind resolve.
#[apply(case!)]
async fn unknown_name_with_the_system_resolver_is_a_resolve_error(context: Context) -> Result {
    let request = context.session()?.get("http://nothing.invalid/");
    check_request_error(request, ErrorKind::Resolve)
        .await
        .map(drop)
}

/// If the URL contains an address instead of a name, the client does not call the resolver.
#[apply(case!)]
async fn addresses_need_no_look_up(context: Context) -> Result {
    let origin = start_origin()?;
    let session = session_with_resolver(&context, |name, _| {
        Err(io::Error::other(format!("unexpected look-up of {name}")))
    })?;
    check_text(session.get(origin.url("/page/1")), page(1)).await
}

/// During the look-up of one name, other requests progress.
#[apply(case!)]
async fn slow_look_up_delays_no_other_request(context: Context) -> Result {
    let origin = start_origin()?;
    let (session, lookup_started, go) = session_with_slow_lookup(&context, None)?;
    let looking_up = session.get("http://slow.test/").text();
    let others = async {
        wait_for("a look-up", lookup_started.recv()).await??;
        for n in 0..10 {
            let text = session
                .get(origin.url(&format!("/page/{n}")))
                .text()
                .await?;
            check(
                text.contains(&format!("Page {n}")),
                "the response is not the requested page",
            )?;
        }
        drop(go);
        Ok::<_, Failure>(())
    };
    let (looked_up, others) = futures_util::future::join(looking_up, others).await;
    others?;
    check_error("the slow look-up", looked_up, &[ErrorKind::Resolve]).map(drop)
}

/// connect_timeout includes the look-up.
#[apply(case!)]
async fn slow_look_up_is_a_timeout_error(context: Context) -> Result {
    check_lookup_timeout(&context).await.map(drop)
}

/// If connect_timeout ends a look-up, the error is a timeout of the phase connect.
#[apply(case!)]
#[needs(connect_phase)]
async fn slow_look_up_is_a_timeout_of_the_connect_phase(context: Context) -> Result {
    let phase = check_lookup_timeout(&context).await?;
    check_equal("the phase", phase, Some(Phase::Connect))
}

async fn check_lookup_timeout(context: &Context) -> Result<Option<Phase>> {
    let (session, _lookup_started, _go) =
        session_with_slow_lookup(context, Some(Duration::from_millis(300)))?;
    let result = session.get("http://slow.test/").text();
    let result = wait_for("the timeout", result).await?;
    let error = check_error("a slow look-up", result, &[ErrorKind::Timeout])?;
    Ok(error.phase())
}

/// A resolver that calls a function.
pub(super) struct ResolverFn<F>(pub(super) F);

impl<F> Resolve for ResolverFn<F>
where
    F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
{
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(host, port)
    }
}

fn session_with_resolver(
    context: &Context,
    answer: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> Result<Session> {
    Ok(context.builder().resolver(ResolverFn(answer)).build()?)
}

type SlowLookup = (
    Session,
    async_channel::Receiver<()>,
    async_channel::Sender<()>,
);

/// Returns a session, a receiver and a sender. The session's resolver sends an event to the
/// receiver at each look-up, then blocks until the sender is dropped.
fn session_with_slow_lookup(
    context: &Context,
    connect_timeout: Option<Duration>,
) -> Result<SlowLookup> {
    let (report_lookup, lookup_started) = async_channel::unbounded();
    let (go, gate) = async_channel::bounded::<()>(1);
    let resolver = ResolverFn(move |_: &str, _| {
        let _ = report_lookup.send_blocking(());
        let _ = gate.recv_blocking();
        Err(io::Error::other("too late"))
    });
    let builder = context.builder().connect_timeout(connect_timeout);
    Ok((builder.resolver(resolver).build()?, lookup_started, go))
}

fn loopback_address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Returns an address on loopback on which no server of the suite listens.
fn unused_address(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port)
}
