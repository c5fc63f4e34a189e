//! Names: looked up by the session's resolver, and by nothing else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use inflight_core::{ErrorKind, Phase, Resolve, Session};
use inflight_origin::script::{Scripted, refused};

use crate::case::suite;
use crate::check::{Failure, check, equal, fails};
use crate::context::{Context, PATIENCE, apart, within};
use crate::servers::{answering, ok, origin, scripted};

suite! { "names":
    resolver_decides_where_a_name_leads =>
        "The connection goes where the resolver says; Host is the URL's.";
    addresses_are_tried_in_turn =>
        "When the first address refuses, the next is tried.";
    silent_address_does_not_delay_the_next needs parallel_connects =>
        "When the first address does not answer, the next is tried beside it, soon (RFC 8305).";
    addresses_that_all_refuse_are_connect =>
        "A name with addresses, none of which answers, is of the kind connect.";
    failing_look_up_is_resolve =>
        "An error of the resolver is of the kind resolve.";
    name_without_addresses_is_resolve =>
        "A name that has no address is of the kind resolve.";
    unknown_name_is_resolve_by_the_system_too =>
        "A name under .invalid is of the kind resolve.";
    addresses_need_no_look_up =>
        "An address in the place of a name is not looked up.";
    slow_look_up_stalls_nobody =>
        "While one name is being looked up, other requests go on.";
    slow_look_up_is_a_timeout =>
        "connect_timeout covers the look-up.";
    slow_look_up_is_of_the_connect_phase needs connect_phase =>
        "connect_timeout during the look-up names the phase connect.";
}

async fn resolver_decides_where_a_name_leads(context: Context) -> Result<(), Failure> {
    let server = scripted(answering(1, &ok("found")))?;
    let port = server.addr().port();
    let session = resolving(&context, |name, port| match name {
        "pages.test" => Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]),
        _ => Err(io::Error::other("a name that nobody asked for")),
    })?;
    let text = session
        .get(format!("http://pages.test:{port}/"))
        .text()
        .await?;
    equal("the body", text, "found")?;
    let seen = server.requests();
    let host = seen[0].header("host").map(String::from_utf8_lossy);
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
    // A client that waits for the silent address has no time left for the other.
    const SOON: Duration = Duration::from_secs(2);
    let silent = apart(Scripted::unaccepting).await??;
    let server = scripted(answering(1, &ok("found")))?;
    let addresses = vec![silent.addr(), server.addr()];
    let session = resolving(&context, move |_, _| Ok(addresses.clone()))?;
    let request = session.get("http://pages.test/").text();
    let text = within("an answer of the second address", SOON, request).await??;
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
        Err(io::Error::other(format!("asked for {name}")))
    })?;
    let text = session.get(origin.url("/page/1")).text().await?;
    check(text.contains("Page 1"), "another page")
}

async fn slow_look_up_stalls_nobody(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let (session, asked, go) = slow(&context, None)?;
    let looking_up = session.get("http://slow.test/").text();
    let others = async {
        let asked = within("a look-up", PATIENCE / 2, asked.recv()).await?;
        asked.map_err(|_| Failure::new("the resolver is gone"))?;
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
    let (session, _asked, _go) = slow(context, Some(Duration::from_millis(300)))?;
    let result = session.get("http://slow.test/").text();
    let result = within("the timeout", PATIENCE / 2, result).await?;
    let error = fails("a slow look-up", result, &[ErrorKind::Timeout])?;
    Ok(error.phase())
}

/// A resolver that is a function.
pub(super) struct Answers<F>(pub(super) F);

impl<F> Resolve for Answers<F>
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
    Ok(context.builder().resolver(Answers(answer)).build()?)
}

type Slow = (
    Session,
    async_channel::Receiver<()>,
    async_channel::Sender<()>,
);

/// A session whose resolver says that it was asked, and does not answer before the sender is
/// dropped.
fn slow(context: &Context, connect_timeout: Option<Duration>) -> Result<Slow, Failure> {
    let (asking, asked) = async_channel::unbounded();
    let (go, gate) = async_channel::bounded::<()>(1);
    let answers = Answers(move |_: &str, _| {
        let _ = asking.send_blocking(());
        let _ = gate.recv_blocking();
        Err(io::Error::other("too late"))
    });
    let builder = context.builder().connect_timeout(connect_timeout);
    Ok((builder.resolver(answers).build()?, asked, go))
}

fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// On loopback, where no server of the suite listens.
fn elsewhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port)
}
