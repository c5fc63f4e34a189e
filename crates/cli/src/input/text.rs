//! Text in UTF-8 or UTF-16, and its lines.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs_io::DecodeReaderBytesBuilder;

const BUFFER_SIZE: usize = 64 * 1024;

/// Removes a byte order mark, and decodes UTF-16. Does not change other bytes.
pub(super) fn decode(source: impl Read) -> impl Read {
    let mut builder = DecodeReaderBytesBuilder::new();
    builder.bom_sniffing(true).strip_bom(true);
    builder.utf8_passthru(true).build(source)
}

/// The lines of a text, which end with LF, CRLF or CR.
pub(super) struct Lines<R> {
    source: BufReader<R>,
    max_length: usize,
    number: u64,
    ended_with_cr: bool,
}

/// A line without its end.
pub(super) struct InputLine {
    pub(super) number: u64,
    /// The text, or the reason why it is not available.
    pub(super) text: Result<String, &'static str>,
}

impl<R: Read> Lines<R> {
    /// Reads the lines of `source`. Keeps at most `max_length` bytes of a line in memory.
    pub(super) fn new(source: R, max_length: usize) -> Self {
        Self {
            source: BufReader::with_capacity(BUFFER_SIZE, source),
            max_length,
            number: 0,
            ended_with_cr: false,
        }
    }

    pub(super) fn next_line(&mut self) -> io::Result<Option<InputLine>> {
        let (mut line, mut is_complete, mut has_begun) = (Vec::new(), true, false);
        loop {
            let buffer = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                break;
            }
            // The LF of a CRLF may arrive later than its CR.
            if std::mem::take(&mut self.ended_with_cr) && buffer[0] == b'\n' {
                self.source.consume(1);
                continue;
            }
            has_begun = true;
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let kept = part.len().min(self.max_length - line.len());
            is_complete &= kept == part.len();
            line.extend_from_slice(&part[..kept]);
            let used = part.len();
            if let Some(end) = end {
                self.ended_with_cr = buffer[end] == b'\r';
                self.source.consume(used + 1);
                break;
            }
            self.source.consume(used);
        }
        if !has_begun {
            return Ok(None);
        }
        self.number += 1;
        let text = match String::from_utf8(line) {
            _ if !is_complete => Err("the line is too long"),
            Err(_) => Err("the line is not UTF-8"),
            // The UTF-16 decoder replaces invalid text with this character.
            Ok(text) if text.contains('\u{fffd}') => Err("the line has an undecodable character"),
            Ok(text) => Ok(text),
        };
        let number = self.number;
        Ok(Some(InputLine { number, text }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(decode(source), 1000);
        std::iter::from_fn(|| lines.next_line().unwrap())
            .map(|line| format!("{}:{}", line.number, line.text.unwrap()))
            .collect()
    }

    #[test]
    fn lines_end_with_lf_crlf_or_cr() {
        assert_eq!(lines(b"a\nb\r\nc\rd"), ["1:a", "2:b", "3:c", "4:d"]);
        assert_eq!(lines(b"a\r\r\n\nb\n"), ["1:a", "2:", "3:", "4:b"]);
        assert!(lines(b"").is_empty());
        // The source returns the CR and the LF in separate reads.
        let mut source = Lines::new((&b"a\r"[..]).chain(&b"\nb"[..]), 1000);
        let texts = std::iter::from_fn(|| source.next_line().unwrap());
        assert_eq!(
            texts.map(|line| line.text.unwrap()).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn a_byte_order_mark_selects_utf_8_or_utf_16() {
        assert_eq!(lines(b"\xef\xbb\xbfa\nb"), ["1:a", "2:b"]);
        let little: Vec<u8> = "\u{feff}\u{e4}\r\nb"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let big: Vec<u8> = "\u{feff}\u{e4}\r\nb"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for source in [little, big] {
            assert_eq!(lines(&source), ["1:\u{e4}", "2:b"]);
        }
    }

    #[test]
    fn lines_that_are_too_long_or_cannot_be_decoded_have_no_text() {
        let mut source = vec![b'x'; BUFFER_SIZE * 3];
        source.extend_from_slice(b"\na\nb\xff\n");
        let mut lines = Lines::new(&source[..], 1000);
        let texts: Vec<_> = std::iter::from_fn(|| lines.next_line().unwrap())
            .map(|line| line.text)
            .collect();
        let expected = [
            Err("the line is too long"),
            Ok("a".to_owned()),
            Err("the line is not UTF-8"),
        ];
        assert_eq!(texts, expected);
        // A surrogate that has no partner.
        let mut lines = Lines::new(decode(&b"\xff\xfe\x00\xd8a\x00"[..]), 1000);
        assert!(lines.next_line().unwrap().unwrap().text.is_err());
    }
}
