//! Cookies (RFC 6265).

use std::fmt;
use std::io::{BufRead, Write};
use std::sync::PoisonError;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cookie_store::{CookieStore, RawCookie};
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

use crate::error::{BoxError, Error, ErrorKind};

/// The cookies of a session, or of several: clones share them.
///
/// A session has no cookies unless [`SessionBuilder::cookies`](crate::SessionBuilder::cookies) sets
/// a jar. The session then sends each cookie with the requests to which the cookie applies,
/// including redirects. The jar refuses a cookie for a public suffix, such as `co.uk` (RFC 6265,
/// 5.3), because such a cookie would be sent to the sites of other owners.
///
/// ```
/// use inflight_core::CookieJar;
///
/// let jar = CookieJar::new();
/// let url = "https://pages.test/".parse()?;
/// jar.set("theme=dark; Max-Age=3600", &url);
/// assert_eq!(jar.header(&url).unwrap(), "theme=dark");
///
/// let mut saved = Vec::new();
/// jar.save(&mut saved)?;
/// let loaded = CookieJar::load(&saved[..])?;
/// assert_eq!(loaded.header(&url).unwrap(), "theme=dark");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct CookieJar(Arc<RwLock<CookieStore>>);

impl CookieJar {
    /// Creates an empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a jar with the cookies that [`save`](Self::save) wrote and that have not expired.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the reader fails or the data is invalid.
    pub fn load(reader: impl BufRead) -> Result<Self, Error> {
        let store = cookie_store::serde::json::load(reader).map_err(cookie_error)?;
        Ok(Self(Arc::new(RwLock::new(store))))
    }

    /// Writes the cookies that outlive a session, those with an `Expires` or a `Max-Age`, as JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the writer fails.
    pub fn save(&self, mut writer: impl Write) -> Result<(), Error> {
        cookie_store::serde::json::save(&self.read(), &mut writer).map_err(cookie_error)
    }

    /// Adds a cookie as if `url` had set it, in the syntax of `Set-Cookie`. A cookie that `url` may
    /// not set is ignored.
    pub fn set(&self, cookie: &str, url: &Url) {
        if let Ok(cookie) = RawCookie::parse(cookie.to_owned()) {
            self.insert(cookie, url);
        }
    }

    /// Returns the value of `Cookie` for a request to `url`, if any cookie applies.
    pub fn header(&self, url: &Url) -> Option<HeaderValue> {
        let store = self.read();
        let pairs = store.get_request_values(url);
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let mut value = HeaderValue::try_from(pairs.join("; ")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Removes every cookie.
    pub fn clear(&self) {
        self.write().clear();
    }

    /// Adds the cookies to a request that has no `Cookie` header.
    pub(crate) fn add_to_request(&self, headers: &mut HeaderMap, url: Option<&Url>) {
        if let (false, Some(value)) = (
            headers.contains_key(COOKIE),
            url.and_then(|url| self.header(url)),
        ) {
            headers.insert(COOKIE, value);
        }
    }

    /// Adds the cookies that a response sets.
    pub(crate) fn add_from_response(&self, headers: &HeaderMap, url: Option<&Url>) {
        let Some(url) = url else { return };
        for value in headers.get_all(SET_COOKIE) {
            if let Ok(text) = std::str::from_utf8(value.as_bytes()) {
                self.set(text, url);
            }
        }
    }

    fn insert(&self, cookie: RawCookie<'static>, url: &Url) {
        let domain = cookie.domain().map(|domain| domain.trim_start_matches('.'));
        let is_shared = domain.is_some_and(|domain| {
            let domain = domain.to_ascii_lowercase();
            // A site that is itself a public suffix may set a cookie only for itself.
            is_public_suffix(&domain) && url.host_str() != Some(&domain)
        });
        if !is_shared {
            // A cookie that this URL may not set is ignored.
            let _ = self.write().insert_raw(&cookie, url);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, CookieStore> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, CookieStore> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether several owners may register names below this domain. A domain that is not on the
/// list is a public suffix if it is a single label, such as `localhost`.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix_str(domain) == Some(domain)
}

fn cookie_error(error: BoxError) -> Error {
    Error::new(ErrorKind::Io)
        .with_context("cannot read or write the cookies")
        .with_source(error)
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cookies = self.read().iter_unexpired().count();
        write!(f, "CookieJar({cookies} cookies)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(set: &[(&str, &str)], url: &str) -> String {
        let jar = CookieJar::new();
        for (cookie, url) in set {
            jar.set(cookie, &url.parse().unwrap());
        }
        let header = jar.header(&url.parse().unwrap());
        header.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_is_sent_to_matching_urls() {
        let set = [
            ("host=1", "http://a.example.com/"),
            ("domain=2; Domain=example.com", "http://a.example.com/"),
            ("path=3; Path=/deep", "http://a.example.com/"),
            ("secure=4; Secure", "https://a.example.com/"),
        ];
        let at = |url: &str| {
            let mut names: Vec<_> = after(&set, url).split("; ").map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(at("http://a.example.com/"), "domain=2 host=1");
        assert_eq!(at("http://b.example.com/"), "domain=2");
        assert_eq!(at("http://a.example.com/deep/er"), "domain=2 host=1 path=3");
        assert_eq!(at("https://a.example.com/"), "domain=2 host=1 secure=4");
        assert_eq!(at("http://example.org/"), "");
    }

    #[test]
    fn a_later_cookie_replaces_and_an_expired_cookie_removes() {
        let url = "http://example.com/";
        assert_eq!(after(&[("a=1", url), ("a=2", url)], url), "a=2");
        assert_eq!(after(&[("a=1", url), ("a=1; Max-Age=0", url)], url), "");
    }

    #[test]
    fn cookies_for_other_sites_are_refused() {
        let bad = "http://bad.co.uk/";
        for domain in [
            "co.uk",
            ".co.uk",
            "CO.UK",
            "uk",
            "good.co.uk",
            "com",
            "github.io",
        ] {
            let cookie = format!("a=1; Domain={domain}");
            assert_eq!(
                after(&[(&cookie, bad)], "http://good.co.uk/"),
                "",
                "{domain}"
            );
            assert_eq!(after(&[(&cookie, bad)], bad), "", "{domain}");
        }
        // A site that is a public suffix may set its own cookies.
        let page = "http://github.io/";
        assert_eq!(after(&[("a=1; Domain=github.io", page)], page), "a=1");
    }

    #[test]
    fn load_fails_for_invalid_data() {
        for bad in ["", "{", "[1]", "null", "\u{0}"] {
            let error = CookieJar::load(bad.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{bad:?}");
        }
    }
}
