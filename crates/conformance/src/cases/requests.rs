//! The request builder, and text with a charset.

use inflight_core::http::{HeaderMap, Request, Version};
use inflight_core::{Body, ErrorKind};
use inflight_origin::script::Script;
use serde_json::{Value, json};

use crate::case::suite;
use crate::check::{Failure, check, equal, fails};
use crate::context::Context;
use crate::servers::scripted;

suite! { "requests":
    query_pairs_arrive [anywhere] =>
        "Query pairs are appended to the URL's query and arrive unchanged, with any characters.";
    basic_auth_is_sent [anywhere] =>
        "basic_auth is sent as Authorization: Basic, and takes precedence over credentials in the URL.";
    bearer_auth_is_sent [anywhere] =>
        "bearer_auth is sent as Authorization: Bearer.";
    header_map_is_sent [anywhere] =>
        "A map of headers is sent, and replaces the session's headers of the same names.";
    version_of_a_request_is_the_clients [anywhere] =>
        "A request of the http crate is sent whatever its version field is.";
    text_is_read_by_its_charset =>
        "text() decodes by the byte order mark, by the charset of Content-Type, or as UTF-8.";
    unknown_charset_is_decode =>
        "Text in an unknown charset is an error of the kind decode.";
}

async fn query_pairs_arrive(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let builder = context.builder().base_url(origin.url("/anything/"));
    let session = builder.build()?;
    let pairs = [
        ("name", "Ærø & Fyn"),
        ("path", "/a?b#c=d%20+"),
        ("empty", ""),
    ];
    let request = session.get("search?kept=%C3%A9").query(&pairs);
    let shown: Value = request.query(&[("n", 7)]).json().await?;
    let expected = json!({
        "kept": "é",
        "name": "Ærø & Fyn",
        "path": "/a?b#c=d%20+",
        "empty": "",
        "n": "7",
    });
    equal("the pairs", &shown["args"], &expected)
}

async fn basic_auth_is_sent(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    let plain = origin.url("/basic-auth/user/p%C3%A4ss");
    let other = plain.replacen("//", "//someone:else@", 1);
    for url in [plain, other] {
        let response = session.get(&url).basic_auth("user", "päss").send().await?;
        equal(&url, response.status().as_u16(), 200)?;
        response.bytes().await?;
    }
    Ok(())
}

async fn bearer_auth_is_sent(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let builder = context.builder().header("authorization", "Basic default");
    let request = builder.build()?.get(origin.url("/bearer"));
    let shown: Value = request.bearer_auth("to.ken").json().await?;
    equal("the token", shown["token"].as_str(), Some("to.ken"))
}

async fn header_map_is_sent(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let builder = context.builder().header("x-one", "default");
    let session = builder.header("x-two", "default").build()?;
    let mut headers = HeaderMap::new();
    headers.append("x-one", 1.into());
    headers.append("x-one", 11.into());
    let request = session.get(origin.url("/headers")).headers(headers);
    let shown: Value = request.json().await?;
    equal("X-One", shown["headers"]["X-One"].as_str(), Some("1,11"))?;
    equal("X-Two", shown["headers"]["X-Two"].as_str(), Some("default"))
}

/// Returns a script that sends a response with this `Content-Type` and these bytes.
fn typed(content_type: &str, bytes: &[u8]) -> Script {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    let response = [head.as_bytes(), bytes].concat();
    Script::new().read_request().send(response).hang()
}

async fn text_is_read_by_its_charset(context: Context) -> Result<(), Failure> {
    let session = context.session()?;
    for (content_type, bytes, text) in [
        ("text/plain", "Ærø".as_bytes(), "Ærø"),
        ("text/plain; charset=ISO-8859-1", b"\xc6r\xf8", "Ærø"),
        (
            "text/plain; charset=\"shift_jis\"",
            b"\x93\xfa\x96\x7b",
            "日本",
        ),
        (
            "text/plain; charset=koi8-r",
            "\u{feff}Ærø".as_bytes(),
            "Ærø",
        ),
    ] {
        let server = scripted(typed(content_type, bytes))?;
        let read = session.get(server.url("/")).text().await?;
        equal(content_type, read, text)?;
    }
    Ok(())
}

async fn unknown_charset_is_decode(context: Context) -> Result<(), Failure> {
    let server = scripted(typed("text/plain; charset=klingon", b"nuqneH"))?;
    let result = context.session()?.get(server.url("/")).text().await;
    let error = fails("the text", result, &[ErrorKind::Decode])?;
    let named = error.to_string().contains("klingon");
    check(named, format!("the charset is not named: {error}"))
}

async fn version_of_a_request_is_the_clients(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        let request = Request::builder()
            .method("PUT")
            .uri(origin.url("/anything"))
            .version(version)
            .body(Body::from("forwarded"));
        let request = request.map_err(|error| Failure::new(error.to_string()))?;
        let shown: Value = session.execute(request).await?.json().await?;
        equal("the body", &shown["data"], &json!("forwarded"))?;
    }
    Ok(())
}
