//! Conversion of surf's errors to inflight's.

use std::io;

use inflight_core::{Error, ErrorKind};

/// Converts an error of surf.
pub(crate) fn from_surf(error: surf::Error) -> Error {
    // An error of the transport is returned unchanged.
    let error = match error.downcast::<Error>() {
        Ok(inner) => return inner,
        Err(error) => error,
    };
    match error.downcast::<io::Error>() {
        Ok(error) => Error::from_read(error),
        // All other errors come from async-h1, which could not decode the response.
        Err(error) => Error::new(ErrorKind::Protocol).with_source(error.into_inner()),
    }
}

/// Returns the error for a response that violates HTTP.
pub(crate) fn protocol_error(context: &'static str) -> Error {
    Error::new(ErrorKind::Protocol).with_context(context)
}
