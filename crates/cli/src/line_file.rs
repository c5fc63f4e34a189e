//! A file to which a program appends whole lines.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// A regular file to which this process alone appends lines.
pub(crate) struct LineFile {
    file: Arc<File>,
    /// The length of all complete lines.
    len: u64,
}

impl LineFile {
    /// Opens or creates the file. Returns `None` if another process has opened it.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let message = "not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Some(Self {
            file: Arc::new(file),
            len: metadata.len(),
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

    /// Appends a line, which ends with a newline. If that fails, the file has no part of the line.
    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if let Err(error) = (&*self.file).write_all(line) {
            // If this fails too, the next run removes the incomplete line.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += line.len() as u64;
        Ok(())
    }
}
