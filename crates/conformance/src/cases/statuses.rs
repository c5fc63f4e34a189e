//! Status codes: all of them are responses.

use inflight_core::ErrorKind;

use crate::case::suite;
use crate::check::{Failure, check, equal, fails};
use crate::context::Context;
use crate::servers::{answering, origin, scripted, values};

suite! { "statuses":
    registered_statuses_are_answers [anywhere] =>
        "No status is an error by itself.";
    unregistered_statuses_are_answers [anywhere] needs unregistered_status =>
        "An unregistered status is returned unchanged.";
    unregistered_status_is_never_changed [anywhere] =>
        "A status that the client does not know is returned unchanged or is an error.";
    status_needs_no_reason =>
        "A status line whose reason is empty is accepted (RFC 9112, section 4).";
    error_for_status_begins_at_400 [anywhere] =>
        "error_for_status fails with the status from 400 on, and does not fail below.";
    redirects_are_not_followed =>
        "With max_redirects(0) a redirect is returned as the response: no client follows it by itself.";
}

async fn registered_statuses_are_answers(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    for code in [
        200, 201, 202, 204, 304, 400, 401, 404, 407, 418, 429, 500, 503,
    ] {
        let url = origin.url(&format!("/status/{code}"));
        let response = session.get(url).send().await?;
        equal("the status", response.status().as_u16(), code)?;
        response.bytes().await?;
    }
    Ok(())
}

async fn unregistered_statuses_are_answers(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    for code in [299, 499, 599] {
        let url = origin.url(&format!("/status/{code}"));
        let response = session.get(url).send().await?;
        equal("the status", response.status().as_u16(), code)?;
    }
    Ok(())
}

async fn unregistered_status_is_never_changed(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    match context
        .session()?
        .get(origin.url("/status/299"))
        .send()
        .await
    {
        Ok(response) => equal("the status", response.status().as_u16(), 299),
        Err(error) => {
            let kinds = [ErrorKind::Protocol, ErrorKind::Unsupported];
            fails("a status of 299", Err::<(), _>(error), &kinds).map(drop)
        }
    }
}

async fn status_needs_no_reason(context: Context) -> Result<(), Failure> {
    let server = scripted(answering(
        1,
        "HTTP/1.1 404 \r\nContent-Length: 4\r\n\r\ngone",
    ))?;
    let response = context.session()?.get(server.url("/")).send().await?;
    equal("the status", response.status().as_u16(), 404)?;
    equal("the body", response.text().await?, "gone")
}

async fn error_for_status_begins_at_400(context: Context) -> Result<(), Failure> {
    let origin = context.pages()?;
    let session = context.session()?;
    for code in [200, 204, 301, 304] {
        let url = origin.url(&format!("/status/{code}"));
        session.get(url).send().await?.error_for_status()?;
    }
    for code in [400, 404, 418, 500, 503] {
        let url = origin.url(&format!("/status/{code}"));
        let response = session.get(url).send().await?;
        let result = response.error_for_status();
        let error = fails("error_for_status", result, &[ErrorKind::Status])?;
        let status = error.status_code().map(|status| status.as_u16());
        equal("the error's status", status, Some(code))?;
    }
    Ok(())
}

async fn redirects_are_not_followed(context: Context) -> Result<(), Failure> {
    let origin = origin()?;
    let session = context.builder().max_redirects(0).build()?;
    let codes = [301, 302, 303, 307, 308];
    for code in codes {
        let url = origin.url(&format!("/redirect-to?url=/get&status_code={code}"));
        let response = session.get(url).send().await?;
        equal("the status", response.status().as_u16(), code)?;
        equal(
            "Location",
            values(&response, "location"),
            vec![&b"/get"[..]],
        )?;
        response.bytes().await?;
    }
    let requests = origin.stats().requests;
    check(
        requests == codes.len() as u64,
        format!("{} requests became {requests}", codes.len()),
    )
}
