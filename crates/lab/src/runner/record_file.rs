//! The file to which a run appends its records.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::REPEATS;
use crate::record::{self, Environment, Row};

/// The identity of a turn, which is one measurement of one contender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TurnKey {
    experiment: String,
    contender: String,
    /// The bits of the point, because `f64` is not `Eq`.
    x: u64,
    round: u32,
}

impl TurnKey {
    pub(super) fn new(experiment: &str, contender: &str, x: f64, round: u32) -> Self {
        Self {
            experiment: experiment.to_owned(),
            contender: contender.to_owned(),
            x: x.to_bits(),
            round,
        }
    }
}

/// The file of records, and the turns of the current run that are done.
pub(super) struct RecordFile {
    out: fs::File,
    run: String,
    done: HashSet<TurnKey>,
}

/// A run that can be resumed.
pub(super) struct ResumedRun {
    pub(super) file: RecordFile,
    pub(super) environment: Environment,
}

/// The reason why a run cannot be resumed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResumeError {
    /// The file does not exist or contains no run.
    NoRun,
    /// The last run in the file is complete.
    Finished,
    /// The run was made on another machine or with other programs, so its results cannot be combined with
    /// new results.
    DifferentEnvironment,
    /// The configuration of the run is missing, or it names unknown experiments.
    UnknownConfig,
    /// Reading or writing the file failed, or the origin did not start.
    Io(io::Error),
}

impl std::fmt::Display for ResumeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRun => f.write_str("there is no run to resume"),
            Self::Finished => f.write_str("the last run is finished"),
            Self::DifferentEnvironment => f.write_str(
                "the last run was made on another machine or with other programs, so its results cannot be combined with new results",
            ),
            Self::UnknownConfig => f.write_str("the configuration of the last run is missing or unknown"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ResumeError {}

impl From<io::Error> for ResumeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl RecordFile {
    /// Opens or creates the file, and starts a new run.
    pub(super) fn begin(path: &Path, run: String, environment: &Environment) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut out = OpenOptions::new().append(true).create(true).open(path)?;
        let mut head = Vec::new();
        record::write_header(&mut head, &run, environment)?;
        out.write_all(&head)?;
        Ok(Self {
            out,
            run,
            done: HashSet::new(),
        })
    }

    /// Opens the file to append to its last run.
    pub(super) fn resume(path: &Path) -> Result<ResumedRun, ResumeError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ResumeError::NoRun);
            }
            Err(error) => return Err(error.into()),
        };
        // If the run was killed, the last line may be incomplete.
        let complete_len = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let runs = record::read(&bytes[..complete_len])?;
        let run = runs.into_iter().next_back().ok_or(ResumeError::NoRun)?;
        let mut out = OpenOptions::new().write(true).open(path)?;
        out.set_len(complete_len as u64)?;
        out.seek(SeekFrom::End(0))?;
        Ok(ResumedRun {
            file: Self {
                out,
                run: run.id,
                done: done_turns(&run.rows),
            },
            environment: run.environment,
        })
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn is_done(&self, turn: &TurnKey) -> bool {
        self.done.contains(turn)
    }

    /// Records whether the run finished or was interrupted.
    pub(super) fn end(&mut self, is_interrupted: bool) -> io::Result<()> {
        let end = if is_interrupted {
            record::INTERRUPTED
        } else {
            record::FINISHED
        };
        record::write_comment(&mut self.out, record::END, end)
    }

    /// Appends rows with one call, so that an interruption does not cut a line.
    pub(super) fn append(&mut self, rows: &[Row]) -> io::Result<()> {
        let mut lines = Vec::new();
        record::write_rows(&mut lines, rows)?;
        self.out.write_all(&lines)
    }
}

/// Returns the turns that are done. A turn is done if it was not discarded, or if no attempts are left.
fn done_turns(rows: &[Row]) -> HashSet<TurnKey> {
    let mut done = HashSet::new();
    let mut discards: HashMap<TurnKey, u32> = HashMap::new();
    for row in rows {
        let Some(experiment) = crate::experiments::find(&row.experiment) else {
            continue;
        };
        // The first metric occurs once in every turn.
        if experiment
            .metrics
            .first()
            .is_none_or(|metric| metric.name != row.metric)
        {
            continue;
        }
        let key = TurnKey::new(&row.experiment, &row.contender, row.x, row.round);
        if row.discard_reason.is_empty() {
            done.insert(key);
        } else {
            let times = discards.entry(key.clone()).or_default();
            *times += 1;
            if *times > REPEATS {
                done.insert(key);
            }
        }
    }
    done
}
