//! The reply of a rule.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::stream;
use inflight_core::bytes::Bytes;
use inflight_core::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use inflight_core::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use inflight_core::http_body::{self, Frame};
use inflight_core::{Body, BoxFuture, Error, ErrorKind, Runtime};
use serde::Serialize;

use crate::Recorded;

type Answer = Result<Response<Body>, Error>;
type Handler = Arc<dyn Fn(Recorded) -> BoxFuture<'static, Answer> + Send + Sync>;

/// The reply of a rule: a response, an error, no answer, or the result of a function.
#[derive(Clone)]
#[must_use = "a reply does nothing until it is passed to `Mock::on`"]
pub struct Reply {
    delay: Duration,
    what: What,
}

#[derive(Clone)]
enum What {
    Response(Box<Head>, Content),
    Error(Arc<dyn Fn() -> Error + Send + Sync>),
    Never,
    Made(Handler),
}

#[derive(Clone, Default)]
struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

#[derive(Clone)]
enum Content {
    Whole(Bytes),
    /// Chunks with a pause before each, and the error after them.
    Pieces(Vec<Bytes>, Duration, Option<ErrorKind>),
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
        let head = Head {
            status,
            headers: HeaderMap::new(),
        };
        Self::new(What::Response(Box::new(head), Content::Whole(Bytes::new())))
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
    pub fn pieces<P: Into<Bytes>>(pieces: impl IntoIterator<Item = P>, pause: Duration) -> Self {
        let pieces = pieces.into_iter().map(Into::into).collect();
        Self::new(What::Response(
            Box::default(),
            Content::Pieces(pieces, pause, None),
        ))
    }

    /// Returns an error of this kind instead of a response.
    pub fn error(kind: ErrorKind) -> Self {
        Self::error_with(move || Error::new(kind))
    }

    /// Returns the error of this function instead of a response.
    pub fn error_with(make: impl Fn() -> Error + Send + Sync + 'static) -> Self {
        Self::new(What::Error(Arc::new(make)))
    }

    /// Returns a reply that never completes, for tests of timeouts and cancellation.
    pub fn pending() -> Self {
        Self::new(What::Never)
    }

    /// Returns the result of this function of the request.
    ///
    /// ```
    /// use inflight_core::{BlockOn, Body, Error, http};
    /// use inflight_mock::{Mock, Reply, When};
    /// use inflight_virtual::Virtual;
    ///
    /// let runtime = Virtual::new();
    /// let mock = Mock::new(runtime.clone());
    /// let echo = Reply::made(|request| async move { Ok(http::Response::new(request.body.into())) });
    /// mock.on(When::any().repeated(), echo);
    ///
    /// let session = mock.session().build()?;
    /// let request = session.post("http://echo.test/").body("hello");
    /// assert_eq!(runtime.block_on(request.text())?, "hello");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn made<F>(make: impl Fn(Recorded) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::new(What::Made(Arc::new(move |request| Box::pin(make(request)))))
    }

    /// Delays the reply by this time.
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
        self.head().headers.append(name, value);
        self
    }

    /// Sets the body of the response.
    ///
    /// # Panics
    ///
    /// Panics if the reply is not a response.
    #[track_caller]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        match &mut self.what {
            What::Response(_, content) => *content = Content::Whole(body.into()),
            _ => panic!("only a response has a body"),
        }
        self
    }

    /// Ends the body with an error of this kind, after its bytes.
    ///
    /// # Panics
    ///
    /// Panics if the reply is not a response.
    #[track_caller]
    pub fn then_fails(mut self, kind: ErrorKind) -> Self {
        match &mut self.what {
            What::Response(_, content) => {
                let (pieces, pause) = match content {
                    Content::Whole(body) => (vec![body.clone()], Duration::ZERO),
                    Content::Pieces(pieces, pause, _) => (std::mem::take(pieces), *pause),
                };
                *content = Content::Pieces(pieces, pause, Some(kind));
            }
            _ => panic!("only a response has a body"),
        }
        self
    }

    fn new(what: What) -> Self {
        Self {
            delay: Duration::ZERO,
            what,
        }
    }

    #[track_caller]
    fn head(&mut self) -> &mut Head {
        match &mut self.what {
            What::Response(head, _) => head,
            _ => panic!("only a response has headers"),
        }
    }

    pub(crate) async fn give(self, request: &Recorded, runtime: &Arc<dyn Runtime>) -> Answer {
        if !self.delay.is_zero() {
            runtime.sleep(self.delay).await;
        }
        match self.what {
            What::Response(head, content) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = head.status;
                *response.headers_mut() = head.headers;
                if let Content::Whole(body) = &content {
                    let length = response.headers_mut().entry(CONTENT_LENGTH);
                    length.or_insert(body.len().into());
                }
                *response.body_mut() = content.body(runtime.clone());
                Ok(response)
            }
            What::Error(make) => Err(make()),
            What::Never => std::future::pending().await,
            What::Made(make) => make(request.clone()).await,
        }
    }
}

impl Content {
    fn body(self, runtime: Arc<dyn Runtime>) -> Body {
        let (pieces, pause, failure) = match self {
            Self::Whole(bytes) => return bytes.into(),
            Self::Pieces(pieces, pause, failure) => (pieces, pause, failure),
        };
        let steps = (pieces.into_iter(), runtime);
        let pieces = stream::unfold(steps, move |(mut pieces, runtime)| async move {
            let piece = pieces.next()?;
            if !pause.is_zero() {
                runtime.sleep(pause).await;
            }
            Some((Ok::<_, Error>(piece), (pieces, runtime)))
        });
        let body = Body::from_stream(pieces);
        match failure {
            None => body,
            Some(kind) => Body::wrap(ThenFails {
                body,
                kind: Some(kind),
            }),
        }
    }
}

/// A body that ends with an error.
struct ThenFails {
    body: Body,
    kind: Option<ErrorKind>,
}

impl http_body::Body for ThenFails {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => Poll::Ready(self.kind.take().map(|kind| Err(Error::new(kind)))),
            frame => Poll::Ready(frame),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Response(head, _) => write!(f, "Reply({})", head.status),
            What::Error(make) => write!(f, "Reply({:?})", make().kind()),
            What::Never => f.write_str("Reply(never)"),
            What::Made(_) => f.write_str("Reply(made)"),
        }
    }
}
