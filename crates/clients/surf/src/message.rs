//! Requests in surf's types, responses out of them.

use std::sync::LazyLock;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use inflight_core::{Body, Error};
use surf::Url;
use surf::http::Method;

use crate::body;
use crate::error::protocol;
use crate::head::{self, Head};

/// The real one is in the [`Outgoing`].
static NO_URL: LazyLock<Url> = LazyLock::new(|| Url::parse("http://unused").expect("it is a URL"));

/// The request's head, which surf hands on without a look at it. Its own types have no room for a
/// method that is not on their list or for a header's value that is not ASCII, and they forget the
/// order of the headers.
pub(crate) struct Outgoing(pub(crate) Parts);

/// The request as surf sends it: of its own types it has the body alone.
pub(crate) fn outgoing(request: http::Request<Body>) -> surf::Request {
    let (mut parts, body) = request.into_parts();
    let mut request = surf::Request::new(Method::Get, NO_URL.clone());
    // How the body is framed is not the caller's to say.
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

/// The body as async-h1 decodes it, under the head that the server sent.
pub(crate) fn incoming(response: surf::Response) -> Result<http::Response<Body>, Error> {
    let mut response: surf::http::Response = response.into();
    let head = response.ext_mut().remove::<Head>();
    let head = head.ok_or_else(|| protocol("no head"))?;
    let Head(answer) = head;
    Ok(answer.map(|()| body::received(response.take_body())))
}
