//! The address guard: it prevents connections to refused addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use inflight_core::{AddressGuard, ErrorKind, Retry, Session};
use inflight_origin::script::{Script, ScriptedServer};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::cases::names::ResolverFn;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text,
};
use crate::context::Context;
use crate::servers::{ok_response, response_script, start_scripted};

/// If the URL contains a refused address, in any notation, the request fails and the client opens
/// no connection.
#[apply(case!)]
#[needs(address_guard)]
async fn guard_refuses_an_address_in_the_url(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("reached")))?;
    let port = server.addr().port();
    let session = session_with_guard(&context, AddressGuard::public())?;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
    ] {
        check_refused(&session, &format!("http://{host}:{port}/")).await?;
    }
    check_no_connections(&context, &server).await
}

/// If the guard refuses all addresses of a name, the request fails and the client opens no
/// connection.
#[apply(case!)]
#[needs(address_guard)]
async fn guard_refuses_a_name(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("reached")))?;
    let port = server.addr().port();
    let session = session_with_guard_and_resolver(&context, AddressGuard::public(), |port| {
        vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into(),
            (Ipv4Addr::LOCALHOST.to_ipv6_compatible(), port).into(),
        ]
    })?;
    let error = check_refused(&session, &format!("http://pages.test:{port}/")).await?;
    check_equal("the address", error, (Ipv4Addr::LOCALHOST, port).into())?;
    check_no_connections(&context, &server).await
}

/// The guard checks an IPv4-mapped IPv6 address as the IPv4 address that it contains.
#[apply(case!)]
#[needs(address_guard)]
async fn guard_refuses_an_ipv4_mapped_address(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("reached")))?;
    let port = server.addr().port();
    let guard = AddressGuard::custom(|address| !address.ip().is_loopback());
    let mapped = |port| vec![(Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into()];
    let session = session_with_guard_and_resolver(&context, guard, mapped)?;
    check_refused(&session, &format!("http://pages.test:{port}/")).await?;
    check_refused(&session, &format!("http://[::ffff:127.0.0.1]:{port}/")).await?;
    check_no_connections(&context, &server).await
}

/// A redirect to a refused address is not followed, and the client opens no connection to that
/// address.
#[apply(case!)]
#[needs(address_guard)]
async fn guard_refuses_a_redirect(context: Context) -> Result {
    let hidden = start_scripted(response_script(1, &ok_response("reached")))?;
    let to = |location: String| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n");
        start_scripted(response_script(
            1,
            &format!("{head}Content-Length: 0\r\n\r\n"),
        ))
    };
    let port = hidden.addr().port();
    for location in [hidden.url("/"), format!("http://pages.test:{port}/")] {
        let open = to(location)?;
        let first = open.addr();
        let guard = AddressGuard::custom(move |address| address == first);
        let session = session_with_guard_and_resolver(&context, guard, |port| {
            vec![(Ipv4Addr::LOCALHOST, port).into()]
        })?;
        let address = check_refused(&session, &open.url("/")).await?;
        check_equal("the address", address, hidden.addr())?;
        check_equal("requests to the first server", open.requests().len(), 1)?;
    }
    check_no_connections(&context, &hidden).await
}

/// The guard checks the address of each connection, even if an earlier address of the name was
/// allowed.
#[apply(case!)]
#[needs(address_guard)]
async fn guard_refuses_a_name_whose_address_changes(context: Context) -> Result {
    let close = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nopen";
    let open = start_scripted(Script::new().read_request().send(close))?;
    let hidden = start_scripted(response_script(1, &ok_response("reached")))?;
    let (first, second) = (open.addr(), hidden.addr());
    let lookups = AtomicUsize::new(0);
    let guard = AddressGuard::custom(move |address| address == first);
    let session = session_with_guard_and_resolver(&context, guard, move |_| {
        match lookups.fetch_add(1, Ordering::SeqCst) {
            0 => vec![first],
            _ => vec![second],
        }
    })?;
    let url = format!("http://pages.test:{}/", first.port());
    check_text(session.get(&url), "open").await?;
    check_refused(&session, &url).await?;
    check_no_connections(&context, &hidden).await
}

/// The client connects only to those addresses of a name that the guard allows.
#[apply(case!)]
#[needs(address_guard)]
async fn client_connects_only_to_allowed_addresses(context: Context) -> Result {
    let hidden = start_scripted(response_script(1, &ok_response("hidden")))?;
    let open = start_scripted(response_script(1, &ok_response("open")))?;
    let (first, second) = (hidden.addr(), open.addr());
    let guard = AddressGuard::custom(move |address| address != first);
    let session = session_with_guard_and_resolver(&context, guard, move |_| vec![first, second])?;
    let url = format!("http://pages.test:{}/", first.port());
    check_text(session.get(&url), "open").await?;
    check_no_connections(&context, &hidden).await
}

/// Addresses in an allowed network, or allowed by a custom rule, are reachable.
#[apply(case!)]
#[needs(address_guard)]
async fn allowed_addresses_are_reachable(context: Context) -> Result {
    let loopback = |network: &str| {
        let network = network.parse();
        network.map_err(|_| Failure::new("not a network"))
    };
    for guard in [
        AddressGuard::public().allow(loopback("127.0.0.0/8")?),
        AddressGuard::custom(|address| address.ip().is_loopback()),
    ] {
        let server = start_scripted(response_script(2, &ok_response("reached")))?;
        let session = session_with_guard_and_resolver(&context, guard, |port| {
            vec![(Ipv4Addr::LOCALHOST, port).into()]
        })?;
        let named = format!("http://pages.test:{}/", server.addr().port());
        for url in [server.url("/"), named] {
            check_text(session.get(url), "reached").await?;
        }
    }
    Ok(())
}

/// A request to a refused address is not retried.
#[apply(case!)]
#[needs(address_guard)]
async fn refused_address_is_not_retried(context: Context) -> Result {
    let builder = context.builder().retry(Retry::new(3));
    let session = builder.address_guard(AddressGuard::public()).build()?;
    let error = check_request_error(session.get("http://127.0.0.1:9/"), ErrorKind::Connect).await?;
    check_equal("attempts", error.attempts(), 1)
}

/// Checks that the guard refuses a request to this URL, and returns the refused address.
async fn check_refused(session: &Session, url: &str) -> Result<SocketAddr> {
    let result = session.get(url).text().await;
    let error = check_error(url, result, &[ErrorKind::Connect])?;
    check(error.is_connect(), "is_connect() is false")?;
    let refused = error.address_refused();
    let refused =
        refused.ok_or_else(|| Failure::new(format!("{url}: no refused address in {error}")))?;
    Ok(refused.address())
}

/// Checks that the session with the guard has not connected to the server. A session without a guard
/// sends a request. The server accepts connections in order, so the connection of this request must
/// be the first.
async fn check_no_connections(context: &Context, server: &Arc<ScriptedServer>) -> Result {
    context.session()?.get(server.url("/")).text().await?;
    check_equal("connections", server.connections(), 1)
}

fn session_with_guard(context: &Context, guard: AddressGuard) -> Result<Session> {
    Ok(context.builder().address_guard(guard).build()?)
}

/// Returns a session with this guard, and with a resolver. For every name, the resolver returns the
/// result of `addresses` for the port.
fn session_with_guard_and_resolver(
    context: &Context,
    guard: AddressGuard,
    addresses: impl Fn(u16) -> Vec<SocketAddr> + Send + Sync + 'static,
) -> Result<Session> {
    let builder = context.builder().address_guard(guard);
    let resolver = ResolverFn(move |_: &str, port| Ok(addresses(port)));
    Ok(builder.resolver(resolver).build()?)
}
