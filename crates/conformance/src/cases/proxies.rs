//! Proxies: requests through a proxy, and the errors when the proxy fails.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use inflight_core::http::{HeaderValue, StatusCode, header};
use inflight_core::{ErrorKind, Phase, Proxies, Proxy, SessionBuilder};
use inflight_origin::ForwardProxy;
use inflight_origin::payload::page;
use inflight_origin::script::{Script, refused_address};
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text,
};
use crate::context::{Context, EVENT_TIMEOUT, drop_after, within};
use crate::servers::{
    ok_response, response_script, start_origin, start_scripted, start_trusted_origin,
    wait_for_requests,
};

fn authorization() -> Option<HeaderValue> {
    // The credentials are `me:secret`.
    Some(HeaderValue::from_static("Basic bWU6c2VjcmV0"))
}

fn start_proxy(authorization: Option<HeaderValue>) -> io::Result<ForwardProxy> {
    ForwardProxy::start(authorization)
}

fn proxy_url(addr: SocketAddr) -> String {
    format!("http://me:secret@{addr}")
}

fn builder_with_proxy(context: &Context, proxy: &ForwardProxy) -> SessionBuilder {
    context.builder().proxy(&proxy_url(proxy.addr()))
}

/// A request for an http URL is sent to the proxy. Its target is the absolute URL, and its Host is
/// that of the server.
#[apply(case!)]
#[needs(proxies, proxied_whole)]
async fn request_target_is_the_absolute_url(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy(None)?);
    let session = builder_with_proxy(&context, &proxy).build()?;
    let url = origin.url("/headers?a=b");
    let echo: Value = session.get(&url).json().await?;
    let requests = proxy.requests();
    check_equal("requests", requests.len(), 1)?;
    check_equal("the target", &*requests[0].target, &*url)?;
    let host = echo["headers"]["Host"].as_str();
    check_equal("Host", host, Some(&*origin.addr().to_string()))
}

/// The proxy receives percent-encodings and an empty query unchanged.
#[apply(case!)]
#[needs(proxies, proxied_whole, unchanged_targets)]
async fn targets_are_sent_to_the_proxy_unchanged(context: Context) -> Result {
    let targets = [
        "http://pages.test/%7e/%2F/a%2fb?%7E=%7e",
        "http://pages.test/x?",
    ];
    let proxy = start_scripted(response_script(targets.len(), &ok_response("")))?;
    let session = context.builder().proxy(&proxy.url("/")).build()?;
    for target in targets {
        session.get(target).send().await?;
    }
    let received: Vec<_> = proxy
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    check_equal("the targets", received, targets.map(str::to_owned).to_vec())
}

/// A GET and a POST for http URLs succeed through the proxy.
#[apply(case!)]
#[needs(proxies)]
async fn http_requests_use_the_proxy(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy(authorization())?);
    let session = builder_with_proxy(&context, &proxy).build()?;
    check_text(session.get(origin.url("/page/7")), page(7)).await?;
    let echo = session.post(origin.url("/echo")).body("content");
    check_text(echo, "content").await?;
    check(!proxy.requests().is_empty(), "the proxy received nothing")
}

/// For an https URL, the client opens a tunnel through the proxy. Inside the tunnel, it uses TLS
/// with the server.
#[apply(case!)]
#[needs(proxies, tls)]
async fn https_requests_use_a_tunnel(context: Context) -> Result {
    let proxy = start_proxy(authorization())?;
    let (origin, builder) = start_trusted_origin(builder_with_proxy(&context, &proxy))?;
    let session = builder.build()?;
    check_text(session.get(origin.url("/page/7")), page(7)).await?;
    let requests = proxy.requests();
    check_equal("the method", requests[0].method.as_str(), "CONNECT")?;
    check_equal(
        "the target",
        &*requests[0].target,
        &*origin.addr().to_string(),
    )
}

/// The proxy's credentials are sent to the proxy and not to the server.
#[apply(case!)]
#[needs(proxies)]
async fn proxy_credentials_are_sent_only_to_the_proxy(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy(authorization())?);
    let session = builder_with_proxy(&context, &proxy).build()?;
    let echo = session.get(origin.url("/headers")).text().await?;
    check(!echo.contains("Proxy-Authorization"), echo)?;
    let received = proxy.requests().into_iter().all(|request| {
        request.headers.get(header::PROXY_AUTHORIZATION) == authorization().as_ref()
    });
    check(received, "the proxy did not receive its credentials")
}

/// Inside a tunnel, the client sends neither the proxy's credentials nor a Proxy-Authorization of
/// the caller.
#[apply(case!)]
#[needs(proxies, tls)]
async fn proxy_credentials_are_not_sent_through_a_tunnel(context: Context) -> Result {
    let proxy = start_proxy(authorization())?;
    let (origin, builder) = start_trusted_origin(builder_with_proxy(&context, &proxy))?;
    let session = builder.build()?;
    let request = session.get(origin.url("/headers"));
    let request = request.header("proxy-authorization", "Basic bWU6c2VjcmV0");
    let echo = request.text().await?;
    check(!echo.contains("Proxy-Authorization"), echo)
}

/// The session's resolver looks up the name of the proxy, and the proxy looks up the name of the
/// server.
#[apply(case!)]
#[needs(proxies)]
async fn proxy_looks_up_the_name_of_the_server(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy(None)?);
    let session = with_proxy_resolver(context.builder())
        .proxy(&format!("http://proxy.test:{}", proxy.addr().port()))
        .build()?;
    let url = format!("http://pages.test:{}/page/7", origin.addr().port());
    check_text(session.get(url), page(7)).await
}

fn with_proxy_resolver(builder: SessionBuilder) -> SessionBuilder {
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
async fn excepted_hosts_do_not_use_the_proxy(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy(None)?);
    let proxies = Proxies::all(Proxy::new(&proxy_url(proxy.addr()))?).except("127.0.0.0/8");
    let session = context.builder().proxies(proxies).build()?;
    let echo = session.get(origin.url("/headers")).text().await?;
    check(!echo.contains("Proxy-Authorization"), echo)?;
    check(proxy.requests().is_empty(), "the proxy received a request")
}

/// A redirect to an excepted host does not use the proxy.
#[apply(case!)]
#[needs(proxies)]
async fn redirect_to_an_excepted_host_does_not_use_the_proxy(context: Context) -> Result {
    let (first, second, proxy) = (start_origin()?, start_origin()?, start_proxy(None)?);
    let proxies =
        Proxies::all(Proxy::new(&proxy_url(proxy.addr()))?).except(&second.addr().to_string());
    let session = context.builder().proxies(proxies).build()?;
    let to = format!("/redirect-to?url={}", second.url("/get"));
    session.get(first.url(&to)).text().await?;
    check_equal("requests through the proxy", proxy.requests().len(), 1)?;
    check_equal("requests to the second server", second.stats().requests, 1)
}

/// Sequential requests to one server share connections to the proxy.
#[apply(case!)]
#[needs(proxies, connection_reuse)]
async fn connections_to_a_proxy_are_reused(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy(None)?);
    let session = builder_with_proxy(&context, &proxy).build()?;
    for _ in 0..20 {
        session.get(origin.url("/bytes/10")).bytes().await?;
    }
    let requests = proxy.requests();
    let connections = requests.iter().map(|request| request.connection).max();
    let connections = connections.map_or(0, |last| last + 1);
    check(
        connections < 20,
        format!("{connections} connections for 20 requests"),
    )
}

/// A 407 to a request for an http URL is returned as the response.
#[apply(case!)]
#[needs(proxies, proxied_whole)]
async fn status_407_is_returned_as_the_response(context: Context) -> Result {
    let (origin, proxy) = (start_origin()?, start_proxy(authorization())?);
    let bare = format!("http://{}", proxy.addr());
    let session = context.builder().proxy(&bare).build()?;
    let response = session.get(origin.url("/get")).send().await?;
    check_equal(
        "the status",
        response.status(),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    )?;
    check_equal("requests to the server", origin.stats().requests, 0)
}

/// If the proxy responds to CONNECT with 407, the error is of the kind proxy.
#[apply(case!)]
#[needs(proxies, tls)]
async fn refused_tunnel_is_a_proxy_error(context: Context) -> Result {
    let proxy = start_proxy(authorization())?;
    let bare = format!("http://{}", proxy.addr());
    let (origin, builder) = start_trusted_origin(context.builder().proxy(&bare))?;
    check_request_error(builder.build()?.get(origin.url("/get")), ErrorKind::Proxy).await?;
    check_equal("requests to the server", origin.stats().requests, 0)
}

/// If the proxy responds to CONNECT with a status other than 2xx, the error is of the kind proxy,
/// and the client sends nothing to the server.
#[apply(case!)]
#[needs(proxies, tls)]
async fn non_2xx_response_to_connect_is_a_proxy_error(context: Context) -> Result {
    for status in [
        "403 Forbidden",
        "502 Bad Gateway",
        "302 Found\r\nLocation: http://x.test/",
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let refusing = start_scripted(response_script(1, &answer))?;
        let (origin, builder) = start_trusted_origin(context.builder().proxy(&refusing.url("/")))?;
        let result = builder.build()?.get(origin.url("/get")).text().await;
        check_error(status, result, &[ErrorKind::Proxy])?;
        check_equal("requests to the server", origin.stats().requests, 0)?;
    }
    Ok(())
}

/// If the proxy refuses the connection, the error is of the kind proxy, for http and https.
#[apply(case!)]
#[needs(proxies)]
async fn unreachable_proxy_is_a_proxy_error(context: Context) -> Result {
    let refusing = proxy_url(refused_address()?);
    let session = context.builder().proxy(&refusing).build()?;
    let mut urls = vec!["http://127.0.0.1:9/"];
    if context.capabilities.tls.is_yes() {
        urls.push("https://127.0.0.1:9/");
    }
    for url in urls {
        let result = session.get(url).text().await;
        let error = check_error(url, result, &[ErrorKind::Proxy])?;
        let message = format!("{error:?} {error}");
        check(
            !message.contains("secret"),
            format!("credentials in {message}"),
        )?;
    }
    Ok(())
}

/// If the name of the proxy has no address, the error is of the kind proxy.
#[apply(case!)]
#[needs(proxies)]
async fn unknown_proxy_is_a_proxy_error(context: Context) -> Result {
    let session = with_proxy_resolver(context.builder()).proxy("http://unknown.test:80");
    let request = session.build()?.get("http://127.0.0.1:9/");
    check_request_error(request, ErrorKind::Proxy)
        .await
        .map(drop)
}

/// If the response to CONNECT is missing, incomplete or not HTTP, the error is of the kind proxy.
#[apply(case!)]
#[needs(proxies, tls)]
async fn invalid_response_to_connect_is_a_proxy_error(context: Context) -> Result {
    for answer in ["nonsense\r\n\r\n", "", "HTTP/1.1 200"] {
        let broken = start_scripted(Script::new().read_head().send(answer).close())?;
        let (origin, builder) = start_trusted_origin(context.builder().proxy(&broken.url("/")))?;
        let result = builder.build()?.get(origin.url("/get")).text().await;
        check_error(&format!("{answer:?}"), result, &[ErrorKind::Proxy])?;
    }
    Ok(())
}

/// If the server behind a tunnel closes the connection during the TLS handshake, the error is of
/// the kind tls.
#[apply(case!)]
#[needs(proxies, tls, proxy_faults)]
async fn close_in_the_handshake_behind_a_tunnel_is_a_tls_error(context: Context) -> Result {
    let proxy = start_proxy(None)?;
    let closing = start_scripted(Script::new().close())?;
    let url = format!("https://{}/", closing.addr());
    let request = builder_with_proxy(&context, &proxy).build()?.get(url);
    check_request_error(request, ErrorKind::Tls).await.map(drop)
}

/// A tunnel is open after any 2xx status, even if the head has many fields. A later failure is not
/// an error of the kind proxy.
#[apply(case!)]
#[needs(proxies, tls, proxy_faults)]
async fn tunnel_is_open_after_any_2xx(context: Context) -> Result {
    let answer = format!("HTTP/1.1 299 Sure\r\n{}\r\n", "X-Field: a\r\n".repeat(60));
    let open = start_scripted(Script::new().read_head().send(answer).close())?;
    let session = context.builder().proxy(&open.url("/")).build()?;
    let request = session.get("https://127.0.0.1:9/");
    check_request_error(request, ErrorKind::Tls).await.map(drop)
}

/// connect_timeout includes the wait for a tunnel.
#[apply(case!)]
#[needs(proxies, tls, connect_phase)]
async fn silent_proxy_is_a_timeout_error(context: Context) -> Result {
    let silent = start_scripted(Script::new().read_head().hang())?;
    let builder = context.builder().proxy(&silent.url("/"));
    let session = builder
        .connect_timeout(Duration::from_millis(200))
        .build()?;
    let request = session.get("https://127.0.0.1:9/").text();
    let result = within("the timeout", EVENT_TIMEOUT, request).await?;
    let error = check_error("a silent proxy", result, &[ErrorKind::Timeout])?;
    check_equal("the phase", error.phase(), Some(Phase::Connect))
}

/// If a request is dropped while it waits for a tunnel, its connection is closed at once.
#[apply(case!)]
#[needs(proxies, tls, prompt_cancel)]
async fn dropping_a_request_that_waits_for_a_tunnel_closes_its_connection(
    context: Context,
) -> Result {
    let silent = start_scripted(Script::new().read_head().hang())?;
    let session = context.builder().proxy(&silent.url("/")).build()?;
    let request = session.get("https://127.0.0.1:9/").text();
    drop_after(request, wait_for_requests(&silent, 1)).await?;
    let server = silent.clone();
    let closed =
        crate::context::run_blocking(move || server.wait_for_close(0, EVENT_TIMEOUT)).await?;
    check(closed.is_some(), "the connection stays open")
}

/// If the client does not support proxies, building a session with a proxy is an error of the kind
/// unsupported.
#[apply(case!)]
async fn unsupported_proxies_are_an_error(context: Context) -> Result {
    let built = context.builder().proxy("http://127.0.0.1:9").build();
    match context.capabilities.proxies.is_yes() {
        true => built.map(drop).map_err(Failure::from),
        false => check_error("a proxy", built.map(drop), &[ErrorKind::Unsupported]).map(drop),
    }
}
