//! Conversion of surf's errors to inflight's.

use std::io;

use inflight_core::{Error, ErrorKind};

pub(crate) fn map(error: surf::Error) -> Error {
    // Returns an error of the transport unchanged.
    let error = match error.downcast::<Error>() {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    match error.downcast::<io::Error>() {
        Ok(error) => Error::from_read(error),
        // All other errors are async-h1's, about the response.
        Err(error) => Error::new(ErrorKind::Protocol).with_source(error.into_inner()),
    }
}

/// Returns the error for a response that violates HTTP.
pub(crate) fn protocol(what: &'static str) -> Error {
    Error::new(ErrorKind::Protocol).with_context(what)
}
