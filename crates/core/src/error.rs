//! The error type of all backends: the same fault has the same [`ErrorKind`] on each.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use url::Url;

/// A boxed error of any type, as a source.
///
/// ```
/// use inflight_core::{BoxError, Error, ErrorKind};
///
/// let cause: BoxError = "the disk is full".into();
/// let error = Error::new(ErrorKind::Io).with_source(cause);
/// # assert!(std::error::Error::source(&error).is_some());
/// ```
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The error of one exchange.
///
/// Chapter [5](../../tutorial/ch05.html) of the book teaches its use.
///
/// `Display` prints one level: the kind, its context, and the URL. The cause is the
/// [`source`](StdError::source). No error contains the URL's credentials.
///
/// The query or the fragment of a URL may contain a secret, such as an API key. So `Display` and `Debug` omit
/// both. [`url`](Self::url) and the alternate form `{:#}` include them.
///
/// ```
/// use inflight_core::{Error, ErrorKind, url::Url};
///
/// let url = Url::parse("https://host/search?key=secret")?;
/// let error = Error::new(ErrorKind::Resolve).with_url(&url);
/// assert!(error.to_string().ends_with("[https://host/search]"));
/// assert!(format!("{error:#}").ends_with("[https://host/search?key=secret]"));
/// assert_eq!(error.url(), Some(url.as_str()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    phase: Option<Phase>,
    tls_fault: Option<TlsFault>,
    status: Option<http::StatusCode>,
    context: Option<Cow<'static, str>>,
    url: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    attempts: u32,
    redirects: u32,
    dead_connection: bool,
    not_processed: bool,
    retry_budget_exhausted: bool,
}

/// The kind of an [`Error`]. It is the same on every backend.
///
/// Chapter [5](../../tutorial/ch05.html) of the book teaches its use.
///
/// ```
/// use inflight_core::{Error, ErrorKind};
///
/// fn advice(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::Resolve | ErrorKind::Connect => "check the address",
///         ErrorKind::Timeout => "try again later",
///         _ => "report this error",
///     }
/// }
/// # assert_eq!(advice(&Error::new(ErrorKind::Resolve)), "check the address");
/// ```
#[doc(alias("ClientError", "ClientConnectorError"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL cannot be parsed, or its scheme is neither `http` nor `https`.
    InvalidUrl,
    /// The request cannot be built: HTTP does not allow a header name or value, for example.
    InvalidRequest,
    /// The host name has no address, or its lookup failed.
    Resolve,
    /// No address of the host accepted a connection, or the [`AddressGuard`](crate::AddressGuard)
    /// refused the addresses.
    Connect,
    /// The connection could not be secured: the server's certificate is not trusted, for example.
    Tls,
    /// The proxy could not be reached, or it refused the request.
    Proxy,
    /// A timeout passed. [`Error::phase`] returns which.
    Timeout,
    /// The response is not valid HTTP, or the session refuses it.
    Protocol,
    /// The response ended early.
    Incomplete,
    /// The body is longer than the limit for collected bodies.
    BodyTooLarge,
    /// The server redirected more often than the session allows.
    TooManyRedirects,
    /// The session refused a redirect: from https to http, to a URL that is not valid, or with a
    /// body that cannot be sent again.
    RedirectRefused,
    /// The body could not be decoded: its content coding, its text or its JSON.
    Decode,
    /// The caller treats the status as an error.
    Status,
    /// The work was cancelled.
    Cancelled,
    /// A job of a [gather](mod@crate::gather) or a task panicked.
    Panicked,
    /// The deadline of the request, or of a group of requests, passed before the request finished.
    Deadline,
    /// The session was closed.
    Closed,
    /// The backend does not support the request or an option. It returns this error instead of
    /// ignoring the option.
    Unsupported,
    /// No runtime is running, or the runtime of the session has ended.
    NoRuntime,
    /// A read or a write failed for a reason that no other kind covers.
    Io,
}

impl ErrorKind {
    /// Returns the kind's name in `snake_case`, for machine-readable output.
    ///
    /// ```
    /// assert_eq!(inflight_core::ErrorKind::InvalidUrl.as_str(), "invalid_url");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUrl => "invalid_url",
            Self::InvalidRequest => "invalid_request",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Incomplete => "incomplete",
            Self::BodyTooLarge => "body_too_large",
            Self::TooManyRedirects => "too_many_redirects",
            Self::RedirectRefused => "redirect_refused",
            Self::Decode => "decode",
            Self::Status => "status",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::Deadline => "deadline",
            Self::Closed => "closed",
            Self::Unsupported => "unsupported",
            Self::NoRuntime => "no_runtime",
            Self::Io => "io",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::InvalidUrl => "invalid URL",
            Self::InvalidRequest => "invalid request",
            Self::Resolve => "could not resolve the host name",
            Self::Connect => "could not connect",
            Self::Tls => "the connection could not be secured",
            Self::Proxy => "the proxy failed",
            Self::Timeout => "timed out",
            Self::Protocol => "the response is not valid HTTP",
            Self::Incomplete => "the response ended early",
            Self::BodyTooLarge => "the body is too large",
            Self::TooManyRedirects => "redirected too often",
            Self::RedirectRefused => "a redirect was refused",
            Self::Decode => "the body could not be decoded",
            Self::Status => "the status is an error",
            Self::Cancelled => "cancelled",
            Self::Panicked => "a job panicked",
            Self::Deadline => "the deadline passed",
            Self::Closed => "the session is closed",
            Self::Unsupported => "not supported by this backend",
            Self::NoRuntime => "no runtime",
            Self::Io => "I/O error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part of an exchange that a timeout applies to.
///
/// Chapter [9](../../tutorial/ch09.html) of the book teaches its use.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::Phase;
///
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_mock::{Mock, Reply, When};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
/// # mock.on(When::any(), Reply::pending());
/// # let session = mock.session().build()?;
/// # runtime.block_on(async {
/// // The server accepts the request and does not respond.
/// let request = session.get("http://pages.test/").head_timeout(Duration::from_secs(5));
/// let error = request.send().await.unwrap_err();
/// assert_eq!(error.phase(), Some(Phase::Head));
/// assert_eq!(error.to_string(), "timed out (head) [http://pages.test/]");
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The wait until the limits of the session permit the request to start.
    Queue,
    /// Making the connection, including the lookup of the name.
    Connect,
    /// From the moment the client receives the request to the head of the response.
    Head,
    /// The wait for the next chunk of the body.
    Body,
    /// The whole request without the waits for permits: connecting, head, body, redirects and retries.
    Total,
}

impl Phase {
    /// Returns the phase's name, for machine-readable output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Head => "head",
            Self::Body => "body",
            Self::Total => "total",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// Creates an error of this kind, without any details.
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            phase: None,
            tls_fault: None,
            status: None,
            context: None,
            attempts: 0,
            redirects: 0,
            dead_connection: false,
            not_processed: false,
            retry_budget_exhausted: false,
            url: None,
            source: None,
        }))
    }

    /// Creates an error for a timeout in `phase`.
    pub fn timeout(phase: Phase) -> Self {
        let mut error = Self::new(ErrorKind::Timeout);
        error.0.phase = Some(phase);
        error
    }

    /// Creates an error for a connection that could not be secured.
    pub fn tls(fault: TlsFault) -> Self {
        let mut error = Self::new(ErrorKind::Tls);
        error.0.tls_fault = Some(fault);
        error.0.context = fault.sentence().map(Cow::Borrowed);
        error
    }

    /// Creates an error for a status.
    pub fn status(status: http::StatusCode) -> Self {
        let mut error = Self::new(ErrorKind::Status).with_context(status.to_string());
        error.0.status = Some(status);
        error
    }

    /// Sets the context: a short description without URL and credentials. It replaces an earlier
    /// context.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<Cow<'static, str>>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// Appends a description to the context.
    #[must_use]
    pub(crate) fn with_added_context(mut self, description: impl fmt::Display) -> Self {
        self.0.context = Some(match self.0.context {
            Some(context) => format!("{context}, {description}").into(),
            None => description.to_string().into(),
        });
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Sets a cause that other errors share.
    #[must_use]
    pub(crate) fn with_shared_source(
        mut self,
        source: Arc<impl StdError + Send + Sync + 'static>,
    ) -> Self {
        self.0.source = Some(source);
        self
    }

    /// Sets the URL, without its credentials, unless one is set already.
    #[must_use]
    pub fn with_url(mut self, url: &Url) -> Self {
        if self.0.url.is_none() {
            self.0.url = Some(without_credentials(url));
        }
        self
    }

    /// Marks the error of a request that the server has certainly not processed.
    ///
    /// Use this method if a pooled connection ended before a byte of the request was written, or if an
    /// HTTP/2 server refused the request or excluded it by GOAWAY (RFC 9113, 6.8 and 8.7). A
    /// session then sends a request with any method again, unless the body was partly read and
    /// cannot be produced again.
    #[must_use]
    pub fn not_processed(mut self) -> Self {
        self.0.not_processed = true;
        self
    }

    /// Returns whether the server has certainly not processed the request, so that sending it again
    /// cannot repeat an effect. If `false`, the server may have processed the request.
    pub fn is_not_processed(&self) -> bool {
        self.0.not_processed
    }

    /// Returns whether the same request may succeed later: the host had no address, the connection failed or
    /// ended early, or a timeout of the phases connect, head or body passed.
    ///
    /// A session retries such an error ([`Retry`](crate::Retry)).
    pub fn is_transient(&self) -> bool {
        match self.kind() {
            // The address guard would refuse the address every time.
            ErrorKind::Connect if self.address_refused().is_some() => false,
            ErrorKind::Resolve | ErrorKind::Connect | ErrorKind::Incomplete | ErrorKind::Io => true,
            ErrorKind::Timeout => {
                matches!(
                    self.phase(),
                    Some(Phase::Connect | Phase::Head | Phase::Body)
                )
            }
            _ => false,
        }
    }

    /// Marks the error of a request whose pooled connection ended before a response. A session then
    /// sends an idempotent request again, on a new connection (RFC 9112, 9.3.1).
    #[must_use]
    pub fn on_dead_connection(mut self) -> Self {
        self.0.dead_connection = true;
        self
    }

    pub(crate) fn has_dead_connection(&self) -> bool {
        self.0.dead_connection
    }

    pub(crate) fn with_history(mut self, redirects: usize, attempts: u32) -> Self {
        self.0.redirects = u32::try_from(redirects).unwrap_or(u32::MAX);
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_retry_budget_exhausted(mut self, is_exhausted: bool) -> Self {
        self.0.retry_budget_exhausted = is_exhausted;
        self
    }

    /// Returns whether the session would have retried the request, but the
    /// [retry budget](crate::RetryBudget) of the server was exhausted.
    pub fn is_retry_budget_exhausted(&self) -> bool {
        self.0.retry_budget_exhausted
    }

    /// Returns how many requests the session had sent before the failure, including redirects and
    /// retries.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns how many redirects the session had followed before the failure.
    pub fn redirects(&self) -> u32 {
        self.0.redirects
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns which timeout passed, if the kind is [`ErrorKind::Timeout`].
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// Returns why the connection could not be secured, if the kind is [`ErrorKind::Tls`].
    pub fn tls_fault(&self) -> Option<TlsFault> {
        let other = (self.0.kind == ErrorKind::Tls).then_some(TlsFault::Other);
        self.0.tls_fault.or(other)
    }

    /// Returns the status, if the kind is [`ErrorKind::Status`].
    pub fn status_code(&self) -> Option<http::StatusCode> {
        self.0.status
    }

    /// Returns the URL without its credentials, if it is known. The query and the fragment are included,
    /// in contrast to the message of the error.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// Returns whether a timeout passed, in any phase.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// Returns whether no connection could be made: the lookup failed, every address failed, or the
    /// connect timeout passed.
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Resolve | ErrorKind::Connect)
            || self.0.phase == Some(Phase::Connect)
    }

    /// Returns whether the kind is [`ErrorKind::Status`].
    pub fn is_status(&self) -> bool {
        self.0.kind == ErrorKind::Status
    }

    /// Converts an I/O error from reading a response. The result has the same kind on every backend.
    ///
    /// A reset or an early end by the peer becomes [`Incomplete`](ErrorKind::Incomplete). Invalid
    /// data becomes [`Protocol`](ErrorKind::Protocol). An [`Error`] inside the I/O error is
    /// returned unchanged.
    pub fn from_read(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            return match error.into_inner().map(|inner| inner.downcast::<Self>()) {
                Some(Ok(inner)) => *inner,
                _ => Self::new(ErrorKind::Io),
            };
        }
        let kind = match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => ErrorKind::Incomplete,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ErrorKind::Protocol,
            _ => ErrorKind::Io,
        };
        Self::new(kind).with_source(error)
    }

    /// Returns the first [`Error`] in a chain of causes, if there is one.
    ///
    /// Clients wrap the errors of a connector. An adapter gets the connector's [`Error`] back with
    /// this function.
    pub fn find_in(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found.copied());
            }
            if let Some(inner) = error
                .downcast_ref::<io::Error>()
                .and_then(|error| error.get_ref())
            {
                let inner: &(dyn StdError + 'static) = inner;
                next = Some(inner);
                continue;
            }
            next = error.source();
        }
        None
    }

    /// Returns the URL up to its query, for messages.
    fn url_without_query(&self) -> Option<&str> {
        self.url()?.split(['?', '#']).next()
    }

    /// Returns an error with the same values, which shares the cause.
    pub(crate) fn copied(&self) -> Self {
        Self(self.0.clone())
    }
}

fn without_credentials(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let mut url = url.clone();
    // Both calls fail only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.sentence())?;
        if let Some(phase) = self.0.phase {
            write!(f, " ({phase})")?;
        }
        if let Some(context) = &self.0.context {
            write!(f, ": {context}")?;
        }
        if self.0.retry_budget_exhausted {
            f.write_str("; not retried, because the retry budget of the server is exhausted")?;
        }
        let url = match f.alternate() {
            true => self.url(),
            false => self.url_without_query(),
        };
        if let Some(url) = url {
            write!(f, " [{url}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind);
        if let Some(phase) = self.0.phase {
            debug.field("phase", &phase);
        }
        if let Some(context) = &self.0.context {
            debug.field("context", context);
        }
        if let Some(url) = self.url_without_query() {
            debug.field("url", &url);
        }
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| {
            let source: &(dyn StdError + 'static) = &**source;
            source
        })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::other(error)
    }
}

/// The reason why a connection could not be secured. A client without the capability
/// [`tls_faults`](crate::Capabilities::tls_faults) always reports [`Other`](Self::Other).
///
/// ```
/// use inflight_core::{Error, TlsFault};
///
/// fn remedy(error: &Error) -> Option<&'static str> {
///     match error.tls_fault()? {
///         TlsFault::UnknownIssuer | TlsFault::SelfSigned => Some("add the authority of the server"),
///         TlsFault::Expired => Some("renew the certificate of the server"),
///         _ => None,
///     }
/// }
/// # assert!(remedy(&Error::tls(TlsFault::Expired)).is_some());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is for another name.
    WrongHost,
    /// The authority that issued the server's certificate is not trusted.
    UnknownIssuer,
    /// The server's certificate is its own issuer, and is not trusted.
    SelfSigned,
    /// Any other reason: no common version or cipher, a client certificate that the server
    /// requires, or a server without TLS.
    Other,
}

impl TlsFault {
    /// Returns a short description.
    pub(crate) fn sentence(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("the server's certificate has expired"),
            Self::WrongHost => Some("the server's certificate is for another name"),
            Self::UnknownIssuer => Some("the server's certificate has an unknown issuer"),
            Self::SelfSigned => Some("the server's certificate is self-signed"),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_url_without_credentials_and_query() {
        for (url, shown) in [
            ("http://me:secret@host/a?key=secret", "http://host/a"),
            ("http://host/a#secret", "http://host/a"),
            ("http://host/?secret?#secret", "http://host/"),
        ] {
            let error = Error::timeout(Phase::Connect).with_url(&Url::parse(url).unwrap());
            assert_eq!(error.to_string(), format!("timed out (connect) [{shown}]"));
            let debug = format!("{error:?} {error:#?}");
            assert!(debug.contains(shown), "{debug}");
            assert!(!debug.contains("secret"), "{debug}");
        }
    }

    #[test]
    fn the_alternate_message_names_the_url_with_its_query() {
        let url = Url::parse("http://me:password@host/a?b#c").unwrap();
        let error = Error::timeout(Phase::Connect).with_url(&url);
        assert_eq!(error.url(), Some("http://host/a?b#c"));
        let message = format!("{error:#}");
        assert_eq!(message, "timed out (connect) [http://host/a?b#c]");
    }

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let io = io::Error::from(Error::new(ErrorKind::Resolve).with_context("no such host"));
        assert_eq!(Error::find_in(&io).unwrap().kind(), ErrorKind::Resolve);
        let converted = Error::from_read(io);
        assert_eq!(converted.kind(), ErrorKind::Resolve);
    }

    #[test]
    fn a_reset_while_reading_is_an_incomplete_error() {
        let error = Error::from_read(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        assert!(error.source().is_some());
    }
}
