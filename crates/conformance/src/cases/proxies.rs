//! Proxies: requests through a proxy, and the errors when the proxy fails.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use inflight_core::http::{HeaderValue, StatusCode, header};
use inflight_core::{ErrorKind, Phase, Proxies, Proxy, SessionBuilder};
use inflight_origin::script::{Script, refused};
use inflight_origin::tls::{Authority, Shown};
use inflight_origin::{ForwardProxy, Origin};
use serde_json::Value;

use crate::case::suite;
use crate::check::{Failure, check, equal, fails};
use crate::context::{Context, EVENT_TIMEOUT, abandon, within};
use crate::servers::{answering, origin, requests, scripted, secured};

suite! { "proxies":
    requests_name_their_whole_url needs proxies, proxied_whole =>
        "A request for an http URL is sent to the proxy with the absolute URL and with the server's Host.";
    http_goes_through_the_proxy needs proxies =>
        "A GET and a POST for http URLs succeed through the proxy.";
    https_goes_through_a_tunnel needs proxies, tls =>
        "For an https URL the client opens a tunnel through the proxy and uses TLS with the server in it.";
    credentials_are_the_proxys_alone needs proxies =>
        "The proxy's credentials are sent to the proxy and not to the server.";
    credentials_reach_no_server_through_a_tunnel needs proxies, tls =>
        "Through a tunnel, neither the proxy's credentials nor a Proxy-Authorization of the caller reach the server.";
    names_are_the_proxys_to_look_up needs proxies =>
        "The session's resolver looks up the name of the proxy, and the proxy looks up the name of the server.";
    exceptions_go_straight needs proxies =>
        "A request to an excepted host does not use the proxy.";
    redirects_are_judged_one_by_one needs proxies =>
        "A redirect to an excepted host does not use the proxy.";
    connections_to_a_proxy_are_kept needs proxies, connection_reuse =>
        "Sequential requests to one server share connections to the proxy.";
    refused_request_is_its_answer needs proxies, proxied_whole =>
        "A 407 to a request for an http URL is returned as the response.";
    refused_tunnel_is_proxy needs proxies, tls =>
        "A 407 to the request for a tunnel is an error of the kind proxy.";
    refusing_proxy_is_proxy needs proxies, tls =>
        "Any status but 2xx to the request for a tunnel is an error of the kind proxy, and nothing is sent to the server.";
    unreachable_proxy_is_proxy needs proxies =>
        "A proxy that refuses connections is an error of the kind proxy, for http and https.";
    unknown_proxy_is_proxy needs proxies =>
        "A proxy whose name has no address is an error of the kind proxy.";
    nonsense_of_a_proxy_is_proxy needs proxies, tls =>
        "A response to CONNECT that is not HTTP, or no response, is an error of the kind proxy.";
    end_behind_a_tunnel_is_the_servers needs proxies, tls, proxy_faults =>
        "Through a tunnel, a server that ends the handshake is an error of the kind tls.";
    silent_proxy_is_a_timeout needs proxies, tls, connect_phase =>
        "connect_timeout includes the wait for a tunnel.";
    request_dropped_before_the_tunnel_is_seen_to_go needs proxies, tls, prompt_cancel =>
        "Dropping a request closes its connection at once while it waits for a tunnel.";
    proxies_that_a_client_lacks_are_unsupported =>
        "With a client that does not support proxies, building a session with one is an error of the kind unsupported.";
}

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

/// Returns an origin with TLS, and a builder that trusts its certificate.
fn trusting(builder: SessionBuilder) -> Result<(Arc<Origin>, SessionBuilder), Failure> {
    let authority = Authority::new()?;
    let origin = secured(&authority, Shown::Valid)?;
    Ok((origin, builder.add_root_certificate(authority.pem())))
}

async fn requests_name_their_whole_url(context: Context) -> Result<(), Failure> {
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

async fn http_goes_through_the_proxy(context: Context) -> Result<(), Failure> {
    let (origin, proxy) = (origin()?, proxy(authorization())?);
    let session = through(&context, &proxy).build()?;
    let text = session.get(origin.url("/page/7")).text().await?;
    check(text.contains("Page 7"), "another page")?;
    let echo = session.post(origin.url("/echo")).body("content");
    equal("the echo", echo.text().await?, "content")?;
    check(!proxy.seen().is_empty(), "the proxy received nothing")
}

async fn https_goes_through_a_tunnel(context: Context) -> Result<(), Failure> {
    let proxy = proxy(authorization())?;
    let (origin, builder) = trusting(through(&context, &proxy))?;
    let session = builder.build()?;
    let text = session.get(origin.url("/page/7")).text().await?;
    check(text.contains("Page 7"), "another page")?;
    let seen = proxy.seen();
    equal("the method", seen[0].method.as_str(), "CONNECT")?;
    equal("the target", &*seen[0].target, &*origin.addr().to_string())
}

async fn credentials_are_the_proxys_alone(context: Context) -> Result<(), Failure> {
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

async fn credentials_reach_no_server_through_a_tunnel(context: Context) -> Result<(), Failure> {
    let proxy = proxy(authorization())?;
    let (origin, builder) = trusting(through(&context, &proxy))?;
    let session = builder.build()?;
    let own = session.get(origin.url("/headers"));
    let shown = own.header("proxy-authorization", "Basic bWU6c2VjcmV0");
    let shown = shown.text().await?;
    check(!shown.contains("Proxy-Authorization"), shown)
}

async fn names_are_the_proxys_to_look_up(context: Context) -> Result<(), Failure> {
    let (origin, proxy) = (origin()?, proxy(None)?);
    let session = resolving(context.builder())
        .proxy(&format!("http://proxy.test:{}", proxy.addr().port()))
        .build()?;
    let url = format!("http://pages.test:{}/page/7", origin.addr().port());
    let text = session.get(url).text().await?;
    check(text.contains("Page 7"), "another page")
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

async fn exceptions_go_straight(context: Context) -> Result<(), Failure> {
    let (origin, proxy) = (origin()?, proxy(None)?);
    let proxies = Proxies::all(Proxy::new(&url(proxy.addr()))?).except("127.0.0.0/8");
    let session = context.builder().proxies(proxies).build()?;
    let shown = session.get(origin.url("/headers")).text().await?;
    check(!shown.contains("Proxy-Authorization"), shown)?;
    check(proxy.seen().is_empty(), "the proxy received a request")
}

async fn redirects_are_judged_one_by_one(context: Context) -> Result<(), Failure> {
    let (home, away, proxy) = (origin()?, origin()?, proxy(None)?);
    let proxies = Proxies::all(Proxy::new(&url(proxy.addr()))?).except(&away.addr().to_string());
    let session = context.builder().proxies(proxies).build()?;
    let to = format!("/redirect-to?url={}", away.url("/get"));
    session.get(home.url(&to)).text().await?;
    equal("requests through the proxy", proxy.seen().len(), 1)?;
    equal("requests to the other", away.stats().requests, 1)
}

async fn connections_to_a_proxy_are_kept(context: Context) -> Result<(), Failure> {
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

async fn refused_request_is_its_answer(context: Context) -> Result<(), Failure> {
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

async fn refused_tunnel_is_proxy(context: Context) -> Result<(), Failure> {
    let proxy = proxy(authorization())?;
    let bare = format!("http://{}", proxy.addr());
    let (origin, builder) = trusting(context.builder().proxy(&bare))?;
    let result = builder.build()?.get(origin.url("/get")).text().await;
    fails("no credentials", result, &[ErrorKind::Proxy])?;
    equal("requests to the server", origin.stats().requests, 0)
}

async fn refusing_proxy_is_proxy(context: Context) -> Result<(), Failure> {
    for status in [
        "403 Forbidden",
        "502 Bad Gateway",
        "302 Found\r\nLocation: http://x.test/",
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let refusing = scripted(answering(1, &answer))?;
        let (origin, builder) = trusting(context.builder().proxy(&refusing.url("/")))?;
        let result = builder.build()?.get(origin.url("/get")).text().await;
        fails(status, result, &[ErrorKind::Proxy])?;
        equal("requests to the server", origin.stats().requests, 0)?;
    }
    Ok(())
}

async fn unreachable_proxy_is_proxy(context: Context) -> Result<(), Failure> {
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

async fn unknown_proxy_is_proxy(context: Context) -> Result<(), Failure> {
    let session = resolving(context.builder()).proxy("http://unknown.test:80");
    let result = session.build()?.get("http://127.0.0.1:9/").text().await;
    fails("a proxy without an address", result, &[ErrorKind::Proxy]).map(drop)
}

async fn nonsense_of_a_proxy_is_proxy(context: Context) -> Result<(), Failure> {
    for answer in ["nonsense\r\n\r\n", "", "HTTP/1.1 200"] {
        let broken = scripted(Script::new().read_head().send(answer).close())?;
        let (origin, builder) = trusting(context.builder().proxy(&broken.url("/")))?;
        let result = builder.build()?.get(origin.url("/get")).text().await;
        fails(&format!("{answer:?}"), result, &[ErrorKind::Proxy])?;
    }
    Ok(())
}

async fn end_behind_a_tunnel_is_the_servers(context: Context) -> Result<(), Failure> {
    let proxy = proxy(None)?;
    let closing = scripted(Script::new().close())?;
    let url = format!("https://{}/", closing.addr());
    let result = through(&context, &proxy).build()?.get(url).text().await;
    fails(
        "a server that closes the connection",
        result,
        &[ErrorKind::Tls],
    )
    .map(drop)
}

async fn silent_proxy_is_a_timeout(context: Context) -> Result<(), Failure> {
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

async fn request_dropped_before_the_tunnel_is_seen_to_go(context: Context) -> Result<(), Failure> {
    let silent = scripted(Script::new().read_head().hang())?;
    let session = context.builder().proxy(&silent.url("/")).build()?;
    let request = session.get("https://127.0.0.1:9/").text();
    abandon(request, requests(&silent, 1)).await?;
    let server = silent.clone();
    let closed =
        crate::context::run_blocking(move || server.wait_for_close(0, EVENT_TIMEOUT)).await?;
    check(closed.is_some(), "the connection stays open")
}

async fn proxies_that_a_client_lacks_are_unsupported(context: Context) -> Result<(), Failure> {
    let built = context.builder().proxy("http://127.0.0.1:9").build();
    match context.capabilities.proxies.is_yes() {
        true => built.map(drop).map_err(Failure::from),
        false => fails("a proxy", built.map(drop), &[ErrorKind::Unsupported]).map(drop),
    }
}
