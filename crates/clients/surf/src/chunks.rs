//! Chunked bodies as async-h1 reads them: without chunk extensions.

use inflight_core::Error;
use inflight_core::bytes::{BufMut, BytesMut};

use crate::error::protocol;

/// Passes a chunked body on. async-h1 refuses whatever stands behind a chunk's size, which
/// RFC 9112, section 7.1.1, has a recipient ignore; so that is left out.
#[derive(Default)]
pub(crate) struct Chunks {
    /// How many bytes go on as they are: the rest of a chunk with its line's end.
    verbatim: u64,
    in_trailers: bool,
}

/// How long the line with a chunk's size may be.
const MAX_LINE: usize = 4096;

impl Chunks {
    /// Whether the last chunk has gone by.
    pub(crate) fn in_trailers(&self) -> bool {
        self.in_trailers
    }

    /// Moves what can go on out of `raw`; the beginning of a line stays.
    pub(crate) fn pass(&mut self, raw: &mut BytesMut, out: &mut BytesMut) -> Result<(), Error> {
        while !raw.is_empty() {
            if self.in_trailers {
                out.unsplit(raw.split());
                break;
            }
            if self.verbatim > 0 {
                let n = raw
                    .len()
                    .min(usize::try_from(self.verbatim).unwrap_or(usize::MAX));
                out.unsplit(raw.split_to(n));
                self.verbatim -= n as u64;
                continue;
            }
            let Some(end) = raw.iter().position(|&byte| byte == b'\n') else {
                return match raw.len() {
                    ..MAX_LINE => Ok(()),
                    _ => Err(protocol("a chunk's size without an end")),
                };
            };
            let line = raw.split_to(end + 1);
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
            let digits = &line[..digits.count()];
            let size = str::from_utf8(digits)
                .ok()
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .filter(|_| b"\r\n; \t".contains(&line[digits.len()]))
                .ok_or_else(|| protocol("a chunk's size is no number"))?;
            out.put_slice(digits);
            out.put_slice(b"\r\n");
            self.in_trailers = size == 0;
            self.verbatim = size.saturating_add(2);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes the body on in pieces of `n` bytes.
    fn pass(body: &str, n: usize) -> Result<String, Error> {
        let (mut raw, mut out) = (BytesMut::new(), BytesMut::new());
        let mut chunks = Chunks::default();
        for piece in body.as_bytes().chunks(n) {
            raw.put_slice(piece);
            chunks.pass(&mut raw, &mut out)?;
        }
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn extensions_are_left_out_wherever_the_bytes_are_cut() {
        let body = "5;a=b;c\r\n1;2\r\n\r\nA \t; x\r\n0123456789\r\n0; last\r\nX: 5;y\r\n\r\n";
        let plain = "5\r\n1;2\r\n\r\nA\r\n0123456789\r\n0\r\nX: 5;y\r\n\r\n";
        for n in 1..=body.len() {
            assert_eq!(pass(body, n).unwrap(), plain, "in pieces of {n}");
        }
    }

    #[test]
    fn sizes_that_are_no_numbers_are_refused() {
        for body in [
            "\r\n",
            "5g\r\n",
            "-5\r\n",
            "x\r\n",
            "0x5\r\n",
            "11111111111111111\r\n",
        ] {
            assert!(pass(body, 1).is_err(), "{body:?}");
        }
        assert!(pass(&"1".repeat(MAX_LINE), MAX_LINE).is_err());
    }
}
