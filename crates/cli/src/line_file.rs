//! A file to which a program appends whole lines.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::exit::CliError;

/// A regular file to which this process alone appends lines.
pub(crate) struct LineFile {
    file: Arc<File>,
    /// The length of all lines that were written.
    len: u64,
    buffer: Vec<u8>,
}

impl LineFile {
    /// Opens or creates the file, and locks it. Returns `None` if another process has locked it.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path)?;
        if !file.metadata()?.is_file() {
            let message = "not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Some(Self {
            // Another process may have appended lines before this one got the lock.
            len: file.metadata()?.len(),
            file: Arc::new(file),
            buffer: Vec::new(),
        }))
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Removes everything after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: u64) -> io::Result<()> {
        if len < self.len {
            self.file.set_len(len)?;
            self.len = len;
        }
        Ok(())
    }

    /// Adds a line, which ends with a newline. Returns how many bytes wait for a [`flush`](Self::flush).
    pub(crate) fn append(&mut self, line: &[u8]) -> usize {
        self.buffer.extend_from_slice(line);
        self.buffer.len()
    }

    /// Returns whether lines wait for a [`flush`](Self::flush).
    pub(crate) fn has_unflushed(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Writes the lines that were added. If a write fails, removes the incomplete line.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let (written, result) = write_all(&self.file, &self.buffer);
        let whole = self.buffer[..written]
            .iter()
            .rposition(|byte| *byte == b'\n');
        self.len += whole.map_or(0, |newline| newline as u64 + 1);
        if result.is_err() {
            // If this also fails, the next run removes the incomplete line.
            let _ = self.file.set_len(self.len);
        }
        self.buffer.clear();
        result
    }
}

/// Writes all bytes. Also returns how many were written.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// The maximum length of a line, in bytes. A record contains two URLs and a message. Each of them can be as long as
/// a line of a plain list (64 KiB), and JSON needs up to six bytes for each byte.
const MAX_LINE_LENGTH: u64 = 4 << 20;

/// The start of each line of a journal or a manifest.
const LINE_START: &[u8] = b"{\"index\":";

/// Calls `on_line` with each line of a journal or a manifest, and with its length. Ignores a line at the end
/// that is incomplete.
pub(crate) fn for_each_line<L: DeserializeOwned>(
    file: &File,
    path: &Path,
    mut on_line: impl FnMut(L, usize),
) -> Result<(), CliError> {
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let mut line = reader.by_ref().take(MAX_LINE_LENGTH);
        let len = line.read_until(b'\n', &mut text).map_err(|error| {
            CliError::usage(format_args!("reading {}: {error}", path.display()))
        })?;
        let no_record = |why: &dyn fmt::Display| {
            CliError::usage(format_args!(
                "line {number} of {} was not written by inflight gather: {why}",
                path.display()
            ))
        };
        if text.last() != Some(&b'\n') {
            // The caller removes an incomplete line. A file of another program must not lose its last line.
            let may_be_torn = text.starts_with(LINE_START) || LINE_START.starts_with(&text);
            return match may_be_torn && (len as u64) < MAX_LINE_LENGTH {
                true => Ok(()),
                false => Err(no_record(&"the line is not complete")),
            };
        }
        let line = serde_json::from_slice(&text).map_err(|error| no_record(&error))?;
        on_line(line, len);
    }
    Ok(())
}
