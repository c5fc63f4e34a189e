//! A cookie: whether a response may set it, and which requests it applies to (RFC 6265bis, 5.7 and
//! 5.8).

use std::net::Ipv4Addr;
use std::time::SystemTime;

use url::Url;

use crate::session::cookies::parse::{MAX_ATTRIBUTE, SetCookie};

/// The most bytes of a host name, with a trailing dot (RFC 1035, 2.3.4).
const MAX_HOST: usize = 254;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cookie {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) domain: String,
    /// Whether the cookie applies to the host `domain` alone, and not to the hosts below it.
    pub(super) is_host_only: bool,
    pub(super) path: String,
    pub(super) is_secure: bool,
    pub(super) expires: Option<SystemTime>,
}

impl Cookie {
    /// Returns the cookie that a response from `url` sets. Returns `None` if `url` may not set it.
    pub(super) fn from_set_cookie(set_cookie: &SetCookie<'_>, url: &Url) -> Option<Self> {
        let host = host(url)?;
        if set_cookie.is_secure && !is_secure(url)
            || set_cookie.is_cross_site && !set_cookie.is_secure
        {
            return None;
        }
        let attribute = set_cookie.domain.unwrap_or_default();
        let (domain, is_host_only) = permitted_domain(attribute, host)?;
        let path = match set_cookie.path {
            // URLs are ASCII, so a path that is not UTF-8 applies to no request anyway.
            Some(path) if path.starts_with(b"/") => String::from_utf8_lossy(path).into_owned(),
            _ => default_path(url)?.to_owned(),
        };
        let cookie = Self {
            name: set_cookie.name.to_owned(),
            value: set_cookie.value.to_owned(),
            domain,
            is_host_only,
            path,
            is_secure: set_cookie.is_secure,
            expires: set_cookie.expires,
        };
        let has_path = set_cookie.path.is_some();
        cookie.has_attributes_of_prefix(has_path).then_some(cookie)
    }

    /// Returns whether the cookie has the attributes that the prefix of its name requires.
    fn has_attributes_of_prefix(&self, has_path: bool) -> bool {
        let has_prefix = |text: &[u8], prefix: &str| {
            let start = text.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        // A cookie without a name is sent as its value, which could look like a name.
        let sent_name = if self.name.is_empty() {
            &self.value
        } else {
            &self.name
        };
        if has_prefix(sent_name, "__Secure-") {
            !self.name.is_empty() && self.is_secure
        } else if has_prefix(sent_name, "__Host-") {
            let is_root = has_path && self.path == "/";
            !self.name.is_empty() && self.is_secure && self.is_host_only && is_root
        } else {
            true
        }
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Returns whether the cookie replaces `other`, because both have the same name, domain and path.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.name == other.name
            && self.domain == other.domain
            && self.is_host_only == other.is_host_only
            && self.path == other.path
    }

    /// Returns whether `other` is a secure cookie that this cookie, set over plain HTTP, would hide from
    /// the server.
    pub(super) fn hides_secure(&self, other: &Self) -> bool {
        other.is_secure
            && self.name == other.name
            && path_matches(&self.path, &other.path)
            && (domain_matches(&self.domain, &other.domain)
                || domain_matches(&other.domain, &self.domain))
    }

    /// Returns whether the cookie is sent with a request to `url`. Does not check the domain: the caller
    /// must have found the cookie by one of the [`domains_of`] the host of `url`.
    pub(super) fn applies_to(&self, url: &Url) -> bool {
        (!self.is_host_only || url.host_str() == Some(&self.domain))
            && path_matches(url.path(), &self.path)
            && (!self.is_secure || is_secure(url))
    }

    /// Returns the cookie in the syntax of the header `Cookie`.
    pub(super) fn pair(&self) -> Vec<u8> {
        if self.name.is_empty() {
            self.value.clone()
        } else {
            [&self.name[..], &self.value[..]].join(&b'=')
        }
    }
}

/// Returns the domains whose cookies a host may receive: the host itself and its parents. For an IP
/// address, the result also contains suffixes of the address. No cookie is ever stored for a suffix.
pub(super) fn domains_of(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |domain| Some(domain.split_once('.')?.1))
}

/// Returns whether different owners may register names below a domain (<https://publicsuffix.org>). A
/// domain of one label, such as `localhost`, is a public suffix even if it is not on the list.
pub(super) fn is_public_suffix(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    domain.is_empty() || psl::suffix_str(domain) == Some(domain)
}

/// Returns the domain of a cookie that `host` sets with this attribute, and whether the cookie is for
/// the host alone. Returns `None` if the host may not set the cookie.
fn permitted_domain(attribute: &[u8], host: &str) -> Option<(String, bool)> {
    let domain = str::from_utf8(attribute).ok()?.to_ascii_lowercase();
    let is_suffix = is_public_suffix(&domain);
    if domain.is_empty() || is_suffix && domain == host {
        Some((host.to_owned(), true))
    } else if is_suffix || !domain_matches(host, &domain) {
        None
    } else {
        Some((domain, false))
    }
}

/// Returns whether a host is a domain or is below it.
fn domain_matches(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') && !is_ip_address(host))
}

/// Returns whether the host of a URL is an IP address.
fn is_ip_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

/// Returns whether a request for `path` gets the cookies with the path `cookie_path`.
fn path_matches(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}

/// Returns the path of a cookie without the attribute `Path`: the folder of the request's path.
fn default_path(url: &Url) -> Option<&str> {
    let path = match url.path().rsplit_once('/') {
        Some((folder, _)) if folder.starts_with('/') => folder,
        _ => "/",
    };
    // The limit of the attribute applies here too, because the size of a cookie has to be limited.
    (path.len() <= MAX_ATTRIBUTE).then_some(path)
}

/// Returns the host of a URL, or `None` if the host is longer than a host name can be. A redirect can
/// lead to a URL with a host that is too long.
pub(super) fn host(url: &Url) -> Option<&str> {
    url.host_str().filter(|host| host.len() <= MAX_HOST)
}

/// Returns whether `url` may set and receive secure cookies: only an `https` URL may, even if the host is
/// `localhost`.
pub(super) fn is_secure(url: &Url) -> bool {
    url.scheme() == "https"
}
