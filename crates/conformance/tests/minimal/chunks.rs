//! The decoder of chunked bodies (RFC 9112, 7.1).

use std::io::{self, BufRead, BufReader, Read};

/// The longest line of a chunk size, and of the trailers in total.
const MAX_LINE: u64 = 4096;
const MAX_TRAILERS: u64 = 16 * 1024;

// ANCHOR: chunks
/// Decodes a chunked body.
pub(crate) struct ChunkedReader<R> {
    reader: BufReader<R>,
    /// How many bytes of the current chunk have not been read.
    left: u64,
    state: ChunkState,
}

#[derive(PartialEq)]
enum ChunkState {
    BeforeSize,
    InChunk,
    AtEnd,
}

impl<R: Read> ChunkedReader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            left: 0,
            state: ChunkState::BeforeSize,
        }
    }

    /// Reads the size of the next chunk or, after the last one, the trailers.
    fn read_size(&mut self) -> io::Result<()> {
        let line = read_line(&mut self.reader, MAX_LINE)?;
        self.left = parse_size(&line).ok_or(io::ErrorKind::InvalidData)?;
        self.state = ChunkState::InChunk;
        if self.left == 0 {
            let mut left = MAX_TRAILERS;
            loop {
                let trailer = read_line(&mut self.reader, left)?;
                if trailer.is_empty() {
                    break;
                }
                left = left.saturating_sub(trailer.len() as u64);
            }
            self.state = ChunkState::AtEnd;
        }
        Ok(())
    }

    /// Reads the end of line after a chunk.
    fn end_chunk(&mut self) -> io::Result<()> {
        self.state = ChunkState::BeforeSize;
        match read_line(&mut self.reader, 2)?.is_empty() {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl<R: Read> Read for ChunkedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.state == ChunkState::BeforeSize {
            self.read_size()?;
        }
        if self.state == ChunkState::AtEnd || buffer.is_empty() {
            return Ok(0);
        }
        let length = self.reader.by_ref().take(self.left).read(buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length as u64;
        if self.left == 0 {
            self.end_chunk()?;
        }
        Ok(length)
    }
}

/// Reads a line of at most `max` bytes and removes its CRLF.
fn read_line(reader: &mut impl BufRead, max: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut limited = reader.take(max);
    limited.read_until(b'\n', &mut line)?;
    let is_cut = limited.limit() > 0 && !line.ends_with(b"\n");
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.contains(&b'\r') => Ok(text.to_vec()),
        _ if is_cut => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Parses the size, and ignores the extensions after it.
fn parse_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(digits.count());
    let next = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    let has_extensions = matches!(next, None | Some(b';'));
    let digits = std::str::from_utf8(digits).ok()?;
    has_extensions.then(|| u64::from_str_radix(digits, 16).ok())?
}
// ANCHOR_END: chunks
