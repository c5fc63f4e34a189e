//! Runs experiments: in each round every contender has its turn, in an order that is turned round
//! every other round, against an origin that is watched.
//!
//! `schedule` is the order, `judge` whether the origin was well, `file` what is kept, `pin` who
//! runs on which core.

mod file;
mod judge;
mod pin;
mod schedule;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::environment;
use crate::experiment::{Contender, Effort, Experiment, Plan, Process, ROUNDS_OF_A_LIFE};
use crate::process::{NoAnswer, OriginProcess, Programs, Worker};
use crate::record::{Environment, Row};
use crate::worker::{Answer, Ask, Point, Setup};

pub use file::ResumeError;
use file::{File, Key, Resumed};
pub use judge::Bounds;

/// How often a round is repeated in which the origin was not well.
pub const REPEATS: u32 = 2;

/// A turn that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The experiments, in this order.
    pub experiments: Vec<&'static Experiment>,
    /// How much of each.
    pub effort: Effort,
    /// How many rounds, if not as many as the effort says.
    pub rounds: Option<u32>,
    /// Decides in which order the contenders of a round come; another seed gives everyone other
    /// neighbours.
    pub seed: u64,
    /// When a round is thrown away.
    pub bounds: Bounds,
}

impl Order {
    /// These experiments, with the usual bounds.
    pub fn of(experiments: Vec<&'static Experiment>, effort: Effort) -> Self {
        Self {
            experiments,
            effort,
            rounds: None,
            seed: 1,
            bounds: Bounds::default(),
        }
    }

    fn plan(&self, experiment: &Experiment) -> Plan {
        let plan = (experiment.plan)(self.effort);
        Plan {
            rounds: self.rounds.unwrap_or(plan.rounds),
            ..plan
        }
    }

    /// About how long it takes, with every contender present.
    pub fn about(&self) -> Duration {
        let experiments = self.experiments.iter();
        let ms = experiments.map(|experiment| {
            let contenders = (experiment.contenders)();
            let plan = self.plan(experiment);
            let points = plan.points.iter().map(|x| {
                let taking = taking(experiment, self.effort, &contenders, *x).len();
                cost(experiment, self.effort, *x, plan.rounds) * taking as f64
            });
            points.sum::<f64>()
        });
        Duration::from_secs_f64(ms.sum::<f64>() / 1e3)
    }

    /// What a later run reads to go on where this one ended.
    fn note(&self, environment: &mut Environment) {
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

    /// What [`Order::note`] noted.
    fn noted(environment: &Environment) -> Option<Self> {
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

/// What happens, as it happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A turn is over.
    Turn(Progress<'a>),
    /// A round is thrown away.
    Thrown {
        /// In which experiment.
        experiment: &'a str,
        /// Why.
        reason: &'a str,
        /// Whether it is run once more.
        repeated: bool,
    },
    /// A contender failed and is left out for the rest of this point.
    Failed(&'a Failed),
    /// A peer is not there, or what an experiment needs.
    Absent {
        /// The peer, or the experiment.
        who: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// How far a run is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The experiment.
    pub experiment: &'a str,
    /// Whose turn it was.
    pub contender: &'a str,
    /// What is done, from 0 to 1.
    pub done: f64,
    /// How long the rest takes, by what the part that is done took.
    pub left: Duration,
}

/// A contender that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// In which experiment.
    pub experiment: String,
    /// Who.
    pub contender: String,
    /// At which point.
    pub x: f64,
    /// Why.
    pub reason: String,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Turns that are recorded and count.
    pub turns: u64,
    /// Rounds that were thrown away.
    pub thrown: u64,
    /// Contenders that failed.
    pub failed: Vec<Failed>,
    /// Peers that were not there, and experiments that nobody could take part in, with the reason.
    pub absent: BTreeMap<String, String>,
    /// Whether it was asked to end early. What had been finished is recorded.
    pub interrupted: bool,
}

/// Runs an order, or what is left of one, and appends what is seen to a file of records.
pub struct Runner<'a> {
    order: Order,
    programs: &'a Programs,
    file: File,
    interrupted: &'a dyn Fn() -> bool,
    tell: &'a mut dyn FnMut(&Event<'_>),
    outcome: Outcome,
    clock: Clock,
}

/// Where records go.
#[derive(Clone, Debug)]
pub struct Records {
    /// The file; it is made if need be, with its folder.
    pub path: PathBuf,
}

impl Records {
    /// The file of the day and the machine, in a folder.
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

/// Runs an order from its beginning.
///
/// `interrupted` is asked now and then whether to end early; `tell` is told what happens.
///
/// # Errors
///
/// When the records cannot be written, or the origin does not run. A contender that fails is no
/// error but left out, and told in the [`Outcome`].
pub fn run(
    order: Order,
    programs: &Programs,
    records: &Records,
    interrupted: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&Event<'_>),
) -> io::Result<Outcome> {
    let mut environment = environment::here();
    order.note(&mut environment);
    environment.insert("pinned".into(), pin::Cores::find().describe());
    let file = File::begin(&records.path, now(), &environment)?;
    Runner::new(order, programs, file, interrupted, tell).work()
}

/// Does what is left of the last run in the file.
///
/// # Errors
///
/// When there is nothing to go on with, and as [`run`].
pub fn resume(
    records: &Records,
    programs: &Programs,
    interrupted: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome, ResumeError> {
    let Resumed { file, environment } = File::resume(&records.path)?;
    let order = Order::noted(&environment).ok_or(ResumeError::Unknown)?;
    let mut here = environment::here();
    order.note(&mut here);
    if !environment::same(&here, &environment) {
        return Err(ResumeError::Elsewhere);
    }
    let runner = Runner::new(order, programs, file, interrupted, tell);
    if runner.is_finished() {
        return Err(ResumeError::Finished);
    }
    Ok(runner.work()?)
}

fn taking<'a>(
    experiment: &Experiment,
    effort: Effort,
    contenders: &'a [Contender],
    x: f64,
) -> Vec<&'a Contender> {
    let takes = |contender: &&Contender| (experiment.work.takes)(effort, &contender.program, x);
    contenders.iter().filter(takes).collect()
}

/// About how long one contender takes at a point, in milliseconds.
fn cost(experiment: &Experiment, effort: Effort, x: f64, rounds: u32) -> f64 {
    const START: f64 = 40.0;
    let turn = (experiment.work.about)(effort, x);
    match experiment.work.process {
        Process::Kept => {
            let lives = f64::from(rounds.div_ceil(ROUNDS_OF_A_LIFE));
            lives * (START + turn) + turn * f64::from(rounds)
        }
        Process::Fresh => (START + turn) * f64::from(rounds),
    }
}

/// How much is expected to take how long, and how long it took.
struct Clock {
    started: Instant,
    expected: f64,
    done: f64,
}

/// A contender's seat at a point: its worker, as long as it lives.
struct Seat<'a> {
    contender: &'a Contender,
    line: Vec<std::ffi::OsString>,
    worker: Option<Worker>,
    failed: bool,
}

/// Why a sweep ends early.
enum End {
    Interrupted,
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Runner<'a> {
    fn new(
        order: Order,
        programs: &'a Programs,
        file: File,
        interrupted: &'a dyn Fn() -> bool,
        tell: &'a mut dyn FnMut(&Event<'_>),
    ) -> Self {
        Self {
            order,
            programs,
            file,
            interrupted,
            tell,
            outcome: Outcome::default(),
            clock: Clock {
                started: Instant::now(),
                expected: 0.0,
                done: 0.0,
            },
        }
    }

    /// Every turn that is yet to be done, with its cost.
    fn missing(&self) -> impl Iterator<Item = f64> {
        let order = &self.order;
        order.experiments.iter().flat_map(move |experiment| {
            let plan = order.plan(experiment);
            let contenders = present(experiment, self.programs).0;
            let mut costs = Vec::new();
            for x in &plan.points {
                let each =
                    cost(experiment, order.effort, *x, plan.rounds) / f64::from(plan.rounds.max(1));
                for contender in taking(experiment, order.effort, &contenders, *x) {
                    for round in 0..plan.rounds {
                        if !self.file.has(&key(experiment, contender, *x, round)) {
                            costs.push(each);
                        }
                    }
                }
            }
            costs
        })
    }

    fn is_finished(&self) -> bool {
        self.missing().next().is_none()
    }

    fn work(mut self) -> io::Result<Outcome> {
        self.clock.expected = self.missing().sum();
        let cores = pin::Cores::find();
        let origin = cores.for_origin(|| OriginProcess::start(&self.programs.origin))?;
        let ended = cores.for_workers(|| self.experiments(&origin));
        match ended {
            Ok(()) => {}
            Err(End::Interrupted) => self.outcome.interrupted = true,
            Err(End::Failed(error)) => return Err(error),
        }
        Ok(self.outcome)
    }

    fn experiments(&mut self, origin: &OriginProcess) -> Result<(), End> {
        for experiment in self.order.experiments.clone() {
            let (contenders, absent) = present(experiment, self.programs);
            let there_is_nobody = contenders.is_empty();
            for (contender, reason) in absent {
                // One line for an experiment that nobody can take part in.
                let who = if there_is_nobody {
                    experiment.name.to_owned()
                } else {
                    contender
                };
                if self.outcome.absent.contains_key(&who) {
                    continue;
                }
                (self.tell)(&Event::Absent {
                    who: &who,
                    reason: &reason,
                });
                self.outcome.absent.insert(who, reason);
            }
            let plan = self.order.plan(experiment);
            for x in plan.points {
                self.point(experiment, &contenders, x, plan.rounds, origin)?;
            }
        }
        Ok(())
    }

    fn point(
        &mut self,
        experiment: &'static Experiment,
        contenders: &[Contender],
        x: f64,
        rounds: u32,
        origin: &OriginProcess,
    ) -> Result<(), End> {
        let taking = taking(experiment, self.order.effort, contenders, x);
        let mut seats = Vec::new();
        for contender in taking {
            let setup = setup(experiment, contender, origin.base());
            seats.push(Seat {
                contender,
                // Those that are absent were left out before.
                line: self.programs.of(&setup).unwrap_or_default(),
                worker: None,
                failed: false,
            });
        }
        for round in 0..rounds {
            if round % ROUNDS_OF_A_LIFE == 0 {
                seats.iter_mut().for_each(|seat| seat.worker = None);
            }
            let order = schedule::round(seats.len(), round, self.order.seed);
            let mut order: Vec<(u32, usize)> = (0..).zip(order).collect();
            order.retain(|(_, index)| {
                !self
                    .file
                    .has(&key(experiment, seats[*index].contender, x, round))
            });
            for attempt in 0..=REPEATS {
                let last = attempt == REPEATS;
                if self.round(experiment, &mut seats, &order, (x, round), origin, last)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One attempt at a round; answers whether it counts.
    fn round(
        &mut self,
        experiment: &'static Experiment,
        seats: &mut [Seat<'_>],
        order: &[(u32, usize)],
        (x, round): (f64, u32),
        origin: &OriginProcess,
        last: bool,
    ) -> Result<bool, End> {
        let mut turns: Vec<(Vec<Row>, Option<String>)> = Vec::new();
        let mut end = None;
        for (turn, index) in order {
            let seat = &mut seats[*index];
            if seat.failed {
                continue;
            }
            match self.turn(experiment, seat, x, origin) {
                Ok((answer, fault)) => {
                    let rows = self.rows(experiment, seat.contender, &answer, (x, round, *turn));
                    turns.push((rows, fault));
                }
                Err(Unanswered::Interrupted) => {
                    end = Some(End::Interrupted);
                    break;
                }
                Err(Unanswered::Origin(error)) => {
                    end = Some(End::Failed(error));
                    break;
                }
                Err(Unanswered::Failed(reason)) => {
                    seat.failed = true;
                    seat.worker = None;
                    let failed = Failed {
                        experiment: experiment.name.to_owned(),
                        contender: seat.contender.name.clone(),
                        x,
                        reason,
                    };
                    (self.tell)(&Event::Failed(&failed));
                    self.outcome.failed.push(failed);
                }
            }
            self.progress(experiment, &seats[*index], x);
        }
        let reason = turns.iter().find_map(|(_, fault)| fault.clone());
        let mut rows = Vec::new();
        for (mut of_turn, fault) in turns {
            // Turns of one round are compared with each other, so one that is not well takes the
            // others with it, unless they will not come again.
            let thrown = if last || end.is_some() {
                fault
            } else {
                reason.clone()
            };
            self.outcome.turns += u64::from(thrown.is_none());
            for row in &mut of_turn {
                row.thrown = thrown.clone().unwrap_or_default();
            }
            rows.extend(of_turn);
        }
        self.file.append(&rows)?;
        if let Some(reason) = &reason {
            self.outcome.thrown += 1;
            (self.tell)(&Event::Thrown {
                experiment: experiment.name,
                reason,
                repeated: !last,
            });
        }
        match end {
            Some(end) => Err(end),
            None => Ok(reason.is_none()),
        }
    }

    /// One turn, and why the origin was not well in it.
    fn turn(
        &mut self,
        experiment: &Experiment,
        seat: &mut Seat<'_>,
        x: f64,
        origin: &OriginProcess,
    ) -> Result<(Answer, Option<String>), Unanswered> {
        if (self.interrupted)() {
            return Err(Unanswered::Interrupted);
        }
        let iterations = (experiment.work.iterations)(self.order.effort, x);
        if experiment.work.process == Process::Fresh {
            seat.worker = None;
        }
        let worker = match &mut seat.worker {
            Some(worker) => worker,
            empty => {
                let worker = empty.insert(
                    Worker::start(&seat.line)
                        .map_err(|error| Unanswered::Failed(error.to_string()))?,
                );
                let warm_up = match experiment.work.process {
                    Process::Kept => Ask { x, iterations },
                    Process::Fresh => Ask {
                        x: 1.0,
                        iterations: 1,
                    },
                };
                worker.turn(warm_up, PATIENCE, self.interrupted)?;
                worker
            }
        };
        origin.reset().map_err(Unanswered::Origin)?;
        let started = Instant::now();
        let mut answer = worker.turn(Ask { x, iterations }, PATIENCE, self.interrupted)?;
        let took = started.elapsed();
        let stats = origin.stats().map_err(Unanswered::Origin)?;
        for (name, of) in experiment.work.of_origin {
            let value = of(&stats, &answer.metrics);
            answer.metrics.insert((*name).to_owned(), value);
        }
        if experiment.work.process == Process::Fresh {
            seat.worker = None;
        }
        judge::answer(experiment, &answer, &stats).map_err(Unanswered::Failed)?;
        Ok((answer, self.order.bounds.judge(&stats, took)))
    }

    fn rows(
        &self,
        experiment: &Experiment,
        contender: &Contender,
        answer: &Answer,
        (x, round, turn): (f64, u32, u32),
    ) -> Vec<Row> {
        let one = [Point {
            x,
            metrics: answer.metrics.clone(),
        }];
        let points = if experiment.work.trace {
            &*answer.trace
        } else {
            &one
        };
        let mut rows = Vec::new();
        for point in points {
            for metric in experiment.metrics {
                let Some(value) = point.metrics.get(metric.name) else {
                    continue;
                };
                rows.push(Row {
                    run: self.file.run().to_owned(),
                    experiment: experiment.name.to_owned(),
                    contender: contender.name.clone(),
                    x: point.x,
                    round,
                    turn,
                    metric: metric.name.to_owned(),
                    value: *value,
                    unit: metric.unit.to_owned(),
                    answered: answer.answered,
                    thrown: String::new(),
                });
            }
        }
        rows
    }

    fn progress(&mut self, experiment: &Experiment, seat: &Seat<'_>, x: f64) {
        let plan = self.order.plan(experiment);
        let each =
            cost(experiment, self.order.effort, x, plan.rounds) / f64::from(plan.rounds.max(1));
        let clock = &mut self.clock;
        clock.done = (clock.done + each).min(clock.expected);
        let took = clock.started.elapsed().as_secs_f64();
        let left = took / clock.done * (clock.expected - clock.done);
        (self.tell)(&Event::Turn(Progress {
            experiment: experiment.name,
            contender: &seat.contender.name,
            done: clock.done / clock.expected,
            left: Duration::try_from_secs_f64(left).unwrap_or_default(),
        }));
    }
}

/// Why a turn has no answer.
enum Unanswered {
    Interrupted,
    Failed(String),
    Origin(io::Error),
}

impl From<NoAnswer> for Unanswered {
    fn from(no: NoAnswer) -> Self {
        match no {
            NoAnswer::Failed(reason) => Self::Failed(reason),
            NoAnswer::Interrupted => Self::Interrupted,
        }
    }
}

fn setup(experiment: &Experiment, contender: &Contender, origin: &str) -> Setup {
    Setup {
        experiment: experiment.name.to_owned(),
        contender: contender.program.clone(),
        origin: origin.to_owned(),
    }
}

fn key(experiment: &Experiment, contender: &Contender, x: f64, round: u32) -> Key {
    let x = if experiment.work.trace { 0.0 } else { x };
    Key::new(experiment.name, &contender.name, x, round)
}

/// The contenders that are there, and why the others are not.
fn present(
    experiment: &Experiment,
    programs: &Programs,
) -> (Vec<Contender>, Vec<(String, String)>) {
    let mut there = Vec::new();
    let mut absent = Vec::new();
    for contender in (experiment.contenders)() {
        match programs.of(&setup(experiment, &contender, "")) {
            Ok(_) => there.push(contender),
            Err(reason) => absent.push((contender.name, reason)),
        }
    }
    (there, absent)
}
