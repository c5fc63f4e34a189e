/// What the reference makes of a chunked body.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub body: Vec<u8>,
    pub trailers: Trailers,
}

/// The form of the trailer section, which follows the last chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trailers {
    /// This number of fields.
    Fields(usize),
    /// Lines that may or may not be fields.
    Lines,
    /// A line with a LF or CR alone. RFC 9112, 2.2 lets a recipient of fields accept LF alone as the end of a
    /// line, or refuse it.
    BareLineEnds,
}

/// Decodes a chunked body (RFC 9112, 7.1), as slowly and plainly as possible. Ignores the bytes after the body.
/// Returns `None` if the body is invalid or incomplete.
///
/// The decoder has no limits, so the caller passes only short bodies.
pub fn decode_chunked(mut data: &[u8]) -> Option<Decoded> {
    let mut body = Vec::new();
    loop {
        let line = take_line(&mut data)?;
        let size = chunk_size(line)?;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        body.extend_from_slice(data.get(..size)?);
        data = &data[size..];
        if !take_line(&mut data)?.is_empty() {
            return None;
        }
    }
    let trailers = trailers(data)?;
    Some(Decoded { body, trailers })
}

/// Returns `None` if the section has no end, even if LF alone ends a line.
fn trailers(data: &[u8]) -> Option<Trailers> {
    let lines = data.split_inclusive(|byte| *byte == b'\n');
    let is_end = |line: &[u8]| matches!(line, b"\r\n" | b"\n");
    let count = lines.clone().position(is_end)?;
    let mut has_only_fields = true;
    for mut line in lines.take(count + 1) {
        match take_line(&mut line) {
            Some(line) => has_only_fields &= line.is_empty() || is_field(line),
            None => return Some(Trailers::BareLineEnds),
        }
    }
    Some(match has_only_fields {
        true => Trailers::Fields(count),
        false => Trailers::Lines,
    })
}

/// Removes a line from the data. Returns it without its CRLF.
fn take_line<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let line = data[..end].strip_suffix(b"\r")?;
    *data = &data[end + 1..];
    (!line.contains(&b'\r')).then_some(line)
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = line.split(|byte| *byte == b';').next()?;
    let mut size: Option<u64> = None;
    let mut has_ended = false;
    for byte in text {
        match char::from(*byte).to_digit(16) {
            Some(digit) if !has_ended => {
                let shifted = size.unwrap_or(0).checked_mul(16)?;
                size = Some(shifted + u64::from(digit));
            }
            None if matches!(byte, b' ' | b'\t') => has_ended = true,
            _ => return None,
        }
    }
    size
}

/// Returns whether a line is a field (RFC 9112, 5), without a fold.
fn is_field(line: &[u8]) -> bool {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
        return false;
    };
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
    !name.is_empty() && name.iter().all(is_token) && value.iter().all(is_text)
}
