//! The definition of an experiment: its question, variable, metrics, limits, contenders, and how it
//! is executed.
//!
//! A *program* is an implementation that a worker can run, such as `tokio/hyper`. A *peer* is a program in
//! another language. A *contender* is a program with the name under which its results are recorded. An
//! *A/A pair* consists of two contenders with the same program, so their difference is noise.
//!
//! A *point* is a value of the variable. A *turn* is one measurement of one contender at one point. In
//! each *round* of a point, every contender has one turn.

use inflight_origin::Stats;

use crate::worker::measure::SystemCallCounter;
use crate::worker::nats;
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
    pub verification: &'static str,
    /// Returns the names of the programs, without peers. The first one runs twice, as an A/A pair. The
    /// report claims no difference that is smaller than the difference of this pair.
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
    /// Returns whether a program takes part at a point.
    pub includes: fn(Effort, program: &str, x: f64) -> bool,
    /// The metrics that are computed from the origin's statistics.
    pub origin_metrics: &'static [OriginMetric],
    /// What the machine must provide in addition to the worker.
    pub requires: Option<Requirement>,
}

impl Execution {
    /// Creates the default execution: one iteration per turn, no peers, every contender at every point,
    /// and a process that runs several rounds.
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
    /// The peer that is a deliberate mistake. Charts leave it out, because it would dominate their scale.
    pub mistake: Option<&'static str>,
    /// Returns the arguments that describe the work, separated by spaces. An argument `x` stands for the
    /// variable's value.
    pub arguments: fn() -> String,
}

/// The name of a metric, and the function that computes its value, in the metric's unit, from the
/// origin's statistics and the worker's metrics.
pub type OriginMetric = (&'static str, fn(&Stats, &Metrics) -> f64);

/// Something that an experiment needs and that some machines or programs do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// A counting allocator. Only the program `inflight-lab-process` has one.
    CountingAllocator,
    /// A program that counts system calls: perf with permission to read tracepoints, or strace.
    SystemCallCounter,
    /// nats-server, which `just nats` installs.
    NatsServer,
}

/// When the runner starts a new worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessLifetime {
    /// After [`ROUNDS_PER_PROCESS`] rounds of a point. The first turn of a process opens its
    /// connections and is not recorded.
    Reused,
    /// For each turn, so that the memory of a turn does not include memory of earlier turns. A warm-up turn
    /// with `x` = 1 precedes the turn and is not recorded.
    Fresh,
}

/// The number of rounds after which a new worker process replaces the old one. The memory layout of a
/// process is random and changes its results by a few per cent. Results of several processes let the
/// confidence interval include this variation. Otherwise, the next run could contradict the interval.
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
    pub label: &'static str,
    /// The unit: `ms`, `us`, `KB`, `1/s`, ...
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// The physical limit, if there is one.
    pub limit: Option<Limit>,
    /// The value that the experiment asks for, if there is one.
    pub target: Option<Target>,
    /// The time after which the experiment itself ends what it measures, in the metric's unit.
    pub timeout: Option<f64>,
    /// The style of the metric's charts.
    pub chart_style: ChartStyle,
}

impl Metric {
    /// Creates a metric without a limit, for which lower is better.
    pub(crate) const fn new(name: &'static str, label: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            label,
            unit,
            better: Better::Lower,
            limit: None,
            target: None,
            timeout: None,
            chart_style: ChartStyle::Default,
        }
    }

    /// Returns the metric with [`Better::Higher`].
    pub(crate) const fn higher_is_better(self) -> Self {
        Self {
            better: Better::Higher,
            ..self
        }
    }

    /// Returns the metric with a physical limit.
    pub(crate) const fn with_limit(self, description: &'static str, at: fn(x: f64) -> f64) -> Self {
        Self {
            limit: Some(Limit { at, description }),
            ..self
        }
    }

    /// Returns the metric with a target.
    pub(crate) const fn with_target(
        self,
        description: &'static str,
        at: fn(x: f64) -> f64,
    ) -> Self {
        Self {
            target: Some(Target { at, description }),
            ..self
        }
    }

    /// Returns the metric with a timeout.
    pub(crate) const fn with_timeout(self, timeout: f64) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// Returns the metric with this chart style.
    pub(crate) const fn with_chart_style(self, chart_style: ChartStyle) -> Self {
        Self {
            chart_style,
            ..self
        }
    }
}

impl Experiment {
    /// Returns the contenders: the programs, the peers, and the first program again, for the A/A pair.
    pub fn contenders(&self) -> Vec<Contender> {
        let peers = self.execution.peers.map_or(&[][..], |work| work.names);
        let peers = peers.iter().map(|name| (*name).to_owned());
        let names = (self.programs)().into_iter().chain(peers);
        let mut contenders: Vec<_> = names.map(Contender::new).collect();
        contenders.extend(contenders.first().map(Contender::duplicate));
        contenders
    }

    /// Returns the arguments for the work of a peer, or `None` if the experiment does not include the peer.
    pub fn peer_arguments(&self, peer: &str) -> Option<Vec<String>> {
        let work = self.execution.peers;
        let work = work.filter(|work| work.names.contains(&peer))?;
        let metrics: Vec<_> = self.worker_metrics().map(|metric| metric.name).collect();
        let arguments = (work.arguments)();
        let arguments = arguments.split(' ').chain(["--metrics"]).map(str::to_owned);
        Some(arguments.chain([metrics.join(",")]).collect())
    }

    /// Returns the requirement that this machine does not meet, if there is one.
    pub fn missing_requirement(&self) -> Option<String> {
        match self.execution.requires? {
            Requirement::CountingAllocator => None,
            Requirement::SystemCallCounter => SystemCallCounter::missing(),
            Requirement::NatsServer => nats::missing(),
        }
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
    /// A lower value, as for times and memory.
    Lower,
    /// A higher value, as for throughput.
    Higher,
}

/// The style of the charts of a metric. The report selects the kinds of charts from the data: a heat map of
/// runtimes and clients, a line chart over several points, or a dot plot at one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartStyle {
    /// The axis of a dot plot depends on the values. Line charts do not mark knees (see
    /// [`MarkedKnees`](Self::MarkedKnees)).
    Default,
    /// Dot plots show bars that start at zero, so that their lengths can be compared.
    BarsFromZero,
    /// Line charts mark the knee of each line: the last point before the metric exceeds twice its value at the
    /// lowest point.
    MarkedKnees,
}

/// A physical limit, which no contender can beat.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Returns the limit at a point. `x` is 0 in an experiment without a variable.
    pub at: fn(x: f64) -> f64,
    /// What sets the limit, such as `the slowest page's delay`.
    pub description: &'static str,
}

/// The value that an experiment asks for, such as the request rate. Unlike a [`Limit`], it can be exceeded: a
/// client that was late for a while completes more pages per second afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Returns the target at a point.
    pub at: fn(x: f64) -> f64,
    /// What sets the target, such as `the request rate`.
    pub description: &'static str,
}

/// A program, with the name under which an experiment measures it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The name: a runtime and a client, such as `smol/hyper`, or another name, such as `reqwest`.
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

/// How many points and rounds a run has.
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
    /// The number of rounds at each point.
    pub rounds: u32,
}
