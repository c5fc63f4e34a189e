//! The rules for a response's head, which are the same for every client.

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version};

use crate::error::{Error, ErrorKind};

/// The limits on the fields of a head and on the bytes of their names and values. Servers send far
/// less. A larger head is an attempt to fill memory.
const MAX_FIELDS: usize = 100;
const MAX_BYTES: usize = 64 * 1024;

/// Refuses a head that is ambiguous, and one that is too large.
///
/// Clients differ in their strictness and pass on what they have parsed. This check makes the
/// result the same for all of them.
pub(crate) fn check<B>(response: &Response<B>) -> Result<(), Error> {
    framing(response).map(drop)
}

/// The fields that determine the end of the body.
#[derive(Default)]
struct Framing<'a> {
    length: Option<&'a HeaderValue>,
    coding: Option<&'a HeaderValue>,
}

/// Visits each field once, because every response passes through here.
fn framing<B>(response: &Response<B>) -> Result<Framing<'_>, Error> {
    // A 101 accepts an `Upgrade` (RFC 9110, 15.2.2), which no client here sends.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused("a 101 (Switching Protocols) without an upgrade"));
    }
    if response.headers().len() > MAX_FIELDS {
        return Err(refused("more than 100 header fields"));
    }
    let mut bytes = 0;
    let mut framing = Framing::default();
    for (name, value) in response.headers() {
        bytes += name.as_str().len() + value.len();
        if name == CONTENT_LENGTH {
            framing.add_length(value)?;
        } else if name == TRANSFER_ENCODING {
            framing.add_coding(value, response.version())?;
        }
    }
    if bytes > MAX_BYTES {
        return Err(refused("header fields of more than 64 KiB"));
    }
    Ok(framing)
}

impl<'a> Framing<'a> {
    /// RFC 9112, 6.3: a length that is invalid, or that differs from another, does not determine
    /// the end of the body. A list of equal lengths may be refused too.
    fn add_length(&mut self, length: &'a HeaderValue) -> Result<(), Error> {
        let mut number = (!length.is_empty()).then_some(0_u64);
        for byte in length.as_bytes() {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
            let so_far = number.and_then(|number| number.checked_mul(10));
            number = so_far
                .zip(digit)
                .and_then(|(number, digit)| number.checked_add(digit));
        }
        if number.is_none() {
            return Err(refused("the Content-Length is not a number"));
        }
        if self.length.is_some_and(|other| other != length) {
            return Err(refused("two different values of Content-Length"));
        }
        self.length = Some(length);
        Ok(())
    }

    /// RFC 9112, 6.1: requests accept no coding but `chunked`, which is applied once. On HTTP/1.0 a
    /// transfer coding indicates faulty framing.
    fn add_coding(&mut self, coding: &'a HeaderValue, version: Version) -> Result<(), Error> {
        if self.coding.is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(refused("a transfer coding other than chunked"));
        }
        if version < Version::HTTP_11 {
            return Err(refused("a transfer coding on HTTP/1.0"));
        }
        self.coding = Some(coding);
        Ok(())
    }
}

/// Returns whether the connection of this response must not be reused: the head defines two ends of
/// the body (RFC 9112, 6.3), or the session will refuse it.
///
/// An adapter needs this function if its client may return a connection to the pool before the
/// session has checked the response. For HTTP/2 it returns `false`, because a response does not
/// affect its connection.
///
/// ```
/// use inflight_core::{http, retires_connection};
///
/// let response = http::Response::builder().header("content-length", "5");
/// assert!(!retires_connection(&response.body(())?));
/// let response = http::Response::builder()
///     .header("content-length", "5")
///     .header("transfer-encoding", "chunked");
/// assert!(retires_connection(&response.body(())?));
/// # Ok::<(), http::Error>(())
/// ```
pub fn retires_connection<B>(response: &Response<B>) -> bool {
    response.version() < Version::HTTP_2
        && framing(response).map_or(true, |framing| {
            framing.length.is_some() && framing.coding.is_some()
        })
}

fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::Protocol).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(version: Version, fields: &[(&str, &str)]) -> Result<(), ErrorKind> {
        let mut response = Response::builder().version(version);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        check(&response.body(()).unwrap()).map_err(|error| error.kind())
    }

    fn accepted(fields: &[(&str, &str)]) -> bool {
        match verdict(Version::HTTP_11, fields) {
            Ok(()) => true,
            Err(kind) => {
                assert_eq!(kind, ErrorKind::Protocol);
                false
            }
        }
    }

    #[test]
    fn lengths_are_digits_and_agree() {
        for lengths in [&["5"][..], &["5", "5"], &["05"], &["18446744073709551615"]] {
            let fields: Vec<_> = lengths.iter().map(|l| ("content-length", *l)).collect();
            assert!(accepted(&fields), "{lengths:?}");
        }
        for lengths in [
            &[""][..],
            &["+5"],
            &["-5"],
            &["5, 5"],
            &["5 "],
            &["18446744073709551616"],
            &["5", "6"],
            &["5", "05"],
            &["0", "5"],
        ] {
            let fields: Vec<_> = lengths.iter().map(|l| ("content-length", *l)).collect();
            assert!(!accepted(&fields), "{lengths:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_coding_and_comes_once() {
        let coding = "transfer-encoding";
        assert!(accepted(&[(coding, "Chunked")]));
        assert!(accepted(&[(coding, "chunked"), ("content-length", "5")]));
        for value in ["", "gzip", "gzip, chunked", "chunked, chunked", "identity"] {
            assert!(!accepted(&[(coding, value)]), "{value:?}");
        }
        assert!(!accepted(&[(coding, "chunked"), (coding, "chunked")]));
        let old = verdict(Version::HTTP_10, &[(coding, "chunked")]);
        assert_eq!(old, Err(ErrorKind::Protocol));
        assert!(verdict(Version::HTTP_2, &[]).is_ok());
    }

    #[test]
    fn floods_are_refused() {
        assert!(accepted(&[("x", "y"); MAX_FIELDS]));
        assert!(!accepted(&[("x", "y"); MAX_FIELDS + 1]));
        let long = "v".repeat(MAX_BYTES - 1);
        assert!(accepted(&[("x", &long)]));
        assert!(!accepted(&[("xx", &long)]));
    }

    #[test]
    fn change_of_protocols_is_refused() {
        let response = Response::builder().status(101).body(()).unwrap();
        assert_eq!(check(&response).unwrap_err().kind(), ErrorKind::Protocol);
    }
}
