//! The promises of `gather`, for jobs in the caller's task and in tasks of their own.

mod support;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream;
use futures_lite::future::{pending, ready, yield_now};
use futures_lite::{FutureExt, StreamExt, stream};
use inflight_core::{
    AllFailed, BoxFuture, ConnectOptions, JobError, JobErrorKind, Runtime, Settled, Socket, gather,
    gather_stream,
};
use proptest::prelude::*;
use support::{
    Counter, DropListener, PATIENCE, Signal, TestRuntime, Wakes, poll, poll_until_stalled, run,
};

// ---------------------------------------------------------------------------------------
// Jobs under the test's control.

/// A job's own error: which job it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refused(usize);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} refused", self.0)
    }
}

impl std::error::Error for Refused {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Succeeds,
    Fails,
    Panics,
}

impl Outcome {
    fn of(self, index: usize) -> Result<usize, Refused> {
        match self {
            Self::Succeeds => Ok(index),
            Self::Fails => Err(Refused(index)),
            // A panic without the hook, which would print.
            Self::Panics => resume_unwind(Box::new(format!("job {index} fell over"))),
        }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Succeeds),
        2 => Just(Outcome::Fails),
        1 => Just(Outcome::Panics),
    ]
}

/// What one job answered, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Output(usize),
    Failed(usize),
    Panicked(String),
    DeadlineExceeded,
    Cancelled,
}

impl Answer {
    fn expected(outcome: Outcome, index: usize) -> Self {
        match outcome {
            Outcome::Succeeds => Self::Output(index),
            Outcome::Fails => Self::Failed(index),
            Outcome::Panics => Self::Panicked(format!("job {index} fell over")),
        }
    }

    /// The answer; `index` has to be the one that a failure names.
    fn read(index: usize, result: Result<usize, JobError<Refused>>) -> Self {
        result.map_or_else(
            |error| {
                assert_eq!(error.index(), index, "a failure names its job");
                Self::failure(error)
            },
            Self::Output,
        )
    }

    fn failure(error: JobError<Refused>) -> Self {
        match error.into_kind() {
            JobErrorKind::Failed(Refused(index)) => Self::Failed(index),
            JobErrorKind::Panicked(panic) => Self::Panicked(panic.message().to_owned()),
            JobErrorKind::DeadlineExceeded => Self::DeadlineExceeded,
            JobErrorKind::Cancelled => Self::Cancelled,
            other => panic!("an unknown kind: {other:?}"),
        }
    }
}

fn answers(settled: Settled<usize, Refused>) -> Vec<Answer> {
    let results = settled.results.into_iter().enumerate();
    results
        .map(|(index, result)| Answer::read(index, result))
        .collect()
}

fn failures(all: AllFailed<Refused>) -> Vec<(usize, Answer)> {
    let failures = all.failures.into_iter();
    failures
        .map(|error| (error.index(), Answer::failure(error)))
        .collect()
}

/// An input whose jobs wait at signals, and what it saw of its gather.
struct World {
    outcomes: Vec<Outcome>,
    signals: Vec<Signal>,
    pulled: AtomicUsize,
    taken: AtomicUsize,
    // The most that were pulled and not taken, at the moment of a pull.
    most_untaken: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
    finished: Vec<AtomicBool>,
}

/// Counts a job as running while it is alive.
struct Running(Arc<World>);

impl Running {
    fn new(world: Arc<World>) -> Self {
        let now = world.running.fetch_add(1, Ordering::SeqCst) + 1;
        world.most_running.fetch_max(now, Ordering::SeqCst);
        Self(world)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

type Results = Pin<Box<dyn Stream<Item = (usize, Result<usize, JobError<Refused>>)>>>;

impl World {
    fn new(outcomes: Vec<Outcome>) -> Arc<Self> {
        Arc::new(Self {
            signals: outcomes.iter().map(|_| Signal::new()).collect(),
            finished: outcomes.iter().map(|_| AtomicBool::new(false)).collect(),
            outcomes,
            pulled: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            most_untaken: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        })
    }

    /// The jobs, as an iterator that knows its length.
    fn jobs(
        self: &Arc<Self>,
    ) -> impl Iterator<Item = impl Future<Output = Result<usize, Refused>> + Send + use<>> + use<>
    {
        let world = self.clone();
        (0..self.outcomes.len()).map(move |index| {
            let pulled = world.pulled.fetch_add(1, Ordering::SeqCst) + 1;
            let untaken = pulled - world.taken.load(Ordering::SeqCst);
            world.most_untaken.fetch_max(untaken, Ordering::SeqCst);
            let running = Running::new(world.clone());
            async move {
                let world = &running.0;
                world.signals[index].passed().await;
                world.finished[index].store(true, Ordering::SeqCst);
                world.outcomes[index].of(index)
            }
        })
    }

    fn completed(
        self: &Arc<Self>,
        limit: usize,
        runtime: Option<&TestRuntime>,
        until: &Signal,
    ) -> Results {
        let gather = gather(self.jobs()).limit(limit).until(until.passed());
        match runtime {
            Some(runtime) => Box::pin(gather.on(runtime).completed()),
            None => Box::pin(gather.completed()),
        }
    }

    /// Polls for one result: once more where there is none, as others may be let go first.
    fn take(&self, results: &mut Results) -> Poll<Option<(usize, Answer)>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || results.as_mut().poll_next(&mut context);
        let polled = match poll() {
            Poll::Pending => poll(),
            ready => ready,
        };
        polled.map(|next| {
            next.map(|(index, result)| {
                self.taken.fetch_add(1, Ordering::SeqCst);
                (index, Answer::read(index, result))
            })
        })
    }

    fn pulled(&self) -> usize {
        self.pulled.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Lets a job pass its signal.
    Open(prop::sample::Index),
    /// Lets the runtime run its tasks, if there is one.
    Tick,
    /// Lets the consumer ask for a result.
    Take,
}

fn steps(at_most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<prop::sample::Index>().prop_map(Step::Open),
        Just(Step::Tick),
        Just(Step::Take),
    ];
    prop::collection::vec(step, 0..at_most)
}

/// Does the steps and returns what was taken meanwhile.
fn play(
    world: &World,
    results: &mut Results,
    runtime: Option<&TestRuntime>,
    steps: &[Step],
) -> Vec<(usize, Answer)> {
    let mut taken = Vec::new();
    for step in steps {
        match step {
            Step::Open(which) if !world.signals.is_empty() => which.get(&world.signals).open(),
            Step::Open(_) => {}
            Step::Tick => runtime.iter().for_each(|runtime| runtime.tick()),
            Step::Take => {
                if let Poll::Ready(Some(item)) = world.take(results) {
                    taken.push(item);
                }
            }
        }
    }
    taken
}

fn bounded(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(bounded(400))]

    #[test]
    fn the_limit_holds_at_every_moment_and_each_input_is_answered_once(
        limit in 1usize..6,
        outcomes in prop::collection::vec(outcome(), 0..20),
        spawned: bool,
        steps in steps(80),
    ) {
        let world = World::new(outcomes.clone());
        let runtime = spawned.then(|| TestRuntime::new(0));
        let mut results = world.completed(limit, runtime.as_ref(), &Signal::new());
        let mut taken = play(&world, &mut results, runtime.as_ref(), &steps);
        world.signals.iter().for_each(Signal::open);
        for _ in 0..1000 {
            runtime.iter().for_each(|runtime| runtime.tick());
            match world.take(&mut results) {
                Poll::Ready(Some(item)) => taken.push(item),
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
        }
        prop_assert!(world.most_untaken.load(Ordering::SeqCst) <= limit);
        prop_assert!(world.most_running.load(Ordering::SeqCst) <= limit);
        taken.sort_by_key(|(index, _)| *index);
        let expected: Vec<_> = outcomes
            .iter()
            .enumerate()
            .map(|(index, outcome)| (index, Answer::expected(*outcome, index)))
            .collect();
        prop_assert_eq!(taken, expected);
        // The stream is fused.
        prop_assert_eq!(world.take(&mut results), Poll::Ready(None));
    }

    #[test]
    fn until_answers_for_each_pulled_input_once_and_pulls_no_more(
        limit in 1usize..6,
        outcomes in prop::collection::vec(outcome(), 0..20),
        spawned: bool,
        steps in steps(60),
    ) {
        let world = World::new(outcomes.clone());
        let runtime = spawned.then(|| TestRuntime::new(0));
        let until = Signal::new();
        let mut results = world.completed(limit, runtime.as_ref(), &until);
        let mut taken = play(&world, &mut results, runtime.as_ref(), &steps);
        let over = world.take(&mut results);
        let was_over = over == Poll::Ready(None);
        if let Poll::Ready(Some(item)) = over {
            taken.push(item);
        }
        let pulled = world.pulled();
        let finished: Vec<_> = world.finished.iter().map(|at| at.load(Ordering::SeqCst)).collect();
        until.open();
        // From here on nothing has to be waited for.
        loop {
            match world.take(&mut results) {
                Poll::Ready(Some(item)) => taken.push(item),
                Poll::Ready(None) => break,
                Poll::Pending => prop_assert!(false, "a gather that was cut off waits"),
            }
        }
        prop_assert_eq!(world.pulled(), pulled, "an input was pulled after the deadline");
        prop_assert!(!was_over || pulled == outcomes.len());
        taken.sort_by_key(|(index, _)| *index);
        let indices: Vec<_> = taken.iter().map(|(index, _)| *index).collect();
        prop_assert_eq!(indices, (0..pulled).collect::<Vec<_>>());
        for (index, answer) in taken {
            if finished[index] {
                prop_assert_eq!(answer, Answer::expected(outcomes[index], index));
            } else if answer != Answer::DeadlineExceeded {
                // Only a job whose signal was open can have finished on the way.
                let passed = poll(&mut world.signals[index].passed()).is_ready();
                prop_assert!(passed, "job {} cannot have finished: {:?}", index, answer);
                prop_assert_eq!(answer, Answer::expected(outcomes[index], index));
            }
        }
        // The jobs are gone, in the caller's task at once, in their own at the next turn.
        runtime.iter().for_each(|runtime| runtime.tick());
        prop_assert_eq!(world.running.load(Ordering::SeqCst), 0);
        prop_assert_eq!(world.take(&mut results), Poll::Ready(None));
    }

    #[test]
    fn a_dropped_stream_stops_its_jobs_and_pulls_no_more(
        limit in 1usize..6,
        outcomes in prop::collection::vec(outcome(), 0..20),
        spawned: bool,
        steps in steps(60),
    ) {
        let world = World::new(outcomes);
        let runtime = spawned.then(|| TestRuntime::new(0));
        let mut results = world.completed(limit, runtime.as_ref(), &Signal::new());
        play(&world, &mut results, runtime.as_ref(), &steps);
        let pulled = world.pulled();
        drop(results);
        world.signals.iter().for_each(Signal::open);
        runtime.iter().for_each(|runtime| runtime.tick());
        prop_assert_eq!(world.running.load(Ordering::SeqCst), 0);
        prop_assert_eq!(world.pulled(), pulled);
    }
}

/// Jobs that yield so often each before they answer.
fn yielding(
    jobs: &[(Outcome, u8)],
) -> Vec<impl Future<Output = Result<usize, Refused>> + Send + 'static + use<>> {
    let jobs = jobs.iter().copied().enumerate();
    jobs.map(|(index, (outcome, yields))| async move {
        for _ in 0..yields {
            yield_now().await;
        }
        outcome.of(index)
    })
    .collect()
}

fn yielding_jobs() -> impl Strategy<Value = Vec<(Outcome, u8)>> {
    prop::collection::vec((outcome(), 0u8..6), 0..24)
}

proptest! {
    #![proptest_config(bounded(100))]

    #[test]
    fn every_ending_on_real_threads(
        limit in 1usize..8,
        jobs in yielding_jobs(),
        spawned: bool,
    ) {
        let runtime = TestRuntime::new(2);
        let expected: Vec<_> = jobs
            .iter()
            .enumerate()
            .map(|(index, (outcome, _))| Answer::expected(*outcome, index))
            .collect();
        let outputs: Option<Vec<usize>> = expected
            .iter()
            .map(|answer| match answer {
                Answer::Output(n) => Some(*n),
                _ => None,
            })
            .collect();
        macro_rules! with {
            ($ending:ident) => {{
                let gather = gather(yielding(&jobs)).limit(limit);
                if spawned {
                    run(gather.on(&runtime).$ending())
                } else {
                    run(gather.$ending())
                }
            }};
        }

        let settled = with!(settled);
        prop_assert_eq!(settled.never_started, Some(0));
        prop_assert_eq!(answers(settled), expected.clone());

        match with!(all) {
            Ok(all) => prop_assert_eq!(Some(all), outputs),
            Err(error) => {
                let index = error.index();
                prop_assert_ne!(jobs[index].0, Outcome::Succeeds);
                prop_assert_eq!(Answer::failure(error), expected[index].clone());
            }
        }

        let some_succeed = jobs.iter().any(|(outcome, _)| *outcome == Outcome::Succeeds);
        match with!(first) {
            Ok(output) => prop_assert_eq!(jobs[output].0, Outcome::Succeeds),
            Err(all) => {
                prop_assert!(!some_succeed);
                prop_assert_eq!(all.never_started, Some(0));
                let expected: Vec<_> = expected.iter().cloned().enumerate().collect();
                prop_assert_eq!(failures(all), expected);
            }
        }
        runtime.end();
    }
}

// ---------------------------------------------------------------------------------------
// Laziness.

#[test]
fn nothing_is_pulled_before_the_first_poll() {
    let world = World::new(vec![Outcome::Succeeds; 3]);
    let mut all = std::pin::pin!(gather(world.jobs()).all());
    assert_eq!(world.pulled(), 0);
    assert!(poll(&mut all).is_pending());
    assert_eq!(world.pulled(), 3);
}

#[test]
fn the_default_limit_is_a_hundred() {
    let world = World::new(vec![Outcome::Succeeds; 300]);
    let mut all = std::pin::pin!(gather(world.jobs()).all());
    assert!(poll(&mut all).is_pending());
    assert_eq!(world.pulled(), 100);
}

#[test]
fn a_finished_result_keeps_its_slot_until_it_is_taken() {
    let runtime = TestRuntime::new(0);
    let world = World::new(vec![Outcome::Succeeds; 9]);
    let mut results = world.completed(3, Some(&runtime), &Signal::new());
    assert!(world.take(&mut results).is_pending());
    world.signals.iter().for_each(Signal::open);
    runtime.tick();
    assert_eq!(world.pulled(), 3);
    // As many are pulled as there are slots: one for each that is taken before.
    for taken in 0..6 {
        assert!(world.take(&mut results).is_ready());
        assert_eq!(world.pulled(), 3 + taken);
        runtime.tick();
    }
}

#[test]
fn an_infinite_input_works_with_completed() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(1);
        let jobs = (0..).map(|n: usize| async move { Ok::<_, Refused>(n) });
        let gather = gather(jobs).limit(4);
        let taken: Vec<_> = if spawned {
            run(gather.on(&runtime).completed().take(50).collect())
        } else {
            run(gather.completed().take(50).collect())
        };
        assert_eq!(taken.len(), 50);
        let indices: BTreeSet<_> = taken.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices.len(), 50);
        for (index, result) in taken {
            assert_eq!(result.unwrap(), index);
        }
        runtime.end();
    }
}

#[test]
fn an_infinite_input_ends_with_until() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(1);
        let stop = Signal::new();
        let jobs = (0..).map(|n: usize| {
            let stop = stop.clone();
            async move {
                if n == 20 {
                    stop.open();
                }
                yield_now().await;
                Ok::<_, Refused>(n)
            }
        });
        let gather = gather(jobs).limit(4).until(stop.passed());
        let settled = if spawned {
            run(gather.on(&runtime).settled())
        } else {
            run(gather.settled())
        };
        assert_eq!(settled.never_started, None);
        assert!(settled.results.len() > 17);
        for (index, answer) in answers(settled).into_iter().enumerate() {
            assert!(
                answer == Answer::Output(index) || index > 16 && answer == Answer::DeadlineExceeded,
                "{index}: {answer:?}"
            );
        }
        runtime.end();
    }
}

// On one thread a deadline can come only when the gather lets go of that thread.
#[test]
fn until_comes_although_every_job_is_ready_at_once() {
    let runtime = TestRuntime::new(0);
    let until = Signal::new();
    let pulled = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let jobs = {
        let pulled = pulled.clone();
        // In place of an infinite input, which would hang the test when it fails.
        (0..100_000).map(move |n: usize| {
            pulled.fetch_add(1, Ordering::SeqCst);
            ready(Ok::<_, Refused>(n))
        })
    };
    let task = {
        let (until, ended) = (until.clone(), ended.clone());
        async move {
            gather(jobs).limit(4).until(until.passed()).settled().await;
            ended.store(true, Ordering::SeqCst);
        }
    };
    inflight_core::Runtime::spawn(&runtime, Box::pin(task));
    inflight_core::Runtime::spawn(&runtime, Box::pin(async move { until.open() }));
    runtime.tick();
    assert!(ended.load(Ordering::SeqCst));
    assert!(
        pulled.load(Ordering::SeqCst) < 100_000,
        "the gather never yielded, so its deadline could not come"
    );
}

#[test]
fn an_until_that_is_ready_at_once_pulls_nothing() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let world = World::new(vec![Outcome::Succeeds; 5]);
        let settled = |until: Signal| {
            until.open();
            let gather = gather(world.jobs()).until(until.passed());
            if spawned {
                run(gather.on(&runtime).settled())
            } else {
                run(gather.settled())
            }
        };
        let settled = settled(Signal::new());
        assert!(settled.results.is_empty());
        assert_eq!(settled.never_started, Some(5));
        assert_eq!(world.pulled(), 0);
    }
}

#[test]
fn never_started_is_exact_where_the_input_knows_its_size() {
    let world = World::new(vec![Outcome::Succeeds; 10]);
    let until = Signal::new();
    let mut settled = Box::pin(
        gather(world.jobs())
            .limit(3)
            .until(until.passed())
            .settled(),
    );
    assert!(poll_until_stalled(&mut settled).is_pending());
    world.signals[0].open();
    world.signals[2].open();
    assert!(poll_until_stalled(&mut settled).is_pending());
    until.open();
    let settled = run(settled);
    assert_eq!(world.pulled(), 5);
    assert_eq!(settled.never_started, Some(5));
    let cut = Answer::DeadlineExceeded;
    assert_eq!(
        answers(settled),
        [
            Answer::Output(0),
            cut.clone(),
            Answer::Output(2),
            cut.clone(),
            cut
        ]
    );
}

#[test]
fn never_started_is_unknown_where_the_input_does_not_know() {
    let world = World::new(vec![Outcome::Succeeds; 10]);
    let until = Signal::new();
    let jobs = world.jobs().filter(|_| true);
    let mut settled = Box::pin(gather(jobs).limit(3).until(until.passed()).settled());
    assert!(poll(&mut settled).is_pending());
    until.open();
    let settled = run(settled);
    assert_eq!(settled.never_started, None);
    assert_eq!(settled.results.len(), 3);
}

// ---------------------------------------------------------------------------------------
// The deadline.

#[test]
fn all_fails_at_the_deadline() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let world = World::new(vec![Outcome::Succeeds; 4]);
        let until = Signal::new();
        let gather = gather(world.jobs()).until(until.passed());
        let mut all: Pin<Box<dyn Future<Output = _>>> = if spawned {
            Box::pin(gather.on(&runtime).all())
        } else {
            Box::pin(gather.all())
        };
        assert!(poll_until_stalled(&mut all).is_pending());
        until.open();
        let error = run(all).unwrap_err();
        assert_eq!(error.index(), 0);
        assert!(matches!(error.kind(), JobErrorKind::DeadlineExceeded));
        assert_eq!(error.to_string(), "job 0 exceeded the deadline");
    }
}

#[test]
fn all_fails_at_a_deadline_that_comes_before_the_last_input() {
    // Every job that was pulled has succeeded: what is missing is the rest.
    let until = Signal::new();
    let jobs = stream::iter(0..2)
        .map(|n| ready(Ok::<_, Refused>(n)))
        .chain(stream::pending());
    let mut all = Box::pin(gather_stream(jobs).until(until.passed()).all());
    assert!(poll_until_stalled(&mut all).is_pending());
    until.open();
    let error = run(all).unwrap_err();
    assert_eq!(error.index(), 2);
    assert!(matches!(error.kind(), JobErrorKind::DeadlineExceeded));
}

#[test]
fn first_gives_the_failures_and_the_cut_off_at_the_deadline() {
    let world = World::new(vec![
        Outcome::Fails,
        Outcome::Succeeds,
        Outcome::Fails,
        Outcome::Succeeds,
        Outcome::Succeeds,
    ]);
    let until = Signal::new();
    let mut first = Box::pin(gather(world.jobs()).limit(2).until(until.passed()).first());
    assert!(poll_until_stalled(&mut first).is_pending());
    world.signals[0].open();
    assert!(poll_until_stalled(&mut first).is_pending());
    until.open();
    let error = run(first).unwrap_err();
    assert_eq!(error.never_started, Some(2));
    let cut = Answer::DeadlineExceeded;
    assert_eq!(
        failures(error),
        [(0, Answer::Failed(0)), (1, cut.clone()), (2, cut)]
    );
}

#[test]
fn until_after_the_end_changes_nothing() {
    let world = World::new(vec![Outcome::Succeeds; 2]);
    let until = Signal::new();
    let mut results = world.completed(5, None, &until);
    world.signals.iter().for_each(Signal::open);
    assert_eq!(
        world.take(&mut results),
        Poll::Ready(Some((0, Answer::Output(0))))
    );
    assert_eq!(
        world.take(&mut results),
        Poll::Ready(Some((1, Answer::Output(1))))
    );
    assert_eq!(world.take(&mut results), Poll::Ready(None));
    until.open();
    // The signal's future panics if it is polled after it was ready.
    for _ in 0..3 {
        assert_eq!(world.take(&mut results), Poll::Ready(None));
    }
}

#[test]
fn until_is_not_polled_when_everything_is_done() {
    let polls = Cell::new(0);
    let until = std::future::poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::<()>::Pending
    });
    let jobs = (0..3).map(|n| ready(Ok::<_, Refused>(n)));
    let mut results = std::pin::pin!(gather(jobs).until(until).completed());
    assert_eq!(run((&mut results).count()), 3);
    let so_far = polls.get();
    for _ in 0..3 {
        assert!(run(results.next()).is_none());
    }
    assert_eq!(polls.get(), so_far);
}

#[test]
fn until_is_not_polled_again_after_it_was_ready() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let world = World::new(vec![Outcome::Succeeds; 8]);
        let until = Signal::new();
        let spawned = spawned.then_some(&runtime);
        let mut results = world.completed(4, spawned, &until);
        assert!(world.take(&mut results).is_pending());
        world.signals[1].open();
        world.signals[2].open();
        runtime.tick();
        until.open();
        let mut taken = Vec::new();
        while let Poll::Ready(Some((index, answer))) = world.take(&mut results) {
            taken.push((index, answer));
        }
        taken.sort_by_key(|(index, _)| *index);
        let cut = Answer::DeadlineExceeded;
        assert_eq!(
            taken,
            [
                (0, cut.clone()),
                (1, Answer::Output(1)),
                (2, Answer::Output(2)),
                (3, cut)
            ]
        );
    }
}

#[test]
fn the_deadline_cancels_what_runs_while_what_has_finished_is_still_being_taken() {
    let runtime = TestRuntime::new(0);
    let world = World::new(vec![Outcome::Succeeds; 2]);
    let until = Signal::new();
    let mut results = world.completed(2, Some(&runtime), &until);
    assert!(world.take(&mut results).is_pending());
    world.signals[0].open();
    runtime.tick();
    until.open();
    assert_eq!(
        world.take(&mut results),
        Poll::Ready(Some((0, Answer::Output(0))))
    );
    // The consumer is busy with that one now. The other job's time is over: it must not run on.
    world.signals[1].open();
    runtime.tick();
    assert!(
        !world.finished[1].load(Ordering::SeqCst),
        "a job ran on after the deadline"
    );
    assert_eq!(
        world.take(&mut results),
        Poll::Ready(Some((1, Answer::DeadlineExceeded)))
    );
}

// ---------------------------------------------------------------------------------------
// Cancelling by dropping.

/// Jobs that ring when they are dropped and never end.
fn hanging(
    listener: &DropListener,
) -> impl Iterator<Item = impl Future<Output = Result<usize, Refused>> + Send + use<>> + use<'_> {
    (0..).map(|index| {
        let notifier = listener.notifier(index);
        async move {
            let _bell = notifier;
            pending().await
        }
    })
}

#[test]
fn a_dropped_ending_stops_its_jobs() {
    let runtime = TestRuntime::new(2);
    let listener = DropListener::new();
    macro_rules! dropped {
        ($ending:ident) => {
            let mut here = Box::pin(gather(hanging(&listener)).limit(3).$ending());
            assert!(poll_until_stalled(&mut here).is_pending());
            assert!(listener.heard().is_empty());
            drop(here);
            // In the caller's task there is nothing to wait for.
            assert_eq!(listener.heard(), [0, 1, 2], stringify!($ending));

            let mut on = Box::pin(gather(hanging(&listener)).limit(3).on(&runtime).$ending());
            assert!(poll_until_stalled(&mut on).is_pending());
            assert!(listener.heard().is_empty());
            drop(on);
            assert_eq!(listener.hear(3), [0, 1, 2], stringify!($ending));
        };
    }
    dropped!(all);
    dropped!(settled);
    dropped!(first);
    runtime.end();
    assert!(listener.heard().is_empty(), "nothing more was pulled");
}

#[test]
fn a_cancelled_job_stops_at_its_next_yield() {
    let runtime = TestRuntime::new(1);
    let listener = DropListener::new();
    let (busy, inside) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let ran_on = Arc::new(AtomicBool::new(false));
    let job = {
        let (notifier, ran_on) = (listener.notifier(7), ran_on.clone());
        async move {
            let _bell = notifier;
            busy.send(()).unwrap();
            // The work between two yields, which nobody can interrupt.
            wait.recv_timeout(PATIENCE).unwrap();
            yield_now().await;
            ran_on.store(true, Ordering::SeqCst);
            Ok::<_, Refused>(())
        }
    };
    let mut all = Box::pin(gather([job]).on(&runtime).all());
    assert!(poll(&mut all).is_pending());
    inside.recv_timeout(PATIENCE).unwrap();
    drop(all);
    assert!(listener.heard().is_empty());
    go_on.send(()).unwrap();
    assert_eq!(listener.hear(1), [7]);
    runtime.end();
    assert!(!ran_on.load(Ordering::SeqCst));
}

/// A runtime that runs a task where it is woken, there and then.
#[derive(Clone)]
struct Eager(TestRuntime);

struct EagerTask(Mutex<BoxFuture<'static, ()>>);

impl Wake for EagerTask {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut future = self.0.lock().unwrap();
        let _ = future.as_mut().poll(&mut Context::from_waker(&waker));
    }
}

impl Runtime for Eager {
    fn name(&self) -> &'static str {
        "eager"
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) {
        Arc::new(EagerTask(Mutex::new(future))).wake();
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        self.0.connect(address, options)
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        self.0.blocking_ceiling()
    }
}

/// Opens a signal when it is dropped.
struct Opener(Signal);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[test]
fn no_job_goes_on_in_the_place_of_one_that_is_cancelled_with_it() {
    for is_dropped in [false, true] {
        let runtime = Eager(TestRuntime::new(0));
        let (place, until) = (Signal::new(), Signal::new());
        let begun = Counter::new();
        let jobs = (0..5).map(|index| {
            // The place is held by one of them and wanted by all the others.
            let held = (index == 2).then(|| Opener(place.clone()));
            let (place, begun) = (place.clone(), begun.clone());
            async move {
                if held.is_none() {
                    place.passed().await;
                }
                begun.add(1);
                pending::<Result<(), Refused>>().await
            }
        });
        let gather = gather(jobs).on(&runtime).until(until.passed());
        let mut settled = Box::pin(gather.settled());
        assert!(poll_until_stalled(&mut settled).is_pending());
        assert_eq!(begun.get(), 1);
        if is_dropped {
            drop(settled);
        } else {
            until.open();
            let results = run(settled).results;
            assert!(results.iter().all(Result::is_err));
        }
        assert_eq!(begun.get(), 1, "a job went on after the end");
    }
}

#[test]
fn the_first_failure_of_all_cancels_the_rest() {
    for panics in [false, true] {
        for spawned in [false, true] {
            let runtime = TestRuntime::new(2);
            let listener = DropListener::new();
            let jobs = (0..9).map(|index| {
                let notifier = listener.notifier(index);
                async move {
                    let _bell = notifier;
                    match index {
                        2 if panics => Outcome::Panics.of(index),
                        2 => Outcome::Fails.of(index),
                        _ => pending().await,
                    }
                }
            });
            let gather = gather(jobs).limit(5);
            let error = if spawned {
                run(gather.on(&runtime).all())
            } else {
                run(gather.all())
            };
            let error = error.unwrap_err();
            assert_eq!(error.index(), 2);
            assert_eq!(panics, error.failure().is_none());
            assert_eq!(listener.hear(5), [0, 1, 2, 3, 4]);
            runtime.end();
            assert!(listener.heard().is_empty());
        }
    }
}

#[test]
fn the_first_success_of_first_cancels_the_rest() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(2);
        let listener = DropListener::new();
        let jobs = (0..4).map(|index| {
            let notifier = listener.notifier(index);
            async move {
                let _bell = notifier;
                match index {
                    0 => Outcome::Fails.of(index),
                    1 => Outcome::Panics.of(index),
                    3 => Outcome::Succeeds.of(index),
                    _ => pending().await,
                }
            }
        });
        let gather = gather(jobs).limit(4);
        let output = if spawned {
            run(gather.on(&runtime).first())
        } else {
            run(gather.first())
        };
        assert_eq!(output.unwrap(), 3);
        assert_eq!(listener.hear(4), [0, 1, 2, 3]);
        runtime.end();
    }
}

#[test]
fn first_gives_every_failure_in_input_order() {
    let world = World::new(vec![Outcome::Fails, Outcome::Panics, Outcome::Fails]);
    let mut first = Box::pin(gather(world.jobs()).first());
    for last in [2, 1, 0] {
        assert!(poll_until_stalled(&mut first).is_pending());
        world.signals[last].open();
    }
    let error = run(first).unwrap_err();
    assert_eq!(error.never_started, Some(0));
    assert_eq!(error.to_string(), "all 3 jobs failed");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "job 0 failed");
    assert_eq!(source.source().unwrap().to_string(), "job 0 refused");
    let panicked = Answer::Panicked("job 1 fell over".to_owned());
    assert_eq!(
        failures(error),
        [
            (0, Answer::Failed(0)),
            (1, panicked),
            (2, Answer::Failed(2))
        ]
    );
}

// "All have failed" would be a lie about jobs that never ran.
#[test]
fn the_failure_of_first_at_a_deadline_does_not_say_that_there_was_no_job() {
    let world = World::new(vec![Outcome::Succeeds; 3]);
    let error = run(gather(world.jobs()).until(ready(())).first()).unwrap_err();
    assert!(error.failures.is_empty());
    assert_eq!(error.never_started, Some(3));
    assert_ne!(error.to_string(), "there was no job to succeed");
}

// ---------------------------------------------------------------------------------------
// Edges.

#[test]
fn an_empty_input_suits_every_ending() {
    type NoJob = std::future::Ready<Result<usize, Refused>>;
    let none = || std::iter::empty::<NoJob>();
    let runtime = TestRuntime::new(0);
    macro_rules! empty {
        ($gather:expr) => {
            assert!(run($gather.all()).unwrap().is_empty());
            let settled = run($gather.settled());
            assert!(settled.results.is_empty());
            assert_eq!(settled.never_started, Some(0));
            assert!(run(Box::pin($gather.completed()).next()).is_none());
            let error = run($gather.first()).unwrap_err();
            assert!(error.failures.is_empty());
            assert_eq!(error.never_started, Some(0));
            assert_eq!(error.to_string(), "there was no job to succeed");
        };
    }
    empty!(gather(none()));
    empty!(gather(none()).on(&runtime));
    empty!(gather(none()).until(pending::<()>()));
    // NoJob to do is done in time, whatever the time.
    empty!(gather(none()).until(ready(())));
}

#[test]
#[should_panic(expected = "limit of zero")]
fn a_limit_of_zero_panics() {
    let _ = gather([ready(Ok::<_, Refused>(1))]).limit(0);
}

#[test]
fn the_greatest_limit_is_none() {
    let jobs = (0..1000).map(|n| ready(Ok::<_, Refused>(n)));
    let all = run(gather(jobs).limit(usize::MAX).all()).unwrap();
    assert_eq!(all, (0..1000).collect::<Vec<_>>());
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .expect("the payload is text")
}

#[test]
fn a_panic_is_a_value_and_its_siblings_run_on() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(1);
        let jobs = (0..5).map(|n| async move {
            yield_now().await;
            match n {
                1 => panic!("the {}nd job panics: expected", n + 1),
                3 => std::panic::panic_any(99u8),
                _ => Ok::<_, Refused>(n),
            }
        });
        let gather = gather(jobs);
        let settled = if spawned {
            run(gather.on(&runtime).settled())
        } else {
            run(gather.settled())
        };
        let mut results = settled.results.into_iter();
        let mut next = || results.next().unwrap();
        assert_eq!(next().unwrap(), 0);
        let error = next().unwrap_err();
        assert_eq!(error.index(), 1);
        assert_eq!(
            error.to_string(),
            "job 1 panicked: the 2nd job panics: expected"
        );
        let JobErrorKind::Panicked(panic) = error.into_kind() else {
            panic!("not the kind of a panic");
        };
        assert_eq!(panic.message(), "the 2nd job panics: expected");
        assert_eq!(
            message(&*panic.into_payload()),
            "the 2nd job panics: expected"
        );
        assert_eq!(next().unwrap(), 2);
        let JobErrorKind::Panicked(panic) = next().unwrap_err().into_kind() else {
            panic!("not the kind of a panic");
        };
        assert_eq!(*panic.into_payload().downcast::<u8>().unwrap(), 99);
        assert_eq!(next().unwrap(), 4);
        runtime.end();
    }
}

#[test]
fn a_panic_of_the_input_goes_through() {
    let listener = DropListener::new();
    let jobs = (0..3).map(|n| {
        if n == 2 {
            resume_unwind(Box::new("the input fell over"));
        }
        let notifier = listener.notifier(n);
        async move {
            let _bell = notifier;
            pending::<Result<usize, Refused>>().await
        }
    });
    let caught = catch_unwind(AssertUnwindSafe(|| run(gather(jobs).settled())));
    let payload = caught.unwrap_err();
    assert_eq!(message(&*payload), "the input fell over");
    assert_eq!(listener.heard(), [0, 1]);
}

#[test]
fn the_end_of_the_runtime_cancels_the_jobs() {
    let runtime = TestRuntime::new(1);
    let jobs = (0..3).map(|n| async move {
        if n == 1 {
            return Ok::<_, Refused>(n);
        }
        pending().await
    });
    let mut settled = Box::pin(gather(jobs).on(&runtime).settled());
    assert!(poll(&mut settled).is_pending());
    runtime.end();
    let answers = answers(run(settled));
    assert_eq!(answers[0], Answer::Cancelled);
    assert_eq!(answers[2], Answer::Cancelled);
}

// ---------------------------------------------------------------------------------------
// Where jobs run.

#[test]
fn jobs_of_a_runtime_progress_while_the_consumer_blocks() {
    let runtime = TestRuntime::new(2);
    let done = Counter::new();
    let jobs = (0..20).map(|n| {
        let done = done.clone();
        async move {
            yield_now().await;
            done.add(1);
            Ok::<_, Refused>(n)
        }
    });
    let mut results = Box::pin(gather(jobs).limit(8).on(&runtime).completed());
    run(async {
        assert!(results.next().await.is_some());
        // This blocks the consumer's thread: only a runtime can run the other seven.
        done.wait_for(8);
        assert!(results.next().await.is_some());
        done.wait_for(9);
    });
    runtime.end();
}

#[test]
fn without_a_runtime_a_consumer_that_blocks_stops_every_job() {
    let world = World::new(vec![Outcome::Succeeds; 4]);
    let mut results = world.completed(4, None, &Signal::new());
    assert!(world.take(&mut results).is_pending());
    // The consumer blocks until another thread has let every job pass: none of them moves,
    // as this thread is the only one that could.
    std::thread::scope(|scope| {
        scope.spawn(|| world.signals.iter().for_each(Signal::open));
    });
    let finished = || {
        let finished = world.finished.iter();
        finished.filter(|at| at.load(Ordering::SeqCst)).count()
    };
    assert_eq!(finished(), 0);
    assert!(world.take(&mut results).is_ready());
    assert_ne!(finished(), 0);
}

#[test]
fn without_a_runtime_a_job_that_blocks_stops_its_siblings() {
    // The first job blocks until the second has run, which it cannot before the first yields.
    let second_ran = AtomicBool::new(false);
    let seen = Cell::new(None);
    let first = async {
        seen.set(Some(second_ran.load(Ordering::SeqCst)));
        Ok::<_, Refused>(0)
    };
    let second = async {
        second_ran.store(true, Ordering::SeqCst);
        Ok::<_, Refused>(1)
    };
    let jobs = [first.boxed_local(), second.boxed_local()];
    assert_eq!(run(gather(jobs).all()).unwrap(), [0, 1]);
    assert_eq!(seen.get(), Some(false));
}

#[test]
fn a_job_that_blocks_its_thread_does_not_stop_its_siblings_on_a_runtime() {
    let runtime = TestRuntime::new(2);
    let (sender, receiver) = mpsc::channel();
    let mut receiver = Some(receiver);
    let jobs = (0..2).map(|n| {
        let (sender, receiver) = (sender.clone(), receiver.take());
        async move {
            match receiver {
                Some(receiver) => receiver.recv_timeout(PATIENCE).unwrap(),
                None => sender.send(()).unwrap(),
            }
            Ok::<_, Refused>(n)
        }
    });
    assert_eq!(run(gather(jobs).on(&runtime).all()).unwrap(), [0, 1]);
    runtime.end();
}

#[test]
fn jobs_may_borrow_and_need_not_be_send() {
    let visits = Rc::new(Cell::new(0));
    let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let log = RefCell::new(Vec::new());
    let jobs = || {
        names.iter().map(|name| {
            let (visits, log) = (visits.clone(), &log);
            async move {
                yield_now().await;
                visits.set(visits.get() + 1);
                log.borrow_mut().push(name.as_str());
                Ok::<&str, Rc<str>>(name)
            }
        })
    };
    assert_eq!(run(gather(jobs()).all()).unwrap(), ["a", "b", "c"]);
    assert_eq!(run(gather(jobs()).settled()).results.len(), 3);
    assert_eq!(run(gather(jobs()).limit(1).first()).unwrap(), "a");
    let count = run(gather(jobs()).completed().count());
    assert_eq!(count, 3);
    assert_eq!(visits.get(), 10);
    assert_eq!(log.borrow().len(), 10);
}

#[test]
fn a_gather_of_send_jobs_is_send_itself() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let jobs = || (0..2).map(|n| ready(Ok::<_, Refused>(n)));
    let runtime = TestRuntime::new(0);
    drop(is_send(gather(jobs()).all()));
    drop(is_send(gather(jobs()).on(&runtime).settled()));
    drop(is_send(gather(jobs()).on(&runtime).first()));
    drop(is_send(gather(jobs()).completed()));
}

#[test]
fn a_gather_can_run_on_a_shared_runtime() {
    let runtime = TestRuntime::new(1);
    let shared = runtime.shared();
    let jobs = (0..3).map(|n| async move { Ok::<_, Refused>(n) });
    assert_eq!(run(gather(jobs).on(&shared).all()).unwrap(), [0, 1, 2]);
    runtime.end();
}

// ---------------------------------------------------------------------------------------
// Streams as input.

#[test]
fn a_stream_that_waits_wakes_the_gather_and_lets_its_jobs_run() {
    let (sender, jobs) = async_channel::unbounded();
    let polls = Rc::new(Cell::new(0));
    let mut jobs = Box::pin(jobs);
    let counted = {
        let polls = polls.clone();
        stream::poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            jobs.as_mut().poll_next(cx)
        })
    };
    let mut results = Box::pin(gather_stream(counted).limit(3).completed());
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    // Polls as an executor does: again only after a wake-up.
    let mut drive = || {
        for _ in 0..100 {
            let polled = results.as_mut().poll_next(&mut cx);
            if polled.is_ready() || wakes.take() == 0 {
                return polled.map(|next| next.map(|(index, result)| Answer::read(index, result)));
            }
        }
        panic!("a busy loop");
    };

    assert!(drive().is_pending());
    assert_eq!(polls.get(), 1);

    let signals = [Signal::new(), Signal::new(), Signal::new()];
    let job = |n: usize| {
        let signal = signals[n].clone();
        async move {
            signal.passed().await;
            Ok::<_, Refused>(n)
        }
    };
    // An input that arrives wakes the gather.
    sender.try_send(job(0)).ok().unwrap();
    assert_ne!(wakes.take(), 0);
    assert!(drive().is_pending());
    // So does a job that goes on while the input waits.
    signals[0].open();
    assert_ne!(wakes.take(), 0);
    assert_eq!(drive(), Poll::Ready(Some(Answer::Output(0))));
    assert!(drive().is_pending());
    // So does an input after nothing ran at all, and the end of the input.
    sender.try_send(job(1)).ok().unwrap();
    sender.try_send(job(2)).ok().unwrap();
    assert_ne!(wakes.take(), 0);
    assert!(drive().is_pending());
    signals[2].open();
    assert_eq!(drive(), Poll::Ready(Some(Answer::Output(2))));
    sender.close();
    assert!(drive().is_pending());
    signals[1].open();
    assert_ne!(wakes.take(), 0);
    assert_eq!(drive(), Poll::Ready(Some(Answer::Output(1))));
    assert_eq!(drive(), Poll::Ready(None));
    assert!(
        polls.get() < 40,
        "{} polls of the input are a busy loop",
        polls.get()
    );
}

#[test]
fn an_input_that_has_ended_is_not_polled_again() {
    let mut left = Some(1);
    let mut over = false;
    let jobs = stream::poll_fn(move |_| {
        assert!(!over, "polled after its end");
        over = left.is_none();
        Poll::Ready(left.take().map(|_| ready(Ok::<_, Refused>(1))))
    });
    let mut results = Box::pin(gather_stream(jobs).completed());
    assert!(run(results.next()).is_some());
    for _ in 0..3 {
        assert!(run(results.next()).is_none());
    }
}

#[test]
fn a_stream_fed_from_another_thread_loses_no_wake_up() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(2);
        let (sender, jobs) = async_channel::bounded(1);
        let feeder = std::thread::spawn(move || {
            for n in 0..2000usize {
                let job = async move {
                    yield_now().await;
                    Ok::<_, Refused>(n)
                };
                sender.send_blocking(job).unwrap();
            }
        });
        let gather = gather_stream(jobs).limit(5);
        let all = if spawned {
            run(gather.on(&runtime).all())
        } else {
            run(gather.all())
        };
        assert_eq!(all.unwrap(), (0..2000).collect::<Vec<_>>());
        feeder.join().unwrap();
        runtime.end();
    }
}

#[test]
fn waiting_for_jobs_is_no_busy_loop() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let world = World::new(vec![Outcome::Succeeds; 10]);
        let spawned = spawned.then_some(&runtime);
        let mut results = world.completed(10, spawned, &Signal::new());
        let (wakes, waker) = Wakes::new();
        let mut polls = 0;
        loop {
            let polled = results.as_mut().poll_next(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            runtime.tick();
            polls += 1;
            if wakes.take() == 0 {
                break;
            }
            assert!(polls < 10, "the gather keeps waking itself");
        }
    }
}

#[test]
fn finished_job_is_returned_by_the_first_poll_after_its_wake() {
    for limit in [1, 3] {
        let signals: Vec<Signal> = (0..2 * limit).map(|_| Signal::new()).collect();
        let jobs = signals.iter().map(|signal| async {
            signal.passed().await;
            Ok::<(), Refused>(())
        });
        let mut results = gather(jobs).limit(limit).completed();
        let (wakes, waker) = Wakes::new();
        let mut context = Context::from_waker(&waker);
        let mut next = || Pin::new(&mut results).poll_next(&mut context);
        assert!(next().is_pending());
        wakes.take();
        signals[..limit].iter().for_each(Signal::open);
        for _ in 0..limit {
            assert!(next().is_ready());
        }
        assert!(next().is_pending());
    }
}
