//! The target of a request: its URL, parsed once.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use url::{Host, Url};

use crate::error::{Error, ErrorKind};
use crate::message::auth;

/// The URL of a request, as a `Uri` for the client and, on demand, as a `Url` for the caller.
///
/// Parsing by the URL standard can take a twentieth of the time of an exchange on loopback. Most
/// URLs are already in the form that the standard produces, so `Target` skips the parser for them.
///
/// `Target` removes credentials from the URL, so that they are neither printed nor sent in the URL.
#[derive(Debug, Clone)]
pub struct Target(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    uri: Uri,
    url: OnceLock<Url>,
    authorization: Option<HeaderValue>,
}

impl Target {
    pub(crate) fn parse(text: &str, base: Option<&Url>) -> Result<Self, Error> {
        if is_plain(text)
            && let Ok(uri) = text.parse()
        {
            return Ok(Self(Arc::new(Inner {
                uri,
                url: OnceLock::new(),
                authorization: None,
            })));
        }
        let parsed = Url::options().base_url(base).parse(text);
        let url = parsed.map_err(|error| {
            Error::new(ErrorKind::InvalidUrl)
                .with_context(Redacted(text).to_string())
                .with_source(error)
        })?;
        Self::new(url)
    }

    pub(crate) fn new(mut url: Url) -> Result<Self, Error> {
        if !matches!(url.scheme(), "http" | "https") {
            // The error does not contain the URL: without a scheme, the user name is parsed as the
            // scheme, and the rest may be a password.
            let scheme = url.scheme();
            return Err(Error::new(ErrorKind::InvalidUrl)
                .with_context(format!("the scheme is {scheme:?}, neither http nor https")));
        }
        let authorization = take_credentials(&mut url)?;
        check_host(&url)?;
        let uri = url
            .as_str()
            .parse()
            .map_err(|error: http::uri::InvalidUri| {
                Error::new(ErrorKind::InvalidUrl)
                    .with_source(error)
                    .with_url(&url)
            })?;
        Ok(Self(Arc::new(Inner {
            uri,
            url: url.into(),
            authorization,
        })))
    }

    /// Returns a target with another URL and the same credentials.
    pub(crate) fn with_url(&self, url: Url) -> Result<Self, Error> {
        let mut target = Self::new(url)?;
        if let Some(inner) = Arc::get_mut(&mut target.0) {
            inner.authorization = self.0.authorization.clone();
        }
        Ok(target)
    }

    /// Returns the same target with pairs appended to the query, escaped as the URL standard does
    /// for forms.
    pub(crate) fn with_query(&self, pairs: &impl Serialize) -> Result<Self, Error> {
        let Some(mut url) = self.url().cloned() else {
            return Err(Error::new(ErrorKind::InvalidUrl));
        };
        let had_query = url.query().is_some();
        {
            let mut query = url.query_pairs_mut();
            let serializer = serde_urlencoded::Serializer::new(&mut query);
            pairs.serialize(serializer).map_err(|error| {
                Error::new(ErrorKind::InvalidRequest)
                    .with_context("the value does not serialize to a list of pairs")
                    .with_source(error)
            })?;
        }
        if !had_query && url.query() == Some("") {
            url.set_query(None);
        }
        self.with_url(url)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// Returns the URL. The result is always `Some`, because every URI that `is_plain` accepts is also a
    /// URL by the standard.
    pub(crate) fn url(&self) -> Option<&Url> {
        let inner = &*self.0;
        if inner.url.get().is_none()
            && let Ok(url) = Url::parse(&inner.uri.to_string())
        {
            return Some(inner.url.get_or_init(|| url));
        }
        inner.url.get()
    }

    /// Returns the credentials of the URL as basic authentication, if the URL has credentials.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.0.authorization.as_ref()
    }

    /// Adds the URL to an error.
    pub(crate) fn add_url(&self, error: Error) -> Error {
        match self.url() {
            Some(url) => error.with_url(url),
            None => error,
        }
    }
}

/// The origin of a URL: scheme, host and port (RFC 6454, 4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Origin {
    pub(crate) fn of(uri: &Uri) -> Self {
        let is_https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let default = if is_https { 443 } else { 80 };
        Self {
            is_https,
            host: uri.host().unwrap_or_default().to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default),
        }
    }
}

/// Refuses a host name that no DNS message can contain (RFC 1035, 2.3.4), because each resolver would
/// report such a name in its own way.
fn check_host(url: &Url) -> Result<(), Error> {
    let Some(Host::Domain(name)) = url.host() else {
        return Ok(());
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let problem = if name.split('.').any(str::is_empty) {
        "the host has an empty label"
    } else if name.split('.').any(|label| label.len() > 63) {
        "a label of the host is longer than 63 bytes"
    } else if name.len() > 253 {
        "the host is longer than 253 bytes"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidUrl)
        .with_context(problem)
        .with_url(url))
}

/// Removes the credentials from the URL and returns them as basic authentication (RFC 7617), as
/// browsers and aiohttp do.
fn take_credentials(url: &mut Url) -> Result<Option<HeaderValue>, Error> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let value = auth::basic(&pair)?;
    // These calls fail only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(Some(value))
}

/// Returns whether the text is an absolute URL that the URL standard leaves unchanged. May return
/// `false` for other URLs that the standard leaves unchanged. Parsing is then only slower.
fn is_plain(text: &str) -> bool {
    let (rest, default_port) = match text.strip_prefix("http://") {
        Some(rest) => (rest, "80"),
        None => match text.strip_prefix("https://") {
            Some(rest) => (rest, "443"),
            None => return false,
        },
    };
    // Searches byte by byte, because the search functions of `str` are slower for such short texts.
    let Some(slash) = rest.bytes().position(|byte| byte == b'/') else {
        return false;
    };
    let (authority, path) = rest.split_at(slash);
    let (host, port) = match authority.bytes().position(|byte| byte == b':') {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
        None => (authority, None),
    };
    let plain_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && !port.starts_with('0')
            && port != default_port
            && port.parse::<u16>().is_ok()
    });
    plain_port && is_plain_host(host) && is_plain_path(path)
}

fn is_plain_host(host: &str) -> bool {
    // A dotted IPv4 address. Rust's parser accepts none of the older notations.
    if host.starts_with(|first: char| first.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    // A name that is neither internationalized nor parsed as an address.
    let plain_label = |label: &str| {
        label.len() <= 63
            && label.starts_with(|first: char| first.is_ascii_lowercase())
            && !label.contains("--")
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(plain_label)
}

fn is_plain_path(path: &str) -> bool {
    // The standard resolves dot segments and may escape characters outside `PLAIN`.
    let mut before = 0;
    path.bytes().all(|byte| {
        let starts_with_dot = before == b'/' && byte == b'.';
        before = byte;
        PLAIN[usize::from(byte)] && !starts_with_dot
    })
}

/// For each byte, whether it is plain: the standard leaves it unchanged in a path and in a query.
const PLAIN: [bool; 256] = {
    let others = b"/?=&-_.~,";
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut other = 0;
    while other < others.len() {
        plain[others[other] as usize] = true;
        other += 1;
    }
    plain
};

/// Text that is not a URL, displayed without possible credentials and without a possible query.
struct Redacted<'a>(&'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delimiters = ['?', '#'];
        let (start, rest) = match self.0.rsplit_once('@') {
            // The text after the `@` may belong to the query, so nothing is safe to display.
            Some((start, _)) if start.contains(delimiters) => ("...", ""),
            Some((_, rest)) => ("...@", rest),
            None => ("", self.0),
        };
        let end = rest.find(delimiters).unwrap_or(rest.len());
        write!(f, "{:?}", format!("{start}{}", &rest[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_error_for_an_invalid_url_shows_neither_credentials_nor_query() {
        for (text, shown) in [
            ("http://host:99999/a", r#""http://host:99999/a""#),
            ("http://host:99999/a?key=secret", r#""http://host:99999/a""#),
            ("http://host:99999/a#secret", r#""http://host:99999/a""#),
            ("http://me:secret@ho st/a?secret", r#""...@ho st/a""#),
            ("http://me:sec?ret@ho st/a", r#""...""#),
            ("http://ho st/a?mail=a@b&secret", r#""...""#),
        ] {
            let error = Target::parse(text, None).err().unwrap();
            let message = error.to_string();
            assert_eq!(message, format!("invalid URL: {shown}"), "{text}");
        }
    }

    #[test]
    fn common_urls_are_plain() {
        for text in [
            "http://127.0.0.1:8080/page/1?delay_ms=100",
            "https://example.com/",
            "http://pages.test:81/a/b.html?q=1&r=2",
        ] {
            assert!(is_plain(text), "{text}");
        }
    }

    #[test]
    fn urls_that_the_standard_rewrites_are_not_plain() {
        for text in [
            "http://example.com",
            "HTTP://example.com/",
            "http://Example.com/",
            "http://example.com:80/",
            "http://example.com:/",
            "http://user@example.com/",
            "http://1.2.3/",
            "http://0x7f.1/",
            "http://01.2.3.4/",
            "http://xn--a/",
            "http://a..b/",
            "http://a.b./",
            "http://h/a/../b",
            "http://h/%2e/",
            "http://h/a b",
            "http://h/#f",
            "http://[::1]/",
            "ftp://h/",
        ] {
            assert!(!is_plain(text), "{text}");
        }
    }

    #[test]
    fn host_names_that_dns_cannot_contain_are_invalid_urls() {
        let label = "a".repeat(63);
        let long = [label.as_str(); 4].join(".");
        for host in [
            "a",
            "a.",
            "a.b",
            &label,
            "1.2.3.4",
            "[::1]",
            "a_b",
            &long[..253],
        ] {
            let target = Target::parse(&format!("http://{host}/"), None);
            assert!(target.is_ok(), "{host}: {target:?}");
        }
        for host in [".", "..", "a..b", ".a", "a..", &format!("{label}a"), &long] {
            let error = Target::parse(&format!("http://{host}/"), None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{host}");
        }
    }

    proptest! {
        #[test]
        fn the_standard_leaves_plain_urls_unchanged(
            text in "https?://[a-zA-Z0-9.:-]{1,24}/[a-zA-Z0-9/?=&._~,%#@ -]{0,24}"
        ) {
            if is_plain(&text) {
                let url = Url::parse(&text).unwrap();
                prop_assert_eq!(url.as_str(), text.as_str());
                let target = Target::parse(&text, None).unwrap();
                prop_assert_eq!(target.uri().to_string(), text.as_str());
                prop_assert_eq!(target.url(), Some(&url));
            }
        }
    }
}
