//! The reply of a rule.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::stream;
use http_body_util::StreamBody;
use inflight_core::bytes::Bytes;
use inflight_core::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use inflight_core::http::{HeaderName, HeaderValue, Response, StatusCode};
use inflight_core::http_body::Frame;
use inflight_core::{Body, BoxFuture, Error, ErrorKind, Runtime};
use serde::Serialize;
use sync_wrapper::SyncStream;

use crate::recorded_request::RecordedRequest;

type FetchResult = Result<Response<Body>, Error>;
type Handler = Arc<dyn Fn(RecordedRequest) -> BoxFuture<'static, FetchResult> + Send + Sync>;

/// The reply of a rule: a response, an error, a reply that never completes, or the result of a function.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::ErrorKind;
/// use inflight_mock::{Mock, Reply, When};
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
///
/// mock.on(When::get("/slow"), Reply::text("late").after(Duration::from_secs(20)));
/// mock.on(When::get("/cut"), Reply::text("half of").then_fails(ErrorKind::Incomplete));
/// mock.on(When::get("/hung"), Reply::pending());
/// let session = mock.session().timeout(Duration::from_secs(30)).build()?;
///
/// let text = |path: &str| runtime.block_on(session.get(format!("http://pages.test/{path}")).text());
/// assert_eq!(text("slow")?, "late");
/// assert_eq!(text("cut").unwrap_err().kind(), ErrorKind::Incomplete);
/// assert!(text("hung").unwrap_err().is_timeout());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a reply does nothing until it is passed to `Mock::on`"]
pub struct Reply {
    delay: Duration,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Response(Box<Response<Content>>),
    Function(Handler),
}

#[derive(Clone)]
enum Content {
    Whole(Bytes),
    /// The chunks, the pause before each chunk, and the error that ends the body.
    Chunks(Vec<Bytes>, Duration, Option<ErrorKind>),
}

impl Reply {
    /// Returns a response with this status and no body.
    ///
    /// # Panics
    ///
    /// Panics if the status is below 100 or above 999.
    #[track_caller]
    pub fn status(status: u16) -> Self {
        let Ok(status) = StatusCode::from_u16(status) else {
            panic!("{status} is not a status code");
        };
        let mut response = Response::new(Content::Whole(Bytes::new()));
        *response.status_mut() = status;
        Self::new(Kind::Response(Box::new(response)))
    }

    /// Returns a 200 response with this body.
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        Self::status(200).body(body)
    }

    /// Returns a 200 response with this text, as `text/plain; charset=utf-8`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(text.into()).header(CONTENT_TYPE.as_str(), "text/plain; charset=utf-8")
    }

    /// Returns a 200 response with this value as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the value cannot be serialized, for example a map whose keys are not strings.
    #[track_caller]
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::bytes(body).header(CONTENT_TYPE.as_str(), "application/json"),
            Err(error) => panic!("the value cannot be serialized as JSON: {error}"),
        }
    }

    /// Returns a 200 response whose body arrives in these chunks, with a pause before each.
    pub fn chunks<B: Into<Bytes>>(chunks: impl IntoIterator<Item = B>, pause: Duration) -> Self {
        let chunks = chunks.into_iter().map(Into::into).collect();
        let response = Response::new(Content::Chunks(chunks, pause, None));
        Self::new(Kind::Response(Box::new(response)))
    }

    /// Returns a reply that fails with an error of this kind.
    pub fn error(kind: ErrorKind) -> Self {
        Self::from_fn(move |_| async move { Err(Error::new(kind)) })
    }

    /// Returns a reply that never completes, for tests of timeouts and cancellation.
    pub fn pending() -> Self {
        Self::from_fn(|_| std::future::pending())
    }

    /// Returns a reply that calls `function` with the request and sends the function's result.
    ///
    /// ```
    /// use inflight_core::{BlockOn, Body, Error, http};
    /// use inflight_mock::{Mock, Reply, When};
    /// use inflight_virtual::Virtual;
    ///
    /// let runtime = Virtual::new();
    /// let mock = Mock::new(runtime.clone());
    /// let echo = Reply::from_fn(|request| async move { Ok(http::Response::new(request.body.into())) });
    /// mock.on(When::any().repeated(), echo);
    ///
    /// let session = mock.session().build()?;
    /// let request = session.post("http://echo.test/").body("hello");
    /// assert_eq!(runtime.block_on(request.text())?, "hello");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_fn<F>(function: impl Fn(RecordedRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let handler = move |request| -> BoxFuture<_> { Box::pin(function(request)) };
        Self::new(Kind::Function(Arc::new(handler)))
    }

    /// Waits for `delay` before the reply.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a header to the response.
    ///
    /// # Panics
    ///
    /// Panics if the name or the value is invalid, or if the reply is not a response.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            panic!("{name}: {value} is not a valid header");
        };
        self.response().headers_mut().append(name, value);
        self
    }

    /// Sets the body of the response.
    ///
    /// # Panics
    ///
    /// Panics if the reply is not a response.
    #[track_caller]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.response().body_mut() = Content::Whole(body.into());
        self
    }

    /// Ends the body with an error of this kind, after all bytes of the body.
    ///
    /// # Panics
    ///
    /// Panics if the reply is not a response.
    #[track_caller]
    pub fn then_fails(mut self, kind: ErrorKind) -> Self {
        let content = self.response().body_mut();
        let (chunks, pause) = match content {
            Content::Whole(body) => (vec![body.clone()], Duration::ZERO),
            Content::Chunks(chunks, pause, _) => (mem::take(chunks), *pause),
        };
        *content = Content::Chunks(chunks, pause, Some(kind));
        self
    }

    fn new(kind: Kind) -> Self {
        Self {
            delay: Duration::ZERO,
            kind,
        }
    }

    #[track_caller]
    fn response(&mut self) -> &mut Response<Content> {
        match &mut self.kind {
            Kind::Response(response) => response,
            Kind::Function(_) => {
                panic!("the reply is not a response, so it has no headers or body")
            }
        }
    }

    pub(crate) async fn send(
        self,
        request: RecordedRequest,
        runtime: Arc<dyn Runtime>,
    ) -> FetchResult {
        if !self.delay.is_zero() {
            runtime.sleep(self.delay).await;
        }
        match self.kind {
            Kind::Response(mut response) => {
                if let Content::Whole(body) = response.body() {
                    let length = body.len();
                    let header = response.headers_mut().entry(CONTENT_LENGTH);
                    header.or_insert(length.into());
                }
                Ok(response.map(|content| content.into_body(runtime)))
            }
            Kind::Function(function) => function(request).await,
        }
    }
}

impl Content {
    fn into_body(self, runtime: Arc<dyn Runtime>) -> Body {
        let (chunks, pause, failure) = match self {
            Self::Whole(bytes) => return bytes.into(),
            Self::Chunks(chunks, pause, failure) => (chunks, pause, failure),
        };
        let chunks = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
        let failure = failure.map(|kind| Err(Error::new(kind)));
        let items = (chunks.chain(failure), runtime);
        let frames = stream::unfold(items, move |(mut items, runtime)| async move {
            let item = items.next()?;
            if item.is_ok() && !pause.is_zero() {
                runtime.sleep(pause).await;
            }
            Some((item, (items, runtime)))
        });
        Body::wrap(StreamBody::new(SyncStream::new(frames)))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}
