//! The error of this crate.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No server accepted the connection.
    Connect,
    /// The server refused the credentials.
    Credentials,
    /// The server has no JetStream, or is older than 2.11.
    Unsupported,
    /// The name of the queue is not valid.
    InvalidName,
    /// The settings of the queue are not valid.
    InvalidSettings,
    /// There is no queue with this name.
    NotFound,
    /// The queue exists with other settings, or a stream that belongs to no queue has its name.
    Conflict,
    /// A job or a result is larger than a message may be.
    TooLarge,
    /// The stream is full.
    Full,
    /// The server did not answer in time, or refused an operation.
    Server,
    /// A file cannot be read or written.
    File,
    /// A message of the queue is not valid, for example because another program wrote it, or a body is damaged.
    Data,
}

/// An error of a queue. If there is a remedy, the message names it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Converts an error of an operation, such as `create the stream of jobs`.
    pub(crate) fn server<E>(operation: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        move |source| {
            Self::new(ErrorKind::Server, format!("the server did not {operation}"))
                .with_source(source)
        }
    }

    /// Converts an error of a file. `operation` is `read` or `write`.
    pub(crate) fn file(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let message = format!("cannot {operation} {}", path.display());
        move |source| Self::new(ErrorKind::File, message).with_source(source)
    }

    /// Returns what failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
