//! The journal of `inflight gather --journal`: the records of all runs, so that a run continues where the last
//! one ended.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;

use crate::exit::CliError;
use crate::line_file::{LineFile, for_each_line};
use crate::output::redacted;
use crate::summary::is_unfinished;

/// How long records may stay in the system's memory before they are written to the disk. A power failure loses
/// them, and the death of the program does not.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// How many bytes of records wait for a flush.
const MAX_BUFFER: usize = 64 * 1024;

/// The last record of each URL in a journal.
#[derive(Clone, Default)]
pub(crate) struct EarlierRecords {
    by_index: Arc<HashMap<usize, EarlierRecord>>,
    retry_failed: bool,
    pub(crate) source: EarlierSource,
}

/// The file that has the records of an earlier run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum EarlierSource {
    #[default]
    Journal,
    Manifest,
}

#[derive(Clone, Copy)]
struct EarlierRecord {
    url: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// The response has a status of 400 or above.
    ErrorStatus,
    Failed,
    /// The run ended before the request did.
    Unfinished,
}

/// What a run does with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Fetch,
    /// An earlier run has finished the URL.
    Skip {
        has_failed: bool,
    },
    /// The journal has another URL at this index.
    Mismatch,
}

impl EarlierRecords {
    /// Returns the records of URLs that the manifest of an output directory says are finished.
    pub(crate) fn of_manifest<'a>(urls: impl IntoIterator<Item = (usize, &'a str)>) -> Self {
        let record = |(index, url)| {
            let (url, outcome) = (hash(url), Outcome::Ok);
            (index, EarlierRecord { url, outcome })
        };
        Self {
            by_index: Arc::new(urls.into_iter().map(record).collect()),
            retry_failed: false,
            source: EarlierSource::Manifest,
        }
    }

    /// Decides what to do with the URL at this index of the input.
    pub(crate) fn decide(&self, index: usize, url: &str) -> Decision {
        let Some(earlier) = self.by_index.get(&index) else {
            return Decision::Fetch;
        };
        match earlier.outcome {
            // An entry that could not be read has no URL. Its line may have been corrected.
            _ if ![hash(&redacted(url)), hash("")].contains(&earlier.url) => Decision::Mismatch,
            Outcome::Ok => Decision::Skip { has_failed: false },
            Outcome::ErrorStatus if !self.retry_failed => Decision::Skip { has_failed: false },
            Outcome::Failed if !self.retry_failed => Decision::Skip { has_failed: true },
            Outcome::ErrorStatus | Outcome::Failed | Outcome::Unfinished => Decision::Fetch,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_index.is_empty()
    }

    /// Returns an index of the journal that the input does not have, if the input has `len` URLs.
    pub(crate) fn index_after(&self, len: usize) -> Option<usize> {
        let indices = self.by_index.keys().copied();
        indices.filter(|index| *index >= len).min()
    }
}

fn hash(url: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    hasher.finish()
}

/// A line of a journal: a record without the fields that a later run does not need.
#[derive(Deserialize)]
struct Line {
    index: usize,
    url: String,
    status: Option<u16>,
    error: Option<LineError>,
}

#[derive(Deserialize)]
struct LineError {
    kind: String,
}

impl Line {
    fn outcome(&self) -> Outcome {
        match &self.error {
            None if self.status.is_some_and(|status| status >= 400) => Outcome::ErrorStatus,
            None => Outcome::Ok,
            Some(error) if is_unfinished(&error.kind) => Outcome::Unfinished,
            Some(_) => Outcome::Failed,
        }
    }
}

/// A journal to which this run appends its records. No other process can open it meanwhile.
pub(crate) struct Journal {
    lines: LineFile,
    path: PathBuf,
    sync: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Journal {
    /// Opens or creates the journal, and reads the records of earlier runs. Removes a last line that an earlier
    /// run could not complete.
    pub(crate) fn open(
        path: &Path,
        retry_failed: bool,
    ) -> Result<(Self, EarlierRecords), CliError> {
        let error = |error: io::Error| {
            CliError::usage(format_args!("cannot open {}: {error}", path.display()))
        };
        let Some(mut lines) = LineFile::open(path).map_err(error)? else {
            return Err(CliError::usage(format_args!(
                "another run is using {}: wait for its end, or use another journal",
                path.display()
            )));
        };
        let (by_index, len) = read(lines.file(), path)?;
        lines.truncate(len).map_err(error)?;
        let sync = Some(start_sync(lines.file().clone()).map_err(error)?);
        let journal = Self {
            lines,
            path: path.to_owned(),
            sync,
        };
        let earlier = EarlierRecords {
            by_index: Arc::new(by_index),
            retry_failed,
            source: EarlierSource::Journal,
        };
        Ok((journal, earlier))
    }

    /// Adds the line of a record. [`flush`](Self::flush) writes it.
    pub(crate) fn append(&mut self, line: &str) -> Result<(), CliError> {
        match self.lines.append(line.as_bytes()) > MAX_BUFFER {
            true => self.flush(),
            false => Ok(()),
        }
    }

    pub(crate) fn has_unflushed(&self) -> bool {
        self.lines.has_unflushed()
    }

    /// Writes the lines that were added. If that fails, the journal has no part of a line.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        if !self.has_unflushed() {
            return Ok(());
        }
        self.lines.flush().map_err(|error| self.error(&error))?;
        if let Some((sync, _)) = &self.sync
            && let Err(TrySendError::Disconnected(())) = sync.try_send(())
        {
            self.sync = None;
        }
        Ok(())
    }

    /// Writes all records to the disk.
    pub(crate) fn finish(&mut self) -> Result<(), CliError> {
        self.flush()?;
        if let Some((sync, thread)) = self.sync.take() {
            drop(sync);
            thread.thread().unpark();
            let _ = thread.join();
        }
        self.lines
            .file()
            .sync_data()
            .map_err(|error| self.error(&error))
    }

    fn error(&self, error: &io::Error) -> CliError {
        CliError::failed(format_args!("writing {}: {error}", self.path.display()))
    }
}

/// Starts a thread that writes the file to the disk after each message, and at most once in each interval.
fn start_sync(file: Arc<File>) -> io::Result<(SyncSender<()>, JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(1);
    let thread = thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || {
            while receiver.recv().is_ok() {
                // `finish` reports an error.
                let _ = file.sync_data();
                // `finish` does not wait for the end of the interval.
                thread::park_timeout(SYNC_INTERVAL);
            }
        })?;
    Ok((sender, thread))
}

/// Reads the records of a journal. Also returns the length of all complete lines.
fn read(file: &File, path: &Path) -> Result<(HashMap<usize, EarlierRecord>, u64), CliError> {
    let (mut by_index, mut all) = (HashMap::new(), 0);
    for_each_line(file, path, |line: Line, len| {
        let (url, outcome) = (hash(&line.url), line.outcome());
        by_index.insert(line.index, EarlierRecord { url, outcome });
        all += len as u64;
    })?;
    Ok((by_index, all))
}
