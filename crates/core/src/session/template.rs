//! The template for the requests of an exchange.

use http::header::{
    AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, IF_RANGE, PROXY_AUTHORIZATION, RANGE,
};
use http::uri::Scheme;
use http::{Method, Request};

use super::redirect::{BODY_HEADERS, RedirectPolicy, RedirectedRequest, redirect_refused};
use super::state::SessionState;
use super::timer::ExchangeTimer;
use crate::backend::fetch::{Deadline, NewConnection};
use crate::error::Error;
use crate::message::body::{Body, LentBody};
use crate::message::decode;
use crate::message::framing::frame_request;
use crate::message::target::Target;

/// The caller's request. Each attempt sends a copy of it, with the session's defaults added.
pub(crate) struct RequestTemplate {
    request: Request<Body>,
    /// A handle to the body. Set while the client has a body that cannot be copied.
    lent: Option<LentBody>,
    /// Whether a redirect has left the origin of the caller's URL.
    has_left_origin: bool,
    /// Whether the session decodes the response.
    decompress: bool,
    needs_new_connection: bool,
    /// Whether the last request lacks cookies, because the client cannot send them.
    omits_cookies: bool,
}

impl RequestTemplate {
    pub(crate) fn new(request: Request<Body>, decompress: bool) -> Self {
        Self {
            decompress,
            request,
            lent: None,
            has_left_origin: false,
            needs_new_connection: false,
            omits_cookies: false,
        }
    }

    pub(crate) fn method(&self) -> &Method {
        self.request.method()
    }

    /// Returns the request, so that its body can be prepared.
    pub(crate) fn request_mut(&mut self) -> &mut Request<Body> {
        &mut self.request
    }

    /// Returns whether the body can still be sent: it can be produced again, or it has not been
    /// read.
    pub(crate) fn can_be_sent(&self) -> bool {
        self.lent.as_ref().is_none_or(LentBody::is_unread)
    }

    /// Returns whether the last request lacks cookies, because the client cannot send them.
    pub(crate) fn omits_cookies(&self) -> bool {
        self.omits_cookies
    }

    /// Returns whether the request asks for a part of the body.
    pub(crate) fn has_range(&self) -> bool {
        let headers = self.request.headers();
        headers.contains_key(RANGE) || headers.contains_key(IF_RANGE)
    }

    /// Sets `Range` and `If-Range`. The caller's request must not contain them.
    pub(crate) fn set_range(&mut self, range: [(HeaderName, HeaderValue); 2]) {
        self.request.headers_mut().extend(range);
    }

    pub(crate) fn remove_range(&mut self) {
        let headers = self.request.headers_mut();
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
    }

    /// Makes the next attempt use a new connection.
    pub(crate) fn require_new_connection(&mut self) {
        self.needs_new_connection = true;
    }

    /// Changes the template to the request that follows a redirect from `from`.
    pub(crate) fn follow(
        &mut self,
        from: &Target,
        redirected: &RedirectedRequest,
        policy: &RedirectPolicy,
    ) -> Result<(), Error> {
        if redirected.becomes_get {
            *self.request.method_mut() = Method::GET;
            *self.request.body_mut() = Body::empty();
            self.lent = None;
            for name in &BODY_HEADERS {
                self.request.headers_mut().remove(name);
            }
        } else if !self.can_be_sent() {
            return Err(redirect_refused(
                "the body is a stream and cannot be sent again",
            ));
        }
        if redirected.leaves_origin {
            self.has_left_origin = true;
            let headers = self.request.headers_mut();
            let names: Vec<_> = headers.keys().cloned().collect();
            for name in names {
                if name == HOST || policy.is_confidential(&name) {
                    headers.remove(name);
                }
            }
        } else if let (Some(credentials), None) =
            (from.authorization(), redirected.target.authorization())
        {
            let entry = self.request.headers_mut().entry(AUTHORIZATION);
            entry.or_insert_with(|| credentials.clone());
        }
        Ok(())
    }

    /// Returns the next request to send.
    pub(crate) fn request(
        &mut self,
        target: &Target,
        session: &SessionState,
        timer: &ExchangeTimer,
    ) -> Request<Body> {
        let original = self.request.body_mut();
        if let Some(unread) = self.lent.take().and_then(LentBody::take_back) {
            *original = unread;
        }
        let body = original.try_clone().unwrap_or_else(|| {
            let (body, lent) = std::mem::take(original).lend();
            self.lent = Some(lent);
            body
        });
        let mut request = Request::new(body);
        *request.method_mut() = self.request.method().clone();
        *request.uri_mut() = target.uri().clone();
        *request.extensions_mut() = self.request.extensions().clone();
        *request.headers_mut() = self.request.headers().clone();
        self.add_headers(request.headers_mut(), target, session);
        if let (true, Some((end, _))) = (session.capabilities.reads_deadline, timer.end()) {
            request.extensions_mut().insert(Deadline(end));
        }
        if std::mem::take(&mut self.needs_new_connection) {
            request.extensions_mut().insert(NewConnection);
        }
        frame_request(&mut request);
        request
    }

    /// Adds the URL's credentials, the session's headers, cookies and `Accept-Encoding`, unless the
    /// caller's request has these headers. Removes a `Proxy-Authorization` that must not be sent.
    fn add_headers(&mut self, headers: &mut HeaderMap, target: &Target, session: &SessionState) {
        if let Some(authorization) = target.authorization() {
            let entry = headers.entry(AUTHORIZATION);
            entry.or_insert_with(|| authorization.clone());
        }
        for name in session.headers.keys() {
            let is_withheld = self.has_left_origin && session.redirects.is_confidential(name);
            // The request's headers replace all of the session's headers with the same name.
            if !is_withheld && !headers.contains_key(name) {
                for value in session.headers.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
        #[cfg(feature = "cookies")]
        if let Some(jar) = &session.cookies {
            let ascii_only = !session.capabilities.opaque_request_headers.is_yes();
            self.omits_cookies = jar.add_to_request(headers, target.url(), ascii_only);
        }
        if headers.contains_key(PROXY_AUTHORIZATION) && !may_authorize_proxy(target, session) {
            headers.remove(PROXY_AUTHORIZATION);
        }
        if self.decompress {
            decode::add_accept_encoding(headers);
        }
    }
}

/// Returns whether the request may contain `Proxy-Authorization`. If the session has proxies, this
/// header may go only to a proxy that forwards the request, and never to a server.
fn may_authorize_proxy(target: &Target, session: &SessionState) -> bool {
    let (uri, proxies) = (target.uri(), &session.proxies);
    proxies.is_empty()
        || uri.scheme() == Some(&Scheme::HTTP)
            && session.capabilities.proxied_whole.is_yes()
            && proxies
                .of(uri)
                .is_ok_and(|proxy| proxy.is_some_and(|proxy| !proxy.is_socks()))
}
