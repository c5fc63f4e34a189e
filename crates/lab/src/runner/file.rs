//! The file of records while a run appends to it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::REPEATS;
use crate::record::{self, Environment, Row};

/// A turn, wherever its records are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    experiment: String,
    contender: String,
    /// As bits, as a number that may be no number has no order.
    x: u64,
    round: u32,
}

impl Key {
    pub(super) fn new(experiment: &str, contender: &str, x: f64, round: u32) -> Self {
        Self {
            experiment: experiment.to_owned(),
            contender: contender.to_owned(),
            x: x.to_bits(),
            round,
        }
    }
}

/// The records of the run that is going on.
pub(super) struct File {
    out: fs::File,
    run: String,
    has: HashSet<Key>,
}

/// A run that can go on.
pub(super) struct Resumed {
    pub(super) file: File,
    pub(super) environment: Environment,
}

/// Why a run cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResumeError {
    /// There is no such file, or no run in it.
    Nothing,
    /// The last run in the file is finished.
    Finished,
    /// It was made on another machine, or with other programs: their figures do not mix.
    Elsewhere,
    /// It does not say what it was asked for, or asked for what is not here.
    Unknown,
    /// The file cannot be read or written, or the origin does not run.
    Io(io::Error),
}

impl std::fmt::Display for ResumeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is no run to go on with"),
            Self::Finished => f.write_str("the last run is finished"),
            Self::Elsewhere => f.write_str(
                "the last run was made on another machine or with other programs; their figures do not mix",
            ),
            Self::Unknown => f.write_str("the last run does not say what it was asked for"),
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

impl File {
    pub(super) fn begin(path: &Path, run: String, environment: &Environment) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut out = OpenOptions::new().append(true).create(true).open(path)?;
        let mut head = Vec::new();
        record::begin(&mut head, &run, environment)?;
        out.write_all(&head)?;
        Ok(Self {
            out,
            run,
            has: HashSet::new(),
        })
    }

    /// Opens the last run of the file.
    pub(super) fn resume(path: &Path) -> Result<Resumed, ResumeError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ResumeError::Nothing);
            }
            Err(error) => return Err(error.into()),
        };
        // What was killed while it wrote may have left half a line.
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let runs = record::read(&bytes[..whole])?;
        let run = runs.into_iter().next_back().ok_or(ResumeError::Nothing)?;
        let mut out = OpenOptions::new().write(true).open(path)?;
        out.set_len(whole as u64)?;
        out.seek(SeekFrom::End(0))?;
        Ok(Resumed {
            file: Self {
                out,
                run: run.id,
                has: done(&run.rows),
            },
            environment: run.environment,
        })
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn has(&self, turn: &Key) -> bool {
        self.has.contains(turn)
    }

    /// Whole lines in one call: what interrupts it cuts none.
    pub(super) fn append(&mut self, rows: &[Row]) -> io::Result<()> {
        let mut lines = Vec::new();
        record::write(&mut lines, rows)?;
        self.out.write_all(&lines)
    }
}

/// The turns that need not be done again: they count, or were thrown as often as they may be.
fn done(rows: &[Row]) -> HashSet<Key> {
    let mut done = HashSet::new();
    let mut thrown: HashMap<Key, u32> = HashMap::new();
    let mut last: Option<(Key, f64)> = None;
    for row in rows {
        let Some(experiment) = crate::experiments::find(&row.experiment) else {
            continue;
        };
        // The first metric is in every turn: once, or at rising places in a trace.
        if experiment
            .metrics
            .first()
            .is_none_or(|metric| metric.name != row.metric)
        {
            continue;
        }
        let x = if experiment.work.trace { 0.0 } else { row.x };
        let key = Key::new(&row.experiment, &row.contender, x, row.round);
        let same_turn = last.is_some_and(|(turn, x)| turn == key && row.x > x);
        last = Some((key.clone(), row.x));
        if row.thrown.is_empty() {
            done.insert(key);
        } else if !same_turn {
            let times = thrown.entry(key.clone()).or_default();
            *times += 1;
            if *times > REPEATS {
                done.insert(key);
            }
        }
    }
    done
}
