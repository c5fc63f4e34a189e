//! The key that decides which requests may share a connection.

use std::hash::{Hash, Hasher};

use http::Uri;
use http::uri::{Authority, Scheme};
use inflight_core::{Error, ErrorKind, Proxies, Proxy};

/// The scheme, authority and proxy of a request. Requests with equal keys may share a connection.
///
/// Requests that a proxy forwards share the connections to the proxy, even if their servers differ. The
/// HTTP version is not part of the key, because each pooled connection stores its own version. Keys
/// compare authorities byte by byte. This is enough, because a session converts the hosts of its URLs
/// to lower case.
#[derive(Clone, Debug)]
pub struct Key {
    authority: Authority,
    is_https: bool,
    proxy: Option<Authority>,
}

// Compares and hashes the text. The comparison of `Authority` ignores case, which is too slow for each
// request.
impl Key {
    fn parts(&self) -> (bool, &str, Option<&str>) {
        let proxy = self.proxy.as_ref().map(Authority::as_str);
        (self.is_https, self.authority.as_str(), proxy)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The hash of the authority is enough, because several proxies for one authority are rare.
        state.write(self.authority.as_str().as_bytes());
    }
}

impl Key {
    /// Returns the key of a request to `uri` with these proxies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`] if `uri` has no host, and the errors of [`Proxies::of`].
    pub fn new(uri: &Uri, proxies: &Proxies) -> Result<Self, Error> {
        let no_host = || Error::new(ErrorKind::InvalidUrl).with_context("the URL has no host");
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let proxy = proxies.of(uri)?;
        let is_socks = proxy.is_some_and(Proxy::is_socks);
        let proxy = proxy
            .map(|proxy| proxy.uri().authority().cloned().ok_or_else(no_host))
            .transpose()?;
        let authority = match (is_https, &proxy) {
            (false, Some(server)) if !is_socks => Some(server),
            _ => uri.authority(),
        };
        Ok(Self {
            authority: authority.cloned().ok_or_else(no_host)?,
            is_https,
            proxy,
        })
    }
}

/// Returns the proxy that forwards requests to `uri`, if there is one (RFC 9112, section 3.2.2).
pub(crate) fn forwarding<'a>(uri: &Uri, proxies: &'a Proxies) -> Option<&'a Proxy> {
    let is_plain = uri.scheme() != Some(&Scheme::HTTPS);
    // Ignores the error of an unsupported proxy, because `Key::new` returns it.
    let proxy = proxies.of(uri).ok()?;
    proxy.filter(|proxy| is_plain && !proxy.is_socks())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(uri: &str, proxies: &Proxies) -> Key {
        Key::new(&uri.parse().unwrap(), proxies).unwrap()
    }

    #[test]
    fn keys_differ_by_scheme_authority_and_proxy() {
        let none = Proxies::default();
        let proxied = Proxies::all(Proxy::new("http://proxy.test:3128").unwrap());
        assert_eq!(key("http://a.test/1", &none), key("http://a.test/2", &none));
        assert_ne!(key("http://a.test/", &none), key("https://a.test/", &none));
        assert_ne!(
            key("http://a.test/", &none),
            key("http://a.test:81/", &none)
        );
        assert_ne!(
            key("https://a.test/", &none),
            key("https://a.test/", &proxied)
        );
        // Forwarded requests to all servers share connections. A tunnel leads to a single server.
        assert_eq!(
            key("http://a.test/", &proxied),
            key("http://b.test/", &proxied)
        );
        assert_ne!(
            key("https://a.test/", &proxied),
            key("https://b.test/", &proxied)
        );
        // A SOCKS5 proxy forwards no requests.
        let tunnelled = Proxies::all(Proxy::new("socks5://proxy.test:3128").unwrap());
        for scheme in ["http", "https"] {
            let key = |host: &str| key(&format!("{scheme}://{host}.test/"), &tunnelled);
            assert_ne!(key("a"), key("b"));
            assert_eq!(key("a"), key("a"));
        }
        assert!(forwarding(&"http://a.test/".parse().unwrap(), &tunnelled).is_none());
    }
}
