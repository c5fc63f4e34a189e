//! A request that is being made, and what can be taken as its URL.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::exchange::exchange;
use super::state::SessionState;
use crate::backend::fetch::BoxFuture;
use crate::error::{Error, ErrorKind};
use crate::message::auth;
use crate::message::body::Body;
use crate::message::decode::Decompress;
use crate::message::progress::Progress;
use crate::message::response::Response;
use crate::message::target::Target;
use crate::observe::{Observer, RequestObservers};
use crate::upload::multipart::Multipart;
use crate::upload::prepare::{Source, Upload};

/// A request that is being made. [`send`](Self::send) gives the response at its head;
/// [`bytes`](Self::bytes), [`text`](Self::text) and [`json`](Self::json) read the body too, so
/// that one future holds the whole exchange, as [`gather`](crate::gather()) wants it.
///
/// The futures own a clone of the session: they are `'static` and may go to any task.
#[must_use = "a request does nothing before it is sent"]
pub struct RequestBuilder {
    session: Arc<SessionState>,
    target: Result<Target, Error>,
    // Its URI is the target's, set when it is sent.
    request: http::Request<Body>,
    // The media type of the body, unless a header says another.
    content_type: Option<HeaderValue>,
    upload: Option<Box<Upload>>,
    timeout: Option<Duration>,
}

impl RequestBuilder {
    pub(super) fn new(
        session: Arc<SessionState>,
        target: Result<Target, Error>,
        request: http::Request<Body>,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            session,
            target,
            request,
            content_type: None,
            upload: None,
            timeout,
        }
    }
}

impl RequestBuilder {
    /// Adds a header. One that HTTP does not allow is an error when the request is sent.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: Into<http::Error>,
        V: TryInto<HeaderValue>,
        V::Error: Into<http::Error>,
    {
        match header(name, value) {
            Ok((name, value)) => {
                self.request.headers_mut().append(name, value);
            }
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// Sets headers: each name with all its values, in place of what the request had of it.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        // `extend` replaces at a name's first value and appends the others.
        self.request.headers_mut().extend(headers);
        self
    }

    /// Appends pairs to the URL's query, behind those that it has, escaped as a form's are (a
    /// space becomes `+`). Anything that serializes to a list of pairs will do: a struct, a map,
    /// a slice of tuples. What does not is an error when the request is sent.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use inflight_core::{BlockOn, Body, Capabilities, Error, Fetch, Session, http};
    /// # use inflight_threads::Threads;
    /// # struct Echo;
    /// # impl Fetch for Echo {
    /// #     async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
    /// #         Ok(http::Response::new(Body::from(request.uri().to_string())))
    /// #     }
    /// #     fn capabilities(&self) -> Capabilities {
    /// #         Capabilities::all("echo")
    /// #     }
    /// # }
    /// # let threads = Threads::new();
    /// # let runtime = Arc::new(threads.clone());
    /// # let session = Session::builder(|_| Ok((Echo, runtime))).build()?;
    /// let request = session
    ///     .get("http://pages.test/search?lang=da")
    ///     .query(&[("q", "rød grød"), ("page", "1")]);
    /// # let uri = threads.block_on(request.text())?;
    /// # assert_eq!(uri, "http://pages.test/search?lang=da&q=r%C3%B8d+gr%C3%B8d&page=1");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn query(mut self, pairs: &impl Serialize) -> Self {
        self.target = self.target.and_then(|target| target.with_query(pairs));
        self
    }

    /// Basic authentication (RFC 7617), in place of any other `Authorization` and of credentials
    /// in the URL. A user's name with a colon is an error when the request is sent, as it would
    /// be read as another. Nothing prints the value.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        if user.contains(':') {
            let error = Error::new(ErrorKind::InvalidRequest);
            return self.authorization(Err(error.with_context("a user's name with a colon")));
        }
        self.authorization(auth::basic(format!("{user}:{password}").as_bytes()))
    }

    /// A bearer token (RFC 6750), in place of any other `Authorization` and of credentials in
    /// the URL. Nothing prints the value.
    pub fn bearer_auth(self, token: &str) -> Self {
        self.authorization(auth::bearer(token))
    }

    fn authorization(mut self, value: Result<HeaderValue, Error>) -> Self {
        match value {
            Ok(value) => {
                self.request.headers_mut().insert(AUTHORIZATION, value);
            }
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// The body: bytes, text, or a stream with [`Body::from_stream`].
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self.made_of(None)
    }

    /// A file as the body, read on the session's runtime while it is sent, with its length: see
    /// [`Body::from_file`]. A file that cannot be read is an error when the request is sent.
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        self.made_of(Some(Source::File(path.into())))
    }

    /// A file that is open already as the body, from where it stands: see
    /// [`Body::from_open_file`].
    pub fn open_file(self, file: File) -> Self {
        self.made_of(Some(Source::Open(file)))
    }

    /// A form of several parts as the body, with its `Content-Type`, which no header replaces,
    /// as it says where the parts begin.
    pub fn multipart(self, form: Multipart) -> Self {
        self.made_of(Some(Source::Form(form)))
    }

    /// What the body is made of when the request is sent.
    fn made_of(mut self, source: Option<Source>) -> Self {
        self.content_type = None;
        if source.is_some() || self.upload.is_some() {
            self.upload.get_or_insert_default().source = source;
        }
        self
    }

    /// Calls `watch` with each piece of the body that is taken to be sent: see
    /// [`Body::on_progress`].
    pub fn on_upload_progress(mut self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.upload.get_or_insert_default().watcher = Some(Arc::new(watch));
        self
    }

    /// A list of pairs as the body, as a page's form sends it
    /// (`application/x-www-form-urlencoded`), with its `Content-Type`. A value that is no list
    /// of pairs is an error when the request is sent: see [`query`](Self::query).
    pub fn form(self, pairs: &impl Serialize) -> Self {
        const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
        let form = serde_urlencoded::to_string(pairs).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest)
                .with_context("the value is no list of pairs")
                .with_source(error)
        });
        self.typed(form, FORM)
    }

    /// A value as the JSON body, with its `Content-Type`. A value that has no JSON is an error
    /// when the request is sent.
    pub fn json_body(self, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest)
                .with_context("the value has no JSON")
                .with_source(error)
        });
        self.typed(json, HeaderValue::from_static("application/json"))
    }

    fn typed(mut self, body: Result<impl Into<Body>, Error>, content_type: HeaderValue) -> Self {
        match body {
            Ok(body) => {
                self = self.body(body);
                self.content_type = Some(content_type);
            }
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// How long this request may take as a whole, in place of the session's
    /// [`timeout`](crate::SessionBuilder::timeout).
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Whether this response's body is decoded, in place of the session's
    /// [`decompress`](crate::SessionBuilder::decompress).
    pub fn decompress(mut self, decompress: bool) -> Self {
        self.request.extensions_mut().insert(Decompress(decompress));
        self
    }

    /// Tells `observer` what happens to this request, beside those who are told of all of the
    /// session's: see [`SessionBuilder::observe`](crate::SessionBuilder::observe). Several can be
    /// told.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        // In the extensions, so that a request that nobody observes is no larger for it.
        let observers = self
            .request
            .extensions_mut()
            .get_or_insert_default::<RequestObservers>();
        observers.0.push(Arc::new(observer));
        self
    }

    /// Sends the request; resolves at the response's head.
    ///
    /// # Errors
    ///
    /// A status is no error. Everything else that can happen has an [`ErrorKind`].
    pub fn send(self) -> BoxFuture<'static, Result<Response, Error>> {
        let Self {
            session,
            target,
            mut request,
            content_type,
            upload,
            timeout,
        } = self;
        if let Some(content_type) = content_type {
            let headers = request.headers_mut();
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        // In a box an exchange stays where it is, while what gathers and spawns it moves a
        // pointer.
        Box::pin(exchange(session, target, request, upload, timeout))
    }

    /// Sends the request and reads the whole body.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) and [`Response::bytes`].
    pub fn bytes(self) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static + use<> {
        let sent = self.send();
        async move { sent.await?.bytes().await }
    }

    /// Sends the request and reads the whole body as text.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) and [`Response::text`].
    pub fn text(self) -> impl Future<Output = Result<String, Error>> + Send + 'static + use<> {
        let sent = self.send();
        async move { sent.await?.text().await }
    }

    /// Sends the request and reads the whole body as JSON.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) and [`Response::json`].
    pub fn json<T>(self) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let sent = self.send();
        async move { sent.await?.json().await }
    }
}

impl IntoFuture for RequestBuilder {
    type Output = Result<Response, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", self.request.method())
            .finish_non_exhaustive()
    }
}

pub(crate) fn header<N, V>(name: N, value: V) -> Result<(HeaderName, HeaderValue), Error>
where
    N: TryInto<HeaderName>,
    N::Error: Into<http::Error>,
    V: TryInto<HeaderValue>,
    V::Error: Into<http::Error>,
{
    let invalid = |error: http::Error| Error::new(ErrorKind::InvalidRequest).with_source(error);
    Ok((
        name.try_into().map_err(|error| invalid(error.into()))?,
        value.try_into().map_err(|error| invalid(error.into()))?,
    ))
}

/// What can be taken as a URL: text and [`Url`], by value or by reference.
pub trait IntoUrl: sealed::Sealed {
    #[doc(hidden)]
    fn into_target(self, base: Option<&Url>) -> Result<Target, Error>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! into_url {
    ($($type:ty => |$url:ident, $base:ident| $parse:expr),* $(,)?) => {$(
        impl sealed::Sealed for $type {}
        impl IntoUrl for $type {
            fn into_target(self, $base: Option<&Url>) -> Result<Target, Error> {
                let $url = self;
                $parse
            }
        }
    )*};
}
into_url! {
    &str => |url, base| Target::parse(url, base),
    String => |url, base| Target::parse(&url, base),
    &String => |url, base| Target::parse(url, base),
    Url => |url, _base| Target::new(url),
    &Url => |url, _base| Target::new(url.clone()),
}
