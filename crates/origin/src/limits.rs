use std::io;

/// Raises this process's soft limit on open files to its hard limit, and returns the hard limit.
///
/// Each end of a connection uses a descriptor, so an experiment with 5,000 connections needs more than
/// the usual soft limit of 1,024. On systems without a limit on open files, this function only returns
/// `u64::MAX`.
///
/// # Errors
///
/// Fails when the system refuses the new limit. macOS refuses it when the hard limit exceeds the
/// kernel's limit for a process.
#[cfg(unix)]
pub fn raise_file_limit() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Returns `u64::MAX`, because this system has no limit on open files.
///
/// # Errors
///
/// Never fails.
#[cfg(not(unix))]
pub fn raise_file_limit() -> io::Result<u64> {
    Ok(u64::MAX)
}
