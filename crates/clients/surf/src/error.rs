//! surf's errors as ours: one table.

use std::io;

use inflight_core::{Error, ErrorKind};

pub(crate) fn map(error: surf::Error) -> Error {
    // What our own transport said comes back as it was, and the socket's errors, and a request's
    // body in them, as they do from every client.
    let error = match error.downcast::<Error>() {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    match error.downcast::<io::Error>() {
        Ok(error) => Error::from_read(error),
        // All else is what async-h1 has to say of a response.
        Err(error) => Error::new(ErrorKind::Protocol).with_source(error.into_inner()),
    }
}

/// A response that async-h1 cannot be trusted with.
pub(crate) fn protocol(what: &'static str) -> Error {
    Error::new(ErrorKind::Protocol).with_context(what)
}
