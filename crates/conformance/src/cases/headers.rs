//! Headers: they arrive unchanged in both directions, and clients add only the required ones.

use inflight_core::http::HeaderValue;
use inflight_core::{Body, Error, ErrorKind, Response, Session};
use inflight_origin::Origin;
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_error};
use crate::context::Context;
use crate::servers::{header_values, ok_response, response_script, start_origin, start_scripted};

/// The values of a repeated request header are sent separately and in order, and an empty value stays
/// empty.
#[apply(case!)]
#[marks(in_memory)]
async fn request_headers_keep_repeats_order_and_empty_values(context: Context) -> Result {
    let origin = context.httpbin()?;
    let request = context
        .session()?
        .get(origin.url("/echo-headers-raw"))
        .header("x-many", "1")
        .header("x-other", "a, b")
        .header("x-many", "2")
        .header("x-empty", "")
        .header("x-many", "1");
    let echo: Value = request.json().await?;
    check_equal("x-many", hex_values(&echo, "x-many"), ["31", "32", "31"])?;
    check_equal("x-other", hex_values(&echo, "x-other"), ["612c2062"])?;
    check_equal("x-empty", hex_values(&echo, "x-empty"), [""])
}

/// The values of a repeated response header are returned separately and in order, and an empty value
/// stays empty.
#[apply(case!)]
#[marks(in_memory)]
async fn response_headers_keep_repeats_order_and_empty_values(context: Context) -> Result {
    let origin = context.httpbin()?;
    let path = "/raw-header?name=X-Many&hex=31&name=Set-Cookie&hex=613d31&name=X-Many&hex=32&hex=31\
        &name=X-Empty&hex=&name=Set-Cookie&hex=623d32";
    let response = context.session()?.get(origin.url(path)).send().await?;
    check_equal(
        "x-many",
        header_values(&response, "x-many"),
        [b"1", b"2", b"1"],
    )?;
    check_equal("x-empty", header_values(&response, "x-empty"), [b""])?;
    check_equal(
        "set-cookie",
        header_values(&response, "set-cookie"),
        [b"a=1", b"b=2"],
    )
}

/// Whitespace around the value of a response header is removed (RFC 9110, section 5.5).
#[apply(case!)]
async fn response_header_values_are_trimmed(context: Context) -> Result {
    let response =
        "HTTP/1.1 200 OK\r\nX-Wide: \t  a  b \t \r\nX-Tight:c\r\nContent-Length: 0\r\n\r\n";
    let server = start_scripted(response_script(1, response))?;
    let response = context.session()?.get(server.url("/")).send().await?;
    check_equal("x-wide", header_values(&response, "x-wide"), [b"a  b"])?;
    check_equal("x-tight", header_values(&response, "x-tight"), [b"c"])
}

/// Bytes outside ASCII in a request header reach the server unchanged.
#[apply(case!)]
#[needs(opaque_request_headers)]
async fn opaque_request_header_is_sent_unchanged(context: Context) -> Result {
    let origin = start_origin()?;
    let echo = send_opaque(&context.session()?, &origin).await?;
    check_equal(
        "x-opaque",
        hex_values(&echo, "x-opaque"),
        [hex(&opaque_bytes())],
    )
}

/// Bytes outside ASCII in a response header are returned unchanged.
#[apply(case!)]
#[needs(opaque_response_headers)]
async fn opaque_response_header_is_returned_unchanged(context: Context) -> Result {
    let origin = start_origin()?;
    let response = fetch_opaque(&context.session()?, &origin).await?;
    check_equal(
        "x-opaque",
        header_values(&response, "x-opaque"),
        [opaque_bytes()],
    )
}

/// Bytes outside ASCII in a request header are sent unchanged or are an error.
#[apply(case!)]
async fn opaque_request_header_is_never_changed(context: Context) -> Result {
    let origin = start_origin()?;
    match send_opaque(&context.session()?, &origin).await {
        Ok(echo) => check_equal(
            "x-opaque",
            hex_values(&echo, "x-opaque"),
            [hex(&opaque_bytes())],
        ),
        error => {
            let kinds = [ErrorKind::InvalidRequest, ErrorKind::Unsupported];
            check_error("an opaque request header", error, &kinds)?;
            check_equal("requests that were sent", origin.stats().requests, 0)
        }
    }
}

/// Bytes outside ASCII in a response header are returned unchanged or are an error.
#[apply(case!)]
async fn opaque_response_header_is_never_changed(context: Context) -> Result {
    let origin = start_origin()?;
    match fetch_opaque(&context.session()?, &origin).await {
        Ok(response) => check_equal(
            "x-opaque",
            header_values(&response, "x-opaque"),
            [opaque_bytes()],
        ),
        error => {
            let kinds = [ErrorKind::Protocol, ErrorKind::Unsupported];
            check_error("an opaque response header", error, &kinds).map(drop)
        }
    }
}

/// Host is sent once, with the port.
#[apply(case!)]
async fn host_is_the_urls_authority(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("here")))?;
    context.session()?.get(server.url("/")).bytes().await?;
    let received = server.requests();
    let hosts = received[0].headers.iter();
    let hosts: Vec<_> = hosts
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| String::from_utf8_lossy(value))
        .collect();
    check_equal("Host", hosts, [server.addr().to_string()])
}

/// The client adds only headers that HTTP requires or that its capabilities list.
#[apply(case!)]
async fn only_required_headers_are_added(context: Context) -> Result {
    let server = start_scripted(response_script(3, &ok_response("taken")))?;
    // Without decompression, the session itself adds no header, so all added headers are the
    // client's.
    let session = context.builder().decompress(false).build()?;
    session.get(server.url("/")).bytes().await?;
    session.post(server.url("/")).body("small").bytes().await?;
    if context.capabilities.streaming_upload.is_yes() {
        let stream = futures_util::stream::iter([Ok::<_, Error>("streamed")]);
        let request = session
            .post(server.url("/"))
            .body(Body::from_stream(stream));
        request.bytes().await?;
    }
    for request in server.requests() {
        for (name, value) in &request.headers {
            let name = name.to_ascii_lowercase();
            let with_body = request.method != "GET";
            let needed = match &*name {
                "host" => true,
                "content-length" | "transfer-encoding" => with_body,
                // HTTP/1.1 keeps connections by default; a close has to be announced.
                "connection" => value.eq_ignore_ascii_case(b"close"),
                _ => false,
            };
            let added = context.capabilities.added_headers;
            let declared = added.iter().any(|added| added.eq_ignore_ascii_case(&name));
            let (method, value) = (&request.method, String::from_utf8_lossy(value));
            check(
                needed || declared,
                format!("{method} has {name:?}: {value:?}, which the client added"),
            )?;
        }
    }
    Ok(())
}

/// Headers that clients usually set are sent once, with the caller's value.
#[apply(case!)]
#[marks(in_memory)]
async fn user_agent_and_accept_of_the_caller_are_sent_once(context: Context) -> Result {
    let origin = context.httpbin()?;
    let sent_fields = [
        ("user-agent", "conformance"),
        ("accept", "text/plain"),
        ("accept-encoding", "identity"),
        ("content-type", "text/x-conformance"),
    ];
    let mut request = context.session()?.post(origin.url("/echo-headers-raw"));
    for (name, value) in sent_fields {
        request = request.header(name, value);
    }
    let echo: Value = request.body("text").json().await?;
    for (name, value) in sent_fields {
        check_equal(name, hex_values(&echo, name), [hex(value.as_bytes())])?;
    }
    Ok(())
}

/// Without a cookie jar, a session does not send cookies back.
#[apply(case!)]
#[marks(in_memory)]
async fn cookies_are_not_sent_without_a_jar(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.builder().max_redirects(0).build()?;
    let response = session
        .get(origin.url("/cookies/set?crumb=1"))
        .send()
        .await?;
    check_equal(
        "Set-Cookie",
        header_values(&response, "set-cookie").len(),
        1,
    )?;
    response.bytes().await?;
    let echo: Value = session.get(origin.url("/echo-headers-raw")).json().await?;
    check_equal("the cookies", hex_values(&echo, "cookie").len(), 0)
}

/// A head of ten kilobytes, as cookies and security policies can cause, is accepted.
#[apply(case!)]
async fn large_response_head_is_accepted(context: Context) -> Result {
    let value = "v".repeat(1000);
    let fields: String = (0..10).map(|n| format!("X-{n}: {value}\r\n")).collect();
    let response = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nlarge");
    let server = start_scripted(response_script(1, &response))?;
    let response = context.session()?.get(server.url("/")).send().await?;
    check_equal("x-9", header_values(&response, "x-9"), [value.as_bytes()])?;
    check_equal("the body", response.text().await?, "large")
}

/// A head of 100 fields is accepted.
#[apply(case!)]
async fn many_response_fields_are_accepted(context: Context) -> Result {
    let fields: String = (0..99).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let response = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 4\r\n\r\nmany");
    let server = start_scripted(response_script(1, &response))?;
    let response = context.session()?.get(server.url("/")).send().await?;
    check_equal("x-98", header_values(&response, "x-98"), [b"98"])?;
    check_equal("the body", response.text().await?, "many")
}

/// Returns every byte outside ASCII, from 0x80 to 0xff.
fn opaque_bytes() -> Vec<u8> {
    (0x80..=0xff).collect()
}

async fn send_opaque(session: &Session, origin: &Origin) -> Result<Value, Error> {
    let request = session.get(origin.url("/echo-headers-raw"));
    let value = HeaderValue::from_bytes(&opaque_bytes());
    match value {
        Ok(value) => request.header("x-opaque", value).json().await,
        Err(error) => Err(Error::new(ErrorKind::InvalidRequest).with_source(error)),
    }
}

async fn fetch_opaque(session: &Session, origin: &Origin) -> Result<Response, Error> {
    let path = format!("/raw-header?name=X-Opaque&hex={}", hex(&opaque_bytes()));
    session.get(origin.url(&path)).send().await
}

/// Returns the values of a request header in hex, from the response of `/echo-headers-raw`.
fn hex_values(echo: &Value, name: &str) -> Vec<String> {
    let all = echo["headers"].as_array().into_iter().flatten();
    all.filter(|field| field[0] == name)
        .map(|field| field[1].as_str().unwrap_or("not text").to_owned())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
