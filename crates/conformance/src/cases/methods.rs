//! The methods, targets and framing headers of requests.

use inflight_core::ErrorKind;
use inflight_core::http::Method;
use macro_rules_attribute::apply;
use serde_json::Value;

use crate::case::case;
use crate::check::{Failure, Result, check, check_equal, check_text};
use crate::context::Context;
use crate::servers::{header_values, ok_response, response_script, start_scripted};

/// GET, POST, PUT, PATCH, DELETE, OPTIONS and TRACE reach the server unchanged.
#[apply(case!)]
#[marks(in_memory)]
async fn standard_methods_are_sent_unchanged(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for name in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
        let request = session.request(method(name)?, origin.url("/anything"));
        let echo: Value = request.json().await?;
        check_equal("the method", echo["method"].as_str(), Some(name))?;
    }
    Ok(())
}

/// The response to a HEAD has the Content-Length of the response to a GET, and no body.
#[apply(case!)]
#[marks(anywhere)]
async fn response_to_head_has_a_length_and_no_body(context: Context) -> Result {
    let origin = context.httpbin()?;
    let response = context.session()?.head(origin.url("/bytes/1000"));
    let response = response.send().await?;
    check_equal("the status", response.status().as_u16(), 200)?;
    let lengths = header_values(&response, "content-length");
    check_equal("Content-Length", lengths, vec![&b"1000"[..]])?;
    check_equal("the body", response.bytes().await?.len(), 0)
}

/// An unregistered method reaches the server unchanged.
#[apply(case!)]
#[marks(in_memory)]
#[needs(extension_methods)]
async fn extension_method_is_sent_unchanged(context: Context) -> Result {
    let origin = context.httpbin()?;
    let request = context
        .session()?
        .request(method("BREW")?, origin.url("/anything"));
    let echo: Value = request.json().await?;
    check_equal("the method", echo["method"].as_str(), Some("BREW"))
}

/// A method that the client does not know is sent unchanged, or is an error of the kind
/// unsupported.
#[apply(case!)]
async fn extension_method_is_never_changed(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("brewed")))?;
    let request = context
        .session()?
        .request(method("BREW")?, server.url("/pot"));
    match request.text().await {
        Ok(text) => check_equal("the response", text, "brewed")?,
        Err(error) => check_equal("the kind", error.kind(), ErrorKind::Unsupported)?,
    }
    let received = server.requests();
    let received: Vec<&str> = received.iter().map(|request| &*request.method).collect();
    check(
        received.iter().all(|method| *method == "BREW"),
        format!("the server received {received:?}"),
    )
}

/// The path and the query of the URL reach the server unchanged, and the fragment is not sent.
#[apply(case!)]
async fn target_is_sent_unchanged(context: Context) -> Result {
    let server = start_scripted(response_script(1, &ok_response("here")))?;
    let target = "/a%20b/%2F%C3%BC//c?x=1&y=%26&z=a+b&";
    let request = context.session()?.get(server.url(target) + "#a-fragment");
    check_text(request, "here").await?;
    check_equal("the target", &*server.requests()[0].target, target)
}

/// A GET, HEAD or OPTIONS without a body has neither Content-Length nor Transfer-Encoding.
#[apply(case!)]
async fn request_without_a_body_has_no_framing_headers(context: Context) -> Result {
    let session = context.session()?;
    for name in ["GET", "HEAD", "OPTIONS"] {
        let server = start_scripted(response_script(1, "HTTP/1.1 204 No Content\r\n\r\n"))?;
        let request = session.request(method(name)?, server.url("/"));
        check_equal("the body", request.bytes().await?.len(), 0)?;
        for field in ["content-length", "transfer-encoding"] {
            let received = server.requests();
            let value = received[0].header(field).map(String::from_utf8_lossy);
            check_equal(&format!("{field} of {name}"), value, None)?;
        }
    }
    Ok(())
}

/// POST, PUT and PATCH without a body send Content-Length: 0 (RFC 9110, section 8.6).
#[apply(case!)]
async fn empty_post_has_a_content_length(context: Context) -> Result {
    let session = context.session()?;
    for name in ["POST", "PUT", "PATCH"] {
        let server = start_scripted(response_script(1, &ok_response("taken")))?;
        let request = session.request(method(name)?, server.url("/"));
        check_text(request, "taken").await?;
        let received = server.requests();
        let length = received[0]
            .header("content-length")
            .map(String::from_utf8_lossy);
        let label = format!("Content-Length of {name}");
        check_equal(&label, length.as_deref(), Some("0"))?;
        let coding = received[0].header("transfer-encoding");
        check_equal(&format!("Transfer-Encoding of {name}"), coding, None)?;
    }
    Ok(())
}

fn method(name: &str) -> Result<Method> {
    Method::from_bytes(name.as_bytes()).map_err(|error| Failure::new(error.to_string()))
}
