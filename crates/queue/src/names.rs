//! The names of streams, buckets and subjects.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// The longest name of a queue.
const MAX_LEN: usize = 64;

/// The name of a queue: 1 to 64 ASCII letters, digits, `-` and `_`.
///
/// ```
/// use inflight_queue::QueueName;
///
/// assert!("links-2026".parse::<QueueName>().is_ok());
/// assert!("links.2026".parse::<QueueName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueName(String);

impl FromStr for QueueName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match (1..=MAX_LEN).contains(&name.len()) && name.bytes().all(is_valid) {
            true => Ok(Self(name.to_owned())),
            false => Err(Error::new(
                ErrorKind::InvalidName,
                format!(
                    "{name:?} is not a name of a queue: use 1 to {MAX_LEN} letters, digits, `-` and `_`"
                ),
            )),
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl QueueName {
    /// The stream of jobs.
    pub(crate) fn jobs(&self) -> String {
        format!("inflight_{self}_jobs")
    }

    /// The stream of results.
    pub(crate) fn results(&self) -> String {
        format!("inflight_{self}_results")
    }

    /// The stream of the kinds of failures.
    pub(crate) fn failures(&self) -> String {
        format!("inflight_{self}_failures")
    }

    /// The object store of bodies.
    pub(crate) fn bodies(&self) -> String {
        format!("inflight_{self}_bodies")
    }

    /// The bucket of the settings, the progress of the push, the sealed total and the starts of redelivered jobs.
    pub(crate) fn state(&self) -> String {
        format!("inflight_{self}_state")
    }

    /// The bucket of the running workers.
    pub(crate) fn workers(&self) -> String {
        format!("inflight_{self}_workers")
    }

    pub(crate) fn all_jobs(&self) -> String {
        format!("inflight.{self}.j.>")
    }

    pub(crate) fn jobs_of(&self, partition: u32) -> String {
        format!("inflight.{self}.j.{partition}.*")
    }

    pub(crate) fn job(&self, partition: u32, index: u64) -> String {
        format!("inflight.{self}.j.{partition}.{index}")
    }

    /// The subjects of a job in all partitions.
    pub(crate) fn any_job(&self, index: u64) -> String {
        format!("inflight.{self}.j.*.{index}")
    }

    pub(crate) fn all_results(&self) -> String {
        format!("inflight.{self}.r.*")
    }

    pub(crate) fn all_failures(&self) -> String {
        format!("inflight.{self}.f.*")
    }

    pub(crate) fn failure(&self, kind: &str) -> String {
        format!("inflight.{self}.f.{kind}")
    }

    pub(crate) fn result(&self, index: u64) -> String {
        format!("inflight.{self}.r.{index}")
    }
}

/// Returns the index at the end of the subject of a job or a result.
pub(crate) fn index_of(subject: &str) -> Result<u64, Error> {
    let index = subject.rsplit('.').next().unwrap_or_default();
    index.parse().map_err(|_| {
        Error::new(
            ErrorKind::Data,
            format!("the subject {subject} has no index"),
        )
    })
}
