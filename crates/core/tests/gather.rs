//! Tests of `gather`, with jobs in the caller's task and in spawned tasks.

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
    AllFailed, BoxFuture, ConnectOptions, Error, ErrorKind, JobError, JobErrorKind, Phase, Runtime,
    Session, Settled, Socket, Task, gather, gather_stream, gather_with,
};
use proptest::prelude::*;
use support::{
    Counter, EVENT_TIMEOUT, EventListener, Signal, TestRuntime, Wakes, builder, client, poll,
    poll_until_stalled, rounds, run,
};

// ---------------------------------------------------------------------------------------
// Jobs that the test controls.

/// The error of a failed job, with the index of the job.
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
            // Unlike `panic!`, this does not call the panic hook, which would print the message.
            Self::Panics => resume_unwind(Box::new(format!("job {index} panics"))),
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

/// The result of a job, as a type that implements `PartialEq`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum JobResult {
    Output(usize),
    Failed(usize),
    Panicked(String),
    DeadlineExceeded,
    Cancelled,
}

impl JobResult {
    fn expected(outcome: Outcome, index: usize) -> Self {
        match outcome {
            Outcome::Succeeds => Self::Output(index),
            Outcome::Fails => Self::Failed(index),
            Outcome::Panics => Self::Panicked(format!("job {index} panics")),
        }
    }

    /// Converts a result, and checks that an error names the job at `index`.
    fn from_result(index: usize, result: Result<usize, JobError<Refused>>) -> Self {
        result.map_or_else(
            |error| {
                assert_eq!(error.index(), index, "wrong index in the error");
                Self::failure(error)
            },
            Self::Output,
        )
    }

    fn failure(error: JobError<Refused>) -> Self {
        match error.into_kind() {
            JobErrorKind::Failed(Refused(index)) => Self::Failed(index),
            JobErrorKind::Panicked(panic) => Self::Panicked(panic.message().to_owned()),
            JobErrorKind::DeadlineExceeded { .. } => Self::DeadlineExceeded,
            JobErrorKind::Cancelled => Self::Cancelled,
            other => panic!("an unknown kind: {other:?}"),
        }
    }
}

fn job_results(settled: Settled<Result<usize, JobError<Refused>>>) -> Vec<JobResult> {
    let results = settled.results.into_iter().enumerate();
    results
        .map(|(index, result)| JobResult::from_result(index, result))
        .collect()
}

fn failures(all: AllFailed<Refused>) -> Vec<(usize, JobResult)> {
    let failures = all.failures.into_iter();
    failures
        .map(|error| (error.index(), JobResult::failure(error)))
        .collect()
}

/// The input of a gather. Each job waits for its signal. The counters record what the gather does.
struct TestInput {
    outcomes: Vec<Outcome>,
    signals: Vec<Signal>,
    pulled: AtomicUsize,
    taken: AtomicUsize,
    // The largest value of `pulled - taken`.
    max_untaken: AtomicUsize,
    running: AtomicUsize,
    max_running: AtomicUsize,
    finished: Vec<AtomicBool>,
}

/// Counts its job as running until the job is dropped.
struct Running(Arc<TestInput>);

impl Running {
    fn new(input: Arc<TestInput>) -> Self {
        let now = input.running.fetch_add(1, Ordering::SeqCst) + 1;
        input.max_running.fetch_max(now, Ordering::SeqCst);
        Self(input)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

type Results = Pin<Box<dyn Stream<Item = (usize, Result<usize, JobError<Refused>>)>>>;

impl TestInput {
    fn new(outcomes: Vec<Outcome>) -> Arc<Self> {
        Arc::new(Self {
            signals: outcomes.iter().map(|_| Signal::new()).collect(),
            finished: outcomes.iter().map(|_| AtomicBool::new(false)).collect(),
            outcomes,
            pulled: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            max_untaken: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            max_running: AtomicUsize::new(0),
        })
    }

    /// Returns an iterator of the jobs, whose `size_hint` is exact.
    fn jobs(
        self: &Arc<Self>,
    ) -> impl Iterator<Item = impl Future<Output = Result<usize, Refused>> + Send + use<>> + use<>
    {
        let input = self.clone();
        (0..self.outcomes.len()).map(move |index| input.job(index))
    }

    /// Returns the job with this index, and counts it as pulled.
    fn job(
        self: &Arc<Self>,
        index: usize,
    ) -> impl Future<Output = Result<usize, Refused>> + Send + use<> {
        let pulled = self.pulled.fetch_add(1, Ordering::SeqCst) + 1;
        let untaken = pulled - self.taken.load(Ordering::SeqCst);
        self.max_untaken.fetch_max(untaken, Ordering::SeqCst);
        let running = Running::new(self.clone());
        async move {
            let input = &running.0;
            input.signals[index].wait().await;
            input.finished[index].store(true, Ordering::SeqCst);
            input.outcomes[index].of(index)
        }
    }

    fn completed(
        self: &Arc<Self>,
        limit: usize,
        runtime: Option<&TestRuntime>,
        until: &Signal,
    ) -> Results {
        let gather = gather(self.jobs()).limit(limit).until(until.wait());
        match runtime {
            Some(runtime) => Box::pin(gather.on(runtime).completed()),
            None => Box::pin(gather.completed()),
        }
    }

    /// Polls for the next result. Polls again after `Pending`, because a gather returns `Pending` also when
    /// it only yields to other tasks.
    fn take(&self, results: &mut Results) -> Poll<Option<(usize, JobResult)>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || results.as_mut().poll_next(&mut context);
        let polled = match poll() {
            Poll::Pending => poll(),
            ready => ready,
        };
        polled.map(|next| {
            next.map(|(index, result)| {
                self.taken.fetch_add(1, Ordering::SeqCst);
                (index, JobResult::from_result(index, result))
            })
        })
    }

    fn pulled(&self) -> usize {
        self.pulled.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Opens the signal of a job.
    Open(prop::sample::Index),
    /// Runs the tasks of the runtime, if there is one.
    Tick,
    /// Polls the gather for a result.
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

/// Executes the steps and returns the results that were taken.
fn run_steps(
    input: &TestInput,
    results: &mut Results,
    runtime: Option<&TestRuntime>,
    steps: &[Step],
) -> Vec<(usize, JobResult)> {
    let mut taken = Vec::new();
    for step in steps {
        match step {
            Step::Open(which) if !input.signals.is_empty() => which.get(&input.signals).open(),
            Step::Open(_) => {}
            Step::Tick => runtime.iter().for_each(|runtime| runtime.tick()),
            Step::Take => {
                if let Poll::Ready(Some(item)) = input.take(results) {
                    taken.push(item);
                }
            }
        }
    }
    taken
}

fn with_cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases: rounds(cases),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(with_cases(400))]

    #[test]
    fn a_gather_never_exceeds_its_limit_and_returns_each_result_once(
        limit in 1usize..6,
        outcomes in prop::collection::vec(outcome(), 0..20),
        spawned: bool,
        steps in steps(80),
    ) {
        let input = TestInput::new(outcomes.clone());
        let runtime = spawned.then(|| TestRuntime::new(0));
        let mut results = input.completed(limit, runtime.as_ref(), &Signal::new());
        let mut taken = run_steps(&input, &mut results, runtime.as_ref(), &steps);
        input.signals.iter().for_each(Signal::open);
        for _ in 0..1000 {
            runtime.iter().for_each(|runtime| runtime.tick());
            match input.take(&mut results) {
                Poll::Ready(Some(item)) => taken.push(item),
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
        }
        prop_assert!(input.max_untaken.load(Ordering::SeqCst) <= limit);
        prop_assert!(input.max_running.load(Ordering::SeqCst) <= limit);
        taken.sort_by_key(|(index, _)| *index);
        let expected: Vec<_> = outcomes
            .iter()
            .enumerate()
            .map(|(index, outcome)| (index, JobResult::expected(*outcome, index)))
            .collect();
        prop_assert_eq!(taken, expected);
        // The stream is fused.
        prop_assert_eq!(input.take(&mut results), Poll::Ready(None));
    }

    #[test]
    fn after_until_each_pulled_job_has_one_result_and_no_more_jobs_are_pulled(
        limit in 1usize..6,
        outcomes in prop::collection::vec(outcome(), 0..20),
        spawned: bool,
        steps in steps(60),
    ) {
        let input = TestInput::new(outcomes.clone());
        let runtime = spawned.then(|| TestRuntime::new(0));
        let until = Signal::new();
        let mut results = input.completed(limit, runtime.as_ref(), &until);
        let mut taken = run_steps(&input, &mut results, runtime.as_ref(), &steps);
        let polled = input.take(&mut results);
        let had_ended = polled == Poll::Ready(None);
        if let Poll::Ready(Some(item)) = polled {
            taken.push(item);
        }
        let pulled = input.pulled();
        let finished: Vec<_> = input.finished.iter().map(|at| at.load(Ordering::SeqCst)).collect();
        until.open();
        // After the deadline, every result is ready at once.
        loop {
            match input.take(&mut results) {
                Poll::Ready(Some(item)) => taken.push(item),
                Poll::Ready(None) => break,
                Poll::Pending => prop_assert!(false, "the gather waits after its deadline"),
            }
        }
        prop_assert_eq!(input.pulled(), pulled, "a job was pulled after the deadline");
        prop_assert!(!had_ended || pulled == outcomes.len());
        taken.sort_by_key(|(index, _)| *index);
        let indices: Vec<_> = taken.iter().map(|(index, _)| *index).collect();
        prop_assert_eq!(indices, (0..pulled).collect::<Vec<_>>());
        for (index, result) in taken {
            if finished[index] {
                prop_assert_eq!(result, JobResult::expected(outcomes[index], index));
            } else if result != JobResult::DeadlineExceeded {
                // Only a job with an open signal can have finished in the last polls.
                let opened = poll(&mut input.signals[index].wait()).is_ready();
                prop_assert!(opened, "job {} cannot have finished: {:?}", index, result);
                prop_assert_eq!(result, JobResult::expected(outcomes[index], index));
            }
        }
        // Jobs in the caller's task are dropped at once, spawned jobs at the next tick.
        runtime.iter().for_each(|runtime| runtime.tick());
        prop_assert_eq!(input.running.load(Ordering::SeqCst), 0);
        prop_assert_eq!(input.take(&mut results), Poll::Ready(None));
    }

    #[test]
    fn dropping_the_stream_stops_its_jobs_and_pulls_no_more_jobs(
        limit in 1usize..6,
        outcomes in prop::collection::vec(outcome(), 0..20),
        spawned: bool,
        steps in steps(60),
    ) {
        let input = TestInput::new(outcomes);
        let runtime = spawned.then(|| TestRuntime::new(0));
        let mut results = input.completed(limit, runtime.as_ref(), &Signal::new());
        run_steps(&input, &mut results, runtime.as_ref(), &steps);
        let pulled = input.pulled();
        drop(results);
        input.signals.iter().for_each(Signal::open);
        runtime.iter().for_each(|runtime| runtime.tick());
        prop_assert_eq!(input.running.load(Ordering::SeqCst), 0);
        prop_assert_eq!(input.pulled(), pulled);
    }
}

/// Returns jobs that yield the given number of times before they complete.
fn jobs_that_yield(
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
    #![proptest_config(with_cases(100))]

    #[test]
    fn all_settled_and_first_return_the_expected_results_on_threads(
        limit in 1usize..8,
        jobs in yielding_jobs(),
        spawned: bool,
    ) {
        let runtime = TestRuntime::new(2);
        let expected: Vec<_> = jobs
            .iter()
            .enumerate()
            .map(|(index, (outcome, _))| JobResult::expected(*outcome, index))
            .collect();
        let outputs: Option<Vec<usize>> = expected
            .iter()
            .map(|result| match result {
                JobResult::Output(n) => Some(*n),
                _ => None,
            })
            .collect();
        macro_rules! with {
            ($ending:ident) => {{
                let gather = gather(jobs_that_yield(&jobs)).limit(limit);
                if spawned {
                    run(gather.on(&runtime).$ending())
                } else {
                    run(gather.$ending())
                }
            }};
        }

        let settled = with!(settled);
        prop_assert_eq!(settled.never_started, Some(0));
        prop_assert!(!settled.is_cut_off);
        prop_assert_eq!(job_results(settled), expected.clone());

        match with!(all) {
            Ok(all) => prop_assert_eq!(Some(all), outputs),
            Err(error) => {
                let index = error.index();
                prop_assert_ne!(jobs[index].0, Outcome::Succeeds);
                prop_assert_eq!(JobResult::failure(error), expected[index].clone());
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
        runtime.shut_down();
    }
}

// ---------------------------------------------------------------------------------------
// Laziness.

#[test]
fn nothing_is_pulled_before_the_first_poll() {
    let input = TestInput::new(vec![Outcome::Succeeds; 3]);
    let mut all = std::pin::pin!(gather(input.jobs()).all());
    assert_eq!(input.pulled(), 0);
    assert!(poll(&mut all).is_pending());
    assert_eq!(input.pulled(), 3);
}

#[test]
fn the_default_limit_is_a_hundred() {
    let input = TestInput::new(vec![Outcome::Succeeds; 300]);
    let mut all = std::pin::pin!(gather(input.jobs()).all());
    assert!(poll(&mut all).is_pending());
    assert_eq!(input.pulled(), 100);
}

#[test]
fn a_finished_job_counts_towards_the_limit_until_its_result_is_taken() {
    let runtime = TestRuntime::new(0);
    let input = TestInput::new(vec![Outcome::Succeeds; 9]);
    let mut results = input.completed(3, Some(&runtime), &Signal::new());
    assert!(input.take(&mut results).is_pending());
    input.signals.iter().for_each(Signal::open);
    runtime.tick();
    assert_eq!(input.pulled(), 3);
    // Each poll pulls a new job in place of the result that the previous poll returned.
    for taken in 0..6 {
        assert!(input.take(&mut results).is_ready());
        assert_eq!(input.pulled(), 3 + taken);
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
        runtime.shut_down();
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
        let gather = gather(jobs).limit(4).until(stop.wait());
        let settled = if spawned {
            run(gather.on(&runtime).settled())
        } else {
            run(gather.settled())
        };
        assert_eq!(settled.never_started, None);
        assert!(settled.is_cut_off);
        assert!(settled.results.len() > 17);
        for (index, result) in job_results(settled).into_iter().enumerate() {
            assert!(
                result == JobResult::Output(index)
                    || index > 16 && result == JobResult::DeadlineExceeded,
                "{index}: {result:?}"
            );
        }
        runtime.shut_down();
    }
}

// On one thread, `until` can become ready only if the gather yields.
#[test]
fn until_takes_effect_even_if_every_job_is_ready_at_once() {
    let runtime = TestRuntime::new(0);
    let until = Signal::new();
    let pulled = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let jobs = {
        let pulled = pulled.clone();
        // The input is finite so that the test ends even if it fails.
        (0..100_000).map(move |n: usize| {
            pulled.fetch_add(1, Ordering::SeqCst);
            ready(Ok::<_, Refused>(n))
        })
    };
    let task = {
        let (until, ended) = (until.clone(), ended.clone());
        async move {
            gather(jobs).limit(4).until(until.wait()).settled().await;
            ended.store(true, Ordering::SeqCst);
        }
    };
    inflight_core::Runtime::spawn(&runtime, Box::pin(task));
    inflight_core::Runtime::spawn(&runtime, Box::pin(async move { until.open() }));
    runtime.tick();
    assert!(ended.load(Ordering::SeqCst));
    assert!(
        pulled.load(Ordering::SeqCst) < 100_000,
        "the gather never yielded, so the task that opens `until` did not run in time"
    );
}

#[test]
fn an_until_that_is_ready_at_once_pulls_nothing() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let input = TestInput::new(vec![Outcome::Succeeds; 5]);
        let settled = |until: Signal| {
            until.open();
            let gather = gather(input.jobs()).until(until.wait());
            if spawned {
                run(gather.on(&runtime).settled())
            } else {
                run(gather.settled())
            }
        };
        let settled = settled(Signal::new());
        assert!(settled.results.is_empty());
        assert_eq!(settled.never_started, Some(5));
        assert_eq!(input.pulled(), 0);
    }
}

#[test]
fn never_started_is_exact_if_the_input_has_an_exact_size() {
    let input = TestInput::new(vec![Outcome::Succeeds; 10]);
    let until = Signal::new();
    let mut settled = Box::pin(gather(input.jobs()).limit(3).until(until.wait()).settled());
    assert!(poll_until_stalled(&mut settled).is_pending());
    input.signals[0].open();
    input.signals[2].open();
    assert!(poll_until_stalled(&mut settled).is_pending());
    until.open();
    let settled = run(settled);
    assert_eq!(input.pulled(), 5);
    assert_eq!(settled.never_started, Some(5));
    let unfinished = JobResult::DeadlineExceeded;
    assert_eq!(
        job_results(settled),
        [
            JobResult::Output(0),
            unfinished.clone(),
            JobResult::Output(2),
            unfinished.clone(),
            unfinished
        ]
    );
}

#[test]
fn never_started_is_none_if_the_size_of_the_input_is_unknown() {
    let input = TestInput::new(vec![Outcome::Succeeds; 10]);
    let until = Signal::new();
    let jobs = input.jobs().filter(|_| true);
    let mut settled = Box::pin(gather(jobs).limit(3).until(until.wait()).settled());
    assert!(poll(&mut settled).is_pending());
    until.open();
    let settled = run(settled);
    assert_eq!(settled.never_started, None);
    assert_eq!(settled.results.len(), 3);
}

#[test]
fn a_gather_is_cut_off_only_if_a_job_did_not_start_or_did_not_finish() {
    // (jobs, finished jobs, inputs that are never pulled)
    for (jobs, finished, never_started) in [(2, 2, 0), (2, 1, 0), (5, 2, 2), (5, 0, 3)] {
        let input = TestInput::new(vec![Outcome::Succeeds; jobs]);
        let until = Signal::new();
        let mut results = gather(input.jobs())
            .limit(2)
            .until(until.wait())
            .completed();
        assert!(poll(&mut results.next()).is_pending());
        input.signals[..finished].iter().for_each(Signal::open);
        // Takes the finished results, except the last one if it is the last of the input.
        let taken = finished.min(jobs - 1);
        for _ in 0..taken {
            assert!(run(results.next()).is_some());
        }
        assert!(!results.is_cut_off());
        assert_eq!(results.never_started(), Some(0));
        until.open();
        let pulled = jobs - never_started;
        assert_eq!(run((&mut results).count()), pulled - taken);
        assert_eq!(results.never_started(), Some(never_started));
        assert_eq!(results.is_cut_off(), finished < jobs);
    }
}

// ---------------------------------------------------------------------------------------
// The deadline.

#[test]
fn all_fails_at_the_deadline() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let input = TestInput::new(vec![Outcome::Succeeds; 4]);
        let until = Signal::new();
        let gather = gather(input.jobs()).until(until.wait());
        let mut all: Pin<Box<dyn Future<Output = _>>> = if spawned {
            Box::pin(gather.on(&runtime).all())
        } else {
            Box::pin(gather.all())
        };
        assert!(poll_until_stalled(&mut all).is_pending());
        until.open();
        let error = run(all).unwrap_err();
        assert_eq!(error.index(), 0);
        assert!(matches!(
            error.kind(),
            JobErrorKind::DeadlineExceeded { .. }
        ));
        assert_eq!(error.to_string(), "job 0 exceeded the deadline");
    }
}

#[test]
fn all_fails_at_the_deadline_if_the_input_has_not_ended() {
    // All pulled jobs have succeeded, but the input has not ended.
    let until = Signal::new();
    let jobs = stream::iter(0..2)
        .map(|n| ready(Ok::<_, Refused>(n)))
        .chain(stream::pending());
    let mut all = Box::pin(gather_stream(jobs).until(until.wait()).all());
    assert!(poll_until_stalled(&mut all).is_pending());
    until.open();
    let error = run(all).unwrap_err();
    assert_eq!(error.index(), 2);
    assert!(matches!(error.kind(), JobErrorKind::NeverStarted));
    assert_eq!(error.to_string(), "job 2 did not start before the deadline");
}

#[test]
fn first_returns_an_error_for_each_pulled_job_at_the_deadline() {
    let input = TestInput::new(vec![
        Outcome::Fails,
        Outcome::Succeeds,
        Outcome::Fails,
        Outcome::Succeeds,
        Outcome::Succeeds,
    ]);
    let until = Signal::new();
    let mut first = Box::pin(gather(input.jobs()).limit(2).until(until.wait()).first());
    assert!(poll_until_stalled(&mut first).is_pending());
    input.signals[0].open();
    assert!(poll_until_stalled(&mut first).is_pending());
    until.open();
    let error = run(first).unwrap_err();
    assert_eq!(error.never_started, Some(2));
    let unfinished = JobResult::DeadlineExceeded;
    assert_eq!(
        failures(error),
        [
            (0, JobResult::Failed(0)),
            (1, unfinished.clone()),
            (2, unfinished)
        ]
    );
}

#[test]
fn until_has_no_effect_after_the_end() {
    let input = TestInput::new(vec![Outcome::Succeeds; 2]);
    let until = Signal::new();
    let mut results = input.completed(5, None, &until);
    input.signals.iter().for_each(Signal::open);
    assert_eq!(
        input.take(&mut results),
        Poll::Ready(Some((0, JobResult::Output(0))))
    );
    assert_eq!(
        input.take(&mut results),
        Poll::Ready(Some((1, JobResult::Output(1))))
    );
    assert_eq!(input.take(&mut results), Poll::Ready(None));
    until.open();
    // The future of the signal panics if it is polled after completion.
    for _ in 0..3 {
        assert_eq!(input.take(&mut results), Poll::Ready(None));
    }
}

#[test]
fn until_is_not_polled_after_the_last_result() {
    let polls = Cell::new(0);
    let until = std::future::poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::<()>::Pending
    });
    let jobs = (0..3).map(|n| ready(Ok::<_, Refused>(n)));
    let mut results = gather(jobs).until(until).completed();
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
        let input = TestInput::new(vec![Outcome::Succeeds; 8]);
        let until = Signal::new();
        let spawned = spawned.then_some(&runtime);
        let mut results = input.completed(4, spawned, &until);
        assert!(input.take(&mut results).is_pending());
        input.signals[1].open();
        input.signals[2].open();
        runtime.tick();
        until.open();
        let mut taken = Vec::new();
        while let Poll::Ready(Some((index, result))) = input.take(&mut results) {
            taken.push((index, result));
        }
        taken.sort_by_key(|(index, _)| *index);
        let unfinished = JobResult::DeadlineExceeded;
        assert_eq!(
            taken,
            [
                (0, unfinished.clone()),
                (1, JobResult::Output(1)),
                (2, JobResult::Output(2)),
                (3, unfinished)
            ]
        );
    }
}

#[test]
fn the_deadline_cancels_running_jobs_before_finished_results_are_taken() {
    let runtime = TestRuntime::new(0);
    let input = TestInput::new(vec![Outcome::Succeeds; 2]);
    let until = Signal::new();
    let mut results = input.completed(2, Some(&runtime), &until);
    assert!(input.take(&mut results).is_pending());
    input.signals[0].open();
    runtime.tick();
    until.open();
    assert_eq!(
        input.take(&mut results),
        Poll::Ready(Some((0, JobResult::Output(0))))
    );
    // The consumer has taken only one result, but the other job must already be cancelled.
    input.signals[1].open();
    runtime.tick();
    assert!(
        !input.finished[1].load(Ordering::SeqCst),
        "a job continued after the deadline"
    );
    assert_eq!(
        input.take(&mut results),
        Poll::Ready(Some((1, JobResult::DeadlineExceeded)))
    );
}

#[test]
fn at_the_deadline_jobs_that_have_sent_a_request_differ_from_those_that_wait_for_a_permit() {
    let runtime = TestRuntime::new(0);
    let session = builder(client(|_| pending()), &runtime)
        .max_in_flight(2)
        .build()
        .unwrap();
    let get = |session: &Session| session.get("http://host/").send();
    for spawned in [false, true] {
        // The request of the first job is sent in a nested gather, and that of the second job in a task
        // of the runtime.
        let nested = {
            let session = session.clone();
            async move {
                gather([get(&session)]).all().await?;
                Ok::<_, Error>(())
            }
        };
        let task = Task::spawn(&runtime, get(&session));
        runtime.tick();
        let jobs = [
            nested.boxed(),
            async move { task.await.unwrap().map(|_| ()) }.boxed(),
            {
                let response = get(&session);
                async move { response.await.map(|_| ()) }
            }
            .boxed(),
            pending().boxed(),
        ];
        let until = Signal::new();
        let gather = gather(jobs).until(until.wait());
        let mut settled: Pin<Box<dyn Future<Output = _>>> = if spawned {
            Box::pin(gather.on(&runtime).settled())
        } else {
            Box::pin(gather.settled())
        };
        for _ in 0..2 {
            assert!(poll_until_stalled(&mut settled).is_pending());
            runtime.tick();
        }
        assert_eq!((session.stats().in_flight, session.stats().waiting), (2, 1));
        until.open();
        let sent =
            run(settled)
                .results
                .into_iter()
                .map(|result| match result.unwrap_err().into_kind() {
                    JobErrorKind::DeadlineExceeded { sent } => sent,
                    other => panic!("{other:?}"),
                });
        assert_eq!(sent.collect::<Vec<_>>(), [true, false, false, false]);
        runtime.tick();
    }
}

// ---------------------------------------------------------------------------------------
// Hedging.

const DELAY: Duration = Duration::from_millis(100);

#[test]
fn a_hedge_starts_a_job_after_each_delay_and_returns_the_first_output() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let input = TestInput::new(vec![Outcome::Succeeds; 4]);
        let jobs = gather(input.jobs());
        let mut hedge: Pin<Box<dyn Future<Output = _>>> = if spawned {
            Box::pin(jobs.on(&runtime).hedge(DELAY, &runtime))
        } else {
            Box::pin(jobs.hedge(DELAY, &runtime))
        };
        for started in 1..=3 {
            assert!(poll_until_stalled(&mut hedge).is_pending());
            assert_eq!(input.pulled(), started);
            runtime.advance(DELAY - Duration::from_millis(1));
            assert!(poll_until_stalled(&mut hedge).is_pending());
            assert_eq!(input.pulled(), started);
            if started < 3 {
                runtime.advance(Duration::from_millis(1));
            }
        }
        input.signals[1].open();
        runtime.tick();
        assert_eq!(run(hedge).unwrap(), 1);
        runtime.tick();
        // The other jobs were cancelled, and the timer was dropped.
        assert_eq!(input.running.load(Ordering::SeqCst), 0);
        assert_eq!((input.pulled(), runtime.active_sleeps()), (3, 0));
    }
}

#[test]
fn a_hedge_starts_the_next_job_as_soon_as_one_fails() {
    let runtime = TestRuntime::new(0);
    let outcomes = [
        Outcome::Fails,
        Outcome::Panics,
        Outcome::Succeeds,
        Outcome::Succeeds,
    ];
    let input = TestInput::new(outcomes.to_vec());
    let mut hedge = Box::pin(gather(input.jobs()).hedge(DELAY, &runtime));
    for failed in 0..2 {
        assert!(poll_until_stalled(&mut hedge).is_pending());
        assert_eq!(input.pulled(), failed + 1);
        input.signals[failed].open();
    }
    assert!(poll_until_stalled(&mut hedge).is_pending());
    assert_eq!(input.pulled(), 3);
    input.signals[2].open();
    assert_eq!(run(hedge).unwrap(), 2);
}

#[test]
fn a_hedge_fails_if_every_job_fails_or_until_completes() {
    let runtime = TestRuntime::new(0);
    let input = TestInput::new(vec![Outcome::Fails; 3]);
    input.signals.iter().for_each(Signal::open);
    let error = run(gather(input.jobs()).hedge(DELAY, &runtime)).unwrap_err();
    let expected = [0, 1, 2].map(|n| (n, JobResult::Failed(n)));
    assert_eq!(failures(error), expected);

    let input = TestInput::new(vec![Outcome::Succeeds; 3]);
    let until = Signal::new();
    let jobs = gather(input.jobs()).until(until.wait());
    let mut hedge = Box::pin(jobs.hedge(DELAY, &runtime));
    assert!(poll_until_stalled(&mut hedge).is_pending());
    until.open();
    let error = run(hedge).unwrap_err();
    assert_eq!(error.never_started, Some(2));
    assert_eq!(failures(error), [(0, JobResult::DeadlineExceeded)]);

    let error = run(gather(input.jobs().take(0)).hedge(DELAY, &runtime)).unwrap_err();
    assert_eq!(error.to_string(), "there were no jobs");
}

#[test]
fn a_hedge_without_a_delay_starts_all_jobs_and_keeps_the_limit() {
    let runtime = TestRuntime::new(0);
    for (limit, pulled) in [(2, 2), (5, 3)] {
        let input = TestInput::new(vec![Outcome::Succeeds; 3]);
        let jobs = gather(input.jobs()).limit(limit);
        let mut hedge = Box::pin(jobs.hedge(Duration::ZERO, &runtime));
        assert!(poll_until_stalled(&mut hedge).is_pending());
        assert_eq!(input.pulled(), pulled);
    }
    let items = gather_with(["a", "b"], |item| ready(Ok::<_, Refused>(item.len())));
    assert_eq!(run(items.hedge(DELAY, &runtime)).unwrap(), ("a", 1));
}

// ---------------------------------------------------------------------------------------
// Items.

/// Returns items with their index. An item is neither `Copy` nor equal to its index.
fn items(n: usize) -> impl Iterator<Item = (usize, String)> {
    (0..n).map(|index| (index, format!("item {index}")))
}

proptest! {
    #![proptest_config(with_cases(200))]

    #[test]
    fn after_until_each_item_is_in_a_result_or_still_in_the_iterator(
        limit in 1usize..6,
        jobs in prop::collection::vec((outcome(), any::<bool>()), 0..20),
        spawned: bool,
    ) {
        let outcomes: Vec<_> = jobs.iter().map(|(outcome, _)| *outcome).collect();
        let input = TestInput::new(outcomes.clone());
        let runtime = TestRuntime::new(0);
        let until = Signal::new();
        let mut unstarted = items(jobs.len());
        let gather = {
            let input = input.clone();
            gather_with(unstarted.by_ref(), move |(index, _)| input.job(index))
        };
        let gather = gather.limit(limit).until(until.wait());
        let mut settled: Pin<Box<dyn Future<Output = _>>> = if spawned {
            Box::pin(gather.on(&runtime).settled())
        } else {
            Box::pin(gather.settled())
        };
        let mut polled = poll_until_stalled(&mut settled);
        for (index, (_, opens)) in jobs.iter().enumerate() {
            if *opens {
                input.signals[index].open();
            }
            runtime.tick();
            if polled.is_pending() {
                polled = poll_until_stalled(&mut settled);
            }
        }
        until.open();
        let settled = match polled {
            Poll::Ready(done) => {
                drop(settled);
                done
            }
            Poll::Pending => run(settled),
        };
        let all_finish = jobs.iter().all(|(_, opens)| *opens);
        prop_assert_eq!(settled.is_cut_off, !all_finish);
        prop_assert_eq!(settled.results.len(), input.pulled());
        for (index, ((item, _), result)) in settled.results.iter().enumerate() {
            prop_assert_eq!(*item, index);
            let finished = input.finished[index].load(Ordering::SeqCst);
            prop_assert_eq!(result.is_ok(), finished && outcomes[index] == Outcome::Succeeds);
        }
        let started = settled.results.into_iter().map(|(item, _)| item);
        let unstarted: Vec<_> = unstarted.collect();
        prop_assert_eq!(settled.never_started, Some(unstarted.len()));
        let expected: Vec<_> = items(jobs.len()).collect();
        prop_assert_eq!(started.chain(unstarted).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_ending_returns_the_item_of_each_job(
        limit in 1usize..8,
        yields in prop::collection::vec(0u8..6, 1..24),
        spawned: bool,
    ) {
        let runtime = TestRuntime::new(2);
        let items = || yields.iter().copied().enumerate().map(|(n, yields)| (yields, n.to_string()));
        let job = |(yields, text): (u8, String)| async move {
            for _ in 0..yields {
                yield_now().await;
            }
            let number: usize = text.parse().unwrap();
            if number % 3 == 2 { Err(Refused(number)) } else { Ok(number) }
        };
        macro_rules! with {
            ($items:expr, $ending:ident) => {{
                let gather = gather_with($items, job).limit(limit);
                if spawned {
                    run(gather.on(&runtime).$ending())
                } else {
                    run(gather.$ending())
                }
            }};
        }
        for (index, ((_, text), result)) in with!(items(), settled).results.iter().enumerate() {
            prop_assert_eq!(text, &index.to_string());
            match result {
                Ok(number) => prop_assert_eq!(*number, index),
                Err(error) => prop_assert_eq!(error.index(), index),
            }
        }
        let all = with!(items().take(2), all).unwrap();
        for (index, ((_, text), number)) in all.into_iter().enumerate() {
            prop_assert_eq!((text, number), (index.to_string(), index));
        }
        let ((_, text), number) = with!(items(), first).unwrap();
        prop_assert_eq!(text, number.to_string());
        let completed = run(gather_with(items(), job).limit(limit).completed().collect::<Vec<_>>());
        prop_assert_eq!(completed.len(), yields.len());
        for ((_, text), result) in completed {
            let number = result.unwrap_or_else(|error| error.failure().unwrap().0);
            prop_assert_eq!(text, number.to_string());
        }
        runtime.shut_down();
    }
}

// ---------------------------------------------------------------------------------------
// Cancelling by dropping.

/// Returns jobs that never complete and that notify the listener when they are dropped.
fn hanging_jobs(
    listener: &EventListener,
) -> impl Iterator<Item = impl Future<Output = Result<usize, Refused>> + Send + use<>> + use<'_> {
    (0..).map(|index| {
        let notifier = listener.notifier(index);
        async move {
            let _notifier = notifier;
            pending().await
        }
    })
}

#[test]
fn dropping_the_future_of_a_gather_stops_its_jobs() {
    let runtime = TestRuntime::new(2);
    let listener = EventListener::new();
    macro_rules! dropped {
        ($ending:ident) => {
            let mut local = Box::pin(gather(hanging_jobs(&listener)).limit(3).$ending());
            assert!(poll_until_stalled(&mut local).is_pending());
            assert!(listener.received().is_empty());
            drop(local);
            // Jobs in the caller's task are dropped at once.
            assert_eq!(listener.received(), [0, 1, 2], stringify!($ending));

            let mut spawned = Box::pin(
                gather(hanging_jobs(&listener))
                    .limit(3)
                    .on(&runtime)
                    .$ending(),
            );
            assert!(poll_until_stalled(&mut spawned).is_pending());
            assert!(listener.received().is_empty());
            drop(spawned);
            assert_eq!(listener.wait_for(3), [0, 1, 2], stringify!($ending));
        };
    }
    dropped!(all);
    dropped!(settled);
    dropped!(first);
    runtime.shut_down();
    assert!(listener.received().is_empty(), "more jobs were pulled");
}

#[test]
fn a_cancelled_job_stops_at_its_next_yield() {
    let runtime = TestRuntime::new(1);
    let listener = EventListener::new();
    let (busy, is_busy) = mpsc::channel();
    let (resume, resumed) = mpsc::channel::<()>();
    let continued = Arc::new(AtomicBool::new(false));
    let job = {
        let (notifier, continued) = (listener.notifier(7), continued.clone());
        async move {
            let _notifier = notifier;
            busy.send(()).unwrap();
            // Work between two yields cannot be interrupted.
            resumed.recv_timeout(EVENT_TIMEOUT).unwrap();
            yield_now().await;
            continued.store(true, Ordering::SeqCst);
            Ok::<_, Refused>(())
        }
    };
    let mut all = Box::pin(gather([job]).on(&runtime).all());
    assert!(poll(&mut all).is_pending());
    is_busy.recv_timeout(EVENT_TIMEOUT).unwrap();
    drop(all);
    assert!(listener.received().is_empty());
    resume.send(()).unwrap();
    assert_eq!(listener.wait_for(1), [7]);
    runtime.shut_down();
    assert!(!continued.load(Ordering::SeqCst));
}

/// A runtime that polls a task inside the call that wakes it.
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

/// Opens a signal when the `Opener` is dropped.
struct Opener(Signal);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[test]
fn cancelling_a_gather_does_not_resume_its_jobs() {
    for is_dropped in [false, true] {
        let runtime = Eager(TestRuntime::new(0));
        let (permit, until) = (Signal::new(), Signal::new());
        let started = Counter::new();
        let jobs = (0..5).map(|index| {
            // Dropping the job with the index 2 opens the signal `permit`. The other jobs wait for this signal.
            let held = (index == 2).then(|| Opener(permit.clone()));
            let (permit, started) = (permit.clone(), started.clone());
            async move {
                if held.is_none() {
                    permit.wait().await;
                }
                started.add(1);
                pending::<Result<(), Refused>>().await
            }
        });
        let gather = gather(jobs).on(&runtime).until(until.wait());
        let mut settled = Box::pin(gather.settled());
        assert!(poll_until_stalled(&mut settled).is_pending());
        assert_eq!(started.get(), 1);
        if is_dropped {
            drop(settled);
        } else {
            until.open();
            let results = run(settled).results;
            assert!(results.iter().all(Result::is_err));
        }
        assert_eq!(
            started.get(),
            1,
            "a job continued after the gather had ended"
        );
    }
}

#[test]
fn all_cancels_the_other_jobs_after_the_first_failure() {
    for panics in [false, true] {
        for spawned in [false, true] {
            let runtime = TestRuntime::new(2);
            let listener = EventListener::new();
            let jobs = (0..9).map(|index| {
                let notifier = listener.notifier(index);
                async move {
                    let _notifier = notifier;
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
            assert_eq!(listener.wait_for(5), [0, 1, 2, 3, 4]);
            runtime.shut_down();
            assert!(listener.received().is_empty());
        }
    }
}

#[test]
fn first_cancels_the_other_jobs_after_the_first_success() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(2);
        let listener = EventListener::new();
        let jobs = (0..4).map(|index| {
            let notifier = listener.notifier(index);
            async move {
                let _notifier = notifier;
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
        assert_eq!(listener.wait_for(4), [0, 1, 2, 3]);
        runtime.shut_down();
    }
}

#[test]
fn first_returns_all_failures_in_input_order() {
    let input = TestInput::new(vec![Outcome::Fails, Outcome::Panics, Outcome::Fails]);
    let mut first = Box::pin(gather(input.jobs()).first());
    for last in [2, 1, 0] {
        assert!(poll_until_stalled(&mut first).is_pending());
        input.signals[last].open();
    }
    let error = run(first).unwrap_err();
    assert_eq!(error.never_started, Some(0));
    assert_eq!(error.to_string(), "all 3 jobs failed");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "job 0 failed");
    assert_eq!(source.source().unwrap().to_string(), "job 0 refused");
    let panicked = JobResult::Panicked("job 1 panics".to_owned());
    assert_eq!(
        failures(error),
        [
            (0, JobResult::Failed(0)),
            (1, panicked),
            (2, JobResult::Failed(2))
        ]
    );
}

// The input has jobs, but none was started. So neither "all jobs failed" nor "there were no jobs" is true.
#[test]
fn the_error_of_first_at_the_deadline_differs_from_that_of_an_empty_input() {
    let input = TestInput::new(vec![Outcome::Succeeds; 3]);
    let error = run(gather(input.jobs()).until(ready(())).first()).unwrap_err();
    assert!(error.failures.is_empty());
    assert_eq!(error.never_started, Some(3));
    assert_ne!(error.to_string(), "there were no jobs");
}

// ---------------------------------------------------------------------------------------
// Conversion to `Error`.

/// Awaits the ending of a gather, and converts its error with `?`.
fn convert<T, E>(ending: impl Future<Output = Result<T, E>>) -> Error
where
    Error: From<E>,
{
    let converted = run(async move {
        ending.await?;
        Ok(())
    });
    converted.unwrap_err()
}

fn not_found() -> Error {
    let url = "http://me:secret@host/".parse().unwrap();
    let status = http::StatusCode::NOT_FOUND;
    Error::status(status).with_url(&url).with_source(Refused(7))
}

#[test]
fn the_conversion_of_a_failed_job_keeps_its_error_and_adds_the_index() {
    let jobs = [
        ready(Ok(())).boxed(),
        ready(Err(not_found().not_processed())).boxed(),
    ];
    let error = convert(gather(jobs).all());
    assert_eq!(error.kind(), ErrorKind::Status);
    assert_eq!(error.status_code(), Some(http::StatusCode::NOT_FOUND));
    assert!(error.is_not_processed());
    assert_eq!(
        error.to_string(),
        "the status is an error: 404 Not Found, in job 1 [http://host/]"
    );
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<Refused>());

    let timeout = convert(gather([ready(Err::<(), _>(Error::timeout(Phase::Head)))]).all());
    assert_eq!(timeout.phase(), Some(Phase::Head));
    assert_eq!(timeout.to_string(), "timed out (head): in job 0");
}

#[test]
fn the_conversion_of_a_panic_contains_its_message_and_does_not_resume_it() {
    let job = async {
        if true {
            resume_unwind(Box::new("out of luck"));
        }
        Ok::<(), Error>(())
    };
    let error = convert(gather([job]).all());
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.to_string(), "a job panicked: out of luck, in job 0");
}

#[test]
fn the_conversion_of_a_job_without_a_result_has_the_kind_deadline_or_cancelled() {
    let hanging = || [pending::<Result<(), Error>>()];
    let error = convert(gather(hanging()).until(yield_now()).all());
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(
        error.to_string(),
        "the deadline passed: before a request was sent, in job 0"
    );

    let runtime = TestRuntime::new(0);
    let mut all = Box::pin(gather(hanging()).on(&runtime).all());
    assert!(poll(&mut all).is_pending());
    runtime.shut_down();
    let error = convert(all);
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.to_string(), "cancelled: the runtime ended, in job 0");
}

#[test]
fn the_conversion_of_all_failed_is_the_first_failure_with_all_failures_as_the_source() {
    let jobs = [not_found(), Error::timeout(Phase::Head)].map(|error| ready(Err::<(), _>(error)));
    let error = convert(gather(jobs).first());
    assert_eq!(error.kind(), ErrorKind::Status);
    assert_eq!(
        error.to_string(),
        "the status is an error: 404 Not Found, in job 0 [http://host/]"
    );
    let source = std::error::Error::source(&error).unwrap();
    let all = source.downcast_ref::<AllFailed<Error>>().unwrap();
    assert_eq!(all.to_string(), "all 2 jobs failed");
    assert!(all.failures[1].failure().unwrap().is_timeout());
}

#[test]
fn the_conversion_of_all_failed_without_a_failure_names_the_reason() {
    let jobs = || [ready(Err::<(), _>(not_found())), ready(Err(not_found()))];
    let error = convert(gather(jobs()).until(ready(())).first());
    assert_eq!(error.kind(), ErrorKind::Deadline);
    // One job has failed, but the deadline passed before the other started.
    let error = convert(gather(jobs()).limit(1).until(yield_now()).first());
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(
        error.to_string(),
        "the deadline passed: no job succeeded before the deadline"
    );
    let error = convert(gather(jobs().into_iter().take(0)).first());
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(error.to_string(), "invalid request: there were no jobs");
}

// ---------------------------------------------------------------------------------------
// Edge cases.

#[test]
fn an_empty_input_completes_at_once() {
    type NoJob = std::future::Ready<Result<usize, Refused>>;
    let none = || std::iter::empty::<NoJob>();
    let runtime = TestRuntime::new(0);
    macro_rules! empty {
        ($gather:expr) => {
            assert!(run($gather.all()).unwrap().is_empty());
            let settled = run($gather.settled());
            assert!(settled.results.is_empty());
            assert_eq!(settled.never_started, Some(0));
            assert!(!settled.is_cut_off);
            assert!(run(Box::pin($gather.completed()).next()).is_none());
            let error = run($gather.first()).unwrap_err();
            assert!(error.failures.is_empty());
            assert_eq!(error.never_started, Some(0));
            assert_eq!(error.to_string(), "there were no jobs");
        };
    }
    empty!(gather(none()));
    empty!(gather(none()).on(&runtime));
    empty!(gather(none()).until(pending::<()>()));
    // An empty input is complete even if `until` is ready at once.
    empty!(gather(none()).until(ready(())));
}

#[test]
#[should_panic(expected = "limit of zero")]
fn a_limit_of_zero_panics() {
    let _ = gather([ready(Ok::<_, Refused>(1))]).limit(0);
}

#[test]
fn the_maximum_limit_runs_all_jobs() {
    let jobs = (0..1000).map(|n| ready(Ok::<_, Refused>(n)));
    let all = run(gather(jobs).limit(usize::MAX).all()).unwrap();
    assert_eq!(all, (0..1000).collect::<Vec<_>>());
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .expect("the payload is a string")
}

#[test]
fn a_job_that_panics_does_not_affect_other_jobs() {
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
            panic!("not a panic");
        };
        assert_eq!(panic.message(), "the 2nd job panics: expected");
        assert_eq!(
            message(&*panic.into_payload()),
            "the 2nd job panics: expected"
        );
        assert_eq!(next().unwrap(), 2);
        let JobErrorKind::Panicked(panic) = next().unwrap_err().into_kind() else {
            panic!("not a panic");
        };
        assert_eq!(*panic.into_payload().downcast::<u8>().unwrap(), 99);
        assert_eq!(next().unwrap(), 4);
        runtime.shut_down();
    }
}

#[test]
fn a_panic_of_the_input_is_propagated() {
    let listener = EventListener::new();
    let jobs = (0..3).map(|n| {
        if n == 2 {
            resume_unwind(Box::new("the input panics"));
        }
        let notifier = listener.notifier(n);
        async move {
            let _notifier = notifier;
            pending::<Result<usize, Refused>>().await
        }
    });
    let caught = catch_unwind(AssertUnwindSafe(|| run(gather(jobs).settled())));
    let payload = caught.unwrap_err();
    assert_eq!(message(&*payload), "the input panics");
    assert_eq!(listener.received(), [0, 1]);
}

#[test]
fn shutting_down_the_runtime_cancels_the_jobs() {
    let runtime = TestRuntime::new(1);
    let jobs = (0..3).map(|n| async move {
        if n == 1 {
            return Ok::<_, Refused>(n);
        }
        pending().await
    });
    let mut settled = Box::pin(gather(jobs).on(&runtime).settled());
    assert!(poll(&mut settled).is_pending());
    runtime.shut_down();
    let job_results = job_results(run(settled));
    assert_eq!(job_results[0], JobResult::Cancelled);
    assert_eq!(job_results[2], JobResult::Cancelled);
}

// ---------------------------------------------------------------------------------------
// Where jobs run.

#[test]
fn jobs_on_a_runtime_progress_while_the_consumer_blocks() {
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
        // Blocks the consumer's thread, so only the runtime can run the other seven jobs.
        done.wait_for(8);
        assert!(results.next().await.is_some());
        done.wait_for(9);
    });
    runtime.shut_down();
}

#[test]
fn without_a_runtime_a_blocking_consumer_stops_every_job() {
    let input = TestInput::new(vec![Outcome::Succeeds; 4]);
    let mut results = input.completed(4, None, &Signal::new());
    assert!(input.take(&mut results).is_pending());
    // The consumer blocks until another thread has opened every signal. No job progresses,
    // because only this thread can poll the jobs.
    std::thread::scope(|scope| {
        scope.spawn(|| input.signals.iter().for_each(Signal::open));
    });
    let finished = || {
        let finished = input.finished.iter();
        finished.filter(|at| at.load(Ordering::SeqCst)).count()
    };
    assert_eq!(finished(), 0);
    assert!(input.take(&mut results).is_ready());
    assert_ne!(finished(), 0);
}

#[test]
fn without_a_runtime_a_blocking_job_stops_the_other_jobs() {
    // The second job cannot run before the first one yields or completes.
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
fn on_a_runtime_a_blocking_job_does_not_stop_the_other_jobs() {
    let runtime = TestRuntime::new(2);
    let (sender, receiver) = mpsc::channel();
    let mut receiver = Some(receiver);
    let jobs = (0..2).map(|n| {
        let (sender, receiver) = (sender.clone(), receiver.take());
        async move {
            match receiver {
                Some(receiver) => receiver.recv_timeout(EVENT_TIMEOUT).unwrap(),
                None => sender.send(()).unwrap(),
            }
            Ok::<_, Refused>(n)
        }
    });
    assert_eq!(run(gather(jobs).on(&runtime).all()).unwrap(), [0, 1]);
    runtime.shut_down();
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
fn a_gather_of_send_jobs_is_send() {
    fn require_send<T: Send>(value: T) -> T {
        value
    }
    let jobs = || (0..2).map(|n| ready(Ok::<_, Refused>(n)));
    let runtime = TestRuntime::new(0);
    drop(require_send(gather(jobs()).all()));
    drop(require_send(gather(jobs()).on(&runtime).settled()));
    drop(require_send(gather(jobs()).on(&runtime).first()));
    drop(require_send(gather(jobs()).hedge(Duration::ZERO, &runtime)));
    drop(require_send(gather(jobs()).completed()));
    let with_items = || gather_with(["a".to_owned()], |text| async move { text.parse::<u8>() });
    drop(require_send(with_items().on(&runtime).all()));
    drop(require_send(async move { with_items().settled().await }));
}

#[test]
fn the_stream_of_results_is_unpin_even_if_the_jobs_are_not() {
    let runtime = TestRuntime::new(1);
    let jobs = || {
        (0..3).map(|n| async move {
            yield_now().await;
            Ok::<_, Refused>(n)
        })
    };
    let never = async { pending::<()>().await };
    let mut local = gather(jobs()).until(never).completed();
    let input = stream::unfold(0, |n| async move { (n < 3).then(|| (ready(Ok(n)), n + 1)) });
    let mut streamed = gather_stream(input).completed();
    let mut spawned = gather(jobs()).on(&runtime).completed();
    run(async {
        for _ in 0..3 {
            assert!(local.next().await.unwrap().1.is_ok());
            let streamed: (usize, Result<usize, JobError<Refused>>) =
                streamed.next().await.unwrap();
            assert_eq!(streamed.1.unwrap(), streamed.0);
            assert!(spawned.next().await.unwrap().1.is_ok());
        }
    });
    runtime.shut_down();
}

#[test]
fn a_gather_can_run_on_a_shared_runtime() {
    let runtime = TestRuntime::new(1);
    let shared = runtime.shared();
    let jobs = (0..3).map(|n| async move { Ok::<_, Refused>(n) });
    assert_eq!(run(gather(jobs).on(&shared).all()).unwrap(), [0, 1, 2]);
    runtime.shut_down();
}

// ---------------------------------------------------------------------------------------
// Streams as input.

#[test]
fn a_pending_stream_wakes_the_gather_and_does_not_stop_its_jobs() {
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
    // Like an executor, polls again only after a wake-up.
    let mut drive = || {
        for _ in 0..100 {
            let polled = results.as_mut().poll_next(&mut cx);
            if polled.is_ready() || wakes.take() == 0 {
                return polled
                    .map(|next| next.map(|(index, result)| JobResult::from_result(index, result)));
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
            signal.wait().await;
            Ok::<_, Refused>(n)
        }
    };
    // A job that arrives from the input wakes the gather.
    sender.try_send(job(0)).ok().unwrap();
    assert_ne!(wakes.take(), 0);
    assert!(drive().is_pending());
    // A running job also wakes the gather, even while the input is pending.
    signals[0].open();
    assert_ne!(wakes.take(), 0);
    assert_eq!(drive(), Poll::Ready(Some(JobResult::Output(0))));
    assert!(drive().is_pending());
    // A job that arrives while no other job runs also wakes the gather.
    sender.try_send(job(1)).ok().unwrap();
    sender.try_send(job(2)).ok().unwrap();
    assert_ne!(wakes.take(), 0);
    assert!(drive().is_pending());
    signals[2].open();
    assert_eq!(drive(), Poll::Ready(Some(JobResult::Output(2))));
    sender.close();
    assert!(drive().is_pending());
    signals[1].open();
    assert_ne!(wakes.take(), 0);
    assert_eq!(drive(), Poll::Ready(Some(JobResult::Output(1))));
    assert_eq!(drive(), Poll::Ready(None));
    assert!(
        polls.get() < 40,
        "a busy loop: the gather polled the input {} times",
        polls.get()
    );
}

#[test]
fn an_input_that_has_ended_is_not_polled_again() {
    let mut remaining = Some(1);
    let mut ended = false;
    let jobs = stream::poll_fn(move |_| {
        assert!(!ended, "the input was polled after its end");
        ended = remaining.is_none();
        Poll::Ready(remaining.take().map(|_| ready(Ok::<_, Refused>(1))))
    });
    let mut results = Box::pin(gather_stream(jobs).completed());
    assert!(run(results.next()).is_some());
    for _ in 0..3 {
        assert!(run(results.next()).is_none());
    }
}

#[test]
fn no_wake_up_is_lost_if_another_thread_sends_the_jobs() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(2);
        let (sender, jobs) = async_channel::bounded(1);
        let feeder = std::thread::spawn(move || {
            for n in 0..rounds(2000) {
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
        assert_eq!(all.unwrap(), (0..rounds(2000)).collect::<Vec<_>>());
        feeder.join().unwrap();
        runtime.shut_down();
    }
}

#[test]
fn waiting_for_jobs_is_not_a_busy_loop() {
    for spawned in [false, true] {
        let runtime = TestRuntime::new(0);
        let input = TestInput::new(vec![Outcome::Succeeds; 10]);
        let spawned = spawned.then_some(&runtime);
        let mut results = input.completed(10, spawned, &Signal::new());
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
fn a_finished_job_is_returned_by_the_first_poll_after_its_wake_up() {
    for limit in [1, 3] {
        let signals: Vec<Signal> = (0..2 * limit).map(|_| Signal::new()).collect();
        let jobs = signals.iter().map(|signal| async {
            signal.wait().await;
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
