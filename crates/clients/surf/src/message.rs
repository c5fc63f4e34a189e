//! Conversion of requests to surf's types, and of surf's responses to inflight's.

use std::sync::LazyLock;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use inflight_core::{Body, Error};
use surf::Url;
use surf::http::Method;

use crate::body;
use crate::error::protocol;
use crate::head::{self, Head};

/// A placeholder. The real URL is in [`Outgoing`].
static NO_URL: LazyLock<Url> = LazyLock::new(|| Url::parse("http://unused").expect("it is a URL"));

/// The request's head, which surf passes to the transport unchanged. surf's types cannot hold an extension
/// method or a header value outside ASCII, and do not keep the order of the headers.
pub(crate) struct Outgoing(pub(crate) Parts);

/// Converts a request. surf's types hold only its body, and [`Outgoing`] holds the head.
pub(crate) fn outgoing(request: http::Request<Body>) -> surf::Request {
    let (mut parts, body) = request.into_parts();
    let mut request = surf::Request::new(Method::Get, NO_URL.clone());
    // The body decides its framing, not the caller.
    parts.headers.remove(TRANSFER_ENCODING);
    let said = parts.headers.remove(CONTENT_LENGTH);
    let len = body.len().or_else(|| said.as_ref().and_then(head::length));
    let len = len.and_then(|len| usize::try_from(len).ok());
    match len {
        Some(0) if said.is_none() => {}
        Some(len) => drop(parts.headers.insert(CONTENT_LENGTH, len.into())),
        None => {
            let chunked = HeaderValue::from_static("chunked");
            parts.headers.insert(TRANSFER_ENCODING, chunked);
        }
    }
    if len != Some(0) {
        request.set_body(body::sent(body, len));
    }
    request.set_ext(Outgoing(parts));
    request
}

/// Returns the server's head with the body that async-h1 decodes.
pub(crate) fn incoming(response: surf::Response) -> Result<http::Response<Body>, Error> {
    let mut response: surf::http::Response = response.into();
    let head = response.ext_mut().remove::<Head>();
    let head = head.ok_or_else(|| protocol("no head"))?;
    let Head(answer) = head;
    Ok(answer.map(|()| body::received(response.take_body())))
}
