//! How one job of many fails, and how all of them do.

use std::error::Error as StdError;
use std::fmt;

use crate::backend::task::Panic;

/// One job's failure: which job, and why.
#[derive(Debug)]
pub struct JobError<E> {
    index: usize,
    kind: JobErrorKind<E>,
}

/// Why a job has no output.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobErrorKind<E> {
    /// It answered with an error of its own.
    Failed(E),
    /// It panicked; its siblings did not.
    Panicked(Panic),
    /// [`until`](super::Gather::until) came before its end.
    DeadlineExceeded,
    /// The runtime ended before the job did.
    Cancelled,
}

impl<E> JobError<E> {
    pub(crate) fn new(index: usize, kind: JobErrorKind<E>) -> Self {
        Self { index, kind }
    }

    /// The index of the job's input, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Why it failed.
    pub fn kind(&self) -> &JobErrorKind<E> {
        &self.kind
    }

    /// Why it failed, by value.
    pub fn into_kind(self) -> JobErrorKind<E> {
        self.kind
    }

    /// The job's own error, if it answered with one.
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
            JobErrorKind::DeadlineExceeded => write!(f, "job {index} exceeded the deadline"),
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

/// What [`settled`](super::Gather::settled) gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Settled<T, E> {
    /// A result for each input that was pulled, in input order.
    pub results: Vec<Result<T, JobError<E>>>,
    /// How many inputs were never pulled: 0 unless [`until`](super::Gather::until) came first,
    /// and `None` when it did and the input does not know its own length.
    pub never_started: Option<usize>,
}

/// What [`first`](super::Gather::first) gives when no job succeeded.
#[derive(Debug)]
#[non_exhaustive]
pub struct AllFailed<E> {
    /// Every failure, in input order; none if there was no job.
    pub failures: Vec<JobError<E>>,
    /// As in [`Settled::never_started`].
    pub never_started: Option<usize>,
}

impl<E> fmt::Display for AllFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.len() {
            0 if self.never_started == Some(0) => f.write_str("there was no job to succeed"),
            0 => f.write_str("the deadline came before any job was started"),
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
