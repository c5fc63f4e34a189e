//! The errors of jobs and of whole gathers.

use std::error::Error as StdError;
use std::fmt;

use crate::backend::task::Panic;
use crate::error::{Error, ErrorKind};

/// The error of one job, with the index of its input.
///
/// Chapter [5](../../tutorial/ch05.html) of the book teaches its use.
///
/// If the job's error is an [`Error`], `?` converts a `JobError` to an [`Error`]. The job's own
/// error keeps everything and gets the index of the job as context. The other reasons become an
/// error of one of these kinds:
///
/// | reason | kind |
/// |---|---|
/// | [`Panicked`](JobErrorKind::Panicked) | [`ErrorKind::Panicked`], with the message of the panic, which does not resume |
/// | [`DeadlineExceeded`](JobErrorKind::DeadlineExceeded) | [`ErrorKind::Deadline`]; the message says whether a request was sent |
/// | [`NeverStarted`](JobErrorKind::NeverStarted) | [`ErrorKind::Deadline`], with the mark [`Error::is_not_processed`] |
/// | [`Cancelled`](JobErrorKind::Cancelled) | [`ErrorKind::Cancelled`] |
///
/// ```
/// use inflight_core::{Error, ErrorKind, gather};
///
/// async fn sum(jobs: Vec<impl Future<Output = Result<u32, Error>>>) -> Result<u32, Error> {
///     Ok(gather(jobs).all().await?.iter().sum())
/// }
///
/// # futures_lite::future::block_on(async {
/// let error = sum(vec![async { Err(Error::new(ErrorKind::Connect)) }]).await.unwrap_err();
/// assert_eq!(error.to_string(), "could not connect: in job 0");
/// # });
/// ```
#[derive(Debug)]
pub struct JobError<E> {
    index: usize,
    kind: JobErrorKind<E>,
}

/// The reason why a job has no output.
///
/// Chapter [9](../../tutorial/ch09.html) of the book teaches its use.
///
/// ```
/// use inflight_core::{JobErrorKind, gather};
///
/// # futures_lite::future::block_on(async {
/// let numbers = gather(["1", "two"].map(|text| async { text.parse::<u8>() }));
/// let error = numbers.all().await.unwrap_err();
/// match error.kind() {
///     JobErrorKind::Failed(error) => assert_eq!(error.to_string(), "invalid digit found in string"),
///     other => panic!("{other:?}"),
/// }
/// # });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum JobErrorKind<E> {
    /// The job returned an error.
    Failed(E),
    /// The job panicked. Other jobs are not affected.
    Panicked(Panic),
    /// [`until`](super::Gather::until) completed after the job had started and before it finished.
    DeadlineExceeded {
        /// Whether the job had sent a request of a session. If not, the job may have waited for a
        /// permit of the session, for example because of
        /// [`max_per_host`](crate::SessionBuilder::max_per_host). Requests count if the future of the
        /// job polled them, and not if it spawned them as tasks of a runtime.
        sent: bool,
    },
    /// [`until`](super::Gather::until) completed before the job started.
    NeverStarted,
    /// The runtime ended before the job finished.
    Cancelled,
}

impl<E> JobError<E> {
    pub(crate) fn new(index: usize, kind: JobErrorKind<E>) -> Self {
        Self { index, kind }
    }

    /// Returns the index of the job's input, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns why the job failed.
    pub fn kind(&self) -> &JobErrorKind<E> {
        &self.kind
    }

    /// Converts the error to the reason why the job failed.
    pub fn into_kind(self) -> JobErrorKind<E> {
        self.kind
    }

    /// Returns the error that the job returned, if it returned one.
    pub fn failure(&self) -> Option<&E> {
        match &self.kind {
            JobErrorKind::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> fmt::Display for JobError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index;
        match &self.kind {
            JobErrorKind::Failed(_) => write!(f, "job {index} failed"),
            JobErrorKind::Panicked(panic) => {
                write!(f, "job {index} panicked: {}", panic.message())
            }
            JobErrorKind::DeadlineExceeded { .. } => {
                write!(f, "job {index} exceeded the deadline")
            }
            JobErrorKind::NeverStarted => {
                write!(f, "job {index} did not start before the deadline")
            }
            JobErrorKind::Cancelled => write!(f, "job {index} was cancelled"),
        }
    }
}

impl<E: StdError + 'static> StdError for JobError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.kind {
            JobErrorKind::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// The results of [`settled`](super::Gather::settled). `R` is a [`Result`], or an item and a result if
/// the gather was created by [`gather_with`](super::gather_with).
///
/// Chapter [4](../../../tutorial/ch04.html) of the book teaches its use.
///
/// For an example, see [`settled`](super::Gather::settled). For an example with
/// [`until`](super::Gather::until), see [`gather_with`](super::gather_with).
#[derive(Debug)]
#[non_exhaustive]
pub struct Settled<R> {
    /// A result for each input that was pulled, in input order.
    pub results: Vec<R>,
    /// How many inputs were never pulled. It is 0 unless [`until`](super::Gather::until) completed
    /// first, and `None` if the length of the remaining input is unknown.
    pub never_started: Option<usize>,
    /// Whether [`until`](super::Gather::until) ended the gather before every input had been pulled
    /// and every job had finished.
    pub is_cut_off: bool,
}

/// The error of [`first`](super::Gather::first).
///
/// If the jobs' error is an [`Error`], `?` converts an `AllFailed` to an [`Error`], whose source is
/// the `AllFailed`. It is a copy of the first failure in input order, converted like a
/// [`JobError`]. If [`until`](super::Gather::until) ended the gather, the kind is
/// [`ErrorKind::Deadline`] instead. If there were no jobs, the kind is
/// [`ErrorKind::InvalidRequest`].
///
/// ```
/// use inflight_core::gather;
///
/// # futures_lite::future::block_on(async {
/// let numbers = gather(["one", "two"].map(|text| async { text.parse::<u8>() }));
/// let error = numbers.first().await.unwrap_err();
/// assert_eq!(error.to_string(), "all 2 jobs failed");
/// assert_eq!(error.failures[1].to_string(), "job 1 failed");
/// # });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct AllFailed<E> {
    /// Every failure, in input order. Empty if no job was started.
    pub failures: Vec<JobError<E>>,
    /// How many inputs were never pulled: see [`Settled::never_started`].
    pub never_started: Option<usize>,
}

impl<E> AllFailed<E> {
    /// Returns whether `until` ended the gather.
    fn is_cut_off(&self) -> bool {
        let is_cut_off = |error: &JobError<E>| {
            use JobErrorKind::{DeadlineExceeded, NeverStarted};
            matches!(error.kind, DeadlineExceeded { .. } | NeverStarted)
        };
        self.never_started != Some(0) || self.failures.iter().any(is_cut_off)
    }
}

impl<E> fmt::Display for AllFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.len() {
            _ if self.is_cut_off() => f.write_str("no job succeeded before the deadline"),
            0 => f.write_str("there were no jobs"),
            1 => f.write_str("the only job failed"),
            n => write!(f, "all {n} jobs failed"),
        }
    }
}

impl<E: StdError + 'static> StdError for AllFailed<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.failures.first().map(|error| {
            let error: &(dyn StdError + 'static) = error;
            error
        })
    }
}

impl JobError<Error> {
    fn to_error(&self) -> Error {
        let error = match &self.kind {
            JobErrorKind::Failed(error) => error.copied(),
            JobErrorKind::Panicked(panic) => {
                Error::new(ErrorKind::Panicked).with_context(panic.message().to_owned())
            }
            JobErrorKind::DeadlineExceeded { sent } => {
                let error = Error::new(ErrorKind::Deadline);
                match sent {
                    true => error,
                    false => error.with_context("before a request was sent"),
                }
            }
            JobErrorKind::NeverStarted => Error::new(ErrorKind::Deadline)
                .with_context("the job did not start")
                .not_processed(),
            JobErrorKind::Cancelled => {
                Error::new(ErrorKind::Cancelled).with_context("the runtime ended")
            }
        };
        error.with_added_context(format_args!("in job {}", self.index))
    }
}

impl From<JobError<Error>> for Error {
    fn from(error: JobError<Error>) -> Self {
        error.to_error()
    }
}

impl From<AllFailed<Error>> for Error {
    fn from(all: AllFailed<Error>) -> Self {
        let error = match all.failures.first() {
            _ if all.is_cut_off() => Self::new(ErrorKind::Deadline).with_context(all.to_string()),
            Some(first) => first.to_error(),
            None => Self::new(ErrorKind::InvalidRequest).with_context(all.to_string()),
        };
        error.with_source(all)
    }
}
