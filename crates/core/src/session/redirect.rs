//! Redirects (RFC 9110, 15.4): which redirects a session follows, and which requests it then sends.

use std::borrow::Cow;

use http::header::{self, AUTHORIZATION, COOKIE, HeaderName, LOCATION, PROXY_AUTHORIZATION};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, percent_encode};
use url::Url;

use crate::bugs::{Bug, is_planted};
use crate::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::target::{Origin, Target};

/// The policy for redirects, which is the same for all requests of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct RedirectPolicy {
    /// Whether the session follows redirects from https to http.
    pub(crate) allow_downgrade: bool,
    /// Headers that are not sent to another origin, in addition to the standard headers with
    /// credentials.
    pub(crate) confidential: Vec<HeaderName>,
}

/// The request that follows a redirect.
#[derive(Debug)]
pub(crate) struct RedirectedRequest {
    pub(crate) target: Target,
    /// Whether the request becomes a GET without a body.
    pub(crate) becomes_get: bool,
    /// Whether the request goes to another origin.
    pub(crate) leaves_origin: bool,
}

/// Header fields that describe a body. The session removes them together with the body (RFC 9110,
/// 15.4).
pub(crate) const BODY_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::TRANSFER_ENCODING,
];

impl RedirectPolicy {
    /// Returns whether a header must not be sent to another origin.
    pub(crate) fn is_confidential(&self, name: &HeaderName) -> bool {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
            || self.confidential.contains(name)
    }

    /// Returns the request that follows `response`. Returns `None` if `response` is not a redirect,
    /// or if `at_most` is 0. `at_most` is the number of redirects to follow, and `followed` the number of
    /// earlier redirects.
    pub(crate) fn follow(
        &self,
        from: &Target,
        method: &Method,
        response: &http::Response<Body>,
        at_most: usize,
        followed: usize,
    ) -> Result<Option<RedirectedRequest>, Error> {
        let status = response.status();
        if at_most == 0 || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = location(response)? else {
            return Ok(None);
        };
        if followed == at_most {
            return Err(Error::new(ErrorKind::TooManyRedirects)
                .with_context(format!("more than {followed} in a row")));
        }
        let target = resolve_location(from, &location)?;
        let is_https = |target: &Target| target.uri().scheme_str() == Some("https");
        if is_https(from) && !is_https(&target) && !self.allow_downgrade {
            return Err(redirect_refused("from https to http"));
        }
        Ok(Some(RedirectedRequest {
            becomes_get: becomes_get(method, status),
            leaves_origin: Origin::of(from.uri()) != Origin::of(target.uri())
                && !is_planted(Bug::KeptCredentials),
            target,
        }))
    }
}

fn becomes_get(method: &Method, status: StatusCode) -> bool {
    match status.as_u16() {
        303 => method != Method::HEAD,
        301 | 302 => method == Method::POST,
        _ => false,
    }
}

pub(crate) fn redirect_refused(reason: &'static str) -> Error {
    Error::new(ErrorKind::RedirectRefused).with_context(reason)
}

/// Returns the value of `Location`, or `None` if the field is missing or empty. If the value is not
/// UTF-8, escapes all its bytes outside ASCII, as browsers do.
///
/// Fails if there are two different values, as browsers and curl do: an attacker may have added one
/// of them.
fn location(response: &http::Response<Body>) -> Result<Option<Cow<'_, str>>, Error> {
    let mut values = response.headers().get_all(LOCATION).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != first) {
        return Err(Error::new(ErrorKind::Protocol)
            .with_context("a redirect with two different values of Location"));
    }
    let bytes = first.as_bytes().trim_ascii();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => percent_encode(bytes, NON_ASCII).to_string().into(),
    };
    Ok((!text.is_empty()).then_some(text))
}

/// The set for [`percent_encode`] that escapes only bytes outside ASCII. `percent_encode` always
/// escapes these bytes, and the set adds no others.
const NON_ASCII: &AsciiSet = &AsciiSet::EMPTY;

/// Returns the URL of a `Location`. A URL without a fragment inherits the fragment of the previous
/// URL (RFC 9110, 10.2.2).
fn resolve_location(from: &Target, location: &str) -> Result<Target, Error> {
    let invalid =
        |error: Error| redirect_refused("the Location is not a usable URL").with_source(error);
    let base = from.url();
    let to = Target::parse(location, base).map_err(invalid)?;
    let fragment = base.and_then(Url::fragment);
    match (fragment, to.url()) {
        (Some(fragment), Some(url)) if url.fragment().is_none() => {
            let mut url = url.clone();
            url.set_fragment(Some(fragment));
            to.with_url(url).map_err(invalid)
        }
        _ => Ok(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(
        policy: &RedirectPolicy,
        (method, from): (Method, &str),
        (status, location): (u16, &str),
        followed: usize,
    ) -> Result<Option<RedirectedRequest>, ErrorKind> {
        let from = Target::parse(from, None).unwrap();
        let response = http::Response::builder()
            .status(status)
            .header(LOCATION, location)
            .body(Body::empty())
            .unwrap();
        let next = policy.follow(&from, &method, &response, 10, followed);
        next.map_err(|error| error.kind())
    }

    /// Returns the request that follows a redirect of a GET request from `from` to `location`.
    fn followed(from: &str, location: &str) -> RedirectedRequest {
        let policy = RedirectPolicy::default();
        let next = follow(&policy, (Method::GET, from), (302, location), 0);
        next.unwrap().unwrap()
    }

    #[test]
    fn the_location_is_relative_to_the_previous_url() {
        for (location, expected) in [
            ("/b", "http://a.test/b"),
            ("c?d", "http://a.test/x/c?d"),
            ("//b.test/", "http://b.test/"),
            ("https://a.test/", "https://a.test/"),
        ] {
            let next = followed("http://a.test/x/y#part", location);
            assert_eq!(next.target.uri().to_string(), expected, "{location}");
            let url = next.target.url().unwrap();
            assert_eq!(url.fragment(), Some("part"), "{location}");
        }
        let next = followed("http://a.test/#part", "/b#other");
        assert_eq!(next.target.url().unwrap().fragment(), Some("other"));
    }

    fn locations(values: &[&[u8]]) -> Result<Option<String>, ErrorKind> {
        let from = Target::parse("http://a.test/x", None).unwrap();
        let mut response = http::Response::builder().status(302);
        for value in values {
            response = response.header(LOCATION, *value);
        }
        let response = response.body(Body::empty()).unwrap();
        let next = RedirectPolicy::default().follow(&from, &Method::GET, &response, 10, 0);
        let next = next.map_err(|error| error.kind())?;
        Ok(next.map(|next| next.target.uri().to_string()))
    }

    #[test]
    fn a_location_outside_ascii_is_escaped_as_in_browsers() {
        for (location, expected) in [
            (&b"/caf\xe9"[..], "http://a.test/caf%E9"),
            (b"/caf\xc3\xa9", "http://a.test/caf%C3%A9"),
            (b"/%7e?\xff b", "http://a.test/%7e?%FF%20b"),
            (b"//m\xc3\xbcnchen.test/", "http://xn--mnchen-3ya.test/"),
        ] {
            assert_eq!(locations(&[location]), Ok(Some(expected.to_owned())));
        }
    }

    #[test]
    fn an_empty_location_is_none_and_two_different_locations_are_refused() {
        assert_eq!(locations(&[b""]), Ok(None));
        assert_eq!(locations(&[b" "]), Ok(None));
        let same = locations(&[b"/b", b"/b"]);
        assert_eq!(same, Ok(Some("http://a.test/b".to_owned())));
        let different = locations(&[b"/b", b"/c"]);
        assert_eq!(different, Err(ErrorKind::Protocol));
    }

    #[test]
    fn another_host_port_or_scheme_is_another_origin() {
        for (location, leaves_origin) in [
            ("/b", false),
            ("http://a.test:80/b", false),
            ("http://A.test/b", false),
            ("http://a.test:81/", true),
            ("http://b.a.test/", true),
            ("https://a.test/", true),
        ] {
            let next = followed("http://a.test/", location);
            assert_eq!(next.leaves_origin, leaves_origin, "{location}");
        }
    }

    #[test]
    fn the_method_changes_as_rfc_9110_allows() {
        let policy = RedirectPolicy::default();
        for (status, method, becomes_get) in [
            (301, Method::POST, true),
            (302, Method::POST, true),
            (302, Method::PUT, false),
            (303, Method::PUT, true),
            (303, Method::HEAD, false),
            (307, Method::POST, false),
            (308, Method::POST, false),
        ] {
            let request = (method.clone(), "http://a.test/");
            let next = follow(&policy, request, (status, "/b"), 0).unwrap();
            assert_eq!(next.unwrap().becomes_get, becomes_get, "{status} {method}");
        }
    }

    #[test]
    fn only_redirects_with_a_location_are_followed() {
        let policy = RedirectPolicy::default();
        for status in [200, 300, 304, 305, 404] {
            let next = follow(&policy, (Method::GET, "http://a.test/"), (status, "/b"), 0);
            assert!(next.unwrap().is_none(), "{status}");
        }
        let from = Target::parse("http://a.test/", None).unwrap();
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = StatusCode::FOUND;
        let next = policy.follow(&from, &Method::GET, &response, 10, 0);
        assert!(next.unwrap().is_none());
    }

    #[test]
    fn the_policy_limits_redirects_and_downgrades() {
        let get = |from: &'static str| (Method::GET, from);
        let mut policy = RedirectPolicy::default();
        let tenth = follow(&policy, get("http://a.test/"), (302, "/b"), 9);
        assert!(tenth.unwrap().is_some());
        let eleventh = follow(&policy, get("http://a.test/"), (302, "/b"), 10);
        assert_eq!(eleventh.unwrap_err(), ErrorKind::TooManyRedirects);

        let downgrade = (302, "http://a.test/");
        let refused = follow(&policy, get("https://a.test/"), downgrade, 0);
        assert_eq!(refused.unwrap_err(), ErrorKind::RedirectRefused);
        policy.allow_downgrade = true;
        let allowed = follow(&policy, get("https://a.test/"), downgrade, 0);
        assert!(allowed.unwrap().is_some());

        let refused = follow(&policy, get("http://a.test/"), (302, "ftp://a.test/"), 0);
        assert_eq!(refused.unwrap_err(), ErrorKind::RedirectRefused);
        let from = Target::parse("http://a.test/", None).unwrap();
        let response = http::Response::builder().status(302).header(LOCATION, "/b");
        let response = response.body(Body::empty()).unwrap();
        let off = policy.follow(&from, &Method::GET, &response, 0, 0);
        assert!(off.unwrap().is_none());
    }
}
