//! Errors: the same fault gives the same error kind with every backend.

use inflight_core::{Error, ErrorKind};
use inflight_origin::script::{Script, Scripted, refused};

use crate::case::suite;
use crate::check::{Failure, check, equal, fails, with_causes};
use crate::context::Context;
use crate::servers::{answering, scripted};
use crate::test_server::TestServer;

suite! { "errors":
    refused_connection_is_connect =>
        "A refused connection is an error of the kind connect.";
    text_that_is_no_url_is_invalid_url [in_memory] =>
        "Text that is not an absolute http or https URL is an error of the kind invalid_url, which shows the text.";
    credentials_are_in_no_message =>
        "No error shows the credentials of a URL, in any output format.";
    errors_name_their_url =>
        "Every error of an exchange has its URL, before and after the head.";
    https_is_encrypted_or_refused =>
        "An https request is never sent unencrypted: without TLS it is an error of the kind unsupported.";
    bad_header_is_invalid_request =>
        "A header that HTTP does not allow is an error of the kind invalid_request, and nothing is sent.";
    end_before_the_head_is_incomplete =>
        "A connection that ends before a complete head is an error of the kind incomplete.";
    end_before_the_request_is_incomplete =>
        "A connection that ends before its request is read is an error of the kind incomplete.";
    reset_before_the_head_is_incomplete =>
        "A connection that is reset before a complete head is an error of the kind incomplete.";
    early_close_in_a_sized_body_is_incomplete =>
        "A body shorter than its Content-Length is an error of the kind incomplete, never a short success.";
    early_close_in_a_chunked_body_is_incomplete =>
        "A chunked body without its last chunk is an error of the kind incomplete, never a short success.";
    reset_in_a_sized_body_is_incomplete =>
        "A reset within a body of known length is an error of the kind incomplete.";
    reset_in_a_chunked_body_is_incomplete =>
        "A reset between chunks is an error of the kind incomplete.";
    error_ends_the_body =>
        "After an error, a body returns nothing more.";
    session_survives_its_errors =>
        "After every kind of fault the next request succeeds.";
}

async fn refused_connection_is_connect(context: Context) -> Result<(), Failure> {
    let url = format!("http://{}/", refused()?);
    let result = context.session()?.get(url).text().await;
    let error = fails("a refused connection", result, &[ErrorKind::Connect])?;
    check(error.is_connect(), "is_connect() is false")
}

async fn text_that_is_no_url_is_invalid_url(context: Context) -> Result<(), Failure> {
    let session = context.session()?;
    for (text, shown) in [
        ("/relative", "/relative"),
        ("pages.test/path", "pages.test/path"),
        ("", "\"\""),
        ("http://", "http://"),
        ("http://host:99999/", "99999"),
        ("http://host:port/", "port"),
        ("http://two words/", "two words"),
        ("http://[::1/", "[::1"),
        ("ftp://host/file", "ftp"),
        ("file:///etc/hosts", "file"),
        ("mailto:me", "mailto"),
    ] {
        let result = session.get(text).text().await;
        let error = fails(&format!("{text:?}"), result, &[ErrorKind::InvalidUrl])?;
        let message = error.to_string();
        check(
            message.contains(shown),
            format!("{text:?} is not in {message:?}"),
        )?;
    }
    Ok(())
}

async fn credentials_are_in_no_message(context: Context) -> Result<(), Failure> {
    let closing = scripted(Script::new().read_request().close())?;
    let short = scripted(
        Script::new()
            .read_request()
            .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
            .close(),
    )?;
    let session = context.session()?;
    for (authority, path) in [
        (refused()?.to_string(), "/"),
        (closing.addr().to_string(), "/"),
        (short.addr().to_string(), "/"),
        ("host:99999".to_owned(), "/"),
        ("two words".to_owned(), "/"),
        ("host".to_owned(), ":99999/@/"),
    ] {
        for scheme in ["http", "https", "ftp"] {
            let url = format!("{scheme}://someone:s3cret@{authority}{path}");
            let Err(error) = session.get(&url).text().await else {
                return Err(Failure::new(format!("{url} was a success")));
            };
            let all = format!(
                "{error} {error:?} {} {:?}",
                with_causes(&error),
                error.url()
            );
            check(
                !all.contains("s3cret") && !all.contains("someone"),
                format!("credentials in {all}"),
            )?;
        }
    }
    Ok(())
}

async fn errors_name_their_url(context: Context) -> Result<(), Failure> {
    let short = scripted(
        Script::new()
            .read_request()
            .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
            .close(),
    )?;
    let session = context.session()?;
    for url in [format!("http://{}/a?b=c", refused()?), short.url("/a?b=c")] {
        let Err(error) = session.get(&url).text().await else {
            return Err(Failure::new(format!("{url} was a success")));
        };
        equal("its URL", error.url(), Some(&*url))?;
        check(
            error.to_string().contains(&url),
            format!("{url} is not in {:?}", error.to_string()),
        )?;
    }
    Ok(())
}

async fn https_is_encrypted_or_refused(context: Context) -> Result<(), Failure> {
    let server = scripted(answering(1, "HTTP/1.1 204 No Content\r\n\r\n"))?;
    let url = server.url("/").replacen("http:", "https:", 1);
    let result = context.session()?.get(url).text().await;
    let Err(error) = result else {
        return Err(Failure::new("a server without TLS has responded"));
    };
    equal("requests in clear", server.requests().len(), 0)?;
    if context.capabilities.tls.is_yes() {
        return Ok(());
    }
    fails("https", Err::<(), _>(error), &[ErrorKind::Unsupported])?;
    equal("connections", server.connections(), 0)
}

async fn bad_header_is_invalid_request(context: Context) -> Result<(), Failure> {
    let server = scripted(answering(1, "HTTP/1.1 204 No Content\r\n\r\n"))?;
    let session = context.session()?;
    for (name, value) in [
        ("two words", "value"),
        ("", "value"),
        ("x-split", "a\r\nx-smuggled: b"),
        ("x-zero", "a\0b"),
    ] {
        let request = session.get(server.url("/")).header(name, value);
        let what = format!("the header {name:?}: {value:?}");
        fails(&what, request.text().await, &[ErrorKind::InvalidRequest])?;
    }
    equal("requests that were sent", server.requests().len(), 0)
}

const PARTS_OF_A_HEAD: [&str; 4] = [
    "",
    "HTTP/1.1 20",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Part",
];

async fn end_before_the_head_is_incomplete(context: Context) -> Result<(), Failure> {
    for part in PARTS_OF_A_HEAD {
        let server = scripted(Script::new().read_request().send(part).close())?;
        let result = context.session()?.get(server.url("/")).text().await;
        fails(
            &format!("{part:?} and the end"),
            result,
            &[ErrorKind::Incomplete],
        )?;
    }
    Ok(())
}

async fn end_before_the_request_is_incomplete(context: Context) -> Result<(), Failure> {
    let server = scripted(Script::new().close())?;
    let session = context.session()?;
    for _ in 0..5 {
        let result = session.get(server.url("/")).text().await;
        fails("an end", result, &[ErrorKind::Incomplete])?;
        let result = session.post(server.url("/")).body("content").text().await;
        fails("an end", result, &[ErrorKind::Incomplete])?;
    }
    Ok(())
}

async fn reset_before_the_head_is_incomplete(context: Context) -> Result<(), Failure> {
    // The client may not receive the part before the reset; the error is the same.
    for part in PARTS_OF_A_HEAD {
        let server = scripted(Script::new().read_request().send(part).reset())?;
        let result = context.session()?.get(server.url("/")).text().await;
        fails(
            &format!("{part:?} and a reset"),
            result,
            &[ErrorKind::Incomplete],
        )?;
    }
    Ok(())
}

const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn early_close_in_a_sized_body_is_incomplete(context: Context) -> Result<(), Failure> {
    for part in ["", "half of it"] {
        ends_early(&context, SIZED, part).await?;
    }
    Ok(())
}

async fn early_close_in_a_chunked_body_is_incomplete(context: Context) -> Result<(), Failure> {
    for part in [
        "",
        "5",
        "5\r\n",
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0",
    ] {
        ends_early(&context, CHUNKED, part).await?;
    }
    Ok(())
}

async fn ends_early(context: &Context, head: &str, part: &str) -> Result<(), Failure> {
    let response = format!("{head}{part}");
    let server = scripted(Script::new().read_request().send(response).close())?;
    let result = context.session()?.get(server.url("/")).text().await;
    fails(
        &format!("{part:?} and the end"),
        result,
        &[ErrorKind::Incomplete],
    )
    .map(drop)
}

async fn reset_in_a_sized_body_is_incomplete(context: Context) -> Result<(), Failure> {
    is_reset(&context, SIZED, "hello").await
}

async fn reset_in_a_chunked_body_is_incomplete(context: Context) -> Result<(), Failure> {
    is_reset(&context, CHUNKED, "5\r\nhello\r\n").await
}

/// Resets the connection once the client has read the part, as it might not receive the part otherwise.
async fn is_reset(context: &Context, head: &str, part: &str) -> Result<(), Failure> {
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
    equal("the part", read, b"hello")?;
    drop(go);
    fails(
        "the reset",
        response.chunk().await,
        &[ErrorKind::Incomplete],
    )
    .map(drop)
}

async fn error_ends_the_body(context: Context) -> Result<(), Failure> {
    for response in [format!("{SIZED}half"), format!("{CHUNKED}4\r\nhalf\r\n")] {
        let server = scripted(Script::new().read_request().send(response).close())?;
        let mut response = context.session()?.get(server.url("/")).send().await?;
        let result = loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        fails("half a body", result, &[ErrorKind::Incomplete])?;
        equal("what follows the error", response.chunk().await?, None)?;
    }
    Ok(())
}

async fn session_survives_its_errors(context: Context) -> Result<(), Failure> {
    let session = context.session()?;
    let server = Scripted::start(|connection| {
        let script = Script::new().read_request();
        match connection % 6 {
            0 => script.close(),
            1 => script.reset(),
            2 => script.send(SIZED).send("half").close(),
            3 => script.send(CHUNKED).send("5\r\nhe").reset(),
            4 => script.send("garbage\r\n\r\n").close(),
            _ => script.send(crate::servers::ok("well")).close(),
        }
    })?;
    for _ in 0..3 {
        for _ in 0..5 {
            let result: Result<_, Error> = session.get(server.url("/")).text().await;
            check(
                result.is_err(),
                format!("a fault was a success: {result:?}"),
            )?;
        }
        equal(
            "the sixth",
            session.get(server.url("/")).text().await?,
            "well",
        )?;
    }
    Ok(())
}
