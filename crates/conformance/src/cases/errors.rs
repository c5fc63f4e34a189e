//! Errors: the same fault causes an error of the same kind with every backend.

use inflight_core::ErrorKind;
use inflight_origin::script::{Script, ScriptedServer, Step, refused_address};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text, with_causes,
};
use crate::context::Context;
use crate::servers::{ok_response, response_script, start_scripted};
use crate::test_server::TestServer;

/// A refused connection is an error of the kind connect.
#[apply(case!)]
async fn refused_connection_is_a_connect_error(context: Context) -> Result {
    let url = format!("http://{}/", refused_address()?);
    let error = check_request_error(context.session()?.get(url), ErrorKind::Connect).await?;
    check(error.is_connect(), "is_connect() is false")
}

/// No error shows the credentials of a URL, in any output format.
#[apply(case!)]
async fn errors_never_show_credentials(context: Context) -> Result {
    let closing = start_scripted(Script::new().read_request().close())?;
    let short = start_scripted(Script::new().read_request().send(SIZED).close())?;
    let session = context.session()?;
    for (authority, path) in [
        (refused_address()?.to_string(), "/"),
        (closing.addr().to_string(), "/"),
        (short.addr().to_string(), "/"),
        ("host:99999".to_owned(), "/"),
        ("two words".to_owned(), "/"),
        ("host".to_owned(), ":99999/@/"),
    ] {
        for scheme in ["http", "https", "ftp"] {
            let url = format!("{scheme}://someone:s3cret@{authority}{path}");
            let Err(error) = session.get(&url).text().await else {
                return Err(Failure::new(format!("the request to {url} succeeded")));
            };
            let (causes, error_url) = (with_causes(&error), error.url());
            let all = format!("{error} {error:?} {causes} {error_url:?}");
            check(
                !all.contains("s3cret") && !all.contains("someone"),
                format!("credentials in {all}"),
            )?;
        }
    }
    Ok(())
}

/// Every error of a request contains the request's URL, whether the request fails before or after
/// the head. Messages omit the query, because it may contain a secret.
#[apply(case!)]
async fn errors_contain_their_url(context: Context) -> Result {
    let short = start_scripted(Script::new().read_request().send(SIZED).close())?;
    let session = context.session()?;
    for url in [
        format!("http://{}/a?key=s3cret", refused_address()?),
        short.url("/a?key=s3cret"),
    ] {
        let Err(error) = session.get(&url).text().await else {
            return Err(Failure::new(format!("the request to {url} succeeded")));
        };
        check_equal("the URL of the error", error.url(), Some(&*url))?;
        let all = format!("{} {error:?}", with_causes(&error));
        check(
            url.split('?').next().is_some_and(|url| all.contains(url)),
            format!("the path of {url} is not in {all}"),
        )?;
        check(!all.contains("s3cret"), format!("the query is in {all}"))?;
    }
    Ok(())
}

/// An https request is never sent unencrypted. If the client does not support TLS, the error is of
/// the kind unsupported.
#[apply(case!)]
async fn https_is_encrypted_or_an_unsupported_error(context: Context) -> Result {
    let server = start_scripted(response_script(1, "HTTP/1.1 204 No Content\r\n\r\n"))?;
    let url = server.url("/").replacen("http:", "https:", 1);
    let result = context.session()?.get(url).text().await;
    check(result.is_err(), "a server without TLS has responded")?;
    check_equal("unencrypted requests", server.requests().len(), 0)?;
    if context.capabilities.tls.is_yes() {
        return Ok(());
    }
    check_error("https", result, &[ErrorKind::Unsupported])?;
    check_equal("connections", server.connections(), 0)
}

const PARTIAL_HEADS: [&str; 4] = [
    "",
    "HTTP/1.1 20",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Part",
];

/// If the connection ends before the head is complete, the error is of the kind incomplete.
#[apply(case!)]
async fn end_before_the_head_is_an_incomplete_error(context: Context) -> Result {
    check_early_end(&context, "", &PARTIAL_HEADS, Step::Close).await
}

/// If the server closes the connection before it reads the request, the error is of the kind
/// incomplete.
#[apply(case!)]
async fn end_before_the_request_is_an_incomplete_error(context: Context) -> Result {
    let server = start_scripted(Script::new().close())?;
    let session = context.session()?;
    for _ in 0..5 {
        for request in [
            session.get(server.url("/")),
            session.post(server.url("/")).body("content"),
        ] {
            check_request_error(request, ErrorKind::Incomplete).await?;
        }
    }
    Ok(())
}

/// If the connection is reset before the head is complete, the error is of the kind incomplete.
#[apply(case!)]
async fn reset_before_the_head_is_an_incomplete_error(context: Context) -> Result {
    // The client may not receive the bytes that were sent before the reset; the error is the same.
    check_early_end(&context, "", &PARTIAL_HEADS, Step::Reset).await
}

const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// If a body is shorter than its Content-Length, the result is an error of the kind incomplete,
/// never a short body.
#[apply(case!)]
async fn early_close_in_a_sized_body_is_an_incomplete_error(context: Context) -> Result {
    check_early_end(&context, SIZED, &["", "half of it"], Step::Close).await
}

/// If a chunked body has no last chunk, the result is an error of the kind incomplete, never a
/// short body.
#[apply(case!)]
async fn early_close_in_a_chunked_body_is_an_incomplete_error(context: Context) -> Result {
    let last = "5\r\nhello\r\n0";
    let parts = [0, 1, 3, 6, 8, 10, 11].map(|len| &last[..len]);
    check_early_end(&context, CHUNKED, &parts, Step::Close).await
}

/// Checks that the error is of the kind incomplete if the connection ends after `head` and any of
/// these parts.
async fn check_early_end(context: &Context, head: &str, parts: &[&str], end: Step) -> Result {
    for part in parts {
        let script = Script::new().read_request().send(format!("{head}{part}"));
        let server = start_scripted(script.then(end.clone()))?;
        let result = context.session()?.get(server.url("/")).text().await;
        let label = format!("{part:?} and {end:?}");
        check_error(&label, result, &[ErrorKind::Incomplete])?;
    }
    Ok(())
}

/// A reset within a body of known length is an error of the kind incomplete.
#[apply(case!)]
async fn reset_in_a_sized_body_is_an_incomplete_error(context: Context) -> Result {
    check_reset(&context, SIZED, "hello").await
}

/// A reset between chunks is an error of the kind incomplete.
#[apply(case!)]
async fn reset_in_a_chunked_body_is_an_incomplete_error(context: Context) -> Result {
    check_reset(&context, CHUNKED, "5\r\nhello\r\n").await
}

/// Checks that a reset after `part` is an error of the kind incomplete. The server resets the
/// connection only after the client has read `part`. Otherwise the client might not receive `part`.
async fn check_reset(context: &Context, head: &str, part: &str) -> Result {
    let (go, gate) = async_channel::bounded::<()>(1);
    let response = format!("{head}{part}");
    let server = TestServer::start(move |mut conn| {
        conn.read_head()?;
        conn.send(&response)?;
        let _ = gate.recv_blocking();
        conn.reset()
    })?;
    let mut response = context.session()?.get(server.url("/")).send().await?;
    let mut read = Vec::new();
    while read.len() < 5 {
        match response.chunk().await? {
            Some(chunk) => read.extend_from_slice(&chunk),
            None => return Err(Failure::new("the body ended before the reset")),
        }
    }
    check_equal("the part", read, b"hello")?;
    drop(go);
    check_error(
        "the reset",
        response.chunk().await,
        &[ErrorKind::Incomplete],
    )
    .map(drop)
}

/// After an error, a body returns no more chunks.
#[apply(case!)]
async fn body_ends_after_an_error(context: Context) -> Result {
    for response in [format!("{SIZED}half"), format!("{CHUNKED}4\r\nhalf\r\n")] {
        let server = start_scripted(Script::new().read_request().send(response).close())?;
        let mut response = context.session()?.get(server.url("/")).send().await?;
        let result = loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        check_error("half a body", result, &[ErrorKind::Incomplete])?;
        check_equal("the chunk after the error", response.chunk().await?, None)?;
    }
    Ok(())
}

/// After failed requests, the next request succeeds.
#[apply(case!)]
async fn session_works_after_errors(context: Context) -> Result {
    let session = context.session()?;
    let server = ScriptedServer::start(|connection| {
        let script = Script::new().read_request();
        match connection % 6 {
            0 => script.close(),
            1 => script.reset(),
            2 => script.send(SIZED).send("half").close(),
            3 => script.send(CHUNKED).send("5\r\nhe").reset(),
            4 => script.send("garbage\r\n\r\n").close(),
            _ => script.send(ok_response("well")).close(),
        }
    })?;
    for _ in 0..3 {
        for _ in 0..5 {
            let result = session.get(server.url("/")).text().await;
            check(
                result.is_err(),
                format!("a request with a fault returned {result:?}"),
            )?;
        }
        check_text(session.get(server.url("/")), "well").await?;
    }
    Ok(())
}
