//! The limit on file descriptors, and the error when none is left.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use inflight_core::{BoxError, Error, ErrorKind};

/// The default limit on idle connections if the system has no limit on open files.
const DEFAULT_MAX_IDLE: usize = 4096;

/// Returns the soft limit on open file descriptors (`ulimit -n`), or `None` if there is no limit.
pub fn limit() -> Option<usize> {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
        Some(usize::try_from(limit).unwrap_or(usize::MAX))
    }
    #[cfg(not(unix))]
    None
}

/// Returns the default limit on a client's idle connections: half of [`limit`], and at least 1. The other
/// half remains for new connections. Returns 4096 if there is no limit.
pub fn default_max_idle() -> usize {
    limit().map_or(DEFAULT_MAX_IDLE, |limit| (limit / 2).max(1))
}

/// Returns `true` if the error or one of its sources is `EMFILE` or `ENFILE`, which mean that the process
/// or the system has no file descriptor left.
pub fn are_exhausted(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && is_exhaustion(error)
        {
            return true;
        }
        next = error.source();
    }
    false
}

pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
        let code = error.raw_os_error();
        codes.iter().any(|errno| code == Some(errno.raw_os_error()))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Returns the error for a connect to `target` that failed because no file descriptor was left. The message
/// suggests a remedy.
pub fn exhausted_error(target: impl fmt::Display, error: impl Into<BoxError>) -> Error {
    let limit = limit().map_or_else(String::new, |limit| format!(" ({limit} at most)"));
    Error::new(ErrorKind::Connect)
        .with_context(format!(
            "no file descriptor is left for a connection to {target}{limit}: raise the limit \
             on open files (ulimit -n) or send fewer requests at the same time"
        ))
        .with_source(error)
}
