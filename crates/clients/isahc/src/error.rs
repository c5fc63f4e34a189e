//! isahc's errors as ours: one table.

use std::error::Error as StdError;
use std::io;

use inflight_core::{Error, ErrorKind, Phase, TlsFault};
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

/// Whether no connection was made, so that nothing was sent.
pub(crate) fn is_refused(error: &isahc::Error) -> bool {
    *error.kind() == Isahc::ConnectionFailed && curl_of(error).and_then(of_tls).is_none()
}

/// Whether a limit passed that libcurl was given.
pub(crate) fn is_timeout(error: &isahc::Error) -> bool {
    *error.kind() == Isahc::Timeout
}

/// Whether it may have been the proxy that ended the connection, before there was a tunnel.
pub(crate) fn may_be_of_a_tunnel(error: &isahc::Error) -> bool {
    let curl = curl_of(error);
    curl.is_some_and(|curl| {
        curl.is_recv_error()
            || curl.is_write_error()
            || curl.is_got_nothing()
            || i64::from(curl.code()) == WEIRD_SERVER_REPLY
    })
}

/// Whether the connection may have ended before the server processed the request. libcurl itself
/// repeats a request over HTTP/1 that found its kept connection dead, but none that failed while it
/// was sent, and none over HTTP/2, where it tells a stream that the server has refused or excluded by
/// GOAWAY as one that broke.
pub(crate) fn may_be_unprocessed(error: &isahc::Error, may_be_http2: bool) -> bool {
    curl_of(error).is_some_and(|curl| {
        curl.is_send_error()
            || curl.is_send_fail_rewind()
            || curl.is_http2_error()
            || curl.is_http2_stream_error()
            || may_be_http2 && (curl.is_recv_error() || curl.is_got_nothing())
    })
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
    let curl = curl_of(&error);
    if let Some(tls) = curl.and_then(of_tls) {
        return tls.with_source(error);
    }
    let ours = match error.kind() {
        Isahc::Timeout => timeout(),
        Isahc::ConnectionFailed => Error::new(ErrorKind::Connect),
        Isahc::NameResolution => Error::new(ErrorKind::Resolve),
        Isahc::InvalidRequest => Error::new(ErrorKind::InvalidRequest),
        _ => curl.map_or_else(|| Error::new(ErrorKind::Io), of_curl),
    };
    ours.with_source(error)
}

fn curl_of(error: &isahc::Error) -> Option<&curl::Error> {
    error.source()?.downcast_ref()
}

/// A connection that could not be secured. Why is in the words that come with libcurl's code, and
/// isahc drops them.
fn of_tls(error: &curl::Error) -> Option<Error> {
    let tls = Error::tls(TlsFault::Other);
    if error.is_peer_failed_verification() {
        return Some(tls.with_context("the server's certificate was refused"));
    }
    let handshake = error.is_ssl_connect_error()
        || error.is_ssl_cacert_badfile()
        || error.is_ssl_certproblem()
        || error.is_ssl_cipher();
    handshake.then_some(tls)
}

/// isahc's kinds are too coarse for the rest: libcurl's code tells an early end from nonsense.
fn of_curl(error: &curl::Error) -> Error {
    if error.is_read_error() {
        return cut_off();
    }
    let incomplete = error.is_got_nothing()
        || error.is_partial_file()
        || error.is_send_error()
        || error.is_http2_stream_error()
        // A reset. Chunks that make no sense have the same code.
        || error.is_recv_error()
        // A kept connection was dead, and the request could not be repeated.
        || error.is_send_fail_rewind();
    let nonsense = error.is_unsupported_protocol()
        // Transfer codings among them.
        || error.is_bad_content_encoding()
        // isahc could not make a header of it.
        || error.is_write_error()
        || error.is_http2_error()
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
            (61, ErrorKind::Protocol),
            (65, ErrorKind::Incomplete),
            (100, ErrorKind::Protocol),
        ] {
            assert_eq!(of_curl(&curl::Error::new(code)).kind(), kind, "{code}");
        }
    }

    #[test]
    fn a_connection_that_is_not_secured_is_tls() {
        for (code, tls) in [(7, false), (35, true), (56, false), (58, true), (60, true)] {
            let verdict = of_tls(&curl::Error::new(code));
            let kind = verdict.map(|error| error.kind());
            assert_eq!(kind, tls.then_some(ErrorKind::Tls), "{code}");
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
