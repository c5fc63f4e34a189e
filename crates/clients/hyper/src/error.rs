//! Conversion of hyper's errors to inflight's.

use std::error::Error as StdError;
use std::io;

use inflight_core::{Error, ErrorKind};

/// Converts an error of hyper.
pub(crate) fn from_hyper(error: impl StdError + Send + Sync + 'static) -> Error {
    // An inflight error, for example of the request's body, is returned unchanged.
    if let Some(inner) = Error::find_in(&error) {
        return inner;
    }
    if let Some(tls_error) = inflight_net::tls::from_source_chain(&error) {
        return tls_error;
    }
    let kind = match find::<hyper::Error>(&error) {
        Some(hyper) if hyper.is_parse() => ErrorKind::Protocol,
        // The connection ended before the head was complete, or before the request was written.
        Some(hyper) if hyper.is_incomplete_message() || hyper.is_canceled() => {
            ErrorKind::Incomplete
        }
        _ => match (find::<h2::Error>(&error), find::<io::Error>(&error)) {
            (Some(h2), _) => h2_kind(h2),
            (None, Some(io)) => Error::from_read(io::Error::from(io.kind())).kind(),
            _ if find::<hyper::Error>(&error).is_some_and(is_unexpected) => ErrorKind::Protocol,
            _ => ErrorKind::Io,
        },
    };
    Error::new(kind).with_source(error)
}

/// Returns the kind of an HTTP/2 error: `Incomplete` if the stream or the connection ended, and `Protocol` if
/// the server violated the protocol.
fn h2_kind(error: &h2::Error) -> ErrorKind {
    if error.is_remote() || error.is_io() {
        ErrorKind::Incomplete
    } else if error.is_library() {
        ErrorKind::Protocol
    } else {
        ErrorKind::Io
    }
}

/// Returns `true` if the server has not processed a request over HTTP/2, because it refused the stream
/// or excluded it by GOAWAY (RFC 9113, sections 6.8 and 8.7). The server may have processed a request
/// whose stream was reset for another reason or whose connection failed.
pub(crate) fn is_unprocessed(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|h2| {
        let is_refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        h2.is_remote() && (h2.is_go_away() || is_refused)
    })
}

/// Returns `true` if the whole connection failed, and not only the request's stream.
pub(crate) fn is_connection_failure(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_none_or(h2::Error::is_io)
}

/// Returns `true` if the server accepts no more requests on the connection.
pub(crate) fn is_go_away(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|h2| h2.is_remote() && h2.is_go_away())
}

/// Returns `true` if hyper dropped the request. hyper has no predicate for this error.
pub(crate) fn is_dropped(error: &hyper::Error) -> bool {
    error.is_user() && error.to_string() == "dispatch task is gone"
}

/// Returns `true` if the peer sent an unexpected message. hyper has no predicate for this error, and the
/// error has no source. So the function excludes errors with a source, and then the other errors without
/// one. The caller must already have excluded parse errors, incomplete messages and cancelled requests.
fn is_unexpected(error: &hyper::Error) -> bool {
    error.source().is_none()
        && !(error.is_user()
            || error.is_closed()
            || error.is_timeout()
            || error.is_shutdown()
            || error.is_body_write_aborted())
}

/// Returns the first error of type `T` in the error's chain of sources.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
