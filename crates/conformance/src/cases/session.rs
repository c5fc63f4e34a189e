//! The session's settings, which are independent of the client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use inflight_core::http::Request;
use inflight_core::{Body, Error, ErrorKind, gather};
use inflight_origin::payload;
use serde_json::{Value, json};

use crate::case::suite;
use crate::check::{Failure, check, equal, fails};
use crate::context::Context;
use crate::servers::origin;
use crate::test_server::{Rendezvous, TestServer};

suite! { "session":
    default_headers_are_sent [anywhere] =>
        "The session's headers are sent with every request, with all values of repeated headers.";
    request_headers_replace_the_defaults [anywhere] =>
        "A header of the request replaces all of the session's headers of that name.";
    relative_urls_join_the_base =>
        "Relative URLs are joined to base_url like links in a page.";
    credentials_become_basic_authorization [in_memory] =>
        "Credentials in the URL are sent as Authorization: Basic, and not in the target.";
    authorization_of_the_request_wins [anywhere] =>
        "A request's own Authorization header replaces the URL's credentials.";
    max_in_flight_is_kept =>
        "The server receives as many requests at once as max_in_flight allows, and never more.";
    dropped_body_frees_its_place [in_memory] =>
        "With max_in_flight 1, a request waits until the previous body is dropped.";
    read_body_frees_its_place [in_memory] =>
        "With max_in_flight 1, a request waits until the previous body is read to its end.";
    failed_request_frees_its_place =>
        "A failed request releases its permit.";
    request_timeout_overrides_the_sessions [in_memory] =>
        "A request's timeout replaces the session's, whether it is shorter or longer.";
    max_body_is_kept [in_memory] =>
        "A body longer than max_body is an error of the kind body_too_large, with and without a Content-Length.";
    json_goes_both_ways [anywhere] =>
        "json_body sends a value with its Content-Type, and json() reads a value.";
    what_is_no_json_is_decode [in_memory] =>
        "A body that is not JSON of the expected type is an error of the kind decode.";
    what_is_no_utf8_is_decode [in_memory] =>
        "A text body that is not UTF-8 is an error of the kind decode.";
    http_requests_are_executed [anywhere] =>
        "A request of the http crate is sent unchanged, relative to base_url.";
    response_names_its_url [in_memory] =>
        "A response has the URL that was fetched.";
    clones_share_their_connections needs connection_reuse =>
        "A clone of a session shares its connections.";
}

async fn default_headers_are_sent(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let builder = context.builder();
    let builder = builder.header("x-default", "1").header("x-default", "2");
    let session = builder.build()?;
    for _ in 0..2 {
        let shown: Value = session.get(origin.url("/headers")).json().await?;
        let value = &shown["headers"]["X-Default"];
        equal("X-Default", value.as_str(), Some("1,2"))?;
    }
    Ok(())
}

async fn request_headers_replace_the_defaults(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let builder = context.builder();
    let builder = builder.header("x-default", "1").header("x-default", "2");
    let session = builder.header("x-other", "kept").build()?;
    let request = session
        .get(origin.url("/headers"))
        .header("x-default", "own");
    let shown: Value = request.json().await?;
    let headers = &shown["headers"];
    equal("X-Default", headers["X-Default"].as_str(), Some("own"))?;
    equal("X-Other", headers["X-Other"].as_str(), Some("kept"))
}

async fn relative_urls_join_the_base(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let builder = context.builder();
    let session = builder.base_url(origin.url("/anything/a/b/")).build()?;
    for (text, path) in [
        ("c", "/anything/a/b/c"),
        ("../c?d=e", "/anything/a/c?d=e"),
        ("/anything/c", "/anything/c"),
        ("", "/anything/a/b/"),
        ("?q", "/anything/a/b/?q"),
    ] {
        let shown: Value = session.get(text).json().await?;
        equal(text, shown["url"].as_str(), Some(&*origin.url(path)))?;
    }
    let elsewhere = crate::servers::origin()?;
    let text = session.get(elsewhere.url("/page/5")).text().await?;
    check(text.contains("Page 5"), "an absolute URL went to the base")
}

async fn credentials_become_basic_authorization(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    for (credentials, path) in [
        ("user:passwd@", "/basic-auth/user/passwd"),
        ("us%40er:p%C3%A4ss%3A@", "/basic-auth/us%40er/p%C3%A4ss%3A"),
    ] {
        let url = origin
            .url(path)
            .replacen("//", &format!("//{credentials}"), 1);
        let response = session.get(&url).send().await?;
        equal(&url, response.status().as_u16(), 200)?;
        response.bytes().await?;
    }
    Ok(())
}

async fn authorization_of_the_request_wins(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let url = origin.url("/headers").replacen("//", "//user:passwd@", 1);
    let request = context.session()?.get(url);
    let shown: Value = request.header("authorization", "Bearer own").json().await?;
    let sent = shown["headers"]["Authorization"].as_str();
    equal("Authorization", sent, Some("Bearer own"))
}

async fn max_in_flight_is_kept(context: Context) -> Result<(), Failure> {
    const MAX_IN_FLIGHT: usize = 4;
    let rendezvous = Arc::new(Rendezvous::default());
    let server_rendezvous = rendezvous.clone();
    let server = TestServer::start(move |mut conn| {
        loop {
            conn.read_head()?;
            // The server responds once it has as many requests as the limit.
            server_rendezvous.wait_for_arrivals(MAX_IN_FLIGHT)?;
            conn.answer("done")?;
        }
    })?;
    let session = context.builder().max_in_flight(MAX_IN_FLIGHT).build()?;
    let jobs = (0..40).map(|_| session.get(server.url("/")).text());
    gather(jobs).limit(40).all().await?;
    equal("requests", rendezvous.arrived(), 40)?;
    equal("requests at once", rendezvous.peak(), MAX_IN_FLIGHT)
}

const SHORT: Duration = Duration::from_millis(300);

async fn dropped_body_frees_its_place(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.builder().max_in_flight(1).build()?;
    let first = session.get(origin.url("/hang-body")).send().await?;
    let page = || session.get(origin.url("/page/1"));
    let waiting = page().timeout(SHORT).text().await;
    fails("the second request", waiting, &[ErrorKind::Timeout])?;
    drop(first);
    let text = page().text().await?;
    check(text.contains("Page 1"), "another page")
}

async fn read_body_frees_its_place(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.builder().max_in_flight(1).build()?;
    let mut first = session.get(origin.url("/bytes/1000000")).send().await?;
    let page = || session.get(origin.url("/page/1"));
    let waiting = page().timeout(SHORT).text().await;
    fails("the second request", waiting, &[ErrorKind::Timeout])?;
    // The response itself is not dropped.
    let read = async {
        while first.chunk().await?.is_some() {}
        Ok::<_, Error>(())
    };
    let (read, text) = join(read, page().text()).await;
    read?;
    check(text?.contains("Page 1"), "another page")
}

async fn failed_request_frees_its_place(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let session = context.builder().max_in_flight(1).build()?;
    let refused = format!("http://{}/", inflight_origin::script::refused()?);
    for _ in 0..3 {
        let result = session.get(&refused).text().await;
        fails("a refused connection", result, &[ErrorKind::Connect])?;
        let hanging = session.get(origin.url("/hang")).timeout(SHORT / 3);
        fails("a timeout", hanging.text().await, &[ErrorKind::Timeout])?;
    }
    let text = session.get(origin.url("/page/1")).text().await?;
    check(text.contains("Page 1"), "another page")
}

async fn request_timeout_overrides_the_sessions(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let hasty = context.builder().timeout(SHORT).build()?;
    let late = || hasty.get(origin.url("/delay-ms/600"));
    fails(
        "the session's timeout",
        late().text().await,
        &[ErrorKind::Timeout],
    )?;
    late().timeout(Duration::from_secs(6)).text().await?;
    late().timeout(None).text().await?;
    let patient = context.session()?;
    let hasty = patient.get(origin.url("/hang")).timeout(SHORT);
    fails(
        "the request's timeout",
        hasty.text().await,
        &[ErrorKind::Timeout],
    )
    .map(drop)
}

async fn max_body_is_kept(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
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
            fails(&url, result, &[ErrorKind::BodyTooLarge])?;
        }
    }
    // The limit applies to collected bodies, not to streamed ones.
    let mut response = session.get(origin.url("/bytes/5000")).send().await?;
    let mut len = 0;
    while let Some(chunk) = response.chunk().await? {
        len += chunk.len();
    }
    equal("a body read in chunks", len, 5000)
}

async fn json_goes_both_ways(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let value = json!({ "name": "Ærøskøbing", "list": [1, 2.5, null], "deep": { "yes": true } });
    let request = context.session()?.post(origin.url("/post"));
    let shown: Value = request.json_body(&value).json().await?;
    equal("the JSON", &shown["json"], &value)?;
    let media = shown["headers"]["Content-Type"].as_str();
    equal("Content-Type", media, Some("application/json"))
}

async fn what_is_no_json_is_decode(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    let page = session.get(origin.url("/page/1")).json::<Value>().await;
    let error = fails("a page", page, &[ErrorKind::Decode])?;
    equal("its URL", error.url(), Some(&*origin.url("/page/1")))?;
    let wrong = session.get(origin.url("/get")).json::<Vec<u8>>().await;
    fails("another shape", wrong, &[ErrorKind::Decode]).map(drop)
}

async fn what_is_no_utf8_is_decode(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    let text = session.get(origin.url("/encoding/utf8")).text().await?;
    check(text.contains("Ærøskøbing"), "the text differs")?;
    let result = session.get(origin.url("/bytes/1000")).text().await;
    fails("bytes of any kind", result, &[ErrorKind::Decode]).map(drop)
}

async fn http_requests_are_executed(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.builder().base_url(origin.url("/")).build()?;
    for uri in ["/anything/x?y=z".to_owned(), origin.url("/anything/x?y=z")] {
        let request = Request::builder()
            .method("PUT")
            .uri(uri)
            .header("x-own", "1")
            .body(Body::from("content"))?;
        let shown: Value = session.execute(request).await?.json().await?;
        equal("the method", shown["method"].as_str(), Some("PUT"))?;
        equal("the body", shown["data"].as_str(), Some("content"))?;
        equal("X-Own", shown["headers"]["X-Own"].as_str(), Some("1"))?;
        let url = origin.url("/anything/x?y=z");
        equal("the URL", shown["url"].as_str(), Some(&*url))?;
    }
    Ok(())
}

async fn response_names_its_url(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let url = origin.url("/page/1?a=b");
    let response = context.session()?.get(&url).send().await?;
    equal(
        "the URL",
        response.url().map(|url| url.as_str()),
        Some(&*url),
    )
}

async fn clones_share_their_connections(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let session = context.session()?;
    for n in 0..10 {
        let clone = session.clone();
        clone.get(origin.url(&format!("/page/{n}"))).bytes().await?;
    }
    super::connections::shared(&origin.stats())
}
