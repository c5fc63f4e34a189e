//! Parses a response's head in place of async-h1.

use std::borrow::Cow;
use std::str;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use inflight_core::{Error, retires_connection};

use crate::error::protocol;

/// The head that the server sent. surf's types could not hold every head.
pub(crate) struct Head(pub(crate) http::Response<()>);

/// How a response's body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Nothing,
    Length(u64),
    Chunked,
    /// The body ends with the connection.
    Close,
}

const MAX_BYTES: usize = 256 * 1024;
const MAX_FIELDS: usize = 256;

impl Head {
    /// Returns the head at the beginning of these bytes and its length, or `None` if it is incomplete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        // A user agent must accept folded lines (RFC 9112, section 5.2).
        let mut config = httparse::ParserConfig::default();
        config.allow_obsolete_multiline_headers_in_responses(true);
        let status = config.parse_response(&mut parsed, bytes);
        let status = status.map_err(|error| protocol("invalid head").with_source(error))?;
        let httparse::Status::Complete(len) = status else {
            return match bytes.len() {
                ..MAX_BYTES => Ok(None),
                _ => Err(protocol("the head is longer than 256 KiB")),
            };
        };
        let version = match parsed.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|error| protocol("invalid status").with_source(error))?;
        let mut response = http::Response::new(());
        *response.version_mut() = version;
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.reserve(parsed.headers.len());
        for field in parsed.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|error| protocol("invalid header name").with_source(error))?;
            let value = HeaderValue::from_bytes(&unfolded(field.value))
                .map_err(|error| protocol("invalid header value").with_source(error))?;
            headers.append(name, value);
        }
        Ok(Some((Self(response), len)))
    }

    /// Returns `true` if another response follows. 101 is final.
    pub(crate) fn is_interim(&self) -> bool {
        let status = self.0.status();
        status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Returns `true` if the connection may be reused (RFC 9112, section 9.3).
    pub(crate) fn is_persistent(&self) -> bool {
        let mut options = self.0.headers().get_all(CONNECTION).iter();
        self.0.version() == Version::HTTP_11
            && !retires_connection(&self.0)
            && !options.any(says_close)
    }

    /// Returns the framing of the body. `to_head` is `true` for the response to a HEAD request.
    pub(crate) fn framing(&self, to_head: bool) -> Result<Framing, Error> {
        let (status, headers) = (self.0.status(), self.0.headers());
        let bodiless = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        if to_head || bodiless {
            return Ok(Framing::Nothing);
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        match (codings.next(), codings.next()) {
            (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                return Ok(Framing::Chunked);
            }
            (None, _) => {}
            _ => return Err(protocol("unsupported transfer coding")),
        }
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        let Some(first) = lengths.next() else {
            return Ok(Framing::Close);
        };
        match length(first) {
            None => Err(protocol("invalid content-length")),
            Some(_) if lengths.any(|other| other != first) => {
                Err(protocol("different values of content-length"))
            }
            Some(0) => Ok(Framing::Nothing),
            Some(length) => Ok(Framing::Length(length)),
        }
    }
}

impl Framing {
    /// Returns a minimal head with the framing of the body. async-h1 might misread, refuse or panic at the
    /// server's head.
    pub(crate) fn head_for_async_h1(self) -> String {
        let framing = match self {
            Self::Nothing => "content-length: 0".to_owned(),
            Self::Length(length) => format!("content-length: {length}"),
            Self::Chunked => "transfer-encoding: chunked".to_owned(),
            // More bytes than can arrive. The body ends with the connection.
            Self::Close => format!("content-length: {}", usize::MAX),
        };
        // Without a date, async-h1 would add one from the clock.
        format!("HTTP/1.1 200 OK\r\ndate: 0\r\n{framing}\r\n\r\n")
    }
}

/// Returns the value with each fold replaced by a space.
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value);
    }
    let lines = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    Cow::Owned(lines.join(&b' '))
}

fn says_close(options: &HeaderValue) -> bool {
    let mut options = options.as_bytes().split(|&byte| byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Parses a `Content-Length`, which has only digits.
pub(crate) fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use inflight_core::ErrorKind;

    fn framing(fields: &str) -> Result<Framing, ErrorKind> {
        let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\nbody");
        let (head, len) = Head::parse(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!(&bytes[len..], "body");
        head.framing(false).map_err(|error| error.kind())
    }

    #[test]
    fn body_ends_as_rfc_9112_says() {
        assert_eq!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Content-Length: 0\r\n"), Ok(Framing::Nothing));
        assert_eq!(framing(""), Ok(Framing::Close));
        assert_eq!(
            framing("Content-Length: 5\r\nTransfer-Encoding: Chunked\r\n"),
            Ok(Framing::Chunked)
        );
        let twice = "Content-Length: 5\r\nContent-Length: 5\r\n";
        assert_eq!(framing(twice), Ok(Framing::Length(5)));
    }

    #[test]
    fn framing_that_cannot_be_trusted_is_protocol() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 0\r\nContent-Length: 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(framing(fields), Err(ErrorKind::Protocol), "{fields}");
        }
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for status in ["101", "204", "304"] {
            let bytes = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
            let (head, _) = Head::parse(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!(head.framing(false).unwrap(), Framing::Nothing);
        }
        let (head, _) = Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(head.framing(true).unwrap(), Framing::Nothing);
    }
}
