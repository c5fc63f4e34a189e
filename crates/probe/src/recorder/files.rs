//! The files of the traces that a probe writes when it reports a stall.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use inflight_core::{Error, ErrorKind};

use crate::report::{Event, StallNumber};

/// A folder for traces, and how many traces it may contain.
#[derive(Debug, Clone)]
pub(super) struct StallFolder {
    path: PathBuf,
    max_files: usize,
}

impl StallFolder {
    pub(super) fn new(path: PathBuf, max_files: usize) -> Self {
        Self { path, max_files }
    }

    /// Returns the path of the next trace: a file that does not exist, or the oldest one.
    fn next_path(&self) -> PathBuf {
        let path = |number| self.path.join(format!("stall-{number}.json"));
        let modified = |path: &PathBuf| -> Option<SystemTime> {
            fs::metadata(path).and_then(|file| file.modified()).ok()
        };
        let oldest = (1..=self.max_files).map(path).min_by_key(modified);
        oldest.unwrap_or_else(|| path(1))
    }
}

/// Assigns a file to each stall that a probe reports.
pub(super) struct StallFiles {
    folder: StallFolder,
    /// The files of stalls that are not over.
    unfinished: Vec<(StallNumber, PathBuf)>,
}

impl StallFiles {
    /// Creates the folder.
    pub(super) fn create(folder: StallFolder) -> Result<Self, Error> {
        fs::create_dir_all(&folder.path)
            .map_err(|error| io_error("could not create the folder", &folder.path, error))?;
        Ok(Self {
            folder,
            unfinished: Vec::new(),
        })
    }

    /// Returns the file to write if the event begins or ends a stall. When a stall ends, this is its first file,
    /// or `None` if a later stall has replaced the file.
    pub(super) fn path_for(&mut self, event: &Event) -> Option<PathBuf> {
        match event {
            Event::Stalled(stall) => Some(self.begin(stall.number?)),
            Event::LoopDelayed(delay) => Some(self.begin(delay.number?)),
            Event::Recovered(stall) => self.end(stall.number?),
            Event::LoopResumed(delay) => self.end(delay.number?),
            _ => None,
        }
    }

    fn begin(&mut self, stall: StallNumber) -> PathBuf {
        let path = self.folder.next_path();
        self.unfinished.retain(|(_, other)| *other != path);
        self.unfinished.push((stall, path.clone()));
        path
    }

    fn end(&mut self, stall: StallNumber) -> Option<PathBuf> {
        let mut unfinished = self.unfinished.iter();
        let index = unfinished.position(|(number, _)| *number == stall)?;
        Some(self.unfinished.swap_remove(index).1)
    }
}

pub(super) fn io_error(failure: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io)
        .with_context(format!("{failure} {}", path.display()))
        .with_source(error)
}
