//! A blocking API: each call blocks the thread until the call completes.
//!
//! ```
//! # let origin = inflight_origin::Origin::start()?;
//! # let url = origin.url("/page/1");
//! let page = inflight::blocking::get(url)?.text()?;
//! assert!(page.contains("Page 1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The calls use the default backend, on background threads. A blocking call in an `async fn` stalls the
//! event loop, so use the asynchronous [`Session`](crate::Session) there.

use std::path::PathBuf;

use bytes::Bytes;
use futures_lite::future::block_on;
use inflight_core::http::header::{HeaderName, HeaderValue};
use inflight_core::http::{self, HeaderMap, Method, StatusCode};
use inflight_core::url::Url;
use inflight_core::{Body, Error, IntoUrl, Multipart, Progress, Retry, bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sends a GET request with a new session, and returns the response. For more than one request, create a
/// [`Session`].
///
/// For an example, see the [module's documentation](self).
///
/// # Errors
///
/// The same as [`Session::new`] and [`RequestBuilder::send`].
pub fn get(url: impl IntoUrl) -> Result<Response, Error> {
    Session::new()?.get(url).send()
}

/// A blocking [`Session`](crate::Session).
///
/// ```
/// use inflight::blocking::Session;
///
/// # let origin = inflight_origin::Origin::start()?;
/// # let (page, echo) = (origin.url("/page/1"), origin.url("/post"));
/// let session = Session::new()?;
/// assert!(session.get(page).send()?.text()?.contains("Page 1"));
/// let response = session.post(echo).header("accept", "application/json").body("hello").send()?;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Session(inflight_core::Session);

impl Session {
    /// Returns a session with the default policy.
    ///
    /// # Errors
    ///
    /// Fails if the backend cannot start.
    pub fn new() -> Result<Self, Error> {
        // Uses the global runtime even inside another runtime. If that runtime has only one thread, a call
        // that blocks the thread and waits for the runtime would never return.
        #[cfg(feature = "tokio")]
        let builder = crate::tokio::builder_on(crate::tokio::Tokio::global()?);
        #[cfg(not(feature = "tokio"))]
        let builder = crate::builder();
        builder.build().map(Self)
    }

    /// Returns a blocking session that sends its requests through this asynchronous session.
    ///
    /// Do not call the blocking session on the only thread of the session's runtime: the call would block
    /// this thread and never complete.
    pub fn with(session: inflight_core::Session) -> Self {
        Self(session)
    }

    /// Returns a builder for a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.get(url))
    }

    /// Returns a builder for a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.post(url))
    }

    /// Returns a builder for a HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.head(url))
    }

    /// Returns a builder for a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.put(url))
    }

    /// Returns a builder for a PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.patch(url))
    }

    /// Returns a builder for a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.delete(url))
    }

    /// Returns a builder for an OPTIONS request.
    pub fn options(&self, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.options(url))
    }

    /// Returns a builder for a request with any method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(self.0.request(method, url))
    }
}

/// A builder for a request. [`send`](Self::send) sends the request.
///
/// For an example, see [`Session`].
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

    /// Sets headers. Replaces headers that have the same names.
    pub fn headers(self, headers: HeaderMap) -> Self {
        Self(self.0.headers(headers))
    }

    /// Appends pairs to the URL's query.
    pub fn query(self, pairs: &impl Serialize) -> Self {
        Self(self.0.query(pairs))
    }

    /// Adds basic authentication.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        Self(self.0.basic_auth(user, password))
    }

    /// Adds a bearer token.
    pub fn bearer_auth(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Body>) -> Self {
        Self(self.0.body(body))
    }

    /// Sets a file as the body. The session reads the file while it sends the request.
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        Self(self.0.file(path))
    }

    /// Sets a form as the body, as `application/x-www-form-urlencoded`.
    pub fn form(self, pairs: &impl Serialize) -> Self {
        Self(self.0.form(pairs))
    }

    /// Sets a multipart form as the body.
    pub fn multipart(self, form: Multipart) -> Self {
        Self(self.0.multipart(form))
    }

    /// Calls `callback` each time the client takes a chunk of the request's body.
    pub fn on_upload_progress(self, callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.on_upload_progress(callback))
    }

    /// Sets the body to this value as JSON.
    pub fn json_body(self, value: &impl Serialize) -> Self {
        Self(self.0.json_body(value))
    }

    /// Sets the time limit for the whole request, without the waits for the session's limits.
    pub fn timeout(self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// Sets the time at which the request fails, even if it still waits for the session's limits.
    pub fn deadline(self, deadline: impl Into<Option<std::time::Instant>>) -> Self {
        Self(self.0.deadline(deadline))
    }

    /// Sets the time limit for the wait for the session's limits.
    pub fn queue_timeout(self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
        Self(self.0.queue_timeout(timeout))
    }

    /// Sets the time limit for each attempt.
    pub fn attempt_timeout(self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
        Self(self.0.attempt_timeout(timeout))
    }

    /// Sets the time limit for the response's head.
    pub fn head_timeout(self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
        Self(self.0.head_timeout(timeout))
    }

    /// Sets the time limit for the wait for each chunk of the response's body.
    pub fn read_timeout(self, timeout: impl Into<Option<std::time::Duration>>) -> Self {
        Self(self.0.read_timeout(timeout))
    }

    /// Sets the retries of this request.
    pub fn retry(self, retry: Retry) -> Self {
        Self(self.0.retry(retry))
    }

    /// Sets how many redirects in a row the session follows.
    pub fn max_redirects(self, at_most: usize) -> Self {
        Self(self.0.max_redirects(at_most))
    }

    /// Sets the size of the largest body that `bytes`, `text` and `json` accept.
    pub fn max_body(self, bytes: u64) -> Self {
        Self(self.0.max_body(bytes))
    }

    /// Sets whether a response with a status of 400 or above is an error.
    pub fn error_for_status(self, is_error: bool) -> Self {
        Self(self.0.error_for_status(is_error))
    }

    /// Sets whether the session decodes the response's body.
    pub fn decompress(self, decompress: bool) -> Self {
        Self(self.0.decompress(decompress))
    }

    /// Sets the name of the request's route, for the session's observers.
    pub fn name(self, route: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self(self.0.name(route))
    }

    /// Calls `callback` for each chunk of the response's body as it is read.
    pub fn on_progress(self, callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.on_progress(callback))
    }

    /// Downloads the body to a file, and returns the length of the file. Requests only the rest if an earlier
    /// download ended early.
    ///
    /// # Errors
    ///
    /// The same as [`RequestBuilder::resume_to`](inflight_core::RequestBuilder::resume_to).
    pub fn resume_to(self, path: impl Into<PathBuf>) -> Result<u64, Error> {
        block_on(self.0.resume_to(path))
    }

    /// Sends the request and waits for the response's head.
    ///
    /// # Errors
    ///
    /// The same as [`RequestBuilder::send`](inflight_core::RequestBuilder::send).
    pub fn send(self) -> Result<Response, Error> {
        block_on(self.0.send()).map(Response)
    }
}

/// A response, whose body is read on demand.
///
/// ```
/// use std::io::Write;
///
/// # let origin = inflight_origin::Origin::start()?;
/// # let url = origin.url("/bytes/100000");
/// let mut response = inflight::blocking::get(url)?.error_for_status()?;
/// let mut file = Vec::new();
/// while let Some(chunk) = response.chunk()? {
///     file.write_all(&chunk)?;
/// }
/// assert_eq!(file.len(), 100_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Response(inflight_core::Response);

impl Response {
    /// Returns the status code.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// Returns the URL of the response.
    pub fn url(&self) -> Option<&Url> {
        self.0.url()
    }

    /// Returns the response, or an error if its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`Status`](inflight_core::ErrorKind::Status) if the status is 400 or above.
    pub fn error_for_status(self) -> Result<Self, Error> {
        self.0.error_for_status().map(Self)
    }

    /// Calls `callback` for each chunk of the body as it is read.
    #[must_use]
    pub fn on_progress(self, callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.on_progress(callback))
    }

    /// Returns the next chunk of the body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// The same as [`Response::chunk`](inflight_core::Response::chunk).
    pub fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        block_on(self.0.chunk())
    }

    /// Returns the whole body.
    ///
    /// # Errors
    ///
    /// The same as [`Response::bytes`](inflight_core::Response::bytes).
    pub fn bytes(self) -> Result<Bytes, Error> {
        block_on(self.0.bytes())
    }

    /// Returns the whole body as text.
    ///
    /// # Errors
    ///
    /// The same as [`Response::text`](inflight_core::Response::text).
    pub fn text(self) -> Result<String, Error> {
        block_on(self.0.text())
    }

    /// Writes the body to a file, and returns the number of bytes.
    ///
    /// # Errors
    ///
    /// The same as [`Response::save_to`](inflight_core::Response::save_to).
    pub fn save_to(self, path: impl Into<PathBuf>) -> Result<u64, Error> {
        block_on(self.0.save_to(path))
    }

    /// Parses the whole body as JSON.
    ///
    /// # Errors
    ///
    /// The same as [`Response::json`](inflight_core::Response::json).
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        block_on(self.0.json())
    }
}
