//! What an experiment is: a question, what is varied, what is measured, what no contender can
//! beat, and how a turn of it is done.

use inflight_origin::Stats;

use crate::worker::measure::CallCounter;
use crate::worker::{Failure, Metrics, Setup, Turn};

/// One experiment, defined once: the runner, criterion and the report all read it.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// The name on the command line and in the records.
    pub name: &'static str,
    /// A heading.
    pub title: &'static str,
    /// What it answers, as a question.
    pub question: &'static str,
    /// What is varied, if anything is.
    pub variable: Option<Variable>,
    /// What is measured; the first is the one that decides.
    pub metrics: &'static [Metric],
    /// How each answer is checked: a measurement of a wrong answer is none.
    pub verified: &'static str,
    /// Who takes part.
    pub contenders: fn() -> Vec<Contender>,
    /// How much of it is run.
    pub plan: fn(Effort) -> Plan,
    /// How a turn is done.
    pub work: Work,
}

/// How a turn is done.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// What our own worker does for a contender that is no peer.
    pub worker: fn(&Setup) -> Result<Turn, Failure>,
    /// How long a worker's process lives.
    pub process: Process,
    /// How often a turn repeats what is measured; its metrics are of one repetition.
    pub iterations: fn(Effort, x: f64) -> u64,
    /// Whether a contender, by its program, takes part at a point.
    pub takes: fn(Effort, program: &str, x: f64) -> bool,
    /// About how long a turn takes, in milliseconds: for the time that is left.
    pub about: fn(Effort, x: f64) -> f64,
    /// Whether the points of a turn come from the worker, as events do: `x` of the records is then
    /// what the worker says, and the plan's only point is 0.
    pub trace: bool,
    /// The metrics that take the origin to tell: by name, in the metric's unit.
    pub of_origin: &'static [OfOrigin],
    /// What it needs beside the worker.
    pub needs: Option<Need>,
}

impl Work {
    /// One iteration a turn, everyone at every point, in a process that is kept over the rounds.
    pub const fn of(worker: fn(&Setup) -> Result<Turn, Failure>) -> Self {
        Self {
            worker,
            process: Process::Kept,
            iterations: |_, _| 1,
            takes: |_, _, _| true,
            about: |_, _| 150.0,
            trace: false,
            of_origin: &[],
            needs: None,
        }
    }
}

/// A metric by its name, and what the origin's counts make of it, and of what the worker tells.
pub type OfOrigin = (&'static str, fn(&Stats, &Metrics) -> f64);

/// What a worker does not have of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// An allocator that counts: a program of its own has it.
    Allocator,
    /// A program that counts system calls: perf, with the right to read tracepoints, or strace.
    CallCounter,
}

/// How long a worker's process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Over [`ROUNDS_OF_A_LIFE`] rounds of a point. Its first turn, which opens connections, is not
    /// recorded.
    Kept,
    /// For one turn, so that what one leaves behind is not in the next: where memory is measured.
    /// A turn with `x` of 1 comes before it and is not recorded.
    Fresh,
}

/// How many rounds a process is kept for. Where its code and its memory come to lie is luck, which
/// moves a figure by some per cent for as long as it lives: over many rounds, an interval has to show
/// that too, or the next run would not agree with it.
pub const ROUNDS_OF_A_LIFE: u32 = 4;

/// What is varied.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// What it is, as an axis is labelled: `pages at once`.
    pub name: &'static str,
    /// Its unit; empty for a count.
    pub unit: &'static str,
    /// Whether it spans magnitudes, so that an axis is better logarithmic.
    pub logarithmic: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name in the records.
    pub name: &'static str,
    /// What it is, as an axis is labelled: `time until the last page`.
    pub what: &'static str,
    /// Its unit: `ms`, `us`, `KB`, `1/s`, ...
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// What no contender can beat, in the metric's unit, where there is such a thing.
    pub limit: Option<Limit>,
}

impl Metric {
    /// How late the origin's answers were, by its own count: what is in the times of all contenders
    /// that no contender can help.
    pub(crate) const LATE: Self = Self {
        name: "late",
        what: "how late the origin's answers were, at the 99th percentile",
        unit: "ms",
        better: Better::Lower,
        limit: None,
    };

    /// What the origin says of it.
    pub(crate) fn late(stats: &Stats, _: &Metrics) -> f64 {
        stats.delays.p99 as f64 / 1e3
    }
}

impl Experiment {
    /// What it needs of this machine that is not there.
    pub fn absent(&self) -> Option<&'static str> {
        let needs_counter = self.work.needs == Some(Need::CallCounter);
        let is_missing = needs_counter && CallCounter::find().is_none();
        is_missing.then_some("needs perf, with the right to read tracepoints, or strace")
    }

    /// The metrics that a worker tells.
    pub fn of_worker(&self) -> impl Iterator<Item = &'static Metric> {
        let of_origin = self.work.of_origin;
        let is_told =
            move |metric: &&Metric| of_origin.iter().all(|(name, _)| *name != metric.name);
        self.metrics.iter().filter(is_told)
    }
}

/// Which direction of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Time, CPU, memory.
    Lower,
    /// Throughput.
    Higher,
}

/// A physical limit.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its value where the variable is this; `x` is 0 in an experiment without a variable.
    pub at: fn(x: f64) -> f64,
    /// What it is: `the slowest page's delay`.
    pub what: &'static str,
}

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// A cell, such as `smol/hyper`, or another name: `reqwest`, `aiohttp`.
    pub name: String,
    /// The name without what is only a mark: what is the same here runs the same program, so that
    /// two contenders with one program are an A/A pair.
    pub program: String,
}

impl Contender {
    /// One that is named as what it runs.
    pub fn of(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            program: name.clone(),
            name,
        }
    }

    /// The same program under another name, for the A/A run.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            name: format!("{}{AGAIN}", self.program),
            program: self.program.clone(),
        }
    }
}

/// What marks the second of an A/A pair in the records.
pub const AGAIN: &str = " (again)";

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// All of `just bench` in five minutes.
    Quick,
    /// Narrow intervals.
    Full,
}

/// How much of an experiment is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The values of the variable; one 0 where there is none.
    pub points: Vec<f64>,
    /// How many rounds: in each, every contender has its turn at every point.
    pub rounds: u32,
}
