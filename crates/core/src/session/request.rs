//! The builder of a request, and the types that convert to a URL.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::policy::RequestPolicy;
use super::resume::{NOT_RESUMABLE, resume};
use super::retry::Retry;
use super::send::exchange;
use super::state::SessionState;
use crate::backend::fetch::BoxFuture;
use crate::download::partial_file::CompleteFile;
use crate::error::{Error, ErrorKind};
use crate::message::auth;
use crate::message::body::Body;
use crate::message::header::parse_header;
use crate::message::progress::{Progress, ProgressCallback};
use crate::message::response::Response;
use crate::message::target::Target;
use crate::observe::{Observer, RequestObservers};
use crate::upload::multipart::Multipart;
use crate::upload::prepare::{Upload, UploadSource};

/// A builder for a request.
///
/// Chapter [3](../../tutorial/ch03.html) of the book teaches its use.
///
/// [`send`](Self::send) returns the response as soon as its head has arrived.
/// [`bytes`](Self::bytes), [`text`](Self::text) and [`json`](Self::json) also read the body, so
/// that one future covers the whole exchange, for example for [`gather`](crate::gather()).
///
/// The futures own a clone of the session. They are `'static` and `Send`, so any task can run them.
///
/// ```
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_mock::{Mock, Reply, When};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
/// # mock.on(When::post("/notes?lang=en").body("Buy milk"), Reply::status(201));
/// # let session = mock.session().build()?;
/// # runtime.block_on(async {
/// let request = session
///     .post("http://pages.test/notes")
///     .query(&[("lang", "en")])
///     .bearer_auth("token")
///     .body("Buy milk");
/// let response = request.send().await?;
/// assert_eq!(response.status(), 201);
/// # assert_eq!(mock.requests()[0].header("authorization"), Some("Bearer token"));
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
#[must_use = "a request does nothing before it is sent"]
pub struct RequestBuilder {
    session: Arc<SessionState>,
    target: Result<Target, Error>,
    // The method, headers, body and extensions. `send` sets the URI from `target`.
    request: http::Request<Body>,
    // The media type of the body. A `Content-Type` header overrides it.
    content_type: Option<HeaderValue>,
    upload: Option<Box<Upload>>,
    policy: Arc<RequestPolicy>,
    progress: Option<ProgressCallback>,
}

impl RequestBuilder {
    pub(super) fn new(
        session: Arc<SessionState>,
        target: Result<Target, Error>,
        request: http::Request<Body>,
    ) -> Self {
        Self {
            policy: session.policy.clone(),
            session,
            target,
            request,
            content_type: None,
            upload: None,
            progress: None,
        }
    }
}

impl RequestBuilder {
    /// Adds a header. A header that HTTP does not allow is an error when the request is sent.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: Into<http::Error>,
        V: TryInto<HeaderValue>,
        V::Error: Into<http::Error>,
    {
        match parse_header(name, value) {
            Ok((name, value)) => {
                self.request.headers_mut().append(name, value);
            }
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// Sets headers. If the request already has a header with one of these names, the new values
    /// replace all of its values.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        // For the first new value of a name, `extend` replaces the old values. It appends the other new
        // values.
        self.request.headers_mut().extend(headers);
        self
    }

    /// Appends pairs to the URL's query, escaped as in a form (a space becomes `+`).
    ///
    /// `pairs` is any value that serializes to a list of pairs: a struct, a map, a slice of tuples.
    /// Any other value is an error when the request is sent.
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
    #[doc(alias = "params")]
    pub fn query(mut self, pairs: &impl Serialize) -> Self {
        self.target = self.target.and_then(|target| target.with_query(pairs));
        self
    }

    /// Sets basic authentication (RFC 7617). It replaces any other `Authorization`, and credentials
    /// in the URL.
    ///
    /// A user name with a colon is an error when the request is sent, because the colon ends the
    /// name. `Debug` output does not contain the value.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        if user.contains(':') {
            let error = Error::new(ErrorKind::InvalidRequest);
            return self.authorization(Err(error.with_context("the user name contains a colon")));
        }
        self.authorization(auth::basic(format!("{user}:{password}").as_bytes()))
    }

    /// Sets a bearer token (RFC 6750). It replaces any other `Authorization`, and credentials in
    /// the URL.
    ///
    /// `Debug` output does not contain the value.
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

    /// Sets the body: bytes, text, or a stream with [`Body::from_stream`].
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self.with_source(None)
    }

    /// Sets a file as the body, with its length: see [`Body::from_file`].
    ///
    /// The session's runtime reads the file while the request is sent. A file that cannot be read
    /// is an error when the request is sent.
    ///
    /// The time for sending the file counts towards [`timeout`](Self::timeout), whose default is 300 s.
    /// Set a longer timeout for a large file.
    ///
    /// ```
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # let file = tempfile::NamedTempFile::new().unwrap();
    /// # std::fs::write(&file, "text").unwrap();
    /// # mock.on(When::any(), Reply::status(201));
    /// # let path = file.path();
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// session.put("http://pages.test/book.pdf").file(path).send().await?;
    /// # assert_eq!(mock.requests()[0].declared_length, Some(4));
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        self.with_source(Some(UploadSource::File(path.into())))
    }

    /// Sets an open file as the body, from its current position: see [`Body::from_open_file`].
    pub fn open_file(self, file: File) -> Self {
        self.with_source(Some(UploadSource::Open(file)))
    }

    /// Sets a form of several parts as the body, with its `Content-Type`.
    ///
    /// A `Content-Type` header of the request does not override the form's own `Content-Type`,
    /// which contains the boundary between the parts.
    ///
    /// For an example, see [`Multipart`].
    #[doc(alias = "FormData")]
    pub fn multipart(self, form: Multipart) -> Self {
        self.with_source(Some(UploadSource::Form(form)))
    }

    /// Sets the source from which `send` creates the body, or removes it.
    fn with_source(mut self, source: Option<UploadSource>) -> Self {
        self.content_type = None;
        if source.is_some() || self.upload.is_some() {
            self.upload.get_or_insert_default().source = source;
        }
        self
    }

    /// Calls `watch` for each chunk of the body that the client reads: see [`Body::on_progress`].
    ///
    /// The server may not have received these bytes yet. If the request is sent again, after a redirect
    /// or a failure, the count starts again from zero. An empty body causes no call.
    pub fn on_upload_progress(mut self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.upload.get_or_insert_default().watcher = Some(Arc::new(watch));
        self
    }

    /// Calls `watch` for each chunk of the response's body, whichever method reads the body: see
    /// [`Response::on_progress`]. With [`resume_to`](Self::resume_to), the number of bytes includes those of
    /// earlier downloads.
    pub fn on_progress(mut self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(watch));
        self
    }

    /// Sets a list of pairs as the body, in the format of an HTML form
    /// (`application/x-www-form-urlencoded`), with its `Content-Type`.
    ///
    /// A value that does not serialize to a list of pairs is an error when the request is sent: see
    /// [`query`](Self::query).
    ///
    /// ```
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any(), Reply::status(200));
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// session.post("http://pages.test/login").form(&[("name", "Ada")]).send().await?;
    /// # let request = &mock.requests()[0];
    /// # assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    /// # assert_eq!(request.text(), "name=Ada");
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "data")]
    pub fn form(self, pairs: &impl Serialize) -> Self {
        const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
        let form = serde_urlencoded::to_string(pairs).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest)
                .with_context("the value does not serialize to a list of pairs")
                .with_source(error)
        });
        self.typed_body(form, FORM)
    }

    /// Sets a value as the JSON body, with its `Content-Type`.
    ///
    /// A value that cannot be serialized to JSON is an error when the request is sent.
    ///
    /// ```
    /// use serde_json::json;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any(), Reply::status(201));
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// session.post("http://shop.test/orders").json_body(&json!({"apples": 3})).send().await?;
    /// # let request = &mock.requests()[0];
    /// # assert_eq!(request.header("content-type"), Some("application/json"));
    /// # assert_eq!(request.json(), json!({"apples": 3}));
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "json")]
    pub fn json_body(self, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest)
                .with_context("the value does not serialize to JSON")
                .with_source(error)
        });
        self.typed_body(json, HeaderValue::from_static("application/json"))
    }

    fn typed_body(
        mut self,
        body: Result<impl Into<Body>, Error>,
        content_type: HeaderValue,
    ) -> Self {
        match body {
            Ok(body) => {
                self = self.body(body);
                self.content_type = Some(content_type);
            }
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// Sets how long this request may take as a whole: see
    /// [`SessionBuilder::timeout`](crate::SessionBuilder::timeout), which it replaces.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # let reply = Reply::text("done").after(Duration::from_secs(500));
    /// # mock.on(When::any(), reply);
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// // This report takes longer than the other requests of the session.
    /// let report = session.get("http://pages.test/report").timeout(Duration::from_secs(600));
    /// assert_eq!(report.text().await?, "done");
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with_policy(|policy| policy.timeout = timeout)
    }

    /// Sets the time at which this request fails with [`ErrorKind::Deadline`], unless its response has
    /// been read by then. Default: none.
    ///
    /// Unlike [`timeout`](Self::timeout), the deadline includes the wait for the limits of the session.
    /// A service can pass its own deadline on.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use inflight_core::{ErrorKind, Runtime};
    ///
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any(), Reply::pending());
    /// # let session = mock.session().max_in_flight(1).build()?;
    /// # runtime.block_on(async {
    /// // The clock is that of the session's runtime. On tokio, it is `Instant::now()`.
    /// let deadline = runtime.now() + Duration::from_secs(2);
    /// let request = session.get("http://pages.test/").deadline(deadline);
    /// assert_eq!(request.send().await.unwrap_err().kind(), ErrorKind::Deadline);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn deadline(self, deadline: impl Into<Option<Instant>>) -> Self {
        let deadline = deadline.into();
        self.with_policy(|policy| policy.deadline = deadline)
    }

    /// Sets how long this request may wait until the session's limits allow it to start: see
    /// [`SessionBuilder::queue_timeout`](crate::SessionBuilder::queue_timeout), which it replaces.
    pub fn queue_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with_policy(|policy| policy.queue_timeout = timeout)
    }

    /// Sets how long one attempt of this request may take: see
    /// [`SessionBuilder::attempt_timeout`](crate::SessionBuilder::attempt_timeout), which it replaces.
    pub fn attempt_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with_policy(|policy| policy.attempt_timeout = timeout)
    }

    /// Sets how long the head of the response may take: see
    /// [`SessionBuilder::head_timeout`](crate::SessionBuilder::head_timeout), which it replaces.
    pub fn head_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with_policy(|policy| policy.head_timeout = timeout)
    }

    /// Sets how long a read may wait for the next chunk of the response's body: see
    /// [`SessionBuilder::read_timeout`](crate::SessionBuilder::read_timeout), which it replaces.
    pub fn read_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.with_policy(|policy| policy.read_timeout = timeout)
    }

    /// Sets the retries of this request: see
    /// [`SessionBuilder::retry`](crate::SessionBuilder::retry), which it replaces.
    pub fn retry(self, retry: Retry) -> Self {
        self.with_policy(|policy| policy.retry = retry)
    }

    /// Sets how many redirects in a row this request follows: see
    /// [`SessionBuilder::max_redirects`](crate::SessionBuilder::max_redirects), which it replaces.
    pub fn max_redirects(self, at_most: usize) -> Self {
        self.with_policy(|policy| policy.max_redirects = at_most)
    }

    /// Sets the size of the largest body that `bytes`, `text` and `json` accept: see
    /// [`SessionBuilder::max_body`](crate::SessionBuilder::max_body), which it replaces.
    pub fn max_body(self, bytes: u64) -> Self {
        self.with_policy(|policy| policy.max_body = bytes)
    }

    /// Sets whether the session decodes the body of the response: see
    /// [`SessionBuilder::decompress`](crate::SessionBuilder::decompress), which it replaces.
    pub fn decompress(self, decompress: bool) -> Self {
        self.with_policy(|policy| policy.decompress = decompress)
    }

    /// Sets whether a response with a status of 400 or above is an error: see
    /// [`SessionBuilder::error_for_status`](crate::SessionBuilder::error_for_status), which it
    /// replaces.
    #[doc(alias = "raise_for_status")]
    pub fn error_for_status(self, is_error: bool) -> Self {
        self.with_policy(|policy| policy.error_for_status = is_error)
    }

    /// Changes the settings of this request. A request without such changes shares those of the session.
    fn with_policy(mut self, change: impl FnOnce(&mut RequestPolicy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }

    /// Adds an observer for this request, in addition to the observers of the session: see
    /// [`SessionBuilder::observe`](crate::SessionBuilder::observe). A request may have several
    /// observers.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers_mut().observers.push(Arc::new(observer));
        self
    }

    /// Sets the name of the request's route, such as `/users/{id}`. Events contain the name as
    /// [`Event::route`](crate::Event::route). [`SessionMetrics`](crate::SessionMetrics) has metrics
    /// for each name.
    ///
    /// The name should not contain parts of the URL that vary, so that the number of names is small.
    /// The server does not receive it.
    pub fn name(mut self, route: impl Into<Cow<'static, str>>) -> Self {
        self.observers_mut().route = Some(route.into());
        self
    }

    // Stored in the extensions, so that requests without observers and names stay small.
    fn observers_mut(&mut self) -> &mut RequestObservers {
        self.request.extensions_mut().get_or_insert_default()
    }

    /// Sends the request and returns the response as soon as its head has arrived.
    ///
    /// # Errors
    ///
    /// Every failure has an [`ErrorKind`]. A response with a status such as 404 is not a failure: see
    /// [`Response::error_for_status`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the exchange.
    pub fn send(self) -> BoxFuture<'static, Result<Response, Error>> {
        let Self {
            session,
            target,
            mut request,
            content_type,
            upload,
            policy,
            progress,
        } = self;
        if let Some(content_type) = content_type {
            let headers = request.headers_mut();
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        let exchange = exchange(session, target, request, upload, policy);
        // The future of an exchange is large, so it is boxed and not moved.
        match progress {
            None => Box::pin(exchange),
            Some(watcher) => Box::pin(async { Ok(exchange.await?.with_observer(watcher)) }),
        }
    }

    /// Downloads the body to a file, and returns the length of the file. If an earlier download of the file
    /// ended early, requests only the rest.
    ///
    /// The bytes are in `{path}.part`, next to the file, and the URL and the validator of the response are in
    /// `{path}.part.json`. When the file is complete, it appears under its name, as with
    /// [`Response::save_to`], and the other two files are gone. A call that finds a partial file asks for the
    /// rest with `Range` and `If-Range` (RFC 9110, 13.1.5 and 14.2). It never mixes two versions of a
    /// resource, and starts from zero in these cases:
    ///
    /// - The partial file is from another URL.
    /// - The earlier response had no strong validator: a strong `ETag` or, without an `ETag`, a
    ///   `Last-Modified` at least a minute before its `Date`.
    /// - The server sends the whole body (200), because the resource has changed or it supports no ranges.
    /// - The server sends other bytes than the next ones. The call then sends one request without `Range`.
    ///
    /// If the transfer is cut off or a read times out, the call continues the download after a pause, if the
    /// [`Retry`] policy allows this. Each continuation counts as a retry. The [`timeout`](Self::timeout)
    /// applies to the whole call without the waits for limits, so a long download needs a long one. The other timeouts apply to each
    /// request.
    ///
    /// The request has the header `Accept-Encoding: identity`, because a range counts coded bytes. If the
    /// server sends a content coding nevertheless, the file has the coded bytes. The session's runtime writes
    /// the file on its blocking pool. The limit [`max_body`](Self::max_body) does not apply.
    ///
    /// Only one call at a time can download to a path, also among several processes. The partial file is
    /// locked: with `flock` on Unix, so a network file system must support it.
    ///
    /// The call trusts the bytes of the partial file, whose name is predictable. Do not download to a
    /// directory in which others can create files. The bytes survive if the program is killed. After a crash
    /// of the whole system, delete the partial file, or check the digest of the result.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use inflight_core::{Error, Retry, Session};
    /// # async fn download(session: &Session) -> Result<(), Error> {
    /// let request = session.get("http://pages.test/book.pdf").timeout(Duration::from_secs(3600));
    /// let request = request.retry(Retry::new(5)).on_progress(|progress| {
    ///     eprintln!("{} of {:?}", progress.bytes, progress.total);
    /// });
    /// let len = request.resume_to("book.pdf").await?;
    /// # let _ = len;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send) and [`Response::chunk`], and these. The partial file remains if a later
    /// call can continue it.
    ///
    /// - [`ErrorKind::Status`] for any response that is neither a 200 nor an answer to the range. A partial
    ///   file from before stays unchanged.
    /// - [`ErrorKind::Io`] if the file cannot be written, or if another call downloads to this path.
    /// - [`ErrorKind::Protocol`] if the server sends more bytes than it declares, or a part although the
    ///   request has no `Range`.
    /// - [`ErrorKind::InvalidRequest`] if the method is not GET, or if the request has a body, a `Range` or an
    ///   `If-Range`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the exchange. The partial file remains for the next call, if the response had
    /// a strong validator.
    pub fn resume_to(self, path: impl Into<PathBuf>) -> BoxFuture<'static, Result<u64, Error>> {
        let resumed = self.resume(path.into(), CompleteFile::persist);
        Box::pin(async { Ok(resumed.await?.0) })
    }

    /// Downloads as [`resume_to`](Self::resume_to) does, and calls `commit` on the runtime's blocking pool when
    /// the file is complete. `commit` gives the file its name, which need not be `path`.
    ///
    /// If `commit` fails or does not give the file a name, the partial file remains. The next call then
    /// asks the server whether the resource is unchanged, and calls `commit` again.
    ///
    /// ```
    /// # use inflight_core::{Error, Session};
    /// # async fn download(session: &Session) -> Result<(), Error> {
    /// let request = session.get("http://pages.test/book.pdf");
    /// let is_new = request.resume_with("download", |mut file| file.persist_new("book.pdf".as_ref()));
    /// if !is_new.await? {
    ///     eprintln!("book.pdf exists");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`resume_to`](Self::resume_to), and an error of `commit`.
    ///
    /// # Cancel safety
    ///
    /// The same as [`resume_to`](Self::resume_to). `commit` may be called after the future is dropped.
    pub fn resume_with<T, C>(
        self,
        path: impl Into<PathBuf>,
        commit: C,
    ) -> BoxFuture<'static, Result<T, Error>>
    where
        T: Send + 'static,
        C: FnOnce(CompleteFile) -> io::Result<T> + Send + 'static,
    {
        let resumed = self.resume(path.into(), commit);
        Box::pin(async { Ok(resumed.await?.1) })
    }

    fn resume<T, C>(
        self,
        path: PathBuf,
        commit: C,
    ) -> impl Future<Output = Result<(u64, T), Error>> + Send + 'static
    where
        T: Send + 'static,
        C: FnOnce(CompleteFile) -> io::Result<T> + Send + 'static,
    {
        let Self {
            session,
            target,
            request,
            content_type: _,
            upload,
            policy,
            progress,
        } = self;
        let target = match upload {
            None => target,
            Some(_) => target.and(Err(
                Error::new(ErrorKind::InvalidRequest).with_context(NOT_RESUMABLE)
            )),
        };
        resume(session, target, request, policy, progress, path, commit)
    }

    /// Sends the request and reads the whole body.
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send) and [`Response::bytes`].
    pub fn bytes(self) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static + use<> {
        let sent = self.send();
        async move { sent.await?.bytes().await }
    }

    /// Sends the request and reads the whole body as text.
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send) and [`Response::text`].
    pub fn text(self) -> impl Future<Output = Result<String, Error>> + Send + 'static + use<> {
        let sent = self.send();
        async move { sent.await?.text().await }
    }

    /// Sends the request and reads the whole body as JSON.
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send) and [`Response::json`].
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

/// A type that converts to a URL: text and [`Url`], by value or by reference.
///
/// ```
/// use inflight_core::url::Url;
///
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_mock::{Mock, Reply, When};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
/// # mock.on(When::any().repeated(), Reply::text("a page"));
/// # let session = mock.session().build()?;
/// # runtime.block_on(async {
/// let parsed: Url = "http://pages.test/1".parse().unwrap();
/// assert_eq!(session.get(&parsed).text().await?, "a page");
/// assert_eq!(session.get("http://pages.test/1").text().await?, "a page");
/// assert_eq!(session.get(format!("http://pages.test/{}", 1)).text().await?, "a page");
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
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
