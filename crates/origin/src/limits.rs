use std::io;

/// Raises this process's soft limit on open files to its hard limit, and returns the limit now in force.
///
/// A connection costs a descriptor on each side, and the usual soft limit of 1,024 ends an experiment with 5,000
/// connections before it begins. Where the system has no such limit this does nothing and returns `u64::MAX`.
///
/// # Errors
///
/// The system's, when it refuses. macOS does so when the hard limit is above what the kernel allows a process.
#[cfg(unix)]
pub fn raise_file_limit() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        )?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Does nothing on this system, which has no limit on open files to raise, and returns `u64::MAX`.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub fn raise_file_limit() -> io::Result<u64> {
    Ok(u64::MAX)
}
