//! Conversion of bytes to text, by the charset of a response.

use bytes::{Buf, Bytes};
use encoding_rs::{Encoding, REPLACEMENT, UTF_8};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::{Error, ErrorKind};

/// Returns the charset of a response with these headers.
///
/// Returns UTF-8 if there is no charset, or if the Encoding Standard does not define it (`utf8mb4` or
/// `none`, for example). Most texts with an undefined charset are UTF-8 or ASCII, and text in another
/// charset is almost never valid UTF-8. Fails if the standard does not allow the charset to be decoded.
pub(crate) fn declared_charset(headers: &HeaderMap) -> Result<&'static Encoding, Error> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let label = content_type.and_then(charset_parameter);
    let encoding = label.as_deref().and_then(Encoding::for_label);
    if encoding == Some(REPLACEMENT) {
        let label = label.unwrap_or_default();
        let label = String::from_utf8_lossy(&label);
        return Err(Error::new(ErrorKind::Decode).with_context(format!(
            "the charset {label:?} must not be decoded (Encoding Standard)"
        )));
    }
    Ok(encoding.unwrap_or(UTF_8))
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
        // Does not copy if there is no other handle to the bytes.
        return String::from_utf8(bytes.into())
            .map_err(|error| malformed().with_source(error.utf8_error()));
    }
    let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes);
    text.map(String::from).ok_or_else(malformed)
}

/// Returns the first `charset` parameter of a media type (RFC 9110, 5.6.6 and 8.3.1): a token or a
/// quoted string. Browsers also accept single quotes around a token.
fn charset_parameter(media_type: &[u8]) -> Option<Vec<u8>> {
    let position = |text: &[u8], byte| text.iter().position(|other| *other == byte);
    let mut rest = &media_type[position(media_type, b';')?..];
    while let Some(text) = rest.strip_prefix(b";") {
        let end = text.iter().position(|byte| matches!(byte, b'=' | b';'))?;
        let (name, value) = text.split_at(end);
        let Some(value) = value.strip_prefix(b"=") else {
            rest = value;
            continue;
        };
        let value = value.trim_ascii_start();
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = position(value, b';').unwrap_or(value.len());
                let (token, after) = value.split_at(end);
                let token = token.trim_ascii();
                let unquoted = token.strip_prefix(b"'").and_then(|t| t.strip_suffix(b"'"));
                (unquoted.unwrap_or(token).to_vec(), after)
            }
        };
        if name.trim_ascii().eq_ignore_ascii_case(b"charset") {
            return Some(value.trim_ascii().to_vec());
        }
        rest = position(after, b';').map_or(&[][..], |at| &after[at..]);
    }
    None
}

/// Parses a quoted string (RFC 9110, 5.6.4) from after its opening quote. Returns its content and the
/// text after its closing quote, or `None` if there is no closing quote.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((content, &text[at + 1..])),
            b'\\' => content.push(*bytes.next()?.1),
            _ => content.push(*byte),
        }
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
            ("text/html; charset=\"open\\\"", None),
            ("text/html; charset=\"\\u\\tf-8\"; a=b", Some("utf-8")),
            (
                "text/html; a=\"\\\"; charset=no\"; charset=yes",
                Some("yes"),
            ),
            ("text/html; charset='utf-8'", Some("utf-8")),
            ("text/html; charset='utf-8", Some("'utf-8")),
            ("text/html; notcharset=no", None),
            ("text/html", None),
            ("charset=no", None),
            ("", None),
        ] {
            let found = charset_parameter(media_type.as_bytes());
            let found = found.map(|label| String::from_utf8(label).unwrap());
            assert_eq!(found.as_deref(), charset, "{media_type:?}");
        }
    }

    #[test]
    fn an_unknown_charset_is_utf_8_and_a_forbidden_charset_is_an_error() {
        let declared = |charset: &str| {
            let content_type = format!("text/html; charset={charset}");
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            super::declared_charset(&headers).map_err(|error| error.kind())
        };
        for charset in ["utf8mb4", "none", "", "utf-7"] {
            assert_eq!(declared(charset), Ok(UTF_8), "{charset}");
        }
        assert_eq!(declared("latin1"), Ok(encoding_rs::WINDOWS_1252));
        for charset in ["iso-2022-kr", "hz-gb-2312", "replacement"] {
            assert_eq!(declared(charset), Err(ErrorKind::Decode), "{charset}");
        }
    }
}
