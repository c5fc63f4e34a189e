//! Free file descriptors.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind};

/// The error codes of a process and of a system without a free descriptor: EMFILE and ENFILE. All Unix systems
/// have these values.
const NO_FREE_DESCRIPTOR: [i32; 2] = [24, 23];

/// The file descriptors that a library needs to start. The library panics if they are not free.
///
/// ```
/// use inflight_core::{DescriptorCheck, ErrorKind};
///
/// static REACTOR: DescriptorCheck = DescriptorCheck::new("a reactor", 4);
///
/// assert!(REACTOR.check_once(ErrorKind::NoRuntime).is_ok());
/// ```
#[derive(Debug)]
pub struct DescriptorCheck {
    library: &'static str,
    needed: usize,
    has_succeeded: AtomicBool,
}

impl DescriptorCheck {
    /// Returns a check for a library that needs this number of descriptors.
    pub const fn new(library: &'static str, needed: usize) -> Self {
        Self {
            library,
            needed,
            has_succeeded: AtomicBool::new(false),
        }
    }

    /// Checks that the descriptors are free. Opens and closes `/dev/null`. On systems other than Unix, the
    /// check always succeeds.
    ///
    /// # Errors
    ///
    /// An error of this kind, which names the library and the remedy.
    pub fn check(&self, kind: ErrorKind) -> Result<(), Error> {
        let (library, needed) = (self.library, self.needed);
        let opened: io::Result<Vec<_>> = (0..needed).map(|_| File::open("/dev/null")).collect();
        match opened {
            Err(error) if is_exhaustion(&error) => Err(Error::new(kind)
                .with_context(format!(
                    "{library} needs {needed} free file descriptors to start: raise the limit on open \
                     files (ulimit -n)"
                ))
                .with_source(error)),
            // Any other error does not mean that descriptors are missing.
            _ => Ok(()),
        }
    }

    /// Checks that the descriptors are free, for a library that starts once in a process. After the first
    /// success, the check always succeeds.
    ///
    /// # Errors
    ///
    /// The same as [`check`](Self::check).
    pub fn check_once(&self, kind: ErrorKind) -> Result<(), Error> {
        if !self.has_succeeded.load(Ordering::Relaxed) {
            self.check(kind)?;
            self.has_succeeded.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    cfg!(unix) && code.is_some_and(|code| NO_FREE_DESCRIPTOR.contains(&code))
}
