//! The format in which a jar saves cookies: JSON.

use serde::{Deserialize, Serialize};
use url::Host;

use crate::error::BoxError;
use crate::session::cookies::cookie::Cookie;
use crate::session::cookies::parse::{is_valid_pair, is_valid_path};

/// A saved cookie, which has an expiry time.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct SavedCookie {
    name: Text,
    value: Text,
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    /// A date as in an HTTP header.
    expires: String,
}

/// The bytes of a name or a value: a string if they are UTF-8, otherwise a list of numbers. Servers may
/// use any encoding.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum Text {
    Utf8(String),
    Bytes(Vec<u8>),
}

impl Text {
    fn new(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_owned()),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Utf8(text) => text.into_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl SavedCookie {
    /// Converts a cookie. Returns `None` if the cookie has no expiry time.
    pub(super) fn new(cookie: &Cookie) -> Option<Self> {
        Some(Self {
            name: Text::new(&cookie.name),
            value: Text::new(&cookie.value),
            domain: cookie.domain.clone(),
            host_only: cookie.is_host_only,
            path: cookie.path.clone(),
            secure: cookie.is_secure,
            expires: httpdate::fmt_http_date(cookie.expires?),
        })
    }

    pub(super) fn into_cookie(self) -> Result<Cookie, BoxError> {
        let cookie = Cookie {
            name: self.name.into_bytes(),
            value: self.value.into_bytes(),
            domain: self.domain,
            is_host_only: self.host_only,
            path: self.path,
            is_secure: self.secure,
            expires: Some(httpdate::parse_http_date(&self.expires)?),
        };
        if !is_valid_pair(&cookie.name, &cookie.value) {
            return Err("a cookie has an invalid name or value".into());
        }
        if !is_valid_path(cookie.path.as_bytes()) {
            return Err("a cookie has an invalid path".into());
        }
        let host = Host::parse(&cookie.domain)?.to_string();
        if host != cookie.domain {
            return Err("the domain of a cookie is not a host as a URL contains it".into());
        }
        Ok(cookie)
    }
}
