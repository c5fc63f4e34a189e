//! Parses a response's head in place of async-h1.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode, Version};
use inflight_core::{Error, Framing};

use crate::error::protocol_error;

/// The head that the server sent. surf's types cannot hold every head.
pub(crate) struct Head(pub(crate) http::Response<()>);

const MAX_BYTES: usize = 256 * 1024;
const MAX_FIELDS: usize = 256;

impl Head {
    /// Returns the head at the beginning of these bytes and its length, or `None` if the head is incomplete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        // A user agent must accept folded lines (RFC 9112, section 5.2).
        let mut config = httparse::ParserConfig::default();
        config.allow_obsolete_multiline_headers_in_responses(true);
        let status = config.parse_response(&mut parsed, bytes);
        let status = status.map_err(|error| protocol_error("invalid head").with_source(error))?;
        let httparse::Status::Complete(len) = status else {
            return match bytes.len() {
                ..MAX_BYTES => Ok(None),
                _ => Err(protocol_error("the head is longer than 256 KiB")),
            };
        };
        let version = match parsed.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|error| protocol_error("invalid status").with_source(error))?;
        let mut response = http::Response::new(());
        *response.version_mut() = version;
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.reserve(parsed.headers.len());
        for field in parsed.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|error| protocol_error("invalid header name").with_source(error))?;
            let value = HeaderValue::from_bytes(&unfold(field.value))
                .map_err(|error| protocol_error("invalid header value").with_source(error))?;
            headers.append(name, value);
        }
        Ok(Some((Self(response), len)))
    }

    /// Returns `true` if another response to the same request follows. A response with the status 101 is
    /// final.
    pub(crate) fn is_interim(&self) -> bool {
        let status = self.0.status();
        status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Returns a minimal head with this framing of the body. async-h1 may misread or refuse the server's own
/// head, or panic.
pub(crate) fn head_for_async_h1(framing: Framing) -> String {
    let framing = match framing {
        Framing::NoBody => "content-length: 0".to_owned(),
        Framing::Length(length) => format!("content-length: {length}"),
        Framing::Chunked => "transfer-encoding: chunked".to_owned(),
        // No body reaches this length, so the body ends with the connection.
        Framing::UntilClose => format!("content-length: {}", usize::MAX),
    };
    // Without a date, async-h1 would add one from the clock.
    format!("HTTP/1.1 200 OK\r\ndate: 0\r\n{framing}\r\n\r\n")
}

/// Returns the value with each line fold replaced by a space, even if a line is empty. hyper does the same.
fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value);
    }
    let lines = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    Cow::Owned(lines.collect::<Vec<_>>().join(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fold_becomes_a_space() {
        for (folded, expected) in [
            ("one", "one"),
            ("one\r\n two\n\tthree", "one two three"),
            ("one\r\n \n two", "one  two"),
            // httparse removes the whitespace before a value.
            ("\r\n one", "one"),
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\nX-Folded: {folded}\r\n\r\n");
            let (head, len) = Head::parse(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!(len, bytes.len());
            assert_eq!(head.0.headers()["x-folded"], expected, "{folded:?}");
        }
    }
}
