//! The same session for people without a runtime: calls that block this thread.
//!
//! ```no_run
//! let page = inflight::blocking::get("http://127.0.0.1:8080/page/1")?.text()?;
//! # let _ = page;
//! # Ok::<(), inflight::Error>(())
//! ```
//!
//! Underneath is the default backend, on threads of its own. In an `async fn` these calls stall
//! the event loop like any that blocks: use [`Session`](crate::Session) there.

use std::path::PathBuf;

use bytes::Bytes;
use futures_lite::future::block_on;
use inflight_core::http::header::{HeaderName, HeaderValue};
use inflight_core::http::{self, HeaderMap, Method, StatusCode};
use inflight_core::url::Url;
use inflight_core::{Body, Error, IntoUrl, Multipart, Progress, bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// GETs a URL with a session of its own. For more than one request, keep a [`Session`].
///
/// # Errors
///
/// As [`Session::get`].
pub fn get(url: impl IntoUrl) -> Result<Response, Error> {
    Session::new()?.get(url).send()
}

/// A [`Session`](crate::Session) whose requests block.
#[derive(Clone, Debug)]
pub struct Session(inflight_core::Session);

impl Session {
    /// A session with the default policy.
    ///
    /// # Errors
    ///
    /// Whatever keeps the backend from starting.
    pub fn new() -> Result<Self, Error> {
        // Not the runtime around, if there is one: a call that blocks one of its threads would
        // wait for that thread.
        #[cfg(feature = "tokio")]
        let builder = crate::tokio::builder_on(crate::tokio::Tokio::global()?);
        #[cfg(not(feature = "tokio"))]
        let builder = crate::builder();
        builder.build().map(Self)
    }

    /// A session with a policy: one of the asynchronous kind, in a blocking face. It must not
    /// sit on a runtime whose only thread is the one that blocks.
    pub fn with(session: inflight_core::Session) -> Self {
        Self(session)
    }

    /// A GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.get(url))
    }

    /// A POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.post(url))
    }

    /// A HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.head(url))
    }

    /// A PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.put(url))
    }

    /// A PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.patch(url))
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.delete(url))
    }

    /// An OPTIONS request.
    pub fn options(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.options(url))
    }

    /// A request with any method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.request(method, url))
    }
}

/// A request that is being made.
#[derive(Debug)]
#[must_use = "a request does nothing before it is sent"]
pub struct RequestBuilder(inflight_core::RequestBuilder);

impl RequestBuilder {
    /// Adds a header.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: Into<http::Error>,
        V: TryInto<HeaderValue>,
        V::Error: Into<http::Error>,
    {
        Self(self.0.header(name, value))
    }

    /// Sets headers, in place of those of the same names.
    pub fn headers(self, headers: HeaderMap) -> Self {
        Self(self.0.headers(headers))
    }

    /// Appends pairs to the URL's query.
    pub fn query(self, pairs: &impl Serialize) -> Self {
        Self(self.0.query(pairs))
    }

    /// Basic authentication.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        Self(self.0.basic_auth(user, password))
    }

    /// A bearer token.
    pub fn bearer_auth(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    /// The body.
    pub fn body(self, body: impl Into<Body>) -> Self {
        Self(self.0.body(body))
    }

    /// A file as the body, read while it is sent.
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        Self(self.0.file(path))
    }

    /// A list of pairs as the body, as a page's form sends it.
    pub fn form(self, pairs: &impl Serialize) -> Self {
        Self(self.0.form(pairs))
    }

    /// A form of several parts as the body.
    pub fn multipart(self, form: Multipart) -> Self {
        Self(self.0.multipart(form))
    }

    /// Calls `watch` with each piece of the body that is taken to be sent.
    pub fn on_upload_progress(self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.on_upload_progress(watch))
    }

    /// A value as the JSON body.
    pub fn json_body(self, value: &impl Serialize) -> Self {
        Self(self.0.json_body(value))
    }

    /// How long this request may take as a whole.
    pub fn timeout(self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// Whether this response's body is decoded.
    pub fn decompress(self, decompress: bool) -> Self {
        Self(self.0.decompress(decompress))
    }

    /// Sends the request and waits for the response's head.
    ///
    /// # Errors
    ///
    /// As [`RequestBuilder::send`](inflight_core::RequestBuilder::send).
    pub fn send(self) -> Result<Response, Error> {
        block_on(self.0.send()).map(Response)
    }
}

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct Response(inflight_core::Response);

impl Response {
    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The URL that was fetched.
    pub fn url(&self) -> Option<&Url> {
        self.0.url()
    }

    /// The response itself, or an error if its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`Status`](inflight_core::ErrorKind::Status).
    pub fn error_for_status(self) -> Result<Self, Error> {
        self.0.error_for_status().map(Self)
    }

    /// Calls `watch` with each piece of the body as it is read.
    #[must_use]
    pub fn on_progress(self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.on_progress(watch))
    }

    /// The next piece of the body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// As [`Response::chunk`](inflight_core::Response::chunk).
    pub fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        block_on(self.0.chunk())
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// As [`Response::bytes`](inflight_core::Response::bytes).
    pub fn bytes(self) -> Result<Bytes, Error> {
        block_on(self.0.bytes())
    }

    /// The whole body as text.
    ///
    /// # Errors
    ///
    /// As [`Response::text`](inflight_core::Response::text).
    pub fn text(self) -> Result<String, Error> {
        block_on(self.0.text())
    }

    /// The whole body as a value of its JSON.
    ///
    /// # Errors
    ///
    /// As [`Response::json`](inflight_core::Response::json).
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        block_on(self.0.json())
    }
}
