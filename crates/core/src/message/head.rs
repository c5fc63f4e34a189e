//! What a response's head may say: one verdict, whichever client has read it.

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version};

use crate::error::{Error, ErrorKind};

/// How many fields a head may have, and how many bytes their names and values: what servers send
/// is far below, and what is above is meant to fill memory.
const MAX_FIELDS: usize = 100;
const MAX_BYTES: usize = 64 * 1024;

/// Refuses a head that means different things to different recipients, and one that is a flood.
///
/// Clients are strict in different ways and pass on what they have understood; here is what all
/// of them are held to.
pub(crate) fn check<B>(response: &Response<B>) -> Result<(), Error> {
    framing(response).map(drop)
}

/// What tells where the body ends.
#[derive(Default)]
struct Framing<'a> {
    length: Option<&'a HeaderValue>,
    coding: Option<&'a HeaderValue>,
}

/// One look at each field, as every response is looked at.
fn framing<B>(response: &Response<B>) -> Result<Framing<'_>, Error> {
    // RFC 9110, 15.2.2: it answers an `Upgrade`, which no client here can follow.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused("a change of protocols that nobody asked for"));
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
    /// RFC 9112, 6.3: a length that is invalid, or that differs from another, tells nothing of
    /// where the body ends. A list of equal ones may be refused too.
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
            return Err(refused("a length that is no number"));
        }
        if self.length.is_some_and(|other| other != length) {
            return Err(refused("lengths that contradict each other"));
        }
        self.length = Some(length);
        Ok(())
    }

    /// RFC 9112, 6.1: nobody asked for a coding other than `chunked`, which is applied once, and
    /// on HTTP/1.0 it is a sign of faulty framing.
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

/// Whether the connection of this response must carry no other: the head tells two ends of the
/// body (RFC 9112, 6.3), or the session is going to refuse it.
///
/// For adapters, whose client may put a connection back into its pool before the session has seen
/// the response. Over HTTP/2 a response says nothing about its connection.
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
