//! TLS: which certificates a client trusts, and which errors untrusted certificates cause.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::http::StatusCode;
use inflight_core::{
    Certificate, Error, ErrorKind, Identity, Phase, Session, SessionBuilder, Support, TlsFault,
};
use inflight_origin::payload::page;
use inflight_origin::script::Script;
use inflight_origin::tls::{Authority, CertificateKind, Tls};
use inflight_origin::{Options, Origin};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_error, check_request_error, check_text};
use crate::context::{Context, wait_for};
use crate::servers::{
    check_large_bodies, response_script, start_origin, start_scripted, start_tls_origin,
    start_trusted_origin,
};
use crate::test_server::TestServer;

/// GET, HEAD and POST work over TLS as they do without it.
#[apply(case!)]
#[needs(tls)]
async fn requests_succeed_over_https(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin(context.builder())?;
    let session = builder.build()?;
    let response = session.get(origin.url("/page/1")).send().await?;
    check_equal("the status", response.status(), StatusCode::OK)?;
    check_equal("the text", response.text().await?, page(1))?;

    let response = session.head(origin.url("/page/1")).send().await?;
    check_equal("the status of HEAD", response.status(), StatusCode::OK)?;
    check_equal("HEAD's body", response.bytes().await?.len(), 0)?;

    check_text(session.post(origin.url("/echo")).body("a body"), "a body").await
}

/// Bodies of megabytes arrive completely over TLS, in both directions.
#[apply(case!)]
#[needs(tls)]
async fn large_bodies_are_complete_over_tls(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin(context.builder())?;
    let session = builder.build()?;
    check_large_bodies(&session, &origin).await
}

/// Of ten sequential requests over TLS, at least two share a connection.
#[apply(case!)]
#[needs(tls, connection_reuse)]
async fn tls_connections_are_reused(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin(context.builder())?;
    let session = builder.build()?;
    for n in 0..10 {
        let url = origin.url(&format!("/page/{n}"));
        session.get(url).bytes().await?;
    }
    let stats = origin.stats();
    check_equal("requests", stats.requests, 10)?;
    super::connections::check_sharing(&stats)
}

/// A certificate for localhost and 127.0.0.1 is valid for both.
#[apply(case!)]
#[needs(tls)]
async fn certificate_is_valid_for_each_of_its_names(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin(context.builder())?;
    let session = builder.build()?;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}/page/1", origin.addr().port());
        check_text(session.get(url), page(1)).await?;
    }
    Ok(())
}

/// If the certificate has expired, the error is of the kind tls.
#[apply(case!)]
#[needs(tls)]
async fn expired_certificate_is_a_tls_error(context: Context) -> Result {
    check_refused(&context, CertificateKind::Expired)
        .await
        .map(drop)
}

/// If the certificate is for another name, the error is of the kind tls.
#[apply(case!)]
#[needs(tls)]
async fn certificate_for_another_host_is_a_tls_error(context: Context) -> Result {
    check_refused(&context, CertificateKind::WrongHost)
        .await
        .map(drop)
}

/// If the certificate is self-signed, the error is of the kind tls.
#[apply(case!)]
#[needs(tls)]
async fn self_signed_certificate_is_a_tls_error(context: Context) -> Result {
    check_refused(&context, CertificateKind::SelfSigned)
        .await
        .map(drop)
}

/// If the issuer of the certificate is unknown, the error is of the kind tls.
#[apply(case!)]
#[needs(tls)]
async fn unknown_issuer_is_a_tls_error(context: Context) -> Result {
    check_unknown_issuer(context.builder()).await?;
    let other = Authority::new()?;
    check_unknown_issuer(trusting_builder(&context, &other))
        .await
        .map(drop)
}

/// The TLS fault of an error distinguishes certificates that are expired, for another name,
/// self-signed or of an unknown issuer.
#[apply(case!)]
#[needs(tls, tls_faults)]
async fn tls_fault_distinguishes_certificate_errors(context: Context) -> Result {
    for (kind, fault) in [
        (CertificateKind::Expired, TlsFault::Expired),
        (CertificateKind::WrongHost, TlsFault::WrongHost),
        (CertificateKind::SelfSigned, TlsFault::SelfSigned),
    ] {
        let error = check_refused(&context, kind).await?;
        check_equal("the fault", error.tls_fault(), Some(fault))?;
    }
    let error = check_unknown_issuer(context.builder()).await?;
    check_equal(
        "the fault",
        error.tls_fault(),
        Some(TlsFault::UnknownIssuer),
    )
}

/// No part of a request is sent to a server whose certificate is refused.
#[apply(case!)]
#[needs(tls)]
async fn nothing_is_sent_to_a_server_with_a_refused_certificate(context: Context) -> Result {
    let authority = Authority::new()?;
    let origin = start_tls_origin(&authority, CertificateKind::Valid)?;
    let session = context.session()?;
    for _ in 0..3 {
        let request = session.post(origin.url("/post")).body("a secret");
        check_request_error(request, ErrorKind::Tls).await?;
    }
    check_equal("requests", origin.stats().requests, 0)
}

/// If a root certificate is PEM text with two authorities, the session trusts both.
#[apply(case!)]
#[needs(tls)]
async fn every_certificate_of_a_bundle_is_trusted(context: Context) -> Result {
    let authorities = [Authority::new()?, Authority::new()?];
    let bundle: String = authorities.iter().map(Authority::pem).collect();
    let session = context.builder().add_root_certificate(bundle).build()?;
    for authority in &authorities {
        let origin = start_tls_origin(authority, CertificateKind::Valid)?;
        check_text(session.get(origin.url("/page/1")), page(1)).await?;
    }
    Ok(())
}

/// With only_root_certificates, only the given authorities are trusted, and at least one is required.
#[apply(case!)]
#[needs(tls)]
async fn only_given_authorities_are_trusted(context: Context) -> Result {
    // The suite has no server with a certificate of a public authority. Instead, the case builds a
    // session without given authorities. If it trusted public authorities, there would be no error.
    let authority = Authority::new()?;
    let only = context.builder().only_root_certificates(authority.pem());
    let session = only.build()?;
    let known = start_tls_origin(&authority, CertificateKind::Valid)?;
    check_text(session.get(known.url("/page/1")), page(1)).await?;
    let unknown = start_tls_origin(&Authority::new()?, CertificateKind::Valid)?;
    check_request_error(session.get(unknown.url("/page/1")), ErrorKind::Tls).await?;

    let without_authorities = || {
        let builder = context.builder();
        builder.client_options(|options| options.tls.only_extra_roots = true)
    };
    check_error(
        "no authority",
        without_authorities().build(),
        &[ErrorKind::Tls],
    )?;
    // Without certificate checks, no authority is required.
    let session = without_authorities()
        .danger_accept_invalid_certs(true)
        .build()?;
    check_text(session.get(unknown.url("/page/1")), page(1)).await
}

/// With danger_accept_invalid_certs every certificate is accepted.
#[apply(case!)]
#[needs(tls)]
async fn danger_accepts_invalid_certificates(context: Context) -> Result {
    let authority = Authority::new()?;
    let builder = context.builder().danger_accept_invalid_certs(true);
    let session = builder.build()?;
    for kind in [
        CertificateKind::Valid,
        CertificateKind::Expired,
        CertificateKind::WrongHost,
        CertificateKind::SelfSigned,
    ] {
        let origin = start_tls_origin(&authority, kind)?;
        check_text(session.get(origin.url("/page/1")), page(1)).await?;
    }
    Ok(())
}

/// With danger_accept_invalid_hostnames, the client checks everything but the name.
#[apply(case!)]
#[needs(tls, unchecked_hostnames)]
async fn danger_accepts_invalid_hostnames(context: Context) -> Result {
    let authority = Authority::new()?;
    let session = trusting_builder(&context, &authority)
        .danger_accept_invalid_hostnames(true)
        .build()?;
    let elsewhere = start_tls_origin(&authority, CertificateKind::WrongHost)?;
    check_text(session.get(elsewhere.url("/page/1")), page(1)).await?;
    for kind in [CertificateKind::Expired, CertificateKind::SelfSigned] {
        let origin = start_tls_origin(&authority, kind)?;
        let result = session.get(origin.url("/")).text().await;
        check_error(&format!("{kind:?}"), result, &[ErrorKind::Tls])?;
    }
    Ok(())
}

/// A server that requires a client certificate receives the configured one.
#[apply(case!)]
#[needs(tls, client_certificates)]
async fn client_certificate_is_sent(context: Context) -> Result {
    let newest: fn(Tls) -> Tls = |tls| tls;
    for versions in [newest, Tls::up_to_tls12] {
        let (origin, builder, authority) = start_client_auth_origin(&context, versions)?;
        let (certificate, key) = authority.client()?;
        let builder = builder.client_certificate(Identity::from_pem(certificate, key)?);
        let session = builder.build()?;
        check_text(session.get(origin.url("/page/1")), page(1)).await?;
    }
    Ok(())
}

/// If the server refuses the client certificate, the error is of the kind tls.
#[apply(case!)]
#[needs(tls, client_certificates)]
async fn refused_client_certificate_is_a_tls_error(context: Context) -> Result {
    let (origin, builder, _) = start_client_auth_origin(&context, Tls::up_to_tls12)?;
    let (certificate, key) = Authority::new()?.client()?;
    let builder = builder.client_certificate(Identity::from_pem(certificate, key)?);
    check_request_error(builder.build()?.get(origin.url("/")), ErrorKind::Tls)
        .await
        .map(drop)
}

/// If the server requires a client certificate and the session has none, the error is of the kind
/// tls.
#[apply(case!)]
#[needs(tls)]
async fn missing_client_certificate_is_a_tls_error(context: Context) -> Result {
    let (origin, builder, _) = start_client_auth_origin(&context, Tls::up_to_tls12)?;
    let error = check_request_error(builder.build()?.get(origin.url("/")), ErrorKind::Tls).await?;
    check_equal("the fault", error.tls_fault(), Some(TlsFault::Other))
}

/// If the server refuses the client after the handshake, as in TLS 1.3, the request fails.
#[apply(case!)]
#[needs(tls)]
async fn client_refused_after_the_handshake_is_an_error(context: Context) -> Result {
    let (origin, builder, _) = start_client_auth_origin(&context, |tls| tls)?;
    let result = builder.build()?.get(origin.url("/")).text().await;
    // The refusal is an alert, which the client receives with its next read or not at all.
    let kinds = [ErrorKind::Tls, ErrorKind::Incomplete];
    check_error("no certificate", result, &kinds)?;
    check_equal("requests", origin.stats().requests, 0)
}

/// If the client does not support a TLS option, building a session with it is an error.
#[apply(case!)]
#[needs(tls)]
async fn unsupported_tls_options_are_an_error(context: Context) -> Result {
    let capabilities = &context.capabilities;
    let (certificate, key) = Authority::new()?.client()?;
    let identity = Identity::from_pem(certificate, key)?;
    for (label, support, builder) in [
        (
            "a client certificate",
            capabilities.client_certificates,
            context.builder().client_certificate(identity),
        ),
        (
            "names unchecked",
            capabilities.unchecked_hostnames,
            context.builder().danger_accept_invalid_hostnames(true),
        ),
    ] {
        match support {
            Support::Yes => drop(builder.build()?),
            Support::No(_) => drop(check_error(
                label,
                builder.build(),
                &[ErrorKind::Unsupported],
            )?),
        }
    }
    Ok(())
}

/// Text without a certificate, and bytes that are not a certificate, are errors when the session is
/// built.
#[apply(case!)]
#[needs(tls)]
async fn unreadable_certificates_are_tls_errors(context: Context) -> Result {
    let text = context.builder().add_root_certificate("no certificate");
    check_error("text", text.build(), &[ErrorKind::Tls])?;
    let nonsense = Certificate::from_der(&b"no certificate"[..]);
    let builder = context.builder();
    let builder = builder.client_options(|options| options.tls.extra_roots.push(nonsense));
    check_error("nonsense", builder.build(), &[ErrorKind::Tls]).map(drop)
}

/// If the server responds to the handshake without TLS, the error is of the kind tls.
#[apply(case!)]
#[needs(tls)]
async fn server_without_tls_is_a_tls_error(context: Context) -> Result {
    let server = start_scripted(
        Script::new()
            .send("HTTP/1.1 400 Bad Request\r\n\r\n")
            .hang(),
    )?;
    check_no_tls(&context, &server.url("/")).await
}

/// If the server closes the connection during the handshake, the error is of the kind tls.
#[apply(case!)]
#[needs(tls)]
async fn close_in_the_handshake_is_a_tls_error(context: Context) -> Result {
    let server = start_scripted(Script::new().close())?;
    check_no_tls(&context, &server.url("/")).await
}

/// Checks that a request to `url`, the URL of a server without TLS, fails with an error of the kind
/// tls.
async fn check_no_tls(context: &Context, url: &str) -> Result {
    let url = url.replacen("http:", "https:", 1);
    let error = check_request_error(context.session()?.get(url), ErrorKind::Tls).await?;
    check_equal("the fault", error.tls_fault(), Some(TlsFault::Other))
}

/// connect_timeout includes the handshake.
#[apply(case!)]
#[needs(tls)]
async fn silent_handshake_is_a_timeout_error(context: Context) -> Result {
    check_handshake_timeout(&context).await.map(drop)
}

/// If connect_timeout ends a handshake, the error is a timeout of the phase connect.
#[apply(case!)]
#[needs(tls, connect_phase)]
async fn silent_handshake_is_a_timeout_of_the_connect_phase(context: Context) -> Result {
    let phase = check_handshake_timeout(&context).await?;
    check_equal("the phase", phase, Some(Phase::Connect))
}

async fn check_handshake_timeout(context: &Context) -> Result<Option<Phase>> {
    let server = start_scripted(response_script(0, ""))?;
    let url = server.url("/").replacen("http:", "https:", 1);
    let builder = context.builder();
    let session = builder
        .connect_timeout(Duration::from_millis(300))
        .build()?;
    let result = wait_for("the timeout", session.get(url).text()).await?;
    let error = check_error("a silent handshake", result, &[ErrorKind::Timeout])?;
    Ok(error.phase())
}

/// A redirect from http to https is followed, and Authorization is not sent to the target.
#[apply(case!)]
#[needs(tls)]
async fn redirect_to_https_is_followed(context: Context) -> Result {
    let (tls_origin, builder) = start_trusted_origin(context.builder())?;
    let plain = start_origin()?;
    let session = builder.build()?;
    let url = plain.url(&format!("/redirect-to?url={}", tls_origin.url("/headers")));
    let request = session.get(url).header("authorization", "Bearer s3cret");
    let headers = request.text().await?;
    check_equal("requests over TLS", tls_origin.stats().requests, 1)?;
    check(!headers.contains("s3cret"), "Authorization was sent")
}

/// A redirect from https to http is an error of the kind redirect_refused, unless the session has
/// allow_https_to_http.
#[apply(case!)]
#[needs(tls)]
async fn redirect_to_http_is_refused(context: Context) -> Result {
    let (tls_origin, builder) = start_trusted_origin(context.builder())?;
    let plain = start_origin()?;
    let url = tls_origin.url(&format!("/redirect-to?url={}", plain.url("/page/1")));
    check_request_error(builder.build()?.get(&url), ErrorKind::RedirectRefused).await?;
    check_equal("unencrypted requests", plain.stats().requests, 0)?;

    let (tls_origin, builder) = start_trusted_origin(context.builder())?;
    let url = tls_origin.url(&format!("/redirect-to?url={}", plain.url("/page/1")));
    let session = builder.allow_https_to_http(true).build()?;
    check_text(session.get(&url), page(1)).await
}

/// After a certificate was refused, the next request to another server succeeds.
#[apply(case!)]
#[needs(tls)]
async fn session_works_after_a_refused_certificate(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin(context.builder())?;
    let elsewhere = start_tls_origin(&Authority::new()?, CertificateKind::Valid)?;
    let session = builder.build()?;
    for _ in 0..3 {
        let refused = session.get(elsewhere.url("/")).text().await;
        check_error("an unknown issuer", refused, &[ErrorKind::Tls])?;
        check_text(session.get(origin.url("/page/1")), page(1)).await?;
    }
    Ok(())
}

/// Checks that a session refuses this kind of certificate although it trusts the authority.
async fn check_refused(context: &Context, kind: CertificateKind) -> Result<Error> {
    let authority = Authority::new()?;
    let origin = start_tls_origin(&authority, kind)?;
    let session = trusting_builder(context, &authority).build()?;
    let result = session.get(origin.url("/")).text().await;
    let error = check_error(&format!("{kind:?}"), result, &[ErrorKind::Tls])?;
    check(error.tls_fault().is_some(), "the error has no TLS fault")?;
    check_equal("the URL of the error", error.url(), Some(&*origin.url("/")))?;
    Ok(error)
}

/// Checks that a request fails if the session does not trust the server's authority, and returns the
/// error.
async fn check_unknown_issuer(builder: SessionBuilder) -> Result<Error> {
    let origin = start_tls_origin(&Authority::new()?, CertificateKind::Valid)?;
    check_request_error(builder.build()?.get(origin.url("/")), ErrorKind::Tls).await
}

/// Starts an origin that requires a client certificate. `limit_version` may restrict its versions of
/// TLS. Returns the origin, a builder whose sessions trust it, and the authority of both
/// certificates.
fn start_client_auth_origin(
    context: &Context,
    limit_version: impl Fn(Tls) -> Tls,
) -> Result<(Arc<Origin>, SessionBuilder, Authority)> {
    let authority = Authority::new()?;
    let tls = authority
        .server(CertificateKind::Valid)?
        .require_client_certificate(&authority);
    let options = Options {
        tls: Some(limit_version(tls)),
        ..Options::default()
    };
    let origin = Arc::new(Origin::bind(options)?);
    Ok((origin, trusting_builder(context, &authority), authority))
}

fn trusting_builder(context: &Context, authority: &Authority) -> SessionBuilder {
    context.builder().add_root_certificate(authority.pem())
}

/// A response with a length or in chunks is complete, even if the server then closes the connection
/// without close_notify (RFC 9112, 9.8).
#[apply(case!)]
#[needs(tls, missing_close_notify)]
async fn complete_responses_need_no_close_notify(context: Context) -> Result {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwhole",
    ] {
        let (server, session) = start_without_close_notify(&context, response)?;
        for _ in 0..5 {
            check_equal(
                response,
                session.get(server.https_url("/")).text().await?,
                "whole",
            )?;
        }
    }
    Ok(())
}

/// If a response has no length and the connection ends without close_notify, the error is of the kind
/// incomplete.
#[apply(case!)]
#[needs(tls)]
async fn response_without_length_or_close_notify_is_an_incomplete_error(
    context: Context,
) -> Result {
    let response = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole?";
    let (server, session) = start_without_close_notify(&context, response)?;
    for _ in 0..5 {
        let text = session.get(server.https_url("/")).text().await;
        check_error(response, text, &[ErrorKind::Incomplete])?;
    }
    Ok(())
}

/// Starts a server that responds to one request on each connection, and then closes the connection
/// without `close_notify`. Returns it, and a session that trusts the server.
fn start_without_close_notify(
    context: &Context,
    response: &'static str,
) -> Result<(TestServer, Session)> {
    let authority = Authority::new()?;
    let tls = authority.server(CertificateKind::Valid)?;
    let server = TestServer::start(move |conn| answer_once(&tls, conn.stream, response))?;
    Ok((server, trusting_builder(context, &authority).build()?))
}

fn answer_once(tls: &Tls, stream: TcpStream, response: &str) -> io::Result<()> {
    let mut stream = BufReader::new(tls.secure(stream, &[])?);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let stream = stream.get_mut();
    stream.write_all(response.as_bytes())?;
    stream.flush()
}
