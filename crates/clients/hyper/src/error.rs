//! hyper's errors as ours: one table.

use std::error::Error as StdError;
use std::io;

use inflight_core::{Error, ErrorKind};

/// The verdict on an error of hyper's.
pub(crate) fn map(error: impl StdError + Send + Sync + 'static) -> Error {
    // What our own connector or a request's body said comes back as it was.
    if let Some(ours) = Error::find_in(&error) {
        return ours;
    }
    if let Some(tls) = inflight_net::tls::find(&error) {
        return tls;
    }
    let kind = match find::<hyper::Error>(&error) {
        Some(hyper) if hyper.is_parse() => ErrorKind::Protocol,
        // The connection ended before the head, or before the request could be written.
        Some(hyper) if hyper.is_incomplete_message() || hyper.is_canceled() => {
            ErrorKind::Incomplete
        }
        _ => match (find::<h2::Error>(&error), find::<io::Error>(&error)) {
            (Some(h2), _) => of_h2(h2),
            (None, Some(io)) => Error::from_read(io::Error::from(io.kind())).kind(),
            _ if find::<hyper::Error>(&error).is_some_and(is_unexpected) => ErrorKind::Protocol,
            _ => ErrorKind::Io,
        },
    };
    Error::new(kind).with_source(error)
}

/// The server ended the stream or the connection, or what it sent is no HTTP/2.
fn of_h2(error: &h2::Error) -> ErrorKind {
    if error.is_remote() || error.is_io() {
        ErrorKind::Incomplete
    } else if error.is_library() {
        ErrorKind::Protocol
    } else {
        ErrorKind::Io
    }
}

/// Whether the server has not processed a request over HTTP/2: it refused the stream, or said that it
/// will not look at it (RFC 9113, sections 6.8 and 8.7). A stream that is reset for another reason,
/// or whose connection broke, may have been processed.
pub(crate) fn is_unprocessed(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|h2| {
        let is_refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        h2.is_remote() && (h2.is_go_away() || is_refused)
    })
}

/// Whether the connection is gone, and not the request's stream alone.
pub(crate) fn has_broken(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_none_or(h2::Error::is_io)
}

/// Whether the server takes no more requests on the connection.
pub(crate) fn is_go_away(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|h2| h2.is_remote() && h2.is_go_away())
}

/// Whether hyper dropped the request. There is no predicate for it.
pub(crate) fn is_dropped(error: &hyper::Error) -> bool {
    error.is_user() && error.to_string() == "dispatch task is gone"
}

/// Whether the peer spoke when it was not its turn. hyper has a predicate for everything but this.
fn is_unexpected(error: &hyper::Error) -> bool {
    error.source().is_none()
        && !(error.is_user()
            || error.is_closed()
            || error.is_timeout()
            || error.is_shutdown()
            || error.is_body_write_aborted())
}

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
