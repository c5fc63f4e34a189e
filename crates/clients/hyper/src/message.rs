//! Requests as hyper sends them. hyper's connections add almost nothing to a request.

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request};
use inflight_core::Body;
use inflight_net::Connector;

/// What does not depend on the connection that the request gets.
pub(crate) fn prepare(request: &mut Request<Body>, connector: &Connector) {
    // These methods say the length of their content even if it is 0 (RFC 9110, 8.6); hyper leaves an
    // empty body unmentioned.
    if matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    ) && request.body().is_empty()
    {
        let length = request.headers_mut().entry(CONTENT_LENGTH);
        length.or_insert(HeaderValue::from_static("0"));
    }
    // For a proxy that forwards the request. A tunnel was authorized by its CONNECT request.
    if let Some(proxy) = connector.forwarding(request.uri())
        && let Some(authorization) = proxy.authorization()
    {
        let own = request.headers_mut().entry(PROXY_AUTHORIZATION);
        own.or_insert_with(|| authorization.clone());
    }
}

/// HTTP/1: the host is a field (RFC 9112, 3.2), and the target is the path alone unless a proxy
/// reads it.
pub(crate) fn for_http1<B>(request: &mut Request<B>, is_forwarded: bool) {
    let host = request.uri().authority().map(|authority| {
        let host = host(authority, request.uri().scheme());
        HeaderValue::from_str(host)
    });
    if let Some(Ok(host)) = host {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    if !is_forwarded {
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
    }
}

/// HTTP/2: the caller's `Host` is the request's authority, which no field repeats (RFC 9113, 8.3.1).
pub(crate) fn for_http2<B>(request: &mut Request<B>) {
    let Some(host) = request.headers_mut().remove(HOST) else {
        return;
    };
    if let Ok(authority) = Authority::try_from(host.as_bytes()) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.authority = Some(authority);
        // What was a URL stays one with another authority.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// The authority without credentials and without the scheme's own port.
fn host<'a>(authority: &'a Authority, scheme: Option<&Scheme>) -> &'a str {
    let text = authority.as_str();
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let port = match scheme == Some(&Scheme::HTTPS) {
        true => ":443",
        false => ":80",
    };
    let host = host.strip_suffix(port).unwrap_or(host);
    host.strip_suffix(':').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request<()> {
        Request::get(url).body(()).unwrap()
    }

    #[test]
    fn http1_has_the_host_as_a_field_and_the_path_as_the_target() {
        for (url, host, target) in [
            ("http://a.test/p?q", "a.test", "/p?q"),
            ("http://a.test:80", "a.test", "/"),
            ("https://a.test:443/", "a.test", "/"),
            ("https://a.test:80/", "a.test:80", "/"),
            ("http://me:pass@[::1]:8080/x", "[::1]:8080", "/x"),
        ] {
            let mut request = request(url);
            for_http1(&mut request, false);
            assert_eq!(request.headers()[HOST], host, "{url}");
            assert_eq!(request.uri().to_string(), target, "{url}");
        }
        let mut forwarded = request("http://a.test/p");
        for_http1(&mut forwarded, true);
        assert_eq!(forwarded.uri().to_string(), "http://a.test/p");
    }

    #[test]
    fn http2_has_the_callers_host_as_its_authority_alone() {
        let mut request = request("https://a.test/p");
        let host = HeaderValue::from_static("b.test:8443");
        request.headers_mut().insert(HOST, host);
        for_http2(&mut request);
        assert_eq!(request.uri().to_string(), "https://b.test:8443/p");
        assert!(!request.headers().contains_key(HOST));
    }
}
