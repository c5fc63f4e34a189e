//! SOCKS5 proxies: requests through a tunnel, name lookup, and the errors when the proxy fails.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::http::header;
use inflight_core::{AddressGuard, ErrorKind, Phase, Resolve, Session, SessionBuilder};
use inflight_origin::SocksProxy;
use inflight_origin::payload::page;
use inflight_origin::script::{Script, refused_address};
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text, with_causes,
};
use crate::context::{Context, EVENT_TIMEOUT, drop_after, within};
use crate::servers::{
    check_large_bodies, start_origin, start_scripted, start_trusted_origin, wait_for_close,
};

/// The address that the resolver returns for `pages.test`.
const SERVER: &str = "192.0.2.7";

/// A resolver that knows the server `pages.test` and the proxy `proxy.test`.
struct TestResolver;

impl Resolve for TestResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let address = match host {
            "pages.test" => SERVER,
            "proxy.test" => "127.0.0.1",
            _ => return Err(io::Error::other(format!("unexpected look-up of {host}"))),
        };
        let address = address.parse().map_err(io::Error::other)?;
        Ok(vec![SocketAddr::new(address, port)])
    }
}

fn start_proxy() -> io::Result<SocksProxy> {
    SocksProxy::start(Some(("me", "secret")))
}

/// Returns a builder whose sessions use the proxy at `addr` with credentials.
fn builder_with_proxy(context: &Context, scheme: &str, addr: SocketAddr) -> SessionBuilder {
    let url = format!("{scheme}://me:secret@proxy.test:{}", addr.port());
    context.builder().resolver(TestResolver).proxy(&url)
}

fn session_with_proxy(context: &Context, proxy: &SocksProxy) -> Result<Session> {
    Ok(builder_with_proxy(context, "socks5h", proxy.addr()).build()?)
}

/// For an http URL, the server receives the request through a tunnel, as without a proxy.
#[apply(case!)]
#[needs(socks_proxies)]
async fn http_requests_use_a_socks_tunnel(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy()?);
    let session = session_with_proxy(&context, &proxy)?;
    let host = format!("pages.test:{}", origin.addr().port());
    let request = session.get(format!("http://{host}/get?a=b"));
    let echo: Value = request
        .header(header::PROXY_AUTHORIZATION, "Basic bWU6c2VjcmV0")
        .json()
        .await?;
    let headers = &echo["headers"];
    check_equal("Host", headers["Host"].as_str(), Some(&*host))?;
    let credentials = headers["Proxy-Authorization"].as_str();
    check_equal("Proxy-Authorization", credentials, None)?;
    check_equal("the argument", echo["args"]["a"].as_str(), Some("b"))?;
    let upload = session.post(origin.url("/echo")).body("content");
    check_text(upload, "content").await?;
    check(!proxy.requests().is_empty(), "the proxy received nothing")
}

/// For an https URL, the client uses TLS with the server inside the tunnel.
#[apply(case!)]
#[needs(socks_proxies, tls)]
async fn https_requests_use_tls_inside_a_socks_tunnel(context: Context) -> Result {
    let proxy = start_proxy()?;
    let builder = builder_with_proxy(&context, "socks5h", proxy.addr());
    let (origin, builder) = start_trusted_origin(builder)?;
    let session = builder.build()?;
    let port = origin.addr().port();
    let url = format!("https://localhost:{port}/page/7");
    check_text(session.get(url), page(7)).await?;
    check_host(&proxy, "localhost")?;
    let elsewhere = session.get(format!("https://elsewhere.test:{port}/page/7"));
    check_request_error(elsewhere, ErrorKind::Tls)
        .await
        .map(drop)
}

/// With the scheme socks5h, the proxy looks up the name of the server. The client looks up only the name of
/// the proxy.
#[apply(case!)]
#[needs(socks_proxies)]
async fn socks5h_proxy_looks_up_the_name(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy()?);
    let session = session_with_proxy(&context, &proxy)?;
    let port = origin.addr().port();
    for host in ["elsewhere.test", "192.0.2.1", "[2001:db8::1]"] {
        let url = format!("http://{host}:{port}/page/7");
        check_text(session.get(url), page(7)).await?;
    }
    let received: Vec<_> = proxy
        .requests()
        .into_iter()
        .map(|request| request.host)
        .collect();
    check_equal(
        "the hosts",
        received,
        ["elsewhere.test", "192.0.2.1", "2001:db8::1"],
    )
}

/// With the scheme socks5, the session's resolver looks up the name of the server, and the proxy receives
/// the address.
#[apply(case!)]
#[needs(socks_proxies)]
async fn socks5_proxy_receives_the_address(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy()?);
    let session = builder_with_proxy(&context, "socks5", proxy.addr()).build()?;
    let host = format!("pages.test:{}", origin.addr().port());
    let echo: Value = session.get(format!("http://{host}/get")).json().await?;
    let received = echo["headers"]["Host"].as_str();
    check_equal("Host", received, Some(&*host))?;
    check_host(&proxy, SERVER)
}

/// With the scheme socks5, a failed lookup of the server's name is an error of the kind resolve.
#[apply(case!)]
#[needs(socks_proxies)]
async fn failing_look_up_for_a_socks5_proxy_is_a_resolve_error(context: Context) -> Result {
    let proxy = start_proxy()?;
    let session = builder_with_proxy(&context, "socks5", proxy.addr()).build()?;
    check_request_error(session.get("http://elsewhere.test/"), ErrorKind::Resolve).await?;
    check(proxy.requests().is_empty(), "the proxy received a request")
}

/// With the scheme socks5, the address guard checks the address of the server too.
#[apply(case!)]
#[needs(socks_proxies, address_guard)]
async fn address_guard_checks_servers_behind_a_socks5_proxy(context: Context) -> Result {
    let proxy = start_proxy()?;
    let guard = AddressGuard::custom(|address| address.ip().is_loopback());
    let builder = builder_with_proxy(&context, "socks5", proxy.addr());
    let session = builder.address_guard(guard).build()?;
    for url in ["http://pages.test/", "http://192.0.2.7/"] {
        let error = check_request_error(session.get(url), ErrorKind::Connect).await?;
        let refused = error.address_refused().map(|refused| refused.address());
        let server = SERVER.parse().map_err(io::Error::other)?;
        check_equal("the address", refused, Some(SocketAddr::new(server, 80)))?;
    }
    check(proxy.requests().is_empty(), "the proxy received a request")
}

/// Sequential requests share tunnels. Each host has its own.
#[apply(case!)]
#[needs(socks_proxies, connection_reuse)]
async fn socks_tunnels_are_reused(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy()?);
    let session = session_with_proxy(&context, &proxy)?;
    let port = origin.addr().port();
    for n in 0..10 {
        for host in ["first.test", "second.test"] {
            let url = format!("http://{host}:{port}/headers?n={n}");
            let echo: Value = session.get(url).json().await?;
            let received = echo["headers"]["Host"].as_str();
            check_equal("Host", received, Some(&*format!("{host}:{port}")))?;
        }
    }
    let tunnels = proxy.requests();
    for host in ["first.test", "second.test"] {
        let tunnels = tunnels.iter().filter(|tunnel| tunnel.host == host).count();
        let message = format!("{tunnels} tunnels for 10 requests to {host}");
        check((1..10).contains(&tunnels), message)?;
    }
    Ok(())
}

/// Large bodies arrive completely in both directions.
#[apply(case!)]
#[needs(socks_proxies)]
async fn large_bodies_pass_through_a_socks_tunnel(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy()?);
    check_large_bodies(&session_with_proxy(&context, &proxy)?, &origin).await?;
    check(!proxy.requests().is_empty(), "the proxy received nothing")
}

/// If the server refuses the proxy's connection, the error is of the kind proxy and names the proxy without
/// its credentials.
#[apply(case!)]
#[needs(socks_proxies)]
async fn refused_socks_tunnel_is_a_proxy_error(context: Context) -> Result {
    let proxy = start_proxy()?;
    let session = session_with_proxy(&context, &proxy)?;
    check_proxy_error(&session, refused_address()?.port()).await
}

/// If the proxy refuses the credentials or requires some, the error is of the kind proxy.
#[apply(case!)]
#[needs(socks_proxies)]
async fn refused_socks_credentials_are_a_proxy_error(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy()?);
    let builder = || context.builder().resolver(TestResolver);
    let port = proxy.addr().port();
    for credentials in ["me:secret2@", "you:secret@", ""] {
        let proxied = builder().proxy(&format!("socks5h://{credentials}proxy.test:{port}"));
        check_proxy_error(&proxied.build()?, origin.addr().port()).await?;
    }
    check(proxy.requests().is_empty(), "the proxy received a request")?;
    check_equal("requests to the server", origin.stats().requests, 0)
}

/// If the proxy ends the connection in the handshake or does not use SOCKS5, the error is of the kind proxy.
#[apply(case!)]
#[needs(socks_proxies)]
async fn invalid_socks_handshake_is_a_proxy_error(context: Context) -> Result {
    for answer in [
        &b""[..],
        b"\x05",
        b"\x04\x00",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        // The greeting of the client is not read, so closing the connection would reset it.
        let broken = start_scripted(Script::new().send(answer).shutdown_write().hang())?;
        let session = builder_with_proxy(&context, "socks5h", broken.addr()).build()?;
        check_proxy_error(&session, 9).await?;
    }
    Ok(())
}

/// If the proxy refuses the connection or has no address, the error is of the kind proxy.
#[apply(case!)]
#[needs(socks_proxies)]
async fn unreachable_socks_proxy_is_a_proxy_error(context: Context) -> Result {
    for scheme in ["socks5", "socks5h"] {
        let refusing = builder_with_proxy(&context, scheme, refused_address()?).build()?;
        let request = refusing.get("http://pages.test/");
        let error = check_request_error(request, ErrorKind::Proxy).await?;
        let message = with_causes(&error);
        check(!message.contains("secret"), message)?;
        let unknown = context.builder().resolver(TestResolver);
        let unknown = unknown.proxy(&format!("{scheme}://unknown.test")).build()?;
        check_request_error(unknown.get("http://pages.test/"), ErrorKind::Proxy).await?;
    }
    Ok(())
}

/// A failure of the server behind an open tunnel is not an error of the kind proxy.
#[apply(case!)]
#[needs(socks_proxies)]
async fn close_behind_a_socks_tunnel_is_not_a_proxy_error(context: Context) -> Result {
    let (proxy, closing) = (start_proxy()?, start_scripted(Script::new().close())?);
    let session = session_with_proxy(&context, &proxy)?;
    let authority = format!("pages.test:{}", closing.addr().port());
    let plain = session.get(format!("http://{authority}/"));
    check_request_error(plain, ErrorKind::Incomplete).await?;
    if context.capabilities.tls.is_yes() && context.capabilities.proxy_faults.is_yes() {
        let secure = session.get(format!("https://{authority}/"));
        check_request_error(secure, ErrorKind::Tls).await?;
    }
    Ok(())
}

/// connect_timeout includes the handshake with the proxy.
#[apply(case!)]
#[needs(socks_proxies, connect_phase)]
async fn silent_socks_proxy_is_a_timeout_error(context: Context) -> Result {
    let silent = start_scripted(Script::new().hang())?;
    let builder = builder_with_proxy(&context, "socks5h", silent.addr());
    let session = builder
        .connect_timeout(Duration::from_millis(200))
        .build()?;
    let request = session.get("http://pages.test/").text();
    let result = within("the timeout", EVENT_TIMEOUT, request).await?;
    let error = check_error("a silent proxy", result, &[ErrorKind::Timeout])?;
    check_equal("the phase", error.phase(), Some(Phase::Connect))
}

/// If a request is dropped while it waits for the proxy, its connection is closed at once.
#[apply(case!)]
#[needs(socks_proxies, prompt_cancel)]
async fn dropping_a_request_that_waits_for_a_socks_proxy_closes_its_connection(
    context: Context,
) -> Result {
    let silent = start_scripted(Script::new().hang())?;
    let session = builder_with_proxy(&context, "socks5h", silent.addr()).build()?;
    let request = session.get("http://pages.test/").text();
    let waiter: Arc<_> = silent.clone();
    let connected = async {
        let waited =
            crate::context::run_blocking(move || waiter.wait_for_connections(1, EVENT_TIMEOUT));
        check(waited.await?, "no connection")
    };
    drop_after(request, connected).await?;
    wait_for_close(&silent, 0, EVENT_TIMEOUT).await
}

/// If the client does not support SOCKS5 proxies, building a session with one is an error of the kind
/// unsupported.
#[apply(case!)]
async fn unsupported_socks_proxies_are_an_error(context: Context) -> Result {
    let built = context.builder().proxy("socks5://127.0.0.1:9").build();
    match context.capabilities.socks_proxies.is_yes() {
        true => built.map(drop).map_err(Failure::from),
        false => check_error("a proxy", built.map(drop), &[ErrorKind::Unsupported]).map(drop),
    }
}

/// Checks that a request to this port is an error of the kind proxy, which names the proxy without its
/// credentials.
async fn check_proxy_error(session: &Session, port: u16) -> Result {
    let request = session.get(format!("http://elsewhere.test:{port}/"));
    let error = check_request_error(request, ErrorKind::Proxy).await?;
    let message = with_causes(&error);
    let is_named = message.contains("socks5h://proxy.test");
    check(is_named && !message.contains("secret"), message)
}

fn check_host(proxy: &SocksProxy, host: &str) -> Result {
    let requests = proxy.requests();
    let received = requests.first().map(|request| &*request.host);
    check_equal("the host that the proxy received", received, Some(host))
}
