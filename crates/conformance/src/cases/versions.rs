//! HTTP versions: which one the client and the server use.

use std::sync::Arc;

use inflight_core::http::Version;
use inflight_core::{ErrorKind, HttpVersions, Session, Support};
use inflight_origin::{Options, Origin};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Failure, Result, check, check_equal, check_error, check_text};
use crate::context::{Context, drop_after};
use crate::servers::{
    check_large_bodies, start_origin, start_trusted_origin_with, wait_for_counts,
};

/// Over plain http the version is HTTP/1.1, unless the session uses Http2PriorKnowledge.
#[apply(case!)]
async fn plain_http_is_http1(context: Context) -> Result {
    let origin = start_origin()?;
    for versions in [HttpVersions::PreferHttp2, HttpVersions::Http1Only] {
        let session = context.builder().http_versions(versions).build()?;
        check_version(&session, &origin, Version::HTTP_11).await?;
    }
    Ok(())
}

/// With a TLS server that offers HTTP/2 the version is HTTP/2.
#[apply(case!)]
#[needs(http2)]
async fn http2_is_used_if_the_server_offers_it(context: Context) -> Result {
    let (origin, session) = start_tls_session(&context, true, HttpVersions::PreferHttp2)?;
    check_version(&session, &origin, Version::HTTP_2).await?;
    check_text(session.post(origin.url("/echo")).body("a body"), "a body").await?;
    let response = session.head(origin.url("/page/1")).send().await?;
    check_equal("HEAD's body", response.bytes().await?.len(), 0)
}

/// With a TLS server that offers only HTTP/1.1 the version is HTTP/1.1.
#[apply(case!)]
#[needs(tls)]
async fn http1_is_used_if_the_server_offers_nothing_else(context: Context) -> Result {
    let (origin, session) = start_tls_session(&context, false, HttpVersions::PreferHttp2)?;
    check_version(&session, &origin, Version::HTTP_11).await
}

/// With Http1Only the version is HTTP/1.1, even if the server offers HTTP/2.
#[apply(case!)]
#[needs(tls)]
async fn http1_only_is_used_even_if_http2_is_offered(context: Context) -> Result {
    let (origin, session) = start_tls_session(&context, true, HttpVersions::Http1Only)?;
    check_version(&session, &origin, Version::HTTP_11).await
}

/// Bodies larger than the flow-control windows arrive completely over HTTP/2, in both directions.
#[apply(case!)]
#[needs(http2)]
async fn large_bodies_are_complete_over_http2(context: Context) -> Result {
    let (origin, session) = start_tls_session(&context, true, HttpVersions::PreferHttp2)?;
    check_large_bodies(&session, &origin).await
}

/// Each of fifty requests at once over HTTP/2 gets its own response.
#[apply(case!)]
#[needs(http2)]
async fn fifty_requests_at_once_succeed_over_http2(context: Context) -> Result {
    let (origin, session) = start_tls_session(&context, true, HttpVersions::PreferHttp2)?;
    let pages = (0..50).map(|n| {
        session
            .get(origin.url(&format!("/page/{n}?delay_ms=5")))
            .text()
    });
    for (n, page) in futures_util::future::join_all(pages)
        .await
        .into_iter()
        .enumerate()
    {
        let page = page?;
        check(
            page.contains(&format!("Page {n}")),
            "the response is not the requested page",
        )?;
    }
    Ok(())
}

/// Dropping a request over HTTP/2 does not affect parallel or later requests.
#[apply(case!)]
#[needs(http2)]
async fn dropped_http2_request_does_not_affect_others(context: Context) -> Result {
    let (origin, session) = start_tls_session(&context, true, HttpVersions::PreferHttp2)?;
    check_version(&session, &origin, Version::HTTP_2).await?;
    let parallel = session.get(origin.url("/page/2?delay_ms=50")).text();
    let dropped = async {
        let hanging = session.get(origin.url("/hang")).text();
        let arrived = wait_for_counts(&origin, "the request", |stats| stats.requests >= 3);
        drop_after(hanging, arrived).await
    };
    let (parallel, dropped) = futures_util::future::join(parallel, dropped).await;
    dropped?;
    check(
        parallel?.contains("Page 2"),
        "the response is not the requested page",
    )?;
    check_version(&session, &origin, Version::HTTP_2).await
}

/// The server notices that a request over HTTP/2 was dropped.
#[apply(case!)]
#[needs(http2, prompt_cancel)]
async fn server_notices_a_dropped_http2_request(context: Context) -> Result {
    let (origin, session) = start_tls_session(&context, true, HttpVersions::PreferHttp2)?;
    let hanging = session.get(origin.url("/hang")).text();
    let arrived = wait_for_counts(&origin, "the request", |stats| stats.in_flight == 1);
    drop_after(hanging, arrived).await?;
    let aborted = wait_for_counts(&origin, "its end", |stats| {
        stats.aborted == 1 && stats.in_flight == 0
    });
    aborted.await.map(drop)
}

/// With Http2PriorKnowledge the version is HTTP/2 over plain http too.
#[apply(case!)]
#[needs(http2_prior_knowledge)]
async fn prior_knowledge_uses_http2(context: Context) -> Result {
    let options = Options {
        http2: true,
        ..Options::default()
    };
    let origin = Arc::new(Origin::bind(options)?);
    let builder = context.builder();
    let session = builder
        .http_versions(HttpVersions::Http2PriorKnowledge)
        .build()?;
    check_version(&session, &origin, Version::HTTP_2).await?;
    check_text(session.post(origin.url("/echo")).body("a body"), "a body").await
}

/// If the client does not support Http2PriorKnowledge, building a session with it is an error of
/// the kind unsupported.
#[apply(case!)]
async fn unsupported_prior_knowledge_is_an_error(context: Context) -> Result {
    let builder = context.builder();
    let built = builder
        .http_versions(HttpVersions::Http2PriorKnowledge)
        .build();
    match context.capabilities.http2_prior_knowledge {
        Support::Yes => built.map(drop).map_err(Failure::from),
        Support::No(_) => check_error("HTTP/2", built, &[ErrorKind::Unsupported]).map(drop),
    }
}

async fn check_version(session: &Session, origin: &Origin, expected: Version) -> Result {
    let response = session.get(origin.url("/page/1")).send().await?;
    check_equal("the version", response.version(), expected)?;
    check(
        response.text().await?.contains("Page 1"),
        "the response is not the requested page",
    )
}

fn start_tls_session(
    context: &Context,
    http2: bool,
    versions: HttpVersions,
) -> Result<(Arc<Origin>, Session)> {
    let builder = context.builder().http_versions(versions);
    let (origin, builder) = start_trusted_origin_with(builder, http2)?;
    Ok((origin, builder.build()?))
}
