//! The conversion of a request to HTTP/1: its target, `Host` and `Proxy-Authorization`.

use http::Request;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};

use crate::connector::Connector;

/// Adds the proxy's credentials to the request if a proxy forwards the request.
pub fn add_proxy_credentials<B>(request: &mut Request<B>, connector: &Connector) {
    // A tunnel needs no credentials here, because its CONNECT request contains them.
    if let Some(proxy) = connector.forwarding(request.uri())
        && let Some(authorization) = proxy.authorization()
    {
        let entry = request.headers_mut().entry(PROXY_AUTHORIZATION);
        entry.or_insert_with(|| authorization.clone());
    }
}

/// Converts the request to the form of HTTP/1 (RFC 9112, section 3.2).
///
/// Adds `host` as the `Host` field unless the request already has that field. Reduces the target to path
/// and query unless a proxy forwards the request.
pub fn convert_to_http1<B>(
    request: &mut Request<B>,
    is_forwarded: bool,
    host: Option<HeaderValue>,
) {
    if let Some(host) = host {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    if !is_forwarded {
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
    }
}

/// Returns the value of `Host` in requests to `uri`: the authority without credentials and without the
/// default port of the scheme.
pub fn host_field(uri: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(host(uri.authority()?, uri.scheme())).ok()
}

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
    fn convert_to_http1_sets_the_host_field_and_the_path_as_target() {
        for (url, host, target) in [
            ("http://a.test/p?q", "a.test", "/p?q"),
            ("http://a.test:80", "a.test", "/"),
            ("https://a.test:443/", "a.test", "/"),
            ("https://a.test:80/", "a.test:80", "/"),
            ("http://me:pass@[::1]:8080/x", "[::1]:8080", "/x"),
        ] {
            let mut request = request(url);
            let field = host_field(request.uri());
            convert_to_http1(&mut request, false, field);
            assert_eq!(request.headers()[HOST], host, "{url}");
            assert_eq!(request.uri().to_string(), target, "{url}");
        }
        let mut forwarded = request("http://a.test/p");
        convert_to_http1(&mut forwarded, true, None);
        assert_eq!(forwarded.uri().to_string(), "http://a.test/p");
    }
}
