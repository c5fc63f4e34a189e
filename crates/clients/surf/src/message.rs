//! Conversion of requests to surf's types, and of surf's responses to inflight's.

use std::sync::LazyLock;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use inflight_core::{Body, Error};
use surf::Url;
use surf::http::Method;

use crate::body;
use crate::error::protocol_error;
use crate::head::Head;

/// A placeholder for the URL in surf's request. The real URL is in [`RequestHead`].
static PLACEHOLDER_URL: LazyLock<Url> =
    LazyLock::new(|| Url::parse("http://unused").expect("the placeholder should be a URL"));

/// The request's head, which surf passes to the transport unchanged. surf's types cannot hold an extension
/// method or a header value outside ASCII, and do not keep the order of the headers.
pub(crate) struct RequestHead(pub(crate) Parts);

/// Converts a request. surf's request holds only the body. Its extension [`RequestHead`] holds the head.
pub(crate) fn to_surf(request: http::Request<Body>) -> surf::Request {
    let (mut parts, body) = request.into_parts();
    let mut request = surf::Request::new(Method::Get, PLACEHOLDER_URL.clone());
    let length = parts.headers.get(CONTENT_LENGTH);
    let len = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if !body.is_empty() {
        if len.is_none() {
            let chunked = HeaderValue::from_static("chunked");
            parts.headers.insert(TRANSFER_ENCODING, chunked);
        }
        request.set_body(body::to_surf(body, len));
    }
    request.set_ext(RequestHead(parts));
    request
}

/// Returns the server's head with the body that async-h1 decodes.
pub(crate) fn from_surf(response: surf::Response) -> Result<http::Response<Body>, Error> {
    let mut response: surf::http::Response = response.into();
    let head = response.ext_mut().remove::<Head>();
    let head = head.ok_or_else(|| protocol_error("the response has no head"))?;
    let Head(head) = head;
    Ok(head.map(|()| body::from_surf(response.take_body())))
}
