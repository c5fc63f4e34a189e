//! isahc's errors as ours: one table.

use std::error::Error as StdError;
use std::io;

use inflight_core::{Error, ErrorKind, Phase};
use isahc::error::ErrorKind as Isahc;

use crate::limits::Limits;

/// The verdict on a transfer that gave no response.
pub(crate) fn map(error: isahc::Error, limits: &Limits) -> Error {
    verdict(error, || limits.verdict())
}

/// The verdict on a body that broke off. Its connection was made long ago.
pub(crate) fn map_read(error: io::Error) -> Error {
    match error.downcast() {
        Ok(error) => verdict(error, || Error::timeout(Phase::Total)),
        Err(error) => Error::from_read(error),
    }
}

/// isahc ends a request's body when the response begins, sent or not.
pub(crate) fn cut_off() -> Error {
    Error::new(ErrorKind::Unsupported)
        .with_context("isahc sends nothing more once the response has begun")
}

fn verdict(error: isahc::Error, timeout: impl FnOnce() -> Error) -> Error {
    // What a request's body said comes back as it was.
    if let Some(ours) = Error::find_in(&error) {
        return ours;
    }
    let curl = error.source().and_then(|source| source.downcast_ref());
    let ours = match error.kind() {
        Isahc::Timeout => timeout(),
        Isahc::ConnectionFailed => Error::new(ErrorKind::Connect),
        Isahc::NameResolution => Error::new(ErrorKind::Resolve),
        Isahc::InvalidRequest => Error::new(ErrorKind::InvalidRequest),
        _ => curl.map_or_else(|| Error::new(ErrorKind::Io), of_curl),
    };
    ours.with_source(error)
}

/// isahc's kinds are too coarse for the rest: libcurl's code tells an early end from nonsense.
fn of_curl(error: &curl::Error) -> Error {
    if error.is_read_error() {
        return cut_off();
    }
    let incomplete = error.is_got_nothing()
        || error.is_partial_file()
        || error.is_send_error()
        // A reset. Chunks that make no sense have the same code.
        || error.is_recv_error()
        // A kept connection was dead, and the request could not be repeated.
        || error.is_send_fail_rewind();
    let nonsense = error.is_unsupported_protocol()
        // isahc could not make a header of it.
        || error.is_write_error()
        || matches!(i64::from(error.code()), WEIRD_SERVER_REPLY | TOO_LARGE);
    Error::new(match (incomplete, nonsense) {
        (true, _) => ErrorKind::Incomplete,
        (_, true) => ErrorKind::Protocol,
        _ => ErrorKind::Io,
    })
}

// libcurl's codes that the `curl` crate has no name for.
const WEIRD_SERVER_REPLY: i64 = 8;
const TOO_LARGE: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libcurls_codes_have_their_kinds() {
        for (code, kind) in [
            (1, ErrorKind::Protocol),
            (8, ErrorKind::Protocol),
            (18, ErrorKind::Incomplete),
            (23, ErrorKind::Protocol),
            (26, ErrorKind::Unsupported),
            (27, ErrorKind::Io),
            (52, ErrorKind::Incomplete),
            (55, ErrorKind::Incomplete),
            (56, ErrorKind::Incomplete),
            (65, ErrorKind::Incomplete),
            (100, ErrorKind::Protocol),
        ] {
            assert_eq!(of_curl(&curl::Error::new(code)).kind(), kind, "{code}");
        }
    }

    #[test]
    fn what_a_body_said_comes_back_as_it_was() {
        let said = Error::new(ErrorKind::Resolve).with_context("said");
        let error = isahc::Error::from(io::Error::from(said));
        let back = verdict(error, || Error::timeout(Phase::Total));
        assert_eq!(back.kind(), ErrorKind::Resolve);
        assert!(back.to_string().contains("said"));
    }

    #[test]
    fn timeouts_have_the_phase_they_are_given() {
        let error = io::Error::from(isahc::Error::from(Isahc::Timeout));
        assert_eq!(map_read(error).phase(), Some(Phase::Total));
        let error = isahc::Error::from(Isahc::Timeout);
        let connect = verdict(error, || Error::timeout(Phase::Connect));
        assert_eq!(connect.phase(), Some(Phase::Connect));
    }
}
