//! Status codes: no status is an error by itself.

use inflight_core::ErrorKind;
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Result, check, check_equal, check_equal_or_error};
use crate::context::Context;
use crate::servers::{header_values, response_script, start_origin, start_scripted};

/// Registered statuses are returned as responses and not as errors.
#[apply(case!)]
#[marks(anywhere)]
async fn registered_statuses_are_returned_as_responses(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for code in [
        200, 201, 202, 204, 304, 400, 401, 404, 407, 418, 429, 500, 503,
    ] {
        let url = origin.url(&format!("/status/{code}"));
        let response = session.get(url).send().await?;
        check_equal("the status", response.status().as_u16(), code)?;
        response.bytes().await?;
    }
    Ok(())
}

/// An unregistered status is returned unchanged.
#[apply(case!)]
#[marks(anywhere)]
#[needs(unregistered_status)]
async fn unregistered_statuses_are_returned_unchanged(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for code in [299, 499, 599] {
        let url = origin.url(&format!("/status/{code}"));
        let response = session.get(url).send().await?;
        check_equal("the status", response.status().as_u16(), code)?;
    }
    Ok(())
}

/// A status that the client does not know is returned unchanged or is an error.
#[apply(case!)]
#[marks(anywhere)]
async fn unregistered_status_is_never_changed(context: Context) -> Result {
    let origin = context.httpbin()?;
    let request = context.session()?.get(origin.url("/status/299"));
    let status = request.send().await.map(|response| response.status());
    let kinds = [ErrorKind::Protocol, ErrorKind::Unsupported];
    check_equal_or_error("the status", status, 299, &kinds)
}

/// A status line whose reason is empty is accepted (RFC 9112, section 4).
#[apply(case!)]
async fn status_line_without_a_reason_is_accepted(context: Context) -> Result {
    let server = start_scripted(response_script(
        1,
        "HTTP/1.1 404 \r\nContent-Length: 4\r\n\r\ngone",
    ))?;
    let response = context.session()?.get(server.url("/")).send().await?;
    check_equal("the status", response.status().as_u16(), 404)?;
    check_equal("the body", response.text().await?, "gone")
}

/// With max_redirects(0) a redirect is returned as the response: no client follows it by itself.
#[apply(case!)]
async fn redirects_are_not_followed(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.builder().max_redirects(0).build()?;
    let codes = [301, 302, 303, 307, 308];
    for code in codes {
        let url = origin.url(&format!("/redirect-to?url=/get&status_code={code}"));
        let response = session.get(url).send().await?;
        check_equal("the status", response.status().as_u16(), code)?;
        check_equal(
            "Location",
            header_values(&response, "location"),
            vec![&b"/get"[..]],
        )?;
        response.bytes().await?;
    }
    let requests = origin.stats().requests;
    check(
        requests == codes.len() as u64,
        format!(
            "the server received {requests} requests, not {}",
            codes.len()
        ),
    )
}
