//! Assertions for the cases. They return a [`Failure`] for use with `?` and do not panic.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::panic::Location;

use async_channel::{RecvError, SendError};
use inflight_core::{Error, ErrorKind, JobError, RequestBuilder, TaskError, http};

/// The result of a case, or of one of its steps.
pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// The reason for the failure of a case, with its location.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    at: &'static Location<'static>,
}

impl Failure {
    #[track_caller]
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            at: Location::caller(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}:{})",
            self.message,
            self.at.file(),
            self.at.line()
        )
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Failure {}

macro_rules! unexpected {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            #[track_caller]
            fn from(error: $error) -> Self {
                Self::new(format!("unexpected: {}", with_causes(&error)))
            }
        }
    )*};
}
unexpected!(Error, io::Error, TaskError, JobError<Error>, http::Error);

/// Receiving an event fails if the server or the task that sends the event has stopped.
impl From<RecvError> for Failure {
    #[track_caller]
    fn from(_: RecvError) -> Self {
        Self::new("the sender of this event has stopped")
    }
}

impl<T> From<SendError<T>> for Failure {
    #[track_caller]
    fn from(_: SendError<T>) -> Self {
        Self::new("the receiver of this event has stopped")
    }
}

impl From<JobError<Failure>> for Failure {
    fn from(error: JobError<Failure>) -> Self {
        match error.failure() {
            Some(failure) => failure.clone(),
            None => Self::new(error.to_string()),
        }
    }
}

/// Returns an error and its causes as one line of text.
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(", caused by: {cause}");
        next = cause.source();
    }
    text
}

#[track_caller]
pub(crate) fn check(condition: bool, message: impl Into<String>) -> Result {
    if condition {
        Ok(())
    } else {
        Err(Failure::new(message))
    }
}

#[track_caller]
pub(crate) fn check_equal<A, E>(label: &str, actual: A, expected: E) -> Result
where
    A: PartialEq<E> + fmt::Debug,
    E: fmt::Debug,
{
    if actual == expected {
        return Ok(());
    }
    let (actual, expected) = (truncated_debug(&actual), truncated_debug(&expected));
    Err(Failure::new(format!(
        "{label}: got {actual}, wanted {expected}"
    )))
}

/// Returns the error of a result. Fails if the result is a success, or an error whose kind is not
/// in `kinds`.
#[track_caller]
pub(crate) fn check_error<T: fmt::Debug>(
    label: &str,
    result: Result<T, Error>,
    kinds: &[ErrorKind],
) -> Result<Error> {
    let wanted: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let wanted = wanted.join(" or ");
    match result {
        Err(error) if kinds.contains(&error.kind()) => Ok(error),
        Err(error) => Err(Failure::new(format!(
            "{label}: got the kind {}, wanted {wanted}: {}",
            error.kind(),
            with_causes(&error)
        ))),
        Ok(value) => Err(Failure::new(format!(
            "{label}: got a success, wanted {wanted}: {}",
            truncated_debug(&value)
        ))),
    }
}

/// Checks that a result is either this value or an error of one of these kinds.
#[track_caller]
pub(crate) fn check_equal_or_error<T, E>(
    label: &str,
    result: Result<T, Error>,
    expected: E,
    kinds: &[ErrorKind],
) -> Result
where
    T: PartialEq<E> + fmt::Debug,
    E: fmt::Debug,
{
    match result {
        Ok(value) => check_equal(label, value, expected),
        error => check_error(label, error, kinds).map(drop),
    }
}

/// Sends a request and checks the text of its response.
#[track_caller]
pub(crate) fn check_text(
    request: RequestBuilder,
    text: impl AsRef<str> + Send,
) -> impl Future<Output = Result> + Send {
    let at = Location::caller();
    async move {
        let received = request.text().await.map_err(Failure::from);
        received
            .and_then(|received| check_equal("the response", &*received, text.as_ref()))
            .map_err(|failure| Failure { at, ..failure })
    }
}

/// Sends a request and returns its error. Fails if the request succeeds, or if its error is of
/// another kind.
#[track_caller]
pub(crate) fn check_request_error(
    request: RequestBuilder,
    kind: ErrorKind,
) -> impl Future<Output = Result<Error>> + Send {
    let at = Location::caller();
    async move {
        let result = request.text().await;
        check_error("the request", result, &[kind]).map_err(|failure| Failure { at, ..failure })
    }
}

/// Returns the `Debug` output of a value, truncated to a readable length.
pub(crate) fn truncated_debug(value: &dyn fmt::Debug) -> String {
    const MAX_LEN: usize = 300;
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(MAX_LEN) {
        text.truncate(end);
        text += "...";
    }
    text
}
