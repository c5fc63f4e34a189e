//! One error for every backend: the same fault gives the same [`ErrorKind`].

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use url::Url;

/// A boxed error of any kind, as a source.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong with one exchange.
///
/// `Display` prints one level: the kind, what is known of it, and the URL without
/// its credentials. The cause is in [`source`](StdError::source).
pub struct Error(Box<Inner>);

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
}

/// The verdict on a failed exchange; equal on every backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL cannot be parsed, or its scheme is neither `http` nor `https`.
    InvalidUrl,
    /// The request cannot be built: a header name or value that HTTP does not allow.
    InvalidRequest,
    /// The host name has no address, or its look-up failed.
    Resolve,
    /// No connection could be made to any of the host's addresses, or none may be: see
    /// [`AddressGuard`](crate::AddressGuard).
    Connect,
    /// The connection could not be secured: a certificate that is not to be trusted, say.
    Tls,
    /// The proxy refused, or could not be reached.
    Proxy,
    /// A time limit passed; [`Error::phase`] says which.
    Timeout,
    /// The response is not HTTP that we accept.
    Protocol,
    /// The response ended early.
    Incomplete,
    /// The body is longer than the limit on what is collected.
    BodyTooLarge,
    /// The server redirected more often than the session follows.
    TooManyRedirects,
    /// A redirect that must not be followed: to another scheme, or with a body that cannot be
    /// sent again.
    RedirectRefused,
    /// The body cannot be decoded: its content coding, or as what was asked for (text, JSON).
    Decode,
    /// The status is an error and the caller asked to treat it as one.
    Status,
    /// The work was cancelled.
    Cancelled,
    /// The batch's deadline passed.
    Deadline,
    /// The session was closed.
    Closed,
    /// The backend cannot do this, and says so instead of doing something else.
    Unsupported,
    /// There is no runtime to run on.
    NoRuntime,
    /// Reading or writing failed in another way.
    Io,
}

impl ErrorKind {
    /// The kind's name in `snake_case`, as programs print it.
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

/// The part of an exchange that a time limit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for a turn under the session's caps.
    Queue,
    /// Making the connection, the look-up of the name included.
    Connect,
    /// From the moment a client has the request to the response's head.
    Head,
    /// Between two pieces of the body.
    Body,
    /// The whole of one request: queueing, connecting, head and body.
    Total,
}

impl Phase {
    /// The phase's name, as programs print it.
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
    /// An error of this kind, with nothing more known of it.
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
            url: None,
            source: None,
        }))
    }

    /// A time limit that passed in `phase`.
    pub fn timeout(phase: Phase) -> Self {
        let mut error = Self::new(ErrorKind::Timeout);
        error.0.phase = Some(phase);
        error
    }

    /// A connection that could not be secured, and why.
    pub fn tls(fault: TlsFault) -> Self {
        let mut error = Self::new(ErrorKind::Tls);
        error.0.tls_fault = Some(fault);
        error.0.context = fault.sentence().map(Cow::Borrowed);
        error
    }

    /// A status that the caller treats as an error.
    pub fn status(status: http::StatusCode) -> Self {
        let mut error = Self::new(ErrorKind::Status).with_context(status.to_string());
        error.0.status = Some(status);
        error
    }

    /// Adds what is known beyond the kind: a few words, no URL, no credentials.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<Cow<'static, str>>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The same for a cause that others are told of too.
    #[must_use]
    pub(crate) fn with_shared_source(
        mut self,
        source: Arc<impl StdError + Send + Sync + 'static>,
    ) -> Self {
        self.0.source = Some(source);
        self
    }

    /// Names the URL, credentials removed, unless one is named already.
    #[must_use]
    pub fn with_url(mut self, url: &Url) -> Self {
        if self.0.url.is_none() {
            self.0.url = Some(without_credentials(url));
        }
        self
    }

    /// Marks the error of a request that the server has certainly not processed: no byte of it was
    /// written to a kept connection that had ended, or an HTTP/2 server has refused it or excluded it
    /// by GOAWAY (RFC 9113, 6.8 and 8.7). A session sends it again, whatever its method, unless its
    /// body was begun and cannot be produced again.
    #[must_use]
    pub fn not_processed(mut self) -> Self {
        self.0.not_processed = true;
        self
    }

    /// Whether the server has certainly not processed the request, so that sending it again cannot
    /// repeat an effect. If `false`, the server may have processed it.
    pub fn is_not_processed(&self) -> bool {
        self.0.not_processed
    }

    /// Marks the error of a request that a kept connection did not answer because it had ended. A
    /// session then sends an idempotent request again, on a new connection (RFC 9112, 9.3.1).
    #[must_use]
    pub fn on_dead_connection(mut self) -> Self {
        self.0.dead_connection = true;
        self
    }

    pub(crate) fn is_of_a_dead_connection(&self) -> bool {
        self.0.dead_connection
    }

    pub(crate) fn with_history(mut self, redirects: usize, attempts: u32) -> Self {
        self.0.redirects = u32::try_from(redirects).unwrap_or(u32::MAX);
        self.0.attempts = attempts;
        self
    }

    /// How many requests the session had sent when it gave up, redirects and retries among them;
    /// 0 when none was.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How many redirects the session had followed when it gave up.
    pub fn redirects(&self) -> u32 {
        self.0.redirects
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Which time limit passed, when the kind is [`ErrorKind::Timeout`].
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// Why the connection could not be secured, when the kind is [`ErrorKind::Tls`].
    pub fn tls_fault(&self) -> Option<TlsFault> {
        let other = (self.0.kind == ErrorKind::Tls).then_some(TlsFault::Other);
        self.0.tls_fault.or(other)
    }

    /// The status, when the kind is [`ErrorKind::Status`].
    pub fn status_code(&self) -> Option<http::StatusCode> {
        self.0.status
    }

    /// The URL, without credentials, when it is known.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// Whether a time limit passed, whichever.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// Whether no connection could be made: no address, or none that answers.
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Resolve | ErrorKind::Connect)
            || self.0.phase == Some(Phase::Connect)
    }

    /// Whether the status was treated as an error.
    pub fn is_status(&self) -> bool {
        self.0.kind == ErrorKind::Status
    }

    /// An I/O error met while reading a response, given the kind that every backend gives it.
    ///
    /// The peer's reset or early end is [`Incomplete`](ErrorKind::Incomplete), data that makes
    /// no sense is [`Protocol`](ErrorKind::Protocol); an [`Error`] that travelled inside the I/O
    /// error comes out as it was.
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

    /// Takes an [`Error`] of ours out of a chain of causes, if one is there.
    ///
    /// Clients wrap what a connector of ours returned; this is how an adapter gets it back.
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

    fn copied(&self) -> Self {
        let inner = &self.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            phase: inner.phase,
            tls_fault: inner.tls_fault,
            status: inner.status,
            context: inner.context.clone(),
            url: inner.url.clone(),
            source: inner.source.clone(),
            attempts: inner.attempts,
            redirects: inner.redirects,
            dead_connection: inner.dead_connection,
            not_processed: inner.not_processed,
        }))
    }
}

fn without_credentials(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let mut url = url.clone();
    // Both fail only on URLs that cannot have credentials in the first place.
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
        if let Some(url) = &self.0.url {
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
        if let Some(url) = &self.0.url {
            debug.field("url", url);
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

/// Why a connection could not be secured. A client that does not tell
/// ([`tls_faults`](crate::Capabilities::tls_faults)) says [`Other`](Self::Other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// The server's certificate is no longer valid.
    Expired,
    /// The server's certificate is for another name.
    WrongHost,
    /// The server's certificate comes from an authority that is not trusted.
    UnknownIssuer,
    /// The server's certificate is its own issuer, and is not trusted.
    SelfSigned,
    /// Anything else: no version or cipher in common, a certificate that the server wanted and did
    /// not get, no TLS at all.
    Other,
}

impl TlsFault {
    /// What is wrong, in a few words.
    pub(crate) fn sentence(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("the server's certificate has expired"),
            Self::WrongHost => Some("the server's certificate is for another name"),
            Self::UnknownIssuer => Some("the server's certificate is of an unknown issuer"),
            Self::SelfSigned => Some("the server's certificate is self-signed"),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_the_url_without_its_credentials() {
        let url = Url::parse("http://me:secret@host/a?b").unwrap();
        let error = Error::timeout(Phase::Connect).with_url(&url);
        assert_eq!(error.to_string(), "timed out (connect) [http://host/a?b]");
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn an_error_survives_the_journey_through_io() {
        let io = io::Error::from(Error::new(ErrorKind::Resolve).with_context("no such host"));
        assert_eq!(Error::find_in(&io).unwrap().kind(), ErrorKind::Resolve);
        let back = Error::from_read(io);
        assert_eq!(back.kind(), ErrorKind::Resolve);
    }

    #[test]
    fn a_reset_while_reading_is_incomplete() {
        let error = Error::from_read(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        assert!(error.source().is_some());
    }
}
