//! Requests in surf's types, responses out of them.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use inflight_core::{Body, Error, ErrorKind, NewConnection, Trace};
use surf::http::headers::HeaderValue;

use crate::body;
use crate::error::protocol;
use crate::head::{self, Head};

/// Refuses, before anything is sent, what surf could not send as it is.
pub(crate) fn outgoing(request: http::Request<Body>) -> Result<surf::Request, Error> {
    let trace = Trace::of(&request);
    let (parts, body) = request.into_parts();
    let url = surf::Url::parse(&parts.uri.to_string())
        .map_err(|error| Error::new(ErrorKind::InvalidUrl).with_source(error))?;
    // Methods are told apart by case, and surf would send `get` as `GET`.
    let method = match parts.method.as_str().parse::<surf::http::Method>() {
        Ok(method) if method.as_ref() == parts.method.as_str() => method,
        _ => return Err(unsupported("surf has no such method")),
    };
    let mut request = surf::Request::new(method, url);
    request.set_ext(trace);
    request.set_ext(parts.uri);
    if let Some(new) = parts.extensions.get::<NewConnection>() {
        request.set_ext(*new);
    }

    let said = parts.headers.get(CONTENT_LENGTH);
    let len = body.len().or_else(|| said.and_then(head::length));
    if len != Some(0) {
        let len = len.and_then(|len| usize::try_from(len).ok());
        request.set_body(body::sent(body, len));
        // surf adds a type to a body that has none.
        request.remove_header(CONTENT_TYPE.as_str());
    }
    for (name, value) in &parts.headers {
        // How the body is framed is not the caller's to say.
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            let value = HeaderValue::from_bytes(value.as_bytes().to_vec())
                .map_err(|_| unsupported("surf's header values are ASCII"))?;
            request.append_header(name.as_str(), value);
        }
    }
    Ok(request)
}

/// The body as async-h1 decodes it, under the head that the server sent.
pub(crate) fn incoming(response: surf::Response) -> Result<http::Response<Body>, Error> {
    let mut response: surf::http::Response = response.into();
    let head = response.ext_mut().remove::<Head>();
    let head = head.ok_or_else(|| protocol("no head"))?;
    let Head(answer) = head;
    Ok(answer.map(|()| body::received(response.take_body())))
}

fn unsupported(what: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported).with_context(what)
}
