//! Name resolution: by the session's resolver, and by nothing else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use inflight_core::{ErrorKind, Phase, Resolve, Session};
use inflight_origin::script::{Scripted, refused};

use crate::case::suite;
use crate::check::{Failure, check, equal, fails};
use crate::context::{Context, EVENT_TIMEOUT, run_blocking, within};
use crate::servers::{answering, ok, origin, scripted};

suite! { "names":
    resolver_decides_where_a_name_leads =>
        "The client connects to the resolver's address, and Host is that of the URL.";
    addresses_are_tried_in_turn =>
        "If the first address refuses the connection, the client tries the next.";
    silent_address_does_not_delay_the_next needs parallel_connects =>
        "If the first address does not respond, the client soon tries the next in parallel (RFC 8305).";
    addresses_that_all_refuse_are_connect =>
        "A name whose addresses all refuse the connection is an error of the kind connect.";
    failing_look_up_is_resolve =>
        "A failure of the resolver is an error of the kind resolve.";
    name_without_addresses_is_resolve =>
        "A name without addresses is an error of the kind resolve.";
    unknown_name_is_resolve_by_the_system_too =>
        "With the system's resolver, a name under .invalid is an error of the kind resolve.";
    addresses_need_no_look_up =>
        "A URL with an address instead of a name needs no look-up.";
    slow_look_up_stalls_nobody =>
        "During the look-up of one name, other requests progress.";
    slow_look_up_is_a_timeout =>
        "connect_timeout includes the look-up.";
    slow_look_up_is_of_the_connect_phase needs connect_phase =>
        "connect_timeout during the look-up is a timeout of the phase connect.";
}

async fn resolver_decides_where_a_name_leads(context: Context) -> Result<(), Failure> {
    let server = scripted(answering(1, &ok("found")))?;
    let port = server.addr().port();
    let session = resolving(&context, |name, port| match name {
        "pages.test" => Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]),
        _ => Err(io::Error::other("an unexpected name")),
    })?;
    let text = session
        .get(format!("http://pages.test:{port}/"))
        .text()
        .await?;
    equal("the body", text, "found")?;
    let received = server.requests();
    let host = received[0].header("host").map(String::from_utf8_lossy);
    let wanted = format!("pages.test:{port}");
    equal("Host", host.as_deref(), Some(&*wanted))
}

async fn addresses_are_tried_in_turn(context: Context) -> Result<(), Failure> {
    let server = scripted(answering(1, &ok("found")))?;
    let port = server.addr().port();
    let session = resolving(&context, |_, port| Ok(vec![elsewhere(port), here(port)]))?;
    let text = session
        .get(format!("http://pages.test:{port}/"))
        .text()
        .await?;
    equal("the body", text, "found")
}

async fn silent_address_does_not_delay_the_next(context: Context) -> Result<(), Failure> {
    // A client that waits for the silent address does not respond in this time.
    const SOON: Duration = Duration::from_secs(2);
    let silent = run_blocking(Scripted::unaccepting).await??;
    let server = scripted(answering(1, &ok("found")))?;
    let addresses = vec![silent.addr(), server.addr()];
    let session = resolving(&context, move |_, _| Ok(addresses.clone()))?;
    let request = session.get("http://pages.test/").text();
    let text = within("a response from the second address", SOON, request).await??;
    equal("the body", text, "found")
}

async fn addresses_that_all_refuse_are_connect(context: Context) -> Result<(), Failure> {
    let port = refused()?.port();
    let session = resolving(&context, |_, port| Ok(vec![elsewhere(port), here(port)]))?;
    let result = session
        .get(format!("http://pages.test:{port}/"))
        .text()
        .await;
    fails("a refused name", result, &[ErrorKind::Connect]).map(drop)
}

async fn failing_look_up_is_resolve(context: Context) -> Result<(), Failure> {
    let session = resolving(&context, |_, _| Err(io::Error::other("no such name")))?;
    let result = session.get("http://pages.test/").text().await;
    let error = fails("a failing look-up", result, &[ErrorKind::Resolve])?;
    check(error.is_connect(), "is_connect() is false")?;
    equal("its URL", error.url(), Some("http://pages.test/"))
}

async fn name_without_addresses_is_resolve(context: Context) -> Result<(), Failure> {
    let session = resolving(&context, |_, _| Ok(Vec::new()))?;
    let result = session.get("http://pages.test/").text().await;
    fails("an empty look-up", result, &[ErrorKind::Resolve]).map(drop)
}

async fn unknown_name_is_resolve_by_the_system_too(context: Context) -> Result<(), Failure> {
    let result = context
        .session()?
        .get("http://nothing.invalid/")
        .text()
        .await;
    fails("nothing.invalid", result, &[ErrorKind::Resolve]).map(drop)
}

async fn addresses_need_no_look_up(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let session = resolving(&context, |name, _| {
        Err(io::Error::other(format!("unexpected look-up of {name}")))
    })?;
    let text = session.get(origin.url("/page/1")).text().await?;
    check(text.contains("Page 1"), "another page")
}

async fn slow_look_up_stalls_nobody(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let (session, lookup_started, go) = session_with_slow_lookup(&context, None)?;
    let looking_up = session.get("http://slow.test/").text();
    let others = async {
        let lookup_started = within("a look-up", EVENT_TIMEOUT / 2, lookup_started.recv()).await?;
        lookup_started.map_err(|_| Failure::new("the resolver was dropped"))?;
        for n in 0..10 {
            let text = session
                .get(origin.url(&format!("/page/{n}")))
                .text()
                .await?;
            check(text.contains(&format!("Page {n}")), "another page")?;
        }
        drop(go);
        Ok::<_, Failure>(())
    };
    let (looked_up, others) = futures_util::future::join(looking_up, others).await;
    others?;
    fails("the slow look-up", looked_up, &[ErrorKind::Resolve]).map(drop)
}

async fn slow_look_up_is_a_timeout(context: Context) -> Result<(), Failure> {
    look_up_times_out(&context).await.map(drop)
}

async fn slow_look_up_is_of_the_connect_phase(context: Context) -> Result<(), Failure> {
    let phase = look_up_times_out(&context).await?;
    equal("the phase", phase, Some(Phase::Connect))
}

async fn look_up_times_out(context: &Context) -> Result<Option<Phase>, Failure> {
    let (session, _lookup_started, _go) =
        session_with_slow_lookup(context, Some(Duration::from_millis(300)))?;
    let result = session.get("http://slow.test/").text();
    let result = within("the timeout", EVENT_TIMEOUT / 2, result).await?;
    let error = fails("a slow look-up", result, &[ErrorKind::Timeout])?;
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

fn resolving(
    context: &Context,
    answer: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> Result<Session, Failure> {
    Ok(context.builder().resolver(ResolverFn(answer)).build()?)
}

type SlowLookup = (
    Session,
    async_channel::Receiver<()>,
    async_channel::Sender<()>,
);

/// Returns a session whose resolver reports each look-up, and does not return before the sender is dropped.
fn session_with_slow_lookup(
    context: &Context,
    connect_timeout: Option<Duration>,
) -> Result<SlowLookup, Failure> {
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

fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Returns an address on loopback on which no server of the suite listens.
fn elsewhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port)
}
