//! The response of a session.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, StatusCode, Version};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::message::body::{Body, ChunkOrRestart, Restarts};
use crate::message::charset;
use crate::message::progress::{Progress, ProgressCallback};
use crate::message::target::Target;

/// A response whose body has not been read yet: an [`http::Response`] with a [`Body`]. `From`
/// converts in both directions.
///
/// Chapter [3](../../tutorial/ch03.html) of the book teaches its use.
///
/// The request stays in flight until the body is read to the end or dropped: see
/// [`max_in_flight`](crate::SessionBuilder::max_in_flight).
///
/// ```
/// use inflight_core::{Body, ErrorKind, Response, http};
///
/// let missing = http::Response::builder().status(404).body(Body::from("not here"))?;
/// let response = Response::from(missing);
/// assert_eq!((response.status().as_u16(), response.content_length()), (404, Some(8)));
/// let error = response.error_for_status().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Status);
/// # Ok::<(), http::Error>(())
/// ```
#[doc(alias = "ClientResponse")]
#[derive(Debug)]
pub struct Response {
    inner: http::Response<Body>,
    target: Option<Target>,
    pool: Option<Pool>,
    content_length: Option<u64>,
    max_body: u64,
    // `None` if there was only one attempt, and no retry that the budget refused.
    repeats: Option<Box<Repeats>>,
}

/// The redirects and retries before a response.
#[derive(Debug)]
struct Repeats {
    history: Vec<Redirect>,
    attempts: u32,
    is_retry_budget_exhausted: bool,
}

/// A pool of threads for blocking work: that of a session's runtime.
pub(crate) trait BlockingPool: Send + Sync {
    /// Runs `work` on a thread of the pool.
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>);
}

#[derive(Clone)]
struct Pool(Arc<dyn BlockingPool>);

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

/// The default limit of [`Response::bytes`], `text` and `json`, in bytes: 64 MiB.
pub(crate) const MAX_BODY: u64 = 64 << 20;

impl Response {
    pub(crate) fn new(
        inner: http::Response<Body>,
        target: Target,
        max_body: u64,
        pool: Arc<dyn BlockingPool>,
    ) -> Self {
        Self {
            content_length: inner.body().len(),
            inner,
            target: Some(target),
            pool: Some(Pool(pool)),
            max_body,
            repeats: None,
        }
    }

    pub(crate) fn with_history(
        mut self,
        history: Vec<Redirect>,
        attempts: u32,
        is_retry_budget_exhausted: bool,
    ) -> Self {
        if attempts > 1 || is_retry_budget_exhausted {
            self.repeats = Some(Box::new(Repeats {
                history,
                attempts,
                is_retry_budget_exhausted,
            }));
        }
        self
    }

    /// Returns the pool of the session's runtime. `None` if the response does not come from a session.
    pub(crate) fn blocking_pool(&self) -> Option<Arc<dyn BlockingPool>> {
        self.pool.as_ref().map(|pool| pool.0.clone())
    }

    pub(crate) fn head(&self) -> &http::Response<Body> {
        &self.inner
    }

    /// Returns the status code. No status is an error by itself: see
    /// [`error_for_status`](Self::error_for_status).
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Returns the HTTP version.
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns the URL of the response, after redirects. `None` if the response does not come from
    /// a session.
    pub fn url(&self) -> Option<&Url> {
        self.target.as_ref().and_then(Target::url)
    }

    /// Returns the redirects that led to this response, first to last.
    pub fn history(&self) -> &[Redirect] {
        self.repeats
            .as_ref()
            .map_or(&[], |repeats| &repeats.history)
    }

    /// Returns the number of requests that were sent for this response, including redirects and
    /// retries.
    pub fn attempts(&self) -> u32 {
        self.repeats.as_ref().map_or(1, |repeats| repeats.attempts)
    }

    /// Returns whether the session would have retried this response, but the
    /// [retry budget](crate::RetryBudget) of the server was exhausted.
    pub fn is_retry_budget_exhausted(&self) -> bool {
        let repeats = self.repeats.as_ref();
        repeats.is_some_and(|repeats| repeats.is_retry_budget_exhausted)
    }

    /// Returns the length of the whole body in bytes, if it is known from the head. Reading the
    /// body does not change this length.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Returns the response, or an error if its status is 400 or above.
    ///
    /// The error does not contain the body, in which many servers explain the status. To read the body,
    /// check [`status`](Self::status) instead.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Status`]. Observers then receive this error. The session reads a short body in
    /// the background, so that the connection can be reused, and drops a long body.
    #[doc(alias = "raise_for_status")]
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(self.refuse(Error::status(status)));
        }
        Ok(self)
    }

    /// Drops the response, or reads it in the background if it is short. Returns `error` with the URL and the
    /// history of the response, and reports it to the observers.
    pub(crate) fn refuse(self, error: Error) -> Error {
        let error = error
            .with_history(self.history().len(), self.attempts())
            .with_retry_budget_exhausted(self.is_retry_budget_exhausted());
        let error = self.add_url(error);
        self.inner.into_body().discard(&error);
        error
    }

    /// Makes the response call `watch` for each chunk of its decoded body, whichever method reads the
    /// body: see [`Body::on_progress`]. The total is the [`content_length`](Self::content_length).
    #[must_use]
    pub fn on_progress(self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.with_observer(Arc::new(watch))
    }

    pub(crate) fn with_observer(mut self, watcher: ProgressCallback) -> Self {
        self.inner = self.inner.map(|body| body.with_observer(watcher));
        self
    }

    /// Returns the next chunk of the body, or `None` at its end.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # let chunks = ["Chapter 1. ", "Chapter 2."];
    /// # mock.on(When::any(), Reply::chunks(chunks, std::time::Duration::from_secs(1)));
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// let mut response = session.get("http://pages.test/book").send().await?;
    /// let mut file = Vec::new();
    /// while let Some(chunk) = response.chunk().await? {
    ///     file.write_all(&chunk).unwrap();
    /// }
    /// assert_eq!(file, b"Chapter 1. Chapter 2.");
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// For a long body, set [`timeout(None)`](crate::RequestBuilder::timeout) and a
    /// [`read_timeout`](crate::RequestBuilder::read_timeout), because the default timeout of 300 s includes
    /// the body.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] if the body ends early, [`ErrorKind::Timeout`] if a timeout of the
    /// request passes, and other kinds if the transfer fails in another way.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no data.
    #[doc(alias("iter_chunked", "readany"))]
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.inner.body_mut().chunk().await {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(self.add_url(error)),
        }
    }

    /// Returns the next chunk of the body, a restart, or `None` at the end of the body.
    ///
    /// With [retries](crate::Retry), a request whose response ends early is sent again. If the session can
    /// request only the whole body, [`chunk`](Self::chunk) has to fail, because the caller may have used the
    /// first bytes already. This method returns [`ChunkOrRestart::Restart`] instead. Use it if you can
    /// discard the chunks so far. A restart is possible only if all chunks are read with this method.
    ///
    /// ```
    /// use inflight_core::ChunkOrRestart;
    ///
    /// # use inflight_core::{BlockOn, Error, ErrorKind, Retry};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # let chunks = ["Chapter 1. ", "Chapter 2."];
    /// # let reply = Reply::chunks(chunks, std::time::Duration::from_secs(1));
    /// # let early_end = Reply::chunks(["Chap"], std::time::Duration::ZERO);
    /// # mock.on(When::any(), early_end.then_fails(ErrorKind::Incomplete));
    /// # mock.on(When::any(), reply);
    /// # let session = mock.session().retry(Retry::new(1)).build()?;
    /// # runtime.block_on(async {
    /// let mut response = session.get("http://pages.test/book").send().await?;
    /// let mut bytes = Vec::new();
    /// while let Some(part) = response.chunk_or_restart().await? {
    ///     match part {
    ///         ChunkOrRestart::Chunk(chunk) => bytes.extend_from_slice(&chunk),
    ///         ChunkOrRestart::Restart => bytes.clear(),
    ///     }
    /// }
    /// assert_eq!(bytes, b"Chapter 1. Chapter 2.");
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`chunk`](Self::chunk).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no data.
    pub async fn chunk_or_restart(&mut self) -> Result<Option<ChunkOrRestart>, Error> {
        let body = self.inner.body_mut();
        body.set_restarts(Restarts::Allowed);
        match poll_fn(|cx| body.poll_part(cx)).await {
            Ok(part) => Ok(part),
            Err(error) => Err(self.add_url(error)),
        }
    }

    /// Returns the whole body.
    ///
    /// # Errors
    ///
    /// The same as [`chunk`](Self::chunk), and [`ErrorKind::BodyTooLarge`] if the body is longer
    /// than the session's [`max_body`](crate::SessionBuilder::max_body).
    #[doc(alias = "read")]
    pub fn bytes(self) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        self.read(Ok)
    }

    /// Returns the whole body as text.
    ///
    /// The charset comes from the `Content-Type`. If the header declares no charset, or one that the
    /// Encoding Standard does not define, the text is read as UTF-8. A byte order mark takes
    /// precedence, as in browsers, and is not part of the text.
    ///
    /// Malformed bytes are an error and are never replaced. To replace them, use
    /// [`bytes`](Self::bytes) and [`String::from_utf8_lossy`].
    ///
    /// ```
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # let latin = Reply::bytes(&b"caf\xe9"[..]);
    /// # mock.on(When::any(), latin.header("content-type", "text/plain; charset=iso-8859-1"));
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// // The server sends the bytes `63 61 66 e9` as `text/plain; charset=iso-8859-1`.
    /// let response = session.get("http://pages.test/").send().await?;
    /// assert_eq!(response.text().await?, "café");
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`bytes`](Self::bytes), and [`ErrorKind::Decode`] if the bytes are malformed in
    /// their charset, or if the Encoding Standard does not allow the charset to be decoded, as for
    /// `iso-2022-kr`.
    pub fn text(self) -> impl Future<Output = Result<String, Error>> + Send + 'static {
        let declared = charset::declared_charset(self.headers());
        self.read(|bytes| charset::decode(bytes, declared))
    }

    /// Deserializes the whole body from JSON, which is UTF-8 (RFC 8259, section 8.1). A byte order
    /// mark at the beginning of the body is ignored. The charset of the response has no effect.
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any(), Reply::json(&serde_json::json!({"apples": 3})));
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// // The server sends `{"apples": 3}`.
    /// let response = session.get("http://shop.test/stock").send().await?;
    /// let stock: HashMap<String, u32> = response.json().await?;
    /// assert_eq!(stock["apples"], 3);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`bytes`](Self::bytes), and [`ErrorKind::Decode`] if the body is not JSON or
    /// does not match `T`.
    pub fn json<T: DeserializeOwned>(
        self,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T> {
        self.read(|bytes| {
            let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            serde_json::from_slice(json).map_err(|error| {
                Error::new(ErrorKind::Decode)
                    .with_context("the body is not JSON of the expected type")
                    .with_source(error)
            })
        })
    }

    /// Collects the body and converts it. The other fields of the response are dropped first, so
    /// that the future stays small. A gather may hold hundreds of these futures.
    fn read<T, F>(self, convert: F) -> impl Future<Output = Result<T, Error>> + use<T, F>
    where
        F: FnOnce(Bytes) -> Result<T, Error>,
    {
        let target = self.target;
        let collected = self.inner.into_body().collect(self.max_body);
        collected.map(move |bytes| {
            bytes
                .and_then(convert)
                .map_err(|error| add_url(error, target.as_ref()))
        })
    }

    /// Returns the body as a stream of its chunks.
    #[doc(alias("bytes_stream", "iter_any"))]
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + Sync + 'static {
        let Self { inner, target, .. } = self;
        let chunks = inner.into_body().into_stream();
        chunks.map(move |chunk| chunk.map_err(|error| add_url(error, target.as_ref())))
    }

    fn add_url(&self, error: Error) -> Error {
        add_url(error, self.target.as_ref())
    }
}

fn add_url(error: Error, target: Option<&Target>) -> Error {
    match target {
        Some(target) => target.add_url(error),
        None => error,
    }
}

impl From<http::Response<Body>> for Response {
    fn from(inner: http::Response<Body>) -> Self {
        Self {
            content_length: inner.body().len(),
            inner,
            target: None,
            pool: None,
            max_body: MAX_BODY,
            repeats: None,
        }
    }
}

impl From<Response> for http::Response<Body> {
    fn from(response: Response) -> Self {
        response.inner
    }
}

/// A redirect that the session followed, in a response's [`history`](crate::Response::history).
///
/// ```
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_mock::{Mock, Reply, When};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
/// # mock.on(When::get("/old"), Reply::status(301).header("location", "/new"));
/// # mock.on(When::get("/new"), Reply::text("here"));
/// # let session = mock.session().build()?;
/// # runtime.block_on(async {
/// // The server redirects /old to /new.
/// let response = session.get("http://pages.test/old").send().await?;
/// let redirect = &response.history()[0];
/// assert_eq!(redirect.status(), 301);
/// assert_eq!(redirect.url().unwrap().path(), "/old");
/// assert_eq!(response.url().unwrap().path(), "/new");
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Redirect {
    target: Target,
    status: StatusCode,
}

impl Redirect {
    pub(crate) fn new(target: Target, status: StatusCode) -> Self {
        Self { target, status }
    }

    /// Returns the URL that responded with the redirect.
    pub fn url(&self) -> Option<&Url> {
        self.target.url()
    }

    /// Returns the status of the redirect.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}
