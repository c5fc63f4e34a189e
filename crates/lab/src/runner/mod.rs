//! Runs experiments. A turn is one measurement of one contender at one point, which is a value of the
//! experiment's variable. In each round of a point, every contender has one turn. The order of the
//! contenders is reversed in every other round. The runner discards and repeats rounds in which the origin,
//! which is the test server, was early, late or busy.
//!
//! `schedule` computes the order, `validation` checks the turns, `record_file` stores the records,
//! and `pin` assigns cores.

mod pin;
mod record_file;
mod schedule;
mod validation;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::environment;
use crate::experiment::{Contender, Effort, Experiment, Plan, ProcessLifetime, ROUNDS_PER_PROCESS};
use crate::machine_load::LoadMeter;
use crate::process::{CommandLines, MeasureError, OriginProcess, Worker};
use crate::record::{Environment, Row};
use crate::worker::{Measurement, Parameters, WorkerConfig};

pub use record_file::ResumeError;
use record_file::{RecordFile, ResumedRun, TurnKey};
pub use validation::OriginBounds;

/// The maximum number of times that a discarded round is repeated.
pub const REPEATS: u32 = 2;

/// The timeout of a turn.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The configuration of a run.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The experiments, in the order in which they run.
    pub experiments: Vec<&'static Experiment>,
    /// The effort, which selects points and rounds.
    pub effort: Effort,
    /// The number of rounds. If `None`, the effort selects the number.
    pub rounds: Option<u32>,
    /// The seed of the order of the contenders.
    pub seed: u64,
    /// The bounds for the origin. If the origin violates a bound, the round is discarded.
    pub bounds: OriginBounds,
}

impl RunConfig {
    /// Creates a configuration with the default bounds.
    pub fn new(experiments: Vec<&'static Experiment>, effort: Effort) -> Self {
        Self {
            experiments,
            effort,
            rounds: None,
            seed: 1,
            bounds: OriginBounds::default(),
        }
    }

    fn plan(&self, experiment: &Experiment) -> Plan {
        let plan = (experiment.plan)(self.effort);
        Plan {
            rounds: self.rounds.unwrap_or(plan.rounds),
            ..plan
        }
    }

    /// Adds the configuration to the environment, so that the run can be resumed.
    fn write_to(&self, environment: &mut Environment) {
        let names = self.experiments.iter().map(|experiment| experiment.name);
        environment.insert(EXPERIMENTS.into(), names.collect::<Vec<_>>().join(" "));
        let effort = match self.effort {
            Effort::Quick => QUICK,
            Effort::Full => FULL,
        };
        environment.insert(EFFORT.into(), effort.into());
        if let Some(rounds) = self.rounds {
            environment.insert(ROUNDS.into(), rounds.to_string());
        }
        environment.insert(SEED.into(), self.seed.to_string());
        environment.insert(BOUNDS.into(), self.bounds.to_string());
    }

    /// Reads the configuration that [`RunConfig::write_to`] wrote.
    fn from_environment(environment: &Environment) -> Option<Self> {
        let names = environment.get(EXPERIMENTS)?.split(' ');
        Some(Self {
            experiments: names.map(crate::experiments::find).collect::<Option<_>>()?,
            effort: match &**environment.get(EFFORT)? {
                QUICK => Effort::Quick,
                FULL => Effort::Full,
                _ => return None,
            },
            rounds: match environment.get(ROUNDS) {
                Some(rounds) => Some(rounds.parse().ok()?),
                None => None,
            },
            seed: environment.get(SEED)?.parse().ok()?,
            bounds: environment.get(BOUNDS)?.parse().ok()?,
        })
    }
}

const EXPERIMENTS: &str = "experiments";
const EFFORT: &str = "effort";
const QUICK: &str = "quick";
const FULL: &str = "full";
const ROUNDS: &str = "rounds";
const SEED: &str = "seed";
const BOUNDS: &str = "thrown away";

/// An event of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A turn has finished.
    Turn(Progress<'a>),
    /// A round was discarded.
    Discarded {
        /// The experiment.
        experiment: &'a str,
        /// The reason.
        reason: &'a str,
        /// Whether the round is repeated.
        repeated: bool,
    },
    /// A contender failed. The remaining rounds of the point skip it.
    Failed(&'a FailedContender),
    /// A peer is not installed, or a requirement of an experiment is missing.
    Unavailable {
        /// The name of the peer or of the experiment.
        name: &'a str,
        /// The reason.
        reason: &'a str,
    },
}

/// The progress of a run.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The experiment.
    pub experiment: &'a str,
    /// The contender of the finished turn.
    pub contender: &'a str,
    /// The finished share of the run, from 0 to 1.
    pub done: f64,
    /// The estimated remaining time.
    pub remaining: Duration,
}

/// A contender that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedContender {
    /// The experiment.
    pub experiment: String,
    /// The contender.
    pub contender: String,
    /// The point.
    pub x: f64,
    /// The reason.
    pub reason: String,
}

/// The outcome of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The number of recorded turns that were not discarded.
    pub turns: u64,
    /// The number of discarded rounds. Each discarded attempt at a round counts.
    pub discarded_rounds: u64,
    /// The contenders that failed.
    pub failed: Vec<FailedContender>,
    /// The names of peers that are not installed and of experiments without available contenders. The values
    /// are the reasons.
    pub unavailable: BTreeMap<String, String>,
    /// Whether the run was interrupted. Finished turns are recorded.
    pub interrupted: bool,
    /// The load of the machine by other programs.
    pub load: MachineLoad,
}

/// The load of the machine by other programs during the turns of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineLoad {
    /// The time of all turns for which the load is known, in seconds.
    seconds: f64,
    /// The time that other programs used, in seconds of one core.
    core_seconds: f64,
}

impl MachineLoad {
    fn add(&mut self, took: Duration, other_cores: f64) {
        self.seconds += took.as_secs_f64();
        self.core_seconds += took.as_secs_f64() * other_cores;
    }

    /// Returns the number of cores that other programs used on average, or `None` if it is unknown.
    pub fn other_cores(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| (self.core_seconds / self.seconds).max(0.0))
    }
}

/// Runs the experiments of a configuration, or the rest of a resumed run, and appends the records to a file.
pub struct Runner<'a> {
    config: RunConfig,
    command_lines: &'a CommandLines,
    file: RecordFile,
    interrupted: &'a dyn Fn() -> bool,
    on_event: &'a mut dyn FnMut(&Event<'_>),
    outcome: Outcome,
    clock: ProgressClock,
}

/// The location of the records.
#[derive(Clone, Debug)]
pub struct Records {
    /// The path of the file. The file and its folder are created if needed.
    pub path: PathBuf,
}

impl Records {
    /// Returns a file in a folder, named after the date and the machine.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        let name = format!("{}-{}.csv", &now()[..10], environment::machine());
        Self {
            path: folder.into().join(name),
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

/// Runs the experiments of a configuration and appends the records to a file.
///
/// The run stops early when `interrupted` returns `true`. `on_event` is called for each event.
///
/// # Errors
///
/// If writing records fails, or the origin does not start. A contender that fails is skipped and listed
/// in the [`Outcome`].
pub fn run(
    config: RunConfig,
    command_lines: &CommandLines,
    records: &Records,
    interrupted: &dyn Fn() -> bool,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> io::Result<Outcome> {
    let mut environment = environment::current();
    config.write_to(&mut environment);
    environment.insert("pinned".into(), pin::Cores::find().describe());
    let file = RecordFile::begin(&records.path, now(), &environment)?;
    Runner::new(config, command_lines, file, interrupted, on_event).run()
}

/// Resumes the last run in the file.
///
/// # Errors
///
/// If the run cannot be resumed. Also in the cases in which [`run`] fails.
pub fn resume(
    records: &Records,
    command_lines: &CommandLines,
    interrupted: &dyn Fn() -> bool,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome, ResumeError> {
    let ResumedRun { file, environment } = RecordFile::resume(&records.path)?;
    let config = RunConfig::from_environment(&environment).ok_or(ResumeError::UnknownConfig)?;
    let mut here = environment::current();
    config.write_to(&mut here);
    if !environment::are_comparable(&here, &environment) {
        return Err(ResumeError::DifferentEnvironment);
    }
    let runner = Runner::new(config, command_lines, file, interrupted, on_event);
    if runner.count_missing() == 0 {
        return Err(ResumeError::Finished);
    }
    Ok(runner.run()?)
}

/// Returns the contenders that take part at a point.
fn participants<'a>(
    experiment: &Experiment,
    effort: Effort,
    contenders: &'a [Contender],
    x: f64,
) -> Vec<&'a Contender> {
    let is_included =
        |contender: &&Contender| (experiment.execution.includes)(effort, &contender.program, x);
    contenders.iter().filter(is_included).collect()
}

/// Estimates the remaining time from the number of turns and the time since the start.
struct ProgressClock {
    started: Instant,
    finished: usize,
    remaining: usize,
}

/// A contender at the current point, with its worker process.
struct ActiveContender<'a> {
    definition: &'a Contender,
    line: Vec<std::ffi::OsString>,
    worker: Option<Worker>,
    failed: bool,
}

/// The reason why a run stops early.
enum StopReason {
    Interrupted,
    Failed(io::Error),
}

impl From<io::Error> for StopReason {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Runner<'a> {
    fn new(
        config: RunConfig,
        command_lines: &'a CommandLines,
        file: RecordFile,
        interrupted: &'a dyn Fn() -> bool,
        on_event: &'a mut dyn FnMut(&Event<'_>),
    ) -> Self {
        Self {
            config,
            command_lines,
            file,
            interrupted,
            on_event,
            outcome: Outcome::default(),
            clock: ProgressClock {
                started: Instant::now(),
                finished: 0,
                remaining: 0,
            },
        }
    }

    /// Returns the number of turns that are not in the file yet.
    fn count_missing(&self) -> usize {
        let mut missing = 0;
        for experiment in &self.config.experiments {
            let plan = self.config.plan(experiment);
            let contenders = available(experiment, self.command_lines).0;
            for x in plan.points {
                for contender in participants(experiment, self.config.effort, &contenders, x) {
                    let key = |round| turn_key(experiment, contender, x, round);
                    let is_missing = |round: &u32| !self.file.is_done(&key(*round));
                    missing += (0..plan.rounds).filter(is_missing).count();
                }
            }
        }
        missing
    }

    fn run(mut self) -> io::Result<Outcome> {
        self.clock.remaining = self.count_missing();
        let cores = pin::Cores::find();
        let origin = cores.for_origin(|| OriginProcess::start(&self.command_lines.origin))?;
        let ended = cores.for_workers(|| self.run_experiments(&origin));
        match ended {
            Ok(()) => {}
            Err(StopReason::Interrupted) => self.outcome.interrupted = true,
            Err(StopReason::Failed(error)) => return Err(error),
        }
        self.file.end(self.outcome.interrupted)?;
        Ok(self.outcome)
    }

    fn run_experiments(&mut self, origin: &OriginProcess) -> Result<(), StopReason> {
        for experiment in self.config.experiments.clone() {
            let (contenders, unavailable) = available(experiment, self.command_lines);
            let none_available = contenders.is_empty();
            for (contender, reason) in unavailable {
                // If no contender is available, the experiment is reported once, instead of each contender.
                let name = if none_available {
                    experiment.name.to_owned()
                } else {
                    contender
                };
                if self.outcome.unavailable.contains_key(&name) {
                    continue;
                }
                (self.on_event)(&Event::Unavailable {
                    name: &name,
                    reason: &reason,
                });
                self.outcome.unavailable.insert(name, reason);
            }
            let plan = self.config.plan(experiment);
            for x in plan.points {
                self.run_point(experiment, &contenders, x, plan.rounds, origin)?;
            }
        }
        Ok(())
    }

    fn run_point(
        &mut self,
        experiment: &'static Experiment,
        contenders: &[Contender],
        x: f64,
        rounds: u32,
        origin: &OriginProcess,
    ) -> Result<(), StopReason> {
        let participants = participants(experiment, self.config.effort, contenders, x);
        let mut active = Vec::new();
        for contender in participants {
            let config = worker_config(experiment, contender, origin.base());
            active.push(ActiveContender {
                definition: contender,
                // Unavailable contenders were removed before.
                line: self
                    .command_lines
                    .worker_command(&config)
                    .unwrap_or_default(),
                worker: None,
                failed: false,
            });
        }
        for round in 0..rounds {
            if round % ROUNDS_PER_PROCESS == 0 {
                active
                    .iter_mut()
                    .for_each(|contender| contender.worker = None);
            }
            let order = schedule::order_of_round(active.len(), round, self.config.seed);
            let mut order: Vec<(u32, usize)> = (0..).zip(order).collect();
            order.retain(|(_, index)| {
                !self
                    .file
                    .is_done(&turn_key(experiment, active[*index].definition, x, round))
            });
            for attempt in 0..=REPEATS {
                let is_last_attempt = attempt == REPEATS;
                if self.run_round(
                    experiment,
                    &mut active,
                    &order,
                    (x, round),
                    origin,
                    is_last_attempt,
                )? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Runs one attempt at a round. Returns `false` if the round was discarded.
    fn run_round(
        &mut self,
        experiment: &'static Experiment,
        active: &mut [ActiveContender<'_>],
        order: &[(u32, usize)],
        (x, round): (f64, u32),
        origin: &OriginProcess,
        is_last_attempt: bool,
    ) -> Result<bool, StopReason> {
        let mut turns: Vec<(Vec<Row>, Option<String>)> = Vec::new();
        let mut stop_reason = None;
        for (turn, index) in order {
            let contender = &mut active[*index];
            if contender.failed {
                self.clock.remaining -= 1;
                continue;
            }
            match self.run_turn(experiment, contender, x, origin) {
                Ok(done) => {
                    let rows =
                        self.rows(experiment, contender.definition, &done, (x, round, *turn));
                    turns.push((rows, done.violation));
                }
                Err(TurnError::Interrupted) => {
                    stop_reason = Some(StopReason::Interrupted);
                    break;
                }
                Err(TurnError::Origin(error)) => {
                    stop_reason = Some(StopReason::Failed(error));
                    break;
                }
                Err(TurnError::Failed(reason)) => {
                    contender.failed = true;
                    contender.worker = None;
                    let failed = FailedContender {
                        experiment: experiment.name.to_owned(),
                        contender: contender.definition.name.clone(),
                        x,
                        reason,
                    };
                    (self.on_event)(&Event::Failed(&failed));
                    self.outcome.failed.push(failed);
                }
            }
            self.report_progress(experiment, active[*index].definition);
        }
        let reason = turns.iter().find_map(|(_, violation)| violation.clone());
        let mut rows = Vec::new();
        for (mut of_turn, violation) in turns {
            // Turns of one round are compared with each other, so one invalid turn discards the whole
            // round. A round that is not repeated keeps its valid turns.
            let discard_reason = if is_last_attempt || stop_reason.is_some() {
                violation
            } else {
                reason.clone()
            };
            self.outcome.turns += u64::from(discard_reason.is_none());
            for row in &mut of_turn {
                row.discard_reason = discard_reason.clone().unwrap_or_default();
            }
            rows.extend(of_turn);
        }
        self.file.append(&rows)?;
        if let Some(reason) = &reason {
            self.outcome.discarded_rounds += 1;
            if !is_last_attempt {
                self.clock.remaining += order.len();
            }
            (self.on_event)(&Event::Discarded {
                experiment: experiment.name,
                reason,
                repeated: !is_last_attempt,
            });
        }
        match stop_reason {
            Some(stop_reason) => Err(stop_reason),
            None => Ok(reason.is_none()),
        }
    }

    /// Runs one turn.
    fn run_turn(
        &mut self,
        experiment: &Experiment,
        contender: &mut ActiveContender<'_>,
        x: f64,
        origin: &OriginProcess,
    ) -> Result<FinishedTurn, TurnError> {
        if (self.interrupted)() {
            return Err(TurnError::Interrupted);
        }
        let iterations = (experiment.execution.iterations)(self.config.effort, x);
        if experiment.execution.process == ProcessLifetime::Fresh {
            contender.worker = None;
        }
        let worker = match &mut contender.worker {
            Some(worker) => worker,
            empty => {
                let worker = empty.insert(
                    Worker::start(&contender.line)
                        .map_err(|error| TurnError::Failed(error.to_string()))?,
                );
                let warm_up = match experiment.execution.process {
                    ProcessLifetime::Reused => Parameters { x, iterations },
                    ProcessLifetime::Fresh => Parameters {
                        x: 1.0,
                        iterations: 1,
                    },
                };
                worker.measure(warm_up, TIMEOUT, self.interrupted)?;
                worker
            }
        };
        origin.reset().map_err(TurnError::Origin)?;
        let load = LoadMeter::start(&[worker.id(), origin.id()]);
        let started = Instant::now();
        let mut measurement =
            worker.measure(Parameters { x, iterations }, TIMEOUT, self.interrupted)?;
        let took = started.elapsed();
        let other_cores = load.and_then(|load| load.other_cores());
        if let Some(other_cores) = other_cores {
            self.outcome.load.add(took, other_cores);
        }
        let stats = origin.stats().map_err(TurnError::Origin)?;
        for (name, compute) in experiment.execution.origin_metrics {
            let value = compute(&stats, &measurement.metrics);
            measurement.metrics.insert((*name).to_owned(), value);
        }
        if experiment.execution.process == ProcessLifetime::Fresh {
            contender.worker = None;
        }
        validation::check_measurement(experiment, &measurement, &stats)
            .map_err(TurnError::Failed)?;
        Ok(FinishedTurn {
            measurement,
            violation: self.config.bounds.violation(&stats, took),
            other_cores,
        })
    }

    fn rows(
        &self,
        experiment: &Experiment,
        contender: &Contender,
        FinishedTurn {
            measurement,
            other_cores,
            ..
        }: &FinishedTurn,
        (x, round, turn): (f64, u32, u32),
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        for metric in experiment.metrics {
            let Some(value) = measurement.metrics.get(metric.name) else {
                continue;
            };
            rows.push(Row {
                run: self.file.run().to_owned(),
                experiment: experiment.name.to_owned(),
                contender: contender.name.clone(),
                x,
                round,
                turn,
                metric: metric.name.to_owned(),
                value: *value,
                unit: metric.unit.to_owned(),
                answered: measurement.answered,
                discard_reason: String::new(),
                other_cores: *other_cores,
            });
        }
        rows
    }

    /// Reports a finished turn. The estimate of the remaining time assumes that each remaining turn takes as
    /// long as the average finished turn, including the time between turns.
    fn report_progress(&mut self, experiment: &Experiment, contender: &Contender) {
        let clock = &mut self.clock;
        clock.finished += 1;
        clock.remaining -= 1;
        let (finished, remaining) = (clock.finished as f64, clock.remaining as f64);
        (self.on_event)(&Event::Turn(Progress {
            experiment: experiment.name,
            contender: &contender.name,
            done: finished / (finished + remaining),
            remaining: clock.started.elapsed().mul_f64(remaining / finished),
        }));
    }
}

/// A turn that has a measurement.
struct FinishedTurn {
    measurement: Measurement,
    /// The bound that the origin violated, if it violated one. The turn is then discarded.
    violation: Option<String>,
    /// [`Row::other_cores`].
    other_cores: Option<f64>,
}

/// The reason why a turn has no measurement.
enum TurnError {
    Interrupted,
    Failed(String),
    Origin(io::Error),
}

impl From<MeasureError> for TurnError {
    fn from(error: MeasureError) -> Self {
        match error {
            MeasureError::Failed(reason) => Self::Failed(reason),
            MeasureError::Interrupted => Self::Interrupted,
        }
    }
}

fn worker_config(experiment: &Experiment, contender: &Contender, origin: &str) -> WorkerConfig {
    WorkerConfig {
        experiment: experiment.name.to_owned(),
        contender: contender.program.clone(),
        origin: origin.to_owned(),
    }
}

fn turn_key(experiment: &Experiment, contender: &Contender, x: f64, round: u32) -> TurnKey {
    TurnKey::new(experiment.name, &contender.name, x, round)
}

/// Returns the available contenders, and the name of each unavailable contender with the reason.
fn available(
    experiment: &Experiment,
    command_lines: &CommandLines,
) -> (Vec<Contender>, Vec<(String, String)>) {
    let mut available_contenders = Vec::new();
    let mut unavailable = Vec::new();
    for contender in experiment.contenders() {
        match command_lines.worker_command(&worker_config(experiment, &contender, "")) {
            Ok(_) => available_contenders.push(contender),
            Err(reason) => unavailable.push((contender.name, reason)),
        }
    }
    (available_contenders, unavailable)
}
