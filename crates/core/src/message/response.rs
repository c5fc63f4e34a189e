//! What a session answers.

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, StatusCode, Version};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::message::body::Body;
use crate::message::charset;
use crate::message::progress::Progress;
use crate::message::target::Target;

/// A response whose body is still to be read: an [`http::Response`] around our [`Body`],
/// converted both ways with `From`.
///
/// It holds its place in the session's cap until the body is read to its end or dropped.
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
#[derive(Debug)]
pub struct Response {
    inner: http::Response<Body>,
    target: Option<Target>,
    content_length: Option<u64>,
    max_body: u64,
    // What came before, if anything did.
    repeats: Option<Box<Repeats>>,
}

#[derive(Debug)]
struct Repeats {
    history: Vec<Redirect>,
    attempts: u32,
}

/// How much [`Response::bytes`] and its kin collect unless told otherwise: 64 MiB.
pub(crate) const MAX_BODY: u64 = 64 << 20;

impl Response {
    pub(crate) fn new(inner: http::Response<Body>, target: Target, max_body: u64) -> Self {
        Self {
            content_length: inner.body().len(),
            inner,
            target: Some(target),
            max_body,
            repeats: None,
        }
    }

    pub(crate) fn with_history(mut self, history: Vec<Redirect>, attempts: u32) -> Self {
        if attempts > 1 {
            self.repeats = Some(Box::new(Repeats { history, attempts }));
        }
        self
    }

    /// The status code. No status is an error by itself: see
    /// [`error_for_status`](Self::error_for_status).
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The HTTP version of the response.
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The URL that answered, after redirects, when the response came from a session.
    pub fn url(&self) -> Option<&Url> {
        self.target.as_ref().and_then(Target::url)
    }

    /// The redirects that led here, first to last.
    pub fn history(&self) -> &[Redirect] {
        self.repeats
            .as_ref()
            .map_or(&[], |repeats| &repeats.history)
    }

    /// How many requests it took, redirects and retries among them.
    pub fn attempts(&self) -> u32 {
        self.repeats.as_ref().map_or(1, |repeats| repeats.attempts)
    }

    /// The length of the whole body in bytes, if the response says; however much was read.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The response itself, or an error if its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Status`]; the body is dropped.
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(self.named(Error::status(status)));
        }
        Ok(self)
    }

    /// Calls `watch` with each piece of the body as it is read, decoded, in whichever way it is
    /// read from here on: see [`Body::on_progress`]. The total is the
    /// [`content_length`](Self::content_length).
    #[must_use]
    pub fn on_progress(mut self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.inner = self.inner.map(|body| body.on_progress(watch));
        self
    }

    /// The next piece of the body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] when the body ends early, [`ErrorKind::Timeout`] when the
    /// request's time is over, and what else the transfer meets.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses no data.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.inner.body_mut().chunk().await {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(self.named(error)),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk), and [`ErrorKind::BodyTooLarge`] when it is longer than the
    /// session's [`max_body`](crate::SessionBuilder::max_body).
    pub fn bytes(self) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        self.read(Ok)
    }

    /// The whole body as text, by the charset that its `Content-Type` names, or else UTF-8. A
    /// byte order mark goes before both, as in browsers, and is no part of the text.
    ///
    /// A text is what was sent or an error: nothing is replaced. For text with faults in it take
    /// [`bytes`](Self::bytes) and [`String::from_utf8_lossy`].
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`ErrorKind::Decode`] when the bytes are malformed in
    /// their charset, or when the Encoding Standard does not know it.
    pub fn text(self) -> impl Future<Output = Result<String, Error>> + Send + 'static {
        let declared = charset::declared(self.headers());
        self.read(|bytes| charset::decode(bytes, declared))
    }

    /// The whole body as a value of its JSON.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`ErrorKind::Decode`] when it is not JSON of this shape.
    pub fn json<T: DeserializeOwned>(
        self,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T> {
        self.read(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| {
                Error::new(ErrorKind::Decode)
                    .with_context("not the JSON that was asked for")
                    .with_source(error)
            })
        })
    }

    /// Collects the body and makes something of it. What else the response holds is let go at
    /// once: people keep this future by the hundred.
    fn read<T, F>(self, make: F) -> impl Future<Output = Result<T, Error>> + use<T, F>
    where
        F: FnOnce(Bytes) -> Result<T, Error>,
    {
        let target = self.target;
        let collected = self.inner.into_body().collect(self.max_body);
        collected.map(move |bytes| {
            bytes
                .and_then(make)
                .map_err(|error| name(error, target.as_ref()))
        })
    }

    /// The body as a stream of its pieces.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + Sync + 'static {
        let Self { inner, target, .. } = self;
        let chunks = inner.into_body().into_stream();
        chunks.map(move |chunk| chunk.map_err(|error| name(error, target.as_ref())))
    }

    fn named(&self, error: Error) -> Error {
        name(error, self.target.as_ref())
    }
}

fn name(error: Error, target: Option<&Target>) -> Error {
    match target {
        Some(target) => target.name(error),
        None => error,
    }
}

impl From<http::Response<Body>> for Response {
    fn from(inner: http::Response<Body>) -> Self {
        Self {
            content_length: inner.body().len(),
            inner,
            target: None,
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

/// A redirect that was followed, in a response's [`history`](crate::Response::history).
#[derive(Debug, Clone)]
pub struct Redirect {
    target: Target,
    status: StatusCode,
}

impl Redirect {
    pub(crate) fn new(target: Target, status: StatusCode) -> Self {
        Self { target, status }
    }

    /// The URL that answered with the redirect.
    pub fn url(&self) -> Option<&Url> {
        self.target.url()
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}
