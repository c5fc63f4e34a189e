//! Conversion of isahc's errors to inflight's.

use std::error::Error as StdError;
use std::io;

use inflight_core::{Error, ErrorKind, Phase, TlsFault};
use isahc::error::ErrorKind as Isahc;

use crate::limits::Limits;

/// Converts the error of a transfer that returned no response.
pub(crate) fn from_isahc(error: isahc::Error, limits: &Limits) -> Error {
    convert(error, || limits.timeout_error())
}

/// Converts the error of a response's body. The phase of a timeout is always `Total`.
pub(crate) fn from_body_read(error: io::Error) -> Error {
    match error.downcast() {
        Ok(error) => convert(error, || Error::timeout(Phase::Total)),
        Err(error) => Error::from_read(error),
    }
}

/// Returns `true` if no connection was made, so nothing was sent.
pub(crate) fn is_connect_failure(error: &isahc::Error) -> bool {
    *error.kind() == Isahc::ConnectionFailed && curl_error(error).and_then(tls_error).is_none()
}

/// Returns `true` if a time limit passed.
pub(crate) fn is_timeout(error: &isahc::Error) -> bool {
    *error.kind() == Isahc::Timeout
}

/// Returns `true` if the proxy may have closed the connection before the tunnel was open.
pub(crate) fn may_be_tunnel_error(error: &isahc::Error) -> bool {
    let curl = curl_error(error);
    curl.is_some_and(|curl| {
        curl.is_recv_error()
            || curl.is_write_error()
            || curl.is_got_nothing()
            || i64::from(curl.code()) == WEIRD_SERVER_REPLY
    })
}

/// Returns `true` if the handshake with a SOCKS5 proxy failed.
pub(crate) fn is_socks_error(error: &isahc::Error) -> bool {
    curl_error(error).is_some_and(|curl| i64::from(curl.code()) == PROXY_HANDSHAKE_FAILED)
}

/// Returns `true` if the connection may have ended before the server processed the request.
///
/// libcurl resends most requests whose pooled connection was dead. It does not resend a request that failed
/// while it was sent, and does not always resend a request over HTTP/2. Over HTTP/2, the server can refuse a
/// stream or exclude it by GOAWAY. In both cases, libcurl reports only a broken stream.
pub(crate) fn may_be_unprocessed(error: &isahc::Error, may_be_http2: bool) -> bool {
    curl_error(error).is_some_and(|curl| {
        curl.is_send_error()
            || curl.is_send_fail_rewind()
            || curl.is_http2_error()
            || curl.is_http2_stream_error()
            || may_be_http2 && (curl.is_recv_error() || curl.is_got_nothing())
    })
}

/// Returns the error for a response that began before the whole request body was sent.
pub(crate) fn upload_cut_off_error() -> Error {
    Error::new(ErrorKind::Unsupported)
        .with_context("isahc stops sending the request when the response begins")
}

/// Converts an error of isahc. `timeout` returns the error for a timeout.
fn convert(error: isahc::Error, timeout: impl FnOnce() -> Error) -> Error {
    // An error of the request's body is returned unchanged.
    if let Some(inner) = Error::find_in(&error) {
        return inner;
    }
    let curl = curl_error(&error);
    if let Some(tls) = curl.and_then(tls_error) {
        return tls.with_source(error);
    }
    let converted = match error.kind() {
        Isahc::Timeout => timeout(),
        Isahc::ConnectionFailed => Error::new(ErrorKind::Connect),
        Isahc::NameResolution => Error::new(ErrorKind::Resolve),
        Isahc::InvalidRequest => Error::new(ErrorKind::InvalidRequest),
        _ => curl.map_or_else(|| Error::new(ErrorKind::Io), from_curl),
    };
    converted.with_source(error)
}

fn curl_error(error: &isahc::Error) -> Option<&curl::Error> {
    error.source()?.downcast_ref()
}

/// Returns the TLS error for a code of libcurl, or `None` if the code has another meaning. The error
/// does not contain the reason, because isahc drops libcurl's message.
fn tls_error(error: &curl::Error) -> Option<Error> {
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

/// Converts a libcurl code. Unlike isahc's kinds, the result distinguishes an early end from a protocol
/// violation.
fn from_curl(error: &curl::Error) -> Error {
    if error.is_read_error() {
        return upload_cut_off_error();
    }
    let is_incomplete = error.is_got_nothing()
        || error.is_partial_file()
        || error.is_send_error()
        || error.is_http2_stream_error()
        // The connection was reset. Malformed chunks have the same code.
        || error.is_recv_error()
        // A pooled connection was dead, and the request could not be resent.
        || error.is_send_fail_rewind();
    let is_violation = error.is_unsupported_protocol()
        // libcurl also uses this code for transfer codings.
        || error.is_bad_content_encoding()
        // isahc could not parse a header.
        || error.is_write_error()
        || error.is_http2_error()
        || matches!(i64::from(error.code()), WEIRD_SERVER_REPLY | TOO_LARGE);
    Error::new(match (is_incomplete, is_violation) {
        (true, _) => ErrorKind::Incomplete,
        (_, true) => ErrorKind::Protocol,
        _ => ErrorKind::Io,
    })
}

// Codes of libcurl for which the `curl` crate has no name.
const WEIRD_SERVER_REPLY: i64 = 8;
const PROXY_HANDSHAKE_FAILED: i64 = 97;
const TOO_LARGE: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libcurl_codes_are_converted_to_error_kinds() {
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
            assert_eq!(from_curl(&curl::Error::new(code)).kind(), kind, "{code}");
        }
    }

    #[test]
    fn tls_codes_are_tls_errors() {
        for (code, tls) in [(7, false), (35, true), (56, false), (58, true), (60, true)] {
            let error = tls_error(&curl::Error::new(code));
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, tls.then_some(ErrorKind::Tls), "{code}");
        }
    }

    #[test]
    fn an_error_of_the_body_is_returned_unchanged() {
        let original = Error::new(ErrorKind::Resolve).with_context("from the body");
        let error = isahc::Error::from(io::Error::from(original));
        let converted = convert(error, || Error::timeout(Phase::Total));
        assert_eq!(converted.kind(), ErrorKind::Resolve);
        assert!(converted.to_string().contains("from the body"));
    }

    #[test]
    fn the_caller_selects_the_phase_of_a_timeout_error() {
        let error = io::Error::from(isahc::Error::from(Isahc::Timeout));
        assert_eq!(from_body_read(error).phase(), Some(Phase::Total));
        let error = isahc::Error::from(Isahc::Timeout);
        let connect = convert(error, || Error::timeout(Phase::Connect));
        assert_eq!(connect.phase(), Some(Phase::Connect));
    }
}
