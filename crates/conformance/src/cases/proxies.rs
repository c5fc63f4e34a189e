//! Proxies: requests through a proxy, and the errors when the proxy fails.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use inflight_core::http::{HeaderValue, StatusCode, header};
use inflight_core::{ErrorKind, Phase, Proxies, Proxy, SessionBuilder};
use inflight_origin::ForwardProxy;
use inflight_origin::payload::page;
use inflight_origin::script::{Script, refused};
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::case::case;
use crate::check::{Failure, Result, check, equal, fails, fails_with, returns};
use crate::context::{Context, EVENT_TIMEOUT, abandon, within};
use crate::servers::{answering, origin, requests, scripted, trusted};

fn authorization() -> Option<HeaderValue> {
    // me:secret
    Some(HeaderValue::from_static("Basic bWU6c2VjcmV0"))
}

fn proxy(wanting: Option<HeaderValue>) -> io::Result<ForwardProxy> {
    ForwardProxy::start(wanting)
}

fn url(addr: SocketAddr) -> String {
    format!("http://me:secret@{addr}")
}

fn through(context: &Context, proxy: &ForwardProxy) -> SessionBuilder {
    context.builder().proxy(&url(proxy.addr()))
}

/// A request for an http URL is sent to the proxy with the absolute URL and with the server's Host.
#[apply(case!)]
#[needs(proxies, proxied_whole)]
async fn requests_name_their_whole_url(context: Context) -> Result {
    let (origin, proxy) = (origin()?, proxy(None)?);
    let session = through(&context, &proxy).build()?;
    let url = origin.url("/headers?a=b");
    let shown: Value = session.get(&url).json().await?;
    let seen = proxy.seen();
    equal("requests", seen.len(), 1)?;
    equal("the target", &*seen[0].target, &*url)?;
    let host = shown["headers"]["Host"].as_str();
    equal("Host", host, Some(&*origin.addr().to_string()))
}

/// A GET and a POST for http URLs succeed through the proxy.
#[apply(case!)]
#[needs(proxies)]
async fn http_goes_through_the_proxy(context: Context) -> Result {
    let (origin, proxy) = (origin()?, proxy(authorization())?);
    let session = through(&context, &proxy).build()?;
    returns(session.get(origin.url("/page/7")), page(7)).await?;
    let echo = session.post(origin.url("/echo")).body("content");
    returns(echo, "content").await?;
    check(!proxy.seen().is_empty(), "the proxy received nothing")
}

/// For an https URL the client opens a tunnel through the proxy and uses TLS with the server in it.
#[apply(case!)]
#[needs(proxies, tls)]
async fn https_goes_through_a_tunnel(context: Context) -> Result {
    let proxy = proxy(authorization())?;
    let (origin, builder) = trusted(through(&context, &proxy))?;
    let session = builder.build()?;
    returns(session.get(origin.url("/page/7")), page(7)).await?;
    let seen = proxy.seen();
    equal("the method", seen[0].method.as_str(), "CONNECT")?;
    equal("the target", &*seen[0].target, &*origin.addr().to_string())
}

/// The proxy's credentials are sent to the proxy and not to the server.
#[apply(case!)]
#[needs(proxies)]
async fn credentials_are_the_proxys_alone(context: Context) -> Result {
    let (origin, proxy) = (origin()?, proxy(authorization())?);
    let session = through(&context, &proxy).build()?;
    let shown = session.get(origin.url("/headers")).text().await?;
    check(!shown.contains("Proxy-Authorization"), shown)?;
    let received = proxy
        .seen()
        .into_iter()
        .all(|seen| seen.headers.get(header::PROXY_AUTHORIZATION) == authorization().as_ref());
    check(received, "the proxy did not receive its credentials")
}

/// Through a tunnel, neither the proxy's credentials nor a Proxy-Authorization of the caller reach
/// the server.
#[apply(case!)]
#[needs(proxies, tls)]
async fn credentials_reach_no_server_through_a_tunnel(context: Context) -> Result {
    let proxy = proxy(authorization())?;
    let (origin, builder) = trusted(through(&context, &proxy))?;
    let session = builder.build()?;
    let own = session.get(origin.url("/headers"));
    let shown = own.header("proxy-authorization", "Basic bWU6c2VjcmV0");
    let shown = shown.text().await?;
    check(!shown.contains("Proxy-Authorization"), shown)
}

/// The session's resolver looks up the name of the proxy, and the proxy looks up the name of the
/// server.
#[apply(case!)]
#[needs(proxies)]
async fn names_are_the_proxys_to_look_up(context: Context) -> Result {
    let (origin, proxy) = (origin()?, proxy(None)?);
    let session = resolving(context.builder())
        .proxy(&format!("http://proxy.test:{}", proxy.addr().port()))
        .build()?;
    let url = format!("http://pages.test:{}/page/7", origin.addr().port());
    returns(session.get(url), page(7)).await
}

fn resolving(builder: SessionBuilder) -> SessionBuilder {
    struct ProxyResolver;
    impl inflight_core::Resolve for ProxyResolver {
        fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            match host {
                "proxy.test" => Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]),
                _ => Err(io::Error::other(format!("unexpected look-up of {host}"))),
            }
        }
    }
    builder.resolver(ProxyResolver)
}

/// A request to an excepted host does not use the proxy.
#[apply(case!)]
#[needs(proxies)]
async fn exceptions_go_straight(context: Context) -> Result {
    let (origin, proxy) = (origin()?, proxy(None)?);
    let proxies = Proxies::all(Proxy::new(&url(proxy.addr()))?).except("127.0.0.0/8");
    let session = context.builder().proxies(proxies).build()?;
    let shown = session.get(origin.url("/headers")).text().await?;
    check(!shown.contains("Proxy-Authorization"), shown)?;
    check(proxy.seen().is_empty(), "the proxy received a request")
}

/// A redirect to an excepted host does not use the proxy.
#[apply(case!)]
#[needs(proxies)]
async fn redirects_are_judged_one_by_one(context: Context) -> Result {
    let (home, away, proxy) = (origin()?, origin()?, proxy(None)?);
    let proxies = Proxies::all(Proxy::new(&url(proxy.addr()))?).except(&away.addr().to_string());
    let session = context.builder().proxies(proxies).build()?;
    let to = format!("/redirect-to?url={}", away.url("/get"));
    session.get(home.url(&to)).text().await?;
    equal("requests through the proxy", proxy.seen().len(), 1)?;
    equal("requests to the other", away.stats().requests, 1)
}

/// Sequential requests to one server share connections to the proxy.
#[apply(case!)]
#[needs(proxies, connection_reuse)]
async fn connections_to_a_proxy_are_kept(context: Context) -> Result {
    let (origin, proxy) = (origin()?, proxy(None)?);
    let session = through(&context, &proxy).build()?;
    for _ in 0..20 {
        session.get(origin.url("/bytes/10")).bytes().await?;
    }
    let seen = proxy.seen();
    let connections = seen.iter().map(|seen| seen.connection).max();
    let connections = connections.map_or(0, |last| last + 1);
    check(
        connections < 20,
        format!("{connections} connections for 20 requests"),
    )
}

/// A 407 to a request for an http URL is returned as the response.
#[apply(case!)]
#[needs(proxies, proxied_whole)]
async fn refused_request_is_its_answer(context: Context) -> Result {
    let (origin, proxy) = (origin()?, proxy(authorization())?);
    let bare = format!("http://{}", proxy.addr());
    let session = context.builder().proxy(&bare).build()?;
    let response = session.get(origin.url("/get")).send().await?;
    equal(
        "the status",
        response.status(),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    )?;
    equal("requests to the server", origin.stats().requests, 0)
}

/// A 407 to the request for a tunnel is an error of the kind proxy.
#[apply(case!)]
#[needs(proxies, tls)]
async fn refused_tunnel_is_proxy(context: Context) -> Result {
    let proxy = proxy(authorization())?;
    let bare = format!("http://{}", proxy.addr());
    let (origin, builder) = trusted(context.builder().proxy(&bare))?;
    fails_with(builder.build()?.get(origin.url("/get")), ErrorKind::Proxy).await?;
    equal("requests to the server", origin.stats().requests, 0)
}

/// Any status but 2xx to the request for a tunnel is an error of the kind proxy, and nothing is
/// sent to the server.
#[apply(case!)]
#[needs(proxies, tls)]
async fn refusing_proxy_is_proxy(context: Context) -> Result {
    for status in [
        "403 Forbidden",
        "502 Bad Gateway",
        "302 Found\r\nLocation: http://x.test/",
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let refusing = scripted(answering(1, &answer))?;
        let (origin, builder) = trusted(context.builder().proxy(&refusing.url("/")))?;
        let result = builder.build()?.get(origin.url("/get")).text().await;
        fails(status, result, &[ErrorKind::Proxy])?;
        equal("requests to the server", origin.stats().requests, 0)?;
    }
    Ok(())
}

/// A proxy that refuses connections is an error of the kind proxy, for http and https.
#[apply(case!)]
#[needs(proxies)]
async fn unreachable_proxy_is_proxy(context: Context) -> Result {
    let nowhere = url(refused()?);
    let session = context.builder().proxy(&nowhere).build()?;
    let mut urls = vec!["http://127.0.0.1:9/"];
    if context.capabilities.tls.is_yes() {
        urls.push("https://127.0.0.1:9/");
    }
    for url in urls {
        let result = session.get(url).text().await;
        let error = fails(url, result, &[ErrorKind::Proxy])?;
        let message = format!("{error:?} {error}");
        check(
            !message.contains("secret"),
            format!("credentials in {message}"),
        )?;
    }
    Ok(())
}

/// A proxy whose name has no address is an error of the kind proxy.
#[apply(case!)]
#[needs(proxies)]
async fn unknown_proxy_is_proxy(context: Context) -> Result {
    let session = resolving(context.builder()).proxy("http://unknown.test:80");
    let request = session.build()?.get("http://127.0.0.1:9/");
    fails_with(request, ErrorKind::Proxy).await.map(drop)
}

/// A response to CONNECT that is not HTTP, or no response, is an error of the kind proxy.
#[apply(case!)]
#[needs(proxies, tls)]
async fn nonsense_of_a_proxy_is_proxy(context: Context) -> Result {
    for answer in ["nonsense\r\n\r\n", "", "HTTP/1.1 200"] {
        let broken = scripted(Script::new().read_head().send(answer).close())?;
        let (origin, builder) = trusted(context.builder().proxy(&broken.url("/")))?;
        let result = builder.build()?.get(origin.url("/get")).text().await;
        fails(&format!("{answer:?}"), result, &[ErrorKind::Proxy])?;
    }
    Ok(())
}

/// Through a tunnel, a server that ends the handshake is an error of the kind tls.
#[apply(case!)]
#[needs(proxies, tls, proxy_faults)]
async fn end_behind_a_tunnel_is_the_servers(context: Context) -> Result {
    let proxy = proxy(None)?;
    let closing = scripted(Script::new().close())?;
    let url = format!("https://{}/", closing.addr());
    let request = through(&context, &proxy).build()?.get(url);
    fails_with(request, ErrorKind::Tls).await.map(drop)
}

/// connect_timeout includes the wait for a tunnel.
#[apply(case!)]
#[needs(proxies, tls, connect_phase)]
async fn silent_proxy_is_a_timeout(context: Context) -> Result {
    let silent = scripted(Script::new().read_head().hang())?;
    let builder = context.builder().proxy(&silent.url("/"));
    let session = builder
        .connect_timeout(Duration::from_millis(200))
        .build()?;
    let request = session.get("https://127.0.0.1:9/").text();
    let result = within("the timeout", EVENT_TIMEOUT, request).await?;
    let error = fails("a silent proxy", result, &[ErrorKind::Timeout])?;
    equal("the phase", error.phase(), Some(Phase::Connect))
}

/// Dropping a request closes its connection at once while it waits for a tunnel.
#[apply(case!)]
#[needs(proxies, tls, prompt_cancel)]
async fn request_dropped_before_the_tunnel_is_seen_to_go(context: Context) -> Result {
    let silent = scripted(Script::new().read_head().hang())?;
    let session = context.builder().proxy(&silent.url("/")).build()?;
    let request = session.get("https://127.0.0.1:9/").text();
    abandon(request, requests(&silent, 1)).await?;
    let server = silent.clone();
    let closed =
        crate::context::run_blocking(move || server.wait_for_close(0, EVENT_TIMEOUT)).await?;
    check(closed.is_some(), "the connection stays open")
}

/// With a client that does not support proxies, building a session with one is an error of the kind
/// unsupported.
#[apply(case!)]
async fn proxies_that_a_client_lacks_are_unsupported(context: Context) -> Result {
    let built = context.builder().proxy("http://127.0.0.1:9").build();
    match context.capabilities.proxies.is_yes() {
        true => built.map(drop).map_err(Failure::from),
        false => fails("a proxy", built.map(drop), &[ErrorKind::Unsupported]).map(drop),
    }
}
