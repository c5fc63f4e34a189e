//! The errors of jobs and of whole gathers.

use std::error::Error as StdError;
use std::fmt;

use crate::backend::task::Panic;

/// The error of one job, with the index of its input.
#[derive(Debug)]
pub struct JobError<E> {
    index: usize,
    kind: JobErrorKind<E>,
}

/// The reason why a job has no output.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobErrorKind<E> {
    /// The job returned an error.
    Failed(E),
    /// The job panicked. Other jobs are not affected.
    Panicked(Panic),
    /// [`until`](super::Gather::until) completed before the job finished.
    DeadlineExceeded,
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

/// The results of [`settled`](super::Gather::settled).
#[derive(Debug)]
#[non_exhaustive]
pub struct Settled<T, E> {
    /// A result for each input that was pulled, in input order.
    pub results: Vec<Result<T, JobError<E>>>,
    /// How many inputs were never pulled. It is 0 unless [`until`](super::Gather::until) completed
    /// first, and `None` if the length of the remaining input is unknown.
    pub never_started: Option<usize>,
}

/// The error of [`first`](super::Gather::first).
#[derive(Debug)]
#[non_exhaustive]
pub struct AllFailed<E> {
    /// Every failure, in input order. Empty if no job was started.
    pub failures: Vec<JobError<E>>,
    /// How many inputs were never pulled: see [`Settled::never_started`].
    pub never_started: Option<usize>,
}

impl<E> fmt::Display for AllFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.len() {
            0 if self.never_started == Some(0) => f.write_str("there were no jobs"),
            0 => f.write_str("the deadline passed before any job started"),
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
