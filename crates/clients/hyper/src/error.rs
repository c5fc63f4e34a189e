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

/// Whether a request over HTTP/2 got no answer because its connection is gone or going: the server
/// refused the stream, or said that it will not look at it (RFC 9113, sections 6.8 and 8.7), or the
/// connection broke. A stream that is reset for another reason may have been processed, and its
/// connection is well.
pub(crate) fn is_unprocessed(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_none_or(|h2| {
        let is_refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        h2.is_io() || h2.is_remote() && (h2.is_go_away() || is_refused)
    })
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
