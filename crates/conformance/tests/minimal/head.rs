//! The head of a response.

use std::io::{self, BufRead, Read};

use inflight_core::http::{HeaderName, HeaderValue, Response, StatusCode, Version};
use inflight_core::{BoxError, Error, ErrorKind, MAX_INTERIM_RESPONSES};

/// The longest head. The session refuses shorter heads too, if they have too many fields.
const MAX_LEN: u64 = 256 * 1024;
const MAX_FIELDS: usize = 256;

// ANCHOR: head
/// Reads the head of the final response, and skips the interim responses before it.
pub(crate) fn read_head(reader: &mut impl BufRead) -> Result<Response<()>, Error> {
    for _ in 0..=MAX_INTERIM_RESPONSES {
        let response = parse(&read_lines(reader)?)?;
        let status = response.status();
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
    }
    Err(Error::new(ErrorKind::Protocol).with_context("too many interim responses"))
}

/// Reads up to the empty line that ends a head.
fn read_lines(reader: &mut impl BufRead) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    let mut reader = reader.take(MAX_LEN);
    loop {
        let length = reader
            .read_until(b'\n', &mut head)
            .map_err(Error::from_read)?;
        match head.last() {
            // A robust recipient skips empty lines before a head (RFC 9112, 2.2).
            _ if matches!(head.as_slice(), b"\r\n" | b"\n") => head.clear(),
            _ if head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n") => return Ok(head),
            _ if reader.limit() == 0 => {
                return Err(Error::new(ErrorKind::Protocol).with_context("the head is too long"));
            }
            Some(b'\n') if length > 0 => {}
            _ => return Err(Error::from_read(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn parse(head: &[u8]) -> Result<Response<()>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    if parsed.parse(head).map_err(invalid)?.is_partial() {
        return Err(Error::from_read(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut response = Response::new(());
    *response.version_mut() = match parsed.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    *response.status_mut() =
        StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(invalid)?;
    for field in parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(invalid)?;
        let value = HeaderValue::from_bytes(field.value).map_err(invalid)?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

fn invalid(error: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Protocol).with_source(error)
}
// ANCHOR_END: head
