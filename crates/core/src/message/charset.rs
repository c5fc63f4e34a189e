//! Conversion of bytes to text, by the charset of a response.

use bytes::{Buf, Bytes};
use encoding_rs::{Encoding, UTF_8};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::{Error, ErrorKind};

/// Returns the charset of a response with these headers: UTF-8 by default, or an error if the
/// Encoding Standard does not define the charset.
pub(crate) fn declared(headers: &HeaderMap) -> Result<&'static Encoding, Error> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let Some(label) = content_type.and_then(parameter) else {
        return Ok(UTF_8);
    };
    Encoding::for_label_no_replacement(label).ok_or_else(|| {
        let label = String::from_utf8_lossy(label);
        Error::new(ErrorKind::Decode).with_context(format!("unknown charset {label:?}"))
    })
}

/// Returns the text of a body. A byte order mark takes precedence over `declared`, as in browsers,
/// and is not part of the text. Malformed bytes are an error and are never replaced.
pub(crate) fn decode(
    mut bytes: Bytes,
    declared: Result<&'static Encoding, Error>,
) -> Result<String, Error> {
    let encoding = match Encoding::for_bom(&bytes) {
        Some((encoding, len)) => {
            bytes.advance(len);
            encoding
        }
        None => declared?,
    };
    let malformed =
        || Error::new(ErrorKind::Decode).with_context(format!("invalid {}", encoding.name()));
    if encoding == UTF_8 {
        // Without a copy, if there is no other handle on the bytes.
        return String::from_utf8(bytes.into())
            .map_err(|error| malformed().with_source(error.utf8_error()));
    }
    let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes);
    text.map(String::from).ok_or_else(malformed)
}

/// Returns the first `charset` parameter of a media type (RFC 9110, 8.3.1), bare or in quotes.
fn parameter(media_type: &[u8]) -> Option<&[u8]> {
    let find = |text: &[u8], byte| text.iter().position(|other| *other == byte);
    let mut rest = &media_type[find(media_type, b';')?..];
    while let Some(text) = rest.strip_prefix(b";") {
        let end = text.iter().position(|byte| matches!(byte, b'=' | b';'))?;
        let (name, value) = text.split_at(end);
        let Some(value) = value.strip_prefix(b"=") else {
            rest = value;
            continue;
        };
        let value = value.trim_ascii_start();
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.split_at(find(quoted, b'"')?),
            None => value.split_at(find(value, b';').unwrap_or(value.len())),
        };
        if name.trim_ascii().eq_ignore_ascii_case(b"charset") {
            return Some(value.trim_ascii());
        }
        rest = find(after, b';').map_or(&[][..], |at| &after[at..]);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_is_found_among_the_parameters() {
        for (media_type, charset) in [
            ("text/html; charset=utf-8", Some("utf-8")),
            ("text/html;charset=\"Shift_JIS\"", Some("Shift_JIS")),
            ("text/html ; CharSet = koi8-r ; a=b", Some("koi8-r")),
            ("text/html; a=\"; charset=no\"; charset=yes", Some("yes")),
            ("text/html; level; charset=yes", Some("yes")),
            ("text/html;; charset=yes;", Some("yes")),
            ("text/html; charset=one; charset=two", Some("one")),
            ("text/html; charset=", Some("")),
            ("text/html; charset", None),
            ("text/html; charset=\"open", None),
            ("text/html; notcharset=no", None),
            ("text/html", None),
            ("charset=no", None),
            ("", None),
        ] {
            let found = parameter(media_type.as_bytes());
            assert_eq!(found, charset.map(str::as_bytes), "{media_type:?}");
        }
    }
}
