//! The definition of an experiment: its question, variable, metrics, limits, contenders, and how it
//! is executed.
//!
//! A *turn* is one measurement of one contender at one point. In each *round*, every contender has
//! one turn.

use inflight_origin::Stats;

use crate::worker::measure::SystemCallCounter;
use crate::worker::{Benchmark, Failure, Metrics, WorkerConfig};

/// An experiment. The runner, criterion and the report share this definition.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// The name on the command line and in the records.
    pub name: &'static str,
    /// The title, used as a heading.
    pub title: &'static str,
    /// The question that the experiment answers.
    pub question: &'static str,
    /// The independent variable, if there is one.
    pub variable: Option<Variable>,
    /// The metrics. The first one is the primary metric.
    pub metrics: &'static [Metric],
    /// How the worker verifies each response. A wrong response fails the turn.
    pub verified: &'static str,
    /// Returns the programs that take part, without peers. The first one also runs as the second of an
    /// A/A pair, which shows the smallest difference that can be claimed.
    pub programs: fn() -> Vec<String>,
    /// Returns the points and the number of rounds.
    pub plan: fn(Effort) -> Plan,
    /// How a turn is executed.
    pub execution: Execution,
}

/// How a turn is executed.
#[derive(Clone, Copy, Debug)]
pub struct Execution {
    /// Prepares the benchmark of a contender that is not a peer.
    pub worker: fn(&WorkerConfig) -> Result<Benchmark, Failure>,
    /// When the runner starts a new worker process.
    pub process: ProcessLifetime,
    /// The number of iterations in a turn. Metrics are per iteration.
    pub iterations: fn(Effort, x: f64) -> u64,
    /// The peers that take part.
    pub peers: Option<PeerWork>,
    /// Returns whether a contender, given by its program, takes part at a point.
    pub includes: fn(Effort, program: &str, x: f64) -> bool,
    /// The metrics that are computed from the origin's statistics.
    pub origin_metrics: &'static [OriginMetric],
    /// What the machine must provide, beside the worker.
    pub requires: Option<Requirement>,
}

impl Execution {
    /// Creates the default execution: one iteration per turn, no peers, every contender at every point,
    /// and a process that is reused over several rounds.
    pub const fn new(worker: fn(&WorkerConfig) -> Result<Benchmark, Failure>) -> Self {
        Self {
            worker,
            process: ProcessLifetime::Reused,
            iterations: |_, _| 1,
            peers: None,
            includes: |_, _, _| true,
            origin_metrics: &[],
            requires: None,
        }
    }
}

/// The peers of an experiment, and their work.
#[derive(Clone, Copy, Debug)]
pub struct PeerWork {
    /// The names of the peers.
    pub names: &'static [&'static str],
    /// The peer that is a deliberate mistake. It would dominate the scale of the charts, so only the tables
    /// show it.
    pub mistake: Option<&'static str>,
    /// Returns the arguments that describe the work. `x` stands for the variable's value.
    pub arguments: fn() -> String,
}

/// The name of a metric, and the function that computes its value, in the metric's unit, from the
/// origin's statistics and the worker's metrics.
pub type OriginMetric = (&'static str, fn(&Stats, &Metrics) -> f64);

/// A requirement of an experiment that not every machine or program fulfils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// A counting allocator. Only the program `inflight-lab-process` has one.
    CountingAllocator,
    /// A program that counts system calls: perf with permission to read tracepoints, or strace.
    SystemCallCounter,
}

/// When the runner starts a new worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessLifetime {
    /// After [`ROUNDS_PER_PROCESS`] rounds of a point. The first turn of a process opens its
    /// connections and is not recorded.
    Reused,
    /// For each turn, so that memory left by one turn does not count in the next. A turn with `x` = 1
    /// precedes it and is not recorded.
    Fresh,
}

/// The number of rounds after which a worker process is replaced. The memory layout of a process is
/// random and changes a figure by a few per cent for as long as the process runs. The interval must
/// include this variation, because otherwise the next run would contradict it.
pub const ROUNDS_PER_PROCESS: u32 = 4;

/// The independent variable of an experiment.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The axis label, such as `pages at once`.
    pub name: &'static str,
    /// The unit. Empty for a count.
    pub unit: &'static str,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name in the records.
    pub name: &'static str,
    /// The axis label, such as `time until the last page`.
    pub what: &'static str,
    /// The unit: `ms`, `us`, `KB`, `1/s`, ...
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// The physical limit, if there is one.
    pub limit: Option<Limit>,
    /// The chart.
    pub chart: ChartKind,
}

impl Metric {
    /// Creates a metric without a limit, for which lower is better.
    pub(crate) const fn new(name: &'static str, what: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            what,
            unit,
            better: Better::Lower,
            limit: None,
            chart: ChartKind::Marks,
        }
    }

    /// Returns the metric with higher values as the better ones.
    pub(crate) const fn higher_is_better(self) -> Self {
        Self {
            better: Better::Higher,
            ..self
        }
    }

    /// Returns the metric with a physical limit.
    pub(crate) const fn with_limit(self, what: &'static str, at: fn(x: f64) -> f64) -> Self {
        Self {
            limit: Some(Limit { at, what }),
            ..self
        }
    }

    /// Returns the metric with this chart.
    pub(crate) const fn with_chart(self, chart: ChartKind) -> Self {
        Self { chart, ..self }
    }
}

impl Experiment {
    /// Returns the contenders: the programs, the peers, and the first program again.
    pub fn contenders(&self) -> Vec<Contender> {
        let peers = self.execution.peers.map_or(&[][..], |work| work.names);
        let peers = peers.iter().map(|name| (*name).to_owned());
        let names = (self.programs)().into_iter().chain(peers);
        let mut contenders: Vec<_> = names.map(Contender::new).collect();
        contenders.extend(contenders.first().map(Contender::duplicate));
        contenders
    }

    /// Returns the arguments for the work of a peer. Returns `None` if the peer takes no part.
    pub fn peer_arguments(&self, peer: &str) -> Option<Vec<String>> {
        let work = self.execution.peers;
        let work = work.filter(|work| work.names.contains(&peer))?;
        let metrics: Vec<_> = self.worker_metrics().map(|metric| metric.name).collect();
        let arguments = (work.arguments)();
        let arguments = arguments.split(' ').chain(["--metrics"]).map(str::to_owned);
        Some(arguments.chain([metrics.join(",")]).collect())
    }

    /// Returns what the experiment needs and this machine does not have.
    pub fn missing_requirement(&self) -> Option<&'static str> {
        let needs_counter = self.execution.requires == Some(Requirement::SystemCallCounter);
        let is_missing = needs_counter && SystemCallCounter::find().is_none();
        is_missing.then_some("needs perf with permission to read tracepoints, or strace")
    }

    /// Returns the metrics that a worker reports.
    pub fn worker_metrics(&self) -> impl Iterator<Item = &'static Metric> {
        let origin_metrics = self.execution.origin_metrics;
        let is_from_worker =
            move |metric: &&Metric| origin_metrics.iter().all(|(name, _)| *name != metric.name);
        self.metrics.iter().filter(is_from_worker)
    }
}

/// Which direction of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// For time, CPU and memory.
    Lower,
    /// For throughput.
    Higher,
}

/// How the report shows a metric: as marks at one point, or as lines over several points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartKind {
    /// Marks and lines on an axis that fits the values.
    Marks,
    /// Bars that start at zero instead of marks, so that lengths are compared.
    Bars,
    /// Lines whose knee is marked, the point from which the metric grows quickly.
    Knees,
}

/// A physical limit, which no contender can beat.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Returns the limit at a point. `x` is 0 in an experiment without a variable.
    pub at: fn(x: f64) -> f64,
    /// A description, such as `the slowest page's delay`.
    pub what: &'static str,
}

/// A contender: one implementation that an experiment measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The name: a cell, such as `smol/hyper`, or another name, such as `reqwest`.
    pub name: String,
    /// The program that runs. Two contenders with the same program are an A/A pair.
    pub program: String,
}

impl Contender {
    /// Creates a contender whose program has the same name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            program: name.clone(),
            name,
        }
    }

    /// Returns the same program under another name, for an A/A pair.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            name: format!("{}{DUPLICATE_SUFFIX}", self.program),
            program: self.program.clone(),
        }
    }
}

/// The suffix of the second contender of an A/A pair.
pub const DUPLICATE_SUFFIX: &str = " (again)";

/// How many points and rounds are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Few rounds: `just bench` takes about five minutes.
    Quick,
    /// Many rounds, for narrow intervals.
    Full,
}

/// The points and rounds of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The values of the variable. A single 0 if there is no variable.
    pub points: Vec<f64>,
    /// The number of rounds. In each, every contender has one turn at every point.
    pub rounds: u32,
}
