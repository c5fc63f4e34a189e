//! The session's settings, which are independent of the client.

use std::time::Duration;

use futures_util::future::join;
use inflight_core::http::Request;
use inflight_core::{Body, Error, ErrorKind, gather};
use inflight_origin::payload;
use inflight_origin::payload::page;
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::case::case;
use crate::check::{Result, check, check_equal, check_error, check_request_error, check_text};
use crate::context::Context;
use crate::servers::start_origin;
use crate::test_server::rendezvous_server;

/// The session's headers are sent with every request, with all values of repeated headers.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn default_headers_are_sent(context: Context) -> Result {
    let origin = context.httpbin()?;
    let builder = context.builder();
    let builder = builder.header("x-default", "1").header("x-default", "2");
    let session = builder.build()?;
    for _ in 0..2 {
        let echo: Value = session.get(origin.url("/headers")).json().await?;
        let value = &echo["headers"]["X-Default"];
        check_equal("X-Default", value.as_str(), Some("1,2"))?;
    }
    Ok(())
}

/// A header of the request replaces all of the session's headers of that name.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn request_headers_replace_the_defaults(context: Context) -> Result {
    let origin = context.httpbin()?;
    let builder = context.builder();
    let builder = builder.header("x-default", "1").header("x-default", "2");
    let session = builder.header("x-other", "kept").build()?;
    let request = session
        .get(origin.url("/headers"))
        .header("x-default", "own");
    let echo: Value = request.json().await?;
    let headers = &echo["headers"];
    check_equal("X-Default", headers["X-Default"].as_str(), Some("own"))?;
    check_equal("X-Other", headers["X-Other"].as_str(), Some("kept"))
}

/// Credentials in the URL are sent as Authorization: Basic, and not in the target.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn url_credentials_are_sent_as_basic_auth(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for (credentials, path) in [
        ("user:passwd@", "/basic-auth/user/passwd"),
        ("us%40er:p%C3%A4ss%3A@", "/basic-auth/us%40er/p%C3%A4ss%3A"),
    ] {
        let url = origin
            .url(path)
            .replacen("//", &format!("//{credentials}"), 1);
        let response = session.get(&url).send().await?;
        check_equal(&url, response.status().as_u16(), 200)?;
        response.bytes().await?;
    }
    Ok(())
}

/// A request's own Authorization header replaces the URL's credentials.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn authorization_of_the_request_replaces_url_credentials(context: Context) -> Result {
    let origin = context.httpbin()?;
    let url = origin.url("/headers").replacen("//", "//user:passwd@", 1);
    let request = context.session()?.get(url);
    let echo: Value = request.header("authorization", "Bearer own").json().await?;
    let sent = echo["headers"]["Authorization"].as_str();
    check_equal("Authorization", sent, Some("Bearer own"))
}

/// The server receives as many requests at once as max_in_flight allows, and never more.
#[apply(case!)]
#[marks(tests_core)]
async fn max_in_flight_limits_requests_in_flight(context: Context) -> Result {
    const MAX_IN_FLIGHT: usize = 4;
    let (server, rendezvous) = rendezvous_server(MAX_IN_FLIGHT)?;
    let session = context.builder().max_in_flight(MAX_IN_FLIGHT).build()?;
    let jobs = (0..40).map(|_| session.get(server.url("/")).text());
    gather(jobs).limit(40).all().await?;
    check_equal("requests", rendezvous.arrived(), 40)?;
    check_equal("requests at once", rendezvous.peak(), MAX_IN_FLIGHT)
}

const SHORT: Duration = Duration::from_millis(300);

/// With max_in_flight 1, a request waits until the body of the previous response is dropped.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn dropped_body_releases_its_permit(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().max_in_flight(1).build()?;
    let first = session.get(origin.url("/hang-body")).send().await?;
    let request = || session.get(origin.url("/page/1"));
    check_request_error(request().timeout(SHORT), ErrorKind::Timeout).await?;
    drop(first);
    check_text(request(), page(1)).await
}

/// With max_in_flight 1, a request waits until the body of the previous response is read to its end.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn read_body_releases_its_permit(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().max_in_flight(1).build()?;
    let mut first = session.get(origin.url("/bytes/1000000")).send().await?;
    let request = || session.get(origin.url("/page/1"));
    check_request_error(request().timeout(SHORT), ErrorKind::Timeout).await?;
    // Reads the body to its end, and does not drop the response.
    let read = async {
        while first.chunk().await?.is_some() {}
        Ok::<_, Error>(())
    };
    let (read, text) = join(read, request().text()).await;
    read?;
    check_equal("the text", text?, page(1))
}

/// A failed request releases its permit.
#[apply(case!)]
#[marks(tests_core)]
async fn failed_request_releases_its_permit(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.builder().max_in_flight(1).build()?;
    let refused = format!("http://{}/", inflight_origin::script::refused_address()?);
    for _ in 0..3 {
        check_request_error(session.get(&refused), ErrorKind::Connect).await?;
        let hanging = session.get(origin.url("/hang")).timeout(SHORT / 3);
        check_request_error(hanging, ErrorKind::Timeout).await?;
    }
    check_text(session.get(origin.url("/page/1")), page(1)).await
}

/// A request's timeout replaces the session's, whether it is shorter or longer.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn request_timeout_overrides_the_sessions(context: Context) -> Result {
    let origin = context.httpbin()?;
    let short = context.builder().timeout(SHORT).build()?;
    let slow = || short.get(origin.url("/delay-ms/600"));
    check_request_error(slow(), ErrorKind::Timeout).await?;
    slow().timeout(Duration::from_secs(6)).text().await?;
    slow().timeout(None).text().await?;
    let long = context.session()?;
    let hanging = long.get(origin.url("/hang")).timeout(SHORT);
    check_request_error(hanging, ErrorKind::Timeout)
        .await
        .map(drop)
}

/// If a body is longer than max_body, the error is of the kind body_too_large, with and without a
/// Content-Length.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn body_over_max_body_is_an_error(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().max_body(1000).build()?;
    for path in ["/bytes", "/stream-bytes"] {
        let bytes = session
            .get(origin.url(&format!("{path}/1000")))
            .bytes()
            .await?;
        check(bytes == payload::bytes(1000, 0), "the bytes differ")?;
        for len in [1001, 1_000_000] {
            let url = origin.url(&format!("{path}/{len}"));
            let result = session.get(&url).bytes().await;
            check_error(&url, result, &[ErrorKind::BodyTooLarge])?;
        }
    }
    // The limit applies to collected bodies, not to streamed ones.
    let mut response = session.get(origin.url("/bytes/5000")).send().await?;
    let mut len = 0;
    while let Some(chunk) = response.chunk().await? {
        len += chunk.len();
    }
    check_equal("a body read in chunks", len, 5000)
}

/// json_body sends a value as JSON with the Content-Type application/json, and json() parses the
/// body of the response.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn json_is_sent_and_read(context: Context) -> Result {
    let origin = context.httpbin()?;
    let value = json!({ "name": "Ærøskøbing", "list": [1, 2.5, null], "deep": { "yes": true } });
    let request = context.session()?.post(origin.url("/post"));
    let echo: Value = request.json_body(&value).json().await?;
    check_equal("the JSON", &echo["json"], &value)?;
    let media = echo["headers"]["Content-Type"].as_str();
    check_equal("Content-Type", media, Some("application/json"))
}

/// A request of the http crate is sent unchanged, except that a relative URI is resolved against
/// base_url.
#[apply(case!)]
#[marks(anywhere, tests_core)]
async fn http_requests_are_executed(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().base_url(origin.url("/")).build()?;
    for uri in ["/anything/x?y=z".to_owned(), origin.url("/anything/x?y=z")] {
        let request = Request::builder()
            .method("PUT")
            .uri(uri)
            .header("x-own", "1")
            .body(Body::from("content"))?;
        let echo: Value = session.execute(request).await?.json().await?;
        check_equal("the method", echo["method"].as_str(), Some("PUT"))?;
        check_equal("the body", echo["data"].as_str(), Some("content"))?;
        check_equal("X-Own", echo["headers"]["X-Own"].as_str(), Some("1"))?;
        let url = origin.url("/anything/x?y=z");
        check_equal("the URL", echo["url"].as_str(), Some(&*url))?;
    }
    Ok(())
}

/// The clones of a session share its connections.
#[apply(case!)]
#[needs(connection_reuse)]
async fn clones_share_their_connections(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    for n in 0..10 {
        let clone = session.clone();
        clone.get(origin.url(&format!("/page/{n}"))).bytes().await?;
    }
    super::connections::check_sharing(&origin.stats())
}
