//! A worker: a process that measures one contender of an experiment, such as the client hyper on tokio.
//!
//! The arguments of a worker are the names of the experiment and of the contender's program, and the URL of
//! the origin, which is the test server. A turn is one measurement. For each turn, the worker reads one line
//! of JSON, does the work, verifies every response, and writes one line of JSON. It exits when its input
//! ends, or with an error when the server sends a wrong response. Peers, which are workers in other
//! languages, use the same protocol.
//!
//! ```text
//! {"x":100,"iterations":1}
//! {"answered":100,"metrics":{"wall":103.2,"cpu":1.9}}
//! ```

pub(crate) mod fetch;
pub(crate) mod heartbeat;
pub(crate) mod measure;
pub(crate) mod nats;
pub(crate) mod open_loop;
pub(crate) mod pages;
pub(crate) mod raw_http1;
pub(crate) mod stall;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use inflight::{Backend, Cell};
use serde::{Deserialize, Serialize};

pub use measure::set_allocation_counter;

/// The error with which a worker exits.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The code that a worker runs for each turn.
pub type Benchmark = Box<dyn FnMut(Parameters) -> Result<Measurement, Failure>>;

/// The configuration of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The experiment's name.
    pub experiment: String,
    /// The name of the contender's program.
    pub contender: String,
    /// The origin's URL, without a trailing slash.
    pub origin: String,
}

impl WorkerConfig {
    /// Parses `--experiment NAME --contender NAME --origin URL`.
    ///
    /// # Errors
    ///
    /// If an argument is missing or unknown.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut given = BTreeMap::new();
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            given.insert(flag, args.next().ok_or("a flag has no value")?);
        }
        let mut take = |flag: &str| given.remove(flag).ok_or(format!("{flag} is missing"));
        let config = Self {
            experiment: take("--experiment")?,
            contender: take("--contender")?,
            origin: take("--origin")?,
        };
        match given.into_keys().next() {
            Some(flag) => Err(format!("unknown flag {flag}").into()),
            None => Ok(config),
        }
    }

    /// Returns the arguments that [`WorkerConfig::from_args`] parses.
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

    /// Returns the URL of a path of the origin. The path starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Parses the contender as a cell: a runtime and a client, such as `tokio/hyper`.
    pub(crate) fn cell(&self) -> Result<Cell, Failure> {
        Ok(self.contender.parse()?)
    }
}

/// Starts a backend with `workers` worker threads. The runtime `threads` has no worker threads, so its backend
/// ignores the number.
pub(crate) fn start_backend(cell: Cell, workers: usize) -> Result<Backend, Failure> {
    let workers = NonZeroUsize::new(workers).filter(|_| cell.runtime() != "threads");
    Ok(cell.start(workers)?)
}

/// The parameters of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The value of the experiment's variable.
    pub x: f64,
    /// The number of times that the turn repeats the work.
    pub iterations: u64,
}

/// The values of metrics by name, each in the metric's unit.
pub type Metrics = BTreeMap<String, f64>;

/// The result of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The number of verified responses.
    pub answered: u64,
    /// The metrics, for one iteration.
    pub metrics: Metrics,
}

impl Measurement {
    pub(crate) fn new<const N: usize>(answered: u64, metrics: [(&str, f64); N]) -> Self {
        Self {
            answered,
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }
}
