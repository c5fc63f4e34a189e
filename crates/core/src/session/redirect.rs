//! Which redirects a session follows, and what it sends after one (RFC 9110, 15.4).

use http::header::{
    self, AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    PROXY_AUTHORIZATION,
};
use http::{Method, StatusCode};
use url::Url;

use super::exchange::Draft;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::target::{Site, Target};

/// A redirect that was followed, in a response's [`history`](crate::Response::history).
#[derive(Debug, Clone)]
pub struct Redirect {
    target: Target,
    status: StatusCode,
}

impl Redirect {
    /// The URL that answered with the redirect.
    pub fn url(&self) -> Option<&Url> {
        self.target.url()
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// What a session does about redirects.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) most: usize,
    pub(crate) allow_downgrade: bool,
    /// Headers that do not go to another site, besides those that carry credentials.
    pub(crate) confidential: Vec<HeaderName>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            most: 10,
            allow_downgrade: false,
            confidential: Vec::new(),
        }
    }
}

/// What describes a body, and goes with it (RFC 9110, 15.4: the request is sent again without
/// its content).
const OF_THE_BODY: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::TRANSFER_ENCODING,
];

impl Policy {
    /// Whether a header stays behind when a request goes on to another site.
    pub(crate) fn is_confidential(&self, name: &HeaderName) -> bool {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
            || self.confidential.contains(name)
    }

    /// Where the response sends the request, and what becomes of the request; `None` when it
    /// sends it nowhere, or the session follows no redirects.
    pub(crate) fn follow(
        &self,
        from: &Target,
        draft: &mut Draft,
        response: &http::Response<Body>,
        history: &mut Vec<Redirect>,
    ) -> Result<Option<Target>, Error> {
        let status = response.status();
        if self.most == 0 || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = response.headers().get(LOCATION) else {
            return Ok(None);
        };
        if history.len() == self.most {
            let most = self.most;
            return Err(Error::new(ErrorKind::TooManyRedirects)
                .with_context(format!("more than {most} in a row")));
        }
        let to = locate(from, location)?;
        let is_https = |target: &Target| target.uri().scheme_str() == Some("https");
        if is_https(from) && !is_https(&to) && !self.allow_downgrade {
            return Err(refused("from https to http"));
        }
        history.push(Redirect {
            target: from.clone(),
            status,
        });
        let method = draft.method().clone();
        let becomes_get = match status.as_u16() {
            303 => method != Method::HEAD,
            301 | 302 => method == Method::POST,
            _ => false,
        };
        if becomes_get {
            draft.become_get(&OF_THE_BODY);
        } else if !draft.can_be_sent() {
            return Err(refused("its body was a stream, which cannot be sent again"));
        }
        if Site::of(from.uri()) != Site::of(to.uri()) {
            draft.leave_behind(|name| self.is_confidential(name));
        } else if let (Some(credentials), None) = (from.authorization(), to.authorization()) {
            draft.keep_credentials(credentials);
        }
        Ok(Some(to))
    }
}

impl Draft {
    fn keep_credentials(&mut self, credentials: &HeaderValue) {
        let own = self.headers_mut().entry(AUTHORIZATION);
        own.or_insert_with(|| credentials.clone());
    }

    fn leave_behind(&mut self, confidential: impl Fn(&HeaderName) -> bool) {
        remove(self.headers_mut(), |name| {
            *name == HOST || confidential(name)
        });
        self.went_elsewhere();
    }
}

fn remove(headers: &mut HeaderMap, which: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| which(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::RedirectRefused).with_context(why)
}

/// The URL that a `Location` names. It keeps the fragment of the URL before unless it has one
/// (RFC 9110, 10.2.2).
fn locate(from: &Target, location: &HeaderValue) -> Result<Target, Error> {
    let not_a_url = |error: Error| refused("its location is no URL to follow").with_source(error);
    let text = std::str::from_utf8(location.as_bytes())
        .map_err(|error| refused("its location is not UTF-8").with_source(error))?;
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
