//! Conversion of requests to HTTP/2.

use http::Request;
use http::header::HOST;
use http::uri::{Authority, Uri};

/// Moves the caller's `Host` field to the authority of the request (RFC 9113, section 8.3.1).
pub(crate) fn convert_to_http2<B>(request: &mut Request<B>) {
    let Some(host) = request.headers_mut().remove(HOST) else {
        return;
    };
    if let Ok(authority) = Authority::try_from(host.as_bytes()) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.authority = Some(authority);
        // Does not fail: the URI was valid, and only the authority changes.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn http2_sends_the_callers_host_only_as_authority() {
        let mut request = Request::get("https://a.test/p").body(()).unwrap();
        let host = HeaderValue::from_static("b.test:8443");
        request.headers_mut().insert(HOST, host);
        convert_to_http2(&mut request);
        assert_eq!(request.uri().to_string(), "https://b.test:8443/p");
        assert!(!request.headers().contains_key(HOST));
    }
}
