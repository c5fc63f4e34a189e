//! Redirects (RFC 9110, 15.4): which of them a session follows, and the request that it then sends.

use http::header::{
    self, AUTHORIZATION, COOKIE, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
};
use http::{Method, StatusCode};
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::target::{Origin, Target};

/// The policy by which a session follows redirects.
#[derive(Debug, Clone)]
pub(crate) struct RedirectPolicy {
    pub(crate) at_most: usize,
    pub(crate) allow_downgrade: bool,
    /// Headers that are not sent to another origin, in addition to those with credentials.
    pub(crate) confidential: Vec<HeaderName>,
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self {
            at_most: 10,
            allow_downgrade: false,
            confidential: Vec::new(),
        }
    }
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

/// Header fields that describe a body and are dropped with it (RFC 9110, section 15.4).
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

    /// Returns the request that follows `response`, or `None` if it is not a redirect or the
    /// session follows none. `followed` is the number of redirects before it.
    pub(crate) fn follow(
        &self,
        from: &Target,
        method: &Method,
        response: &http::Response<Body>,
        followed: usize,
    ) -> Result<Option<RedirectedRequest>, Error> {
        let status = response.status();
        if self.at_most == 0 || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = response.headers().get(LOCATION) else {
            return Ok(None);
        };
        if followed == self.at_most {
            return Err(Error::new(ErrorKind::TooManyRedirects)
                .with_context(format!("more than {followed} in a row")));
        }
        let target = locate(from, location)?;
        let is_https = |target: &Target| target.uri().scheme_str() == Some("https");
        if is_https(from) && !is_https(&target) && !self.allow_downgrade {
            return Err(refused("from https to http"));
        }
        Ok(Some(RedirectedRequest {
            becomes_get: becomes_get(method, status),
            leaves_origin: Origin::of(from.uri()) != Origin::of(target.uri()),
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

pub(crate) fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::RedirectRefused).with_context(why)
}

/// Returns the URL of a `Location`. If it has no fragment, it inherits the fragment of the previous
/// URL (RFC 9110, 10.2.2).
fn locate(from: &Target, location: &HeaderValue) -> Result<Target, Error> {
    let not_a_url = |error: Error| refused("the Location is not a usable URL").with_source(error);
    let text = std::str::from_utf8(location.as_bytes())
        .map_err(|error| refused("the Location is not UTF-8").with_source(error))?;
    let base = from.url();
    let to = Target::parse(text, base).map_err(not_a_url)?;
    let fragment = base.and_then(Url::fragment);
    match (fragment, to.url()) {
        (Some(fragment), Some(url)) if url.fragment().is_none() => {
            let mut url = url.clone();
            url.set_fragment(Some(fragment));
            to.with_url(url).map_err(not_a_url)
        }
        _ => Ok(to),
    }
}
