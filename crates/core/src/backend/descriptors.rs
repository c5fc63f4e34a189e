//! Free file descriptors.

use std::fs::File;
use std::io;

use crate::error::{Error, ErrorKind};

/// The error codes of a process and of a system without a free descriptor: EMFILE and ENFILE. All Unix systems
/// have these values.
const NO_FREE_DESCRIPTOR: [i32; 2] = [24, 23];

/// Checks that `needed` file descriptors are free, for a library that panics if they are not.
///
/// Opens and closes `/dev/null` so often, so call this function once, before the library starts. On systems
/// other than Unix, it always succeeds.
///
/// # Errors
///
/// An error of this kind, which names the library and the remedy.
///
/// ```
/// use inflight_core::{ErrorKind, check_free_descriptors};
///
/// assert!(check_free_descriptors("a reactor", 4, ErrorKind::NoRuntime).is_ok());
/// ```
pub fn check_free_descriptors(library: &str, needed: usize, kind: ErrorKind) -> Result<(), Error> {
    let opened: io::Result<Vec<_>> = (0..needed).map(|_| File::open("/dev/null")).collect();
    match opened {
        Err(error) if is_exhaustion(&error) => Err(Error::new(kind)
            .with_context(format!(
                "{library} needs {needed} free file descriptors to start: raise the limit on open files \
                 (ulimit -n)"
            ))
            .with_source(error)),
        // Any other error does not mean that descriptors are missing.
        _ => Ok(()),
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    cfg!(unix) && code.is_some_and(|code| NO_FREE_DESCRIPTOR.contains(&code))
}
