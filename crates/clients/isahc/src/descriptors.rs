//! The file descriptors that libcurl needs to start.

use std::fs::File;

use inflight_core::{DescriptorCheck, Error, ErrorKind};
use inflight_net::descriptors::{are_exhausted, limit};

/// The descriptors that the two isahc clients of [`Agents`](crate::agent::Agents) need to start and to send
/// their first requests.
pub(crate) static STARTUP: DescriptorCheck = DescriptorCheck::new("isahc", 16);

/// The number of descriptors that `select` supports.
pub(crate) const SELECT_LIMIT: usize = 1024;

/// Returns the error for a process with too many open files, if this libcurl uses `select`. libcurl
/// reports only that it could not connect.
pub(crate) fn select_limit_error() -> Option<Error> {
    if !cfg!(curl_selects) {
        return None;
    }
    // The system gives out the lowest free descriptor.
    let file = File::open("/dev/null").ok()?;
    let is_above = usize::try_from(next_descriptor(&file)).is_ok_and(|fd| fd >= SELECT_LIMIT);
    is_above.then(|| {
        Error::new(ErrorKind::Unsupported).with_context(
            "the process has more than 1,000 open files, and this build of libcurl uses select: \
             build with CFLAGS=-DHAVE_POLL=1, or send fewer requests at the same time",
        )
    })
}

#[cfg(unix)]
fn next_descriptor(file: &File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}

#[cfg(not(unix))]
fn next_descriptor(_: &File) -> i32 {
    0
}

/// Returns the system's error if the process has no descriptor left. libcurl reports only that it could
/// not connect.
pub(crate) fn exhaustion_error() -> Option<std::io::Error> {
    limit()?;
    File::open("/dev/null")
        .err()
        .filter(|error| are_exhausted(error))
}
