//! Removes chunk extensions and trailers from a chunked body, for async-h1.

use http::{HeaderName, HeaderValue};
use inflight_core::Error;
use inflight_core::bytes::{BufMut, BytesMut};

use crate::error::protocol_error;

/// A filter for a chunked body. It checks and removes extensions and trailers, and passes on the rest.
///
/// async-h1 refuses chunk extensions, which a recipient must ignore (RFC 9112, section 7.1.1), and does not
/// finish a trailer section that arrives in several reads. The filter passes on the end of the body when
/// the whole trailer section has arrived.
#[derive(Default)]
pub(crate) struct ChunkFilter {
    state: ChunkState,
    /// The number of remaining bytes of the current chunk.
    chunk_left: u64,
    /// The size of all trailers so far, in bytes.
    trailers_len: usize,
}

/// The part of a chunked body that the filter reads next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    ChunkEnd,
    Trailers,
    End,
}

const CRLF: &[u8] = b"\r\n";

/// The longest line with a chunk's size, in bytes.
const MAX_LINE: usize = 4096;

/// The largest size of all trailers, in bytes.
const MAX_TRAILERS: usize = 16 * 1024;

impl ChunkFilter {
    /// Returns `true` after the end of the body.
    pub(crate) fn is_at_end(&self) -> bool {
        self.state == ChunkState::End
    }

    /// Moves bytes from `raw` to `out`. An incomplete line and the bytes after the end stay in `raw`.
    pub(crate) fn filter(&mut self, raw: &mut BytesMut, out: &mut BytesMut) -> Result<(), Error> {
        while !raw.is_empty() && self.state != ChunkState::End {
            if self.chunk_left > 0 {
                let n = raw
                    .len()
                    .min(usize::try_from(self.chunk_left).unwrap_or(usize::MAX));
                out.unsplit(raw.split_to(n));
                self.chunk_left -= n as u64;
                continue;
            }
            let Some(end) = raw.iter().position(|&byte| byte == b'\n') else {
                let max_len = match self.state {
                    ChunkState::Size => MAX_LINE,
                    ChunkState::ChunkEnd => CRLF.len(),
                    ChunkState::Trailers | ChunkState::End => MAX_TRAILERS,
                };
                return match raw.len() {
                    len if len < max_len => Ok(()),
                    _ => Err(protocol_error("a line of the chunked body is too long")),
                };
            };
            let line = raw.split_to(end + 1);
            let line = line
                .strip_suffix(b"\r\n")
                .filter(|line| !line.contains(&b'\r'))
                .ok_or_else(|| protocol_error("a line of the chunked body does not end in CRLF"))?;
            match self.state {
                ChunkState::Trailers => self.filter_trailer(line, out)?,
                ChunkState::ChunkEnd if line.is_empty() => {
                    out.put_slice(CRLF);
                    self.state = ChunkState::Size;
                }
                ChunkState::ChunkEnd => {
                    return Err(protocol_error("a chunk is longer than its size"));
                }
                ChunkState::Size | ChunkState::End => {
                    let (digits, size) =
                        parse_size(line).ok_or_else(|| protocol_error("invalid chunk size"))?;
                    if size == 0 {
                        self.state = ChunkState::Trailers;
                        continue;
                    }
                    out.put_slice(digits);
                    out.put_slice(CRLF);
                    self.chunk_left = size;
                    self.state = ChunkState::ChunkEnd;
                }
            }
        }
        Ok(())
    }

    /// Checks a line of the trailer section (RFC 9112, section 7.1.2). Drops a field. After the empty line,
    /// passes on the end of the body.
    fn filter_trailer(&mut self, line: &[u8], out: &mut BytesMut) -> Result<(), Error> {
        if line.is_empty() {
            self.state = ChunkState::End;
            out.put_slice(b"0\r\n\r\n");
            return Ok(());
        }
        self.trailers_len += line.len();
        if self.trailers_len > MAX_TRAILERS {
            return Err(protocol_error("the trailers are longer than 16 KiB"));
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let field = colon.map(|colon| (&line[..colon], &line[colon + 1..]));
        match field {
            Some((name, value))
                if HeaderName::from_bytes(name).is_ok()
                    && HeaderValue::from_bytes(value).is_ok() =>
            {
                Ok(())
            }
            _ => Err(protocol_error("invalid trailer")),
        }
    }
}

/// Parses the hexadecimal size at the beginning of a chunk-size line. White space and extensions may follow
/// the size.
fn parse_size(line: &[u8]) -> Option<(&[u8], u64)> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(digits.count());
    let next = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if !matches!(next, None | Some(b';')) {
        return None;
    }
    let size = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((digits, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes the body through the filter, `n` bytes at a time.
    fn pass(body: &str, n: usize) -> Result<String, Error> {
        let (mut raw, mut out) = (BytesMut::new(), BytesMut::new());
        let mut filter = ChunkFilter::default();
        for chunk in body.as_bytes().chunks(n) {
            raw.put_slice(chunk);
            filter.filter(&mut raw, &mut out)?;
        }
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn extensions_and_trailers_are_removed_at_every_read_size() {
        let body = "5;a=b;c\r\n1;2\r\n\r\nA \t; x\r\n0123456789\r\n0; last\r\nX: 5;y\r\n\r\nmore";
        let plain = "5\r\n1;2\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n";
        for n in 1..=body.len() {
            assert_eq!(pass(body, n).unwrap(), plain, "{n} bytes at a time");
        }
    }

    #[test]
    fn invalid_sizes_are_refused() {
        for body in [
            "\r\n",
            "5g\r\n",
            "-5\r\n",
            "x\r\n",
            "0x5\r\n",
            "11111111111111111\r\n",
            "5 5\r\n",
            "5\u{c}\r\n",
            "5 \u{c};x\r\n",
            "5\n",
            "5\r;x\r\n",
        ] {
            assert!(pass(body, 1).is_err(), "{body:?}");
        }
        assert!(pass(&"1".repeat(MAX_LINE), MAX_LINE).is_err());
    }

    #[test]
    fn chunks_that_are_longer_than_their_size_are_refused() {
        for body in ["1\r\n12\r\n", "1\r\n1\n", "1\r\n123"] {
            for n in 1..=body.len() {
                assert!(pass(body, n).is_err(), "{body:?}, {n} bytes at a time");
            }
        }
    }

    #[test]
    fn invalid_trailers_are_refused() {
        for trailer in ["X", "X Y: z", ": z", "X : z", "X: \0"] {
            let body = format!("0\r\n{trailer}\r\n\r\n");
            assert!(pass(&body, 1).is_err(), "{trailer:?}");
        }
        let flood = "X: y\r\n".repeat(MAX_TRAILERS);
        assert!(pass(&format!("0\r\n{flood}\r\n"), 100).is_err());
        assert!(pass(&format!("0\r\n{}", "x".repeat(MAX_TRAILERS)), 100).is_err());
    }
}
