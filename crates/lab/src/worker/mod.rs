//! A worker: the process that a measurement has to itself.
//!
//! It is started with the names of an experiment and a contender and the origin's URL, reads one
//! JSON line a turn, does the verified work, and answers with one JSON line; it ends with its
//! input. A wrong answer of the server ends it at once. Peers, which are written in other
//! languages, keep to the same lines.
//!
//! ```text
//! {"x":100,"iterations":1}
//! {"answered":100,"metrics":{"wall":103.2,"cpu":1.9}}
//! ```

pub(crate) mod fetch;
pub(crate) mod heart;
pub(crate) mod measure;
pub(crate) mod open_loop;
pub(crate) mod pages;
pub(crate) mod raw;
pub(crate) mod stall;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;

use inflight::{Backend, Cell};
use serde::{Deserialize, Serialize};

use crate::experiments;

pub use measure::count_allocations;

/// Why a worker ends.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Does one turn.
pub type Turn = Box<dyn FnMut(Ask) -> Result<Answer, Failure>>;

/// What a worker is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The experiment's name.
    pub experiment: String,
    /// The contender's program.
    pub contender: String,
    /// The origin's URL, without a slash at its end.
    pub origin: String,
}

impl Setup {
    /// Reads `--experiment NAME --contender NAME --origin URL`.
    ///
    /// # Errors
    ///
    /// When one of them is missing or there is something else.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut given = BTreeMap::new();
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            given.insert(flag, args.next().ok_or("a flag without a value")?);
        }
        let mut take = |flag: &str| given.remove(flag).ok_or(format!("{flag} is missing"));
        let setup = Self {
            experiment: take("--experiment")?,
            contender: take("--contender")?,
            origin: take("--origin")?,
        };
        match given.into_keys().next() {
            Some(flag) => Err(format!("unknown flag {flag}").into()),
            None => Ok(setup),
        }
    }

    /// The same as arguments.
    pub fn to_args(&self) -> [&str; 6] {
        [
            "--experiment",
            &self.experiment,
            "--contender",
            &self.contender,
            "--origin",
            &self.origin,
        ]
    }

    /// The URL of a path, which starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The contender as a cell.
    pub(crate) fn cell(&self) -> Result<Cell, Failure> {
        Ok(self.contender.parse()?)
    }
}

/// Starts a cell with this many worker threads; `threads` have none.
pub(crate) fn start(cell: Cell, workers: usize) -> Result<Backend, Failure> {
    let workers = NonZeroUsize::new(workers).filter(|_| cell.runtime() != "threads");
    Ok(cell.start(workers)?)
}

/// What a turn is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The variable's value.
    pub x: f64,
    /// How often.
    pub iterations: u64,
}

/// Values by metric, each in the metric's unit.
pub type Metrics = BTreeMap<String, f64>;

/// What a turn saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// How many answers of the server's were verified.
    pub answered: u64,
    /// Of one iteration.
    #[serde(default)]
    pub metrics: Metrics,
    /// The events of a trace, in place of `metrics`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<Point>,
}

/// An event of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Where it belongs on the axis of the variable.
    pub x: f64,
    /// What was measured there.
    pub metrics: Metrics,
}

impl Answer {
    /// With this many answers and these metrics.
    pub(crate) fn of<const N: usize>(answered: u64, metrics: [(&str, f64); N]) -> Self {
        Self {
            answered,
            metrics: named(metrics),
            trace: Vec::new(),
        }
    }
}

/// Values by their metrics' names.
pub(crate) fn named<const N: usize>(metrics: [(&str, f64); N]) -> BTreeMap<String, f64> {
    metrics.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Answers turns until the input ends.
///
/// # Errors
///
/// When there is no such experiment or contender, a line is no [`Ask`], or the server answered
/// wrongly.
pub fn serve(setup: &Setup, input: impl BufRead, mut output: impl Write) -> Result<(), Failure> {
    let experiment = experiments::find(&setup.experiment)
        .ok_or_else(|| format!("there is no experiment {:?}", setup.experiment))?;
    // Where the system refuses, the connects beyond the limit fail and say so.
    let _ = inflight_origin::raise_file_limit();
    let mut turn = (experiment.work.worker)(setup)?;
    for line in input.lines() {
        let answer = turn(serde_json::from_str(&line?)?)?;
        writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}
