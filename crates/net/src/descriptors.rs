//! File descriptors: the limit of the process, and the error when none is left.

use std::error::Error as StdError;
use std::io;

use inflight_core::{BoxError, Error, ErrorKind};

/// How many idle connections are kept where the system sets no limit on open files.
const WITHOUT_A_LIMIT: usize = 4096;

/// Returns how many descriptors the process may have open: the soft limit of `ulimit -n`. `None` if
/// the system has no such limit.
pub fn limit() -> Option<usize> {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
        Some(usize::try_from(limit).unwrap_or(usize::MAX))
    }
    #[cfg(not(unix))]
    None
}

/// Returns the default limit on a client's idle connections: half of the files that the process may
/// have open. The other half remains for new connections.
pub fn default_max_idle() -> usize {
    limit().map_or(WITHOUT_A_LIMIT, |limit| (limit / 2).max(1))
}

/// Whether the process or the system has no descriptor left for this (`EMFILE`, `ENFILE`).
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

/// The error of a connection for which no descriptor is left, with the remedy.
pub fn exhausted(host: &str, port: u16, error: impl Into<BoxError>) -> Error {
    let limit = limit().map_or_else(String::new, |limit| format!(" ({limit} at most)"));
    Error::new(ErrorKind::Connect)
        .with_context(format!(
            "no file descriptor is left for a connection to {host}:{port}{limit}: raise the limit \
             on open files (ulimit -n) or have fewer requests in flight"
        ))
        .with_source(error)
}
