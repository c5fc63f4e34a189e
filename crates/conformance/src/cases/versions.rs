//! HTTP versions: which one the client and the server use.

use std::sync::Arc;

use inflight_core::http::Version;
use inflight_core::{ErrorKind, HttpVersions, Session, Support};
use inflight_origin::tls::{Authority, Shown};
use inflight_origin::{Options, Origin};

use crate::case::suite;
use crate::check::{Failure, check, equal, fails};
use crate::context::{Context, abandon};
use crate::servers::{counts, origin};

suite! { "versions":
    plain_http_is_http1 =>
        "Over plain http the version is HTTP/1.1, whatever the session prefers.";
    http2_is_spoken_where_it_is_offered needs http2 =>
        "With a TLS server that offers HTTP/2 the version is HTTP/2.";
    http1_is_spoken_where_nothing_else_is_offered needs tls =>
        "With a TLS server that offers only HTTP/1.1 the version is HTTP/1.1.";
    http1_alone_is_kept_to needs tls =>
        "With Http1Only the version is HTTP/1.1, even if the server offers HTTP/2.";
    large_bodies_cross_http2_whole needs http2 =>
        "Bodies larger than the flow-control windows arrive completely over HTTP/2, in both directions.";
    fifty_requests_at_once_over_http2 needs http2 =>
        "Fifty requests at once over HTTP/2 each get their own response.";
    dropped_http2_request_harms_no_other needs http2 =>
        "Dropping a request over HTTP/2 does not affect parallel or later requests.";
    dropped_http2_request_is_seen needs http2, prompt_cancel =>
        "The server notices that a request over HTTP/2 was dropped.";
    prior_knowledge_is_http2 needs http2_prior_knowledge =>
        "With Http2PriorKnowledge the version is HTTP/2 over plain http too.";
    prior_knowledge_is_refused_where_it_is_not_there =>
        "With a client that does not support Http2PriorKnowledge, building such a session is an error of the kind unsupported.";
}

async fn plain_http_is_http1(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    for versions in [HttpVersions::PreferHttp2, HttpVersions::Http1Only] {
        let session = context.builder().http_versions(versions).build()?;
        version(&session, &origin, Version::HTTP_11).await?;
    }
    Ok(())
}

async fn http2_is_spoken_where_it_is_offered(context: Context) -> Result<(), Failure> {
    let (origin, session) = over_tls(&context, true, HttpVersions::PreferHttp2)?;
    version(&session, &origin, Version::HTTP_2).await?;
    let echoed = session
        .post(origin.url("/echo"))
        .body("a body")
        .text()
        .await?;
    equal("the echo", echoed, "a body")?;
    let response = session.head(origin.url("/page/1")).send().await?;
    equal("HEAD's body", response.bytes().await?.len(), 0)
}

async fn http1_is_spoken_where_nothing_else_is_offered(context: Context) -> Result<(), Failure> {
    let (origin, session) = over_tls(&context, false, HttpVersions::PreferHttp2)?;
    version(&session, &origin, Version::HTTP_11).await
}

async fn http1_alone_is_kept_to(context: Context) -> Result<(), Failure> {
    let (origin, session) = over_tls(&context, true, HttpVersions::Http1Only)?;
    version(&session, &origin, Version::HTTP_11).await
}

async fn large_bodies_cross_http2_whole(context: Context) -> Result<(), Failure> {
    let (origin, session) = over_tls(&context, true, HttpVersions::PreferHttp2)?;
    let url = origin.url("/bytes/3000000?seed=7");
    let body = session.get(url).bytes().await?;
    let right = inflight_origin::payload::bytes(3_000_000, 7) == body;
    check(right, format!("{} bytes, which differ", body.len()))?;
    let upload = session.put(origin.url("/upload")).body(body);
    let received = upload.text().await?;
    check(
        received.contains("3000000"),
        format!("the server read {received}"),
    )
}

async fn fifty_requests_at_once_over_http2(context: Context) -> Result<(), Failure> {
    let (origin, session) = over_tls(&context, true, HttpVersions::PreferHttp2)?;
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
        check(page.contains(&format!("Page {n}")), "another page")?;
    }
    Ok(())
}

async fn dropped_http2_request_harms_no_other(context: Context) -> Result<(), Failure> {
    let (origin, session) = over_tls(&context, true, HttpVersions::PreferHttp2)?;
    version(&session, &origin, Version::HTTP_2).await?;
    let beside = session.get(origin.url("/page/2?delay_ms=50")).text();
    let dropped = async {
        let hanging = session.get(origin.url("/hang")).text();
        let arrived = counts(&origin, "the request", |stats| stats.requests >= 3);
        abandon(hanging, arrived).await
    };
    let (beside, dropped) = futures_util::future::join(beside, dropped).await;
    dropped?;
    check(beside?.contains("Page 2"), "another page")?;
    version(&session, &origin, Version::HTTP_2).await
}

async fn dropped_http2_request_is_seen(context: Context) -> Result<(), Failure> {
    let (origin, session) = over_tls(&context, true, HttpVersions::PreferHttp2)?;
    let hanging = session.get(origin.url("/hang")).text();
    let arrived = counts(&origin, "the request", |stats| stats.in_flight == 1);
    abandon(hanging, arrived).await?;
    let aborted = counts(&origin, "its end", |stats| {
        stats.aborted == 1 && stats.in_flight == 0
    });
    aborted.await.map(drop)
}

async fn prior_knowledge_is_http2(context: Context) -> Result<(), Failure> {
    let options = Options {
        http2: true,
        ..Options::default()
    };
    let origin = Arc::new(Origin::bind(options)?);
    let builder = context.builder();
    let session = builder
        .http_versions(HttpVersions::Http2PriorKnowledge)
        .build()?;
    version(&session, &origin, Version::HTTP_2).await?;
    let echoed = session
        .post(origin.url("/echo"))
        .body("a body")
        .text()
        .await?;
    equal("the echo", echoed, "a body")
}

async fn prior_knowledge_is_refused_where_it_is_not_there(context: Context) -> Result<(), Failure> {
    let builder = context.builder();
    let built = builder
        .http_versions(HttpVersions::Http2PriorKnowledge)
        .build();
    match context.capabilities.http2_prior_knowledge {
        Support::Yes => built.map(drop).map_err(Failure::from),
        Support::No(_) => fails("HTTP/2", built, &[ErrorKind::Unsupported]).map(drop),
    }
}

async fn version(session: &Session, origin: &Origin, wanted: Version) -> Result<(), Failure> {
    let response = session.get(origin.url("/page/1")).send().await?;
    equal("the version", response.version(), wanted)?;
    check(response.text().await?.contains("Page 1"), "another page")
}

fn over_tls(
    context: &Context,
    http2: bool,
    versions: HttpVersions,
) -> Result<(Arc<Origin>, Session), Failure> {
    let authority = Authority::new()?;
    let options = Options {
        tls: Some(authority.server(Shown::Valid)?),
        http2,
        ..Options::default()
    };
    let origin = Arc::new(Origin::bind(options)?);
    let builder = context.builder().add_root_certificate(authority.pem());
    Ok((origin, builder.http_versions(versions).build()?))
}
