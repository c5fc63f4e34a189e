//! Tests of gathers with limits for each key, and of gathers whose jobs add items. The time is virtual.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use inflight_core::gather::{Gather, Here, Input, Job, KeyLimits};
use inflight_core::{
    BlockOn, BoxFuture, Error, JobError, JobErrorKind, Runtime, Settled, gather_queue, gather_with,
};
use inflight_mock::{Mock, Reply, When};
use inflight_virtual::Virtual;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// An item: its key, and how many milliseconds its job takes.
type Item = (u8, u32);

/// What a gather did, in order, with the virtual time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The item was pulled from the input.
    Pulled(usize),
    Started(usize),
    Finished(usize),
}

/// The log of a gather.
#[derive(Clone)]
struct Log {
    runtime: Virtual,
    events: Arc<Mutex<Vec<(u128, Event)>>>,
}

impl Log {
    fn new(runtime: &Virtual) -> Self {
        Self {
            runtime: runtime.clone(),
            events: Arc::default(),
        }
    }

    fn add(&self, event: Event) {
        let at = self.runtime.elapsed().as_millis();
        self.events.lock().unwrap().push((at, event));
    }

    /// Returns the indices of the jobs that have finished, in order.
    fn finished(&self) -> Vec<usize> {
        let events = self.events.lock().unwrap();
        let finished = events.iter().filter_map(|(_, event)| match event {
            Event::Finished(index) => Some(*index),
            Event::Pulled(_) | Event::Started(_) => None,
        });
        finished.collect()
    }
}

/// The settings of a gather.
#[derive(Debug, Clone)]
struct Settings {
    items: Vec<Item>,
    limit: usize,
    per_key: Option<usize>,
    /// The time between two starts with the same key, in milliseconds.
    interval: Option<u32>,
    /// The limits of single keys, if there are any.
    by_key: Option<LimitsOfKeys>,
    look_ahead: usize,
    /// Whether each job is a task of the runtime.
    has_tasks: bool,
}

/// Limits of single keys, which jobs change when they end.
#[derive(Debug, Clone)]
struct LimitsOfKeys {
    /// The limits of a key that no job has changed.
    first: KeyLimits,
    /// The limits that the job of the item with the same index sets, and their key.
    changes: Vec<Option<(u8, KeyLimits)>>,
}

impl LimitsOfKeys {
    /// Returns the limits of the key after the jobs with these indices have ended.
    fn after(&self, ended: &[usize], key: u8) -> KeyLimits {
        let changes = ended.iter().rev().filter_map(|index| self.changes[*index]);
        let mut changes = changes.filter(|(other, _)| *other == key);
        changes.next().map_or(self.first, |(_, limits)| limits)
    }
}

fn key_limits() -> impl Strategy<Value = KeyLimits> {
    let running = prop_oneof![Just(usize::MAX), 1..4_usize];
    let interval = prop_oneof![Just(0), 1..60_u32];
    (running, interval).prop_map(|(running, interval)| KeyLimits {
        running,
        interval: MS * interval,
    })
}

/// Settings whose jobs change the limits of their own keys.
fn settings() -> impl Strategy<Value = Settings> {
    (settings_of_any_key(), any::<bool>()).prop_map(|(mut settings, is_dynamic)| {
        match &mut settings.by_key {
            Some(by_key) if is_dynamic => {
                let changes = by_key.changes.iter_mut().zip(&settings.items);
                for (change, (own, _)) in changes {
                    *change = change.map(|(_, limits)| (*own, limits));
                }
            }
            by_key => *by_key = None,
        }
        settings
    })
}

prop_compose! {
    /// Settings whose jobs change the limits of any keys.
    fn settings_of_any_key()(
        items in prop::collection::vec((0..4_u8, 0..30_u32), 0..60),
        limit in 1..6_usize,
        per_key in prop::option::of(1..4_usize),
        interval in prop::option::of(1..40_u32),
        first in key_limits(),
        changes in prop::collection::vec(prop::option::of((0..4_u8, key_limits())), 60),
        look_ahead in prop_oneof![Just(1), 1..20_usize, Just(1000)],
        has_tasks in any::<bool>(),
    ) -> Settings {
        let by_key = Some(LimitsOfKeys { first, changes });
        Settings { items, limit, per_key, interval, by_key, look_ahead, has_tasks }
    }
}

impl Settings {
    /// Runs the gather. Ends it after `until` milliseconds. Returns its events and the outcomes of its items.
    fn run(&self, until: Option<u32>) -> (Vec<(u128, Event)>, Vec<Outcome>) {
        let runtime = Virtual::new();
        let log = Log::new(&runtime);
        let ended = log.clone();
        let items = self.items.iter().copied().enumerate();
        let pulled = log.clone();
        let items = items.inspect(move |(index, _)| pulled.add(Event::Pulled(*index)));
        let mut gather = gather_with(items, |(index, (_, time))| {
            log.add(Event::Started(index));
            let log = log.clone();
            async move {
                log.runtime.sleep(MS * time).await;
                log.add(Event::Finished(index));
                Ok::<_, Error>(())
            }
        })
        .limit(self.limit)
        .key(|(_, (key, _))| *key)
        .look_ahead(self.look_ahead);
        if let Some(per_key) = self.per_key {
            gather = gather.per_key(per_key);
        }
        if let Some(interval) = self.interval {
            gather = gather.rate_per_key(1, MS * interval, &runtime);
        }
        let deadline = match until {
            Some(until) => runtime.sleep(MS * until),
            None => Box::pin(std::future::pending()),
        };
        let gather = gather.until(deadline);
        let settled = match &self.by_key {
            Some(by_key) => {
                let limits = |key: &u8| by_key.after(&ended.finished(), *key);
                self.settle(gather.limits_by_key(&runtime, limits), &runtime)
            }
            None => self.settle(gather, &runtime),
        };
        let outcomes = settled.results.into_iter().enumerate();
        let outcomes = outcomes.map(|(position, ((index, _), result))| {
            assert_eq!(index, position, "the results are in input order");
            match result.map_err(|error| error.into_kind()) {
                Ok(()) => Outcome::Finished,
                Err(JobErrorKind::DeadlineExceeded { .. }) => Outcome::Cancelled,
                Err(JobErrorKind::NeverStarted) => Outcome::NeverStarted,
                Err(other) => panic!("{other:?}"),
            }
        });
        let outcomes: Vec<_> = outcomes.collect();
        assert_eq!(
            outcomes.len() + settled.never_started.unwrap(),
            self.items.len()
        );
        let events = ended.events.lock().unwrap().clone();
        (events, outcomes)
    }

    fn settle<S, U>(
        &self,
        gather: Gather<S, Here, U>,
        runtime: &Virtual,
    ) -> Settled<S::Output<Result<(), JobError<Error>>>>
    where
        S: Input,
        S::Job: Job<Ok = (), Err = Error> + Send + 'static,
        U: Future,
    {
        match self.has_tasks {
            true => runtime.block_on(gather.on(runtime).settled()),
            false => runtime.block_on(gather.settled()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Finished,
    Cancelled,
    NeverStarted,
}

/// The state of a gather, as its events show it.
struct Model<'a> {
    settings: &'a Settings,
    waiting: Vec<usize>,
    running: Vec<usize>,
    /// The indices of the jobs that have finished, in order.
    finished: Vec<usize>,
    last_start: HashMap<u8, u128>,
    pulled: usize,
}

impl<'a> Model<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            waiting: Vec::new(),
            running: Vec::new(),
            finished: Vec::new(),
            last_start: HashMap::new(),
            pulled: 0,
        }
    }

    fn key(&self, index: usize) -> u8 {
        self.settings.items[index].0
    }

    fn running_with(&self, key: u8) -> usize {
        let same = self.running.iter().filter(|index| self.key(**index) == key);
        same.count()
    }

    /// Returns how many jobs with the key may run now, and the time between two starts.
    fn limits(&self, key: u8) -> (usize, u128) {
        let by_key = self.settings.by_key.as_ref();
        let limits = by_key.map_or_else(KeyLimits::default, |by_key| {
            by_key.after(&self.finished, key)
        });
        let per_key = self.settings.per_key.unwrap_or(usize::MAX);
        let interval = self.settings.interval.map_or(0, u128::from);
        (
            limits.running.min(per_key),
            limits.interval.as_millis().max(interval),
        )
    }

    /// Returns whether the limits of the input's key permit a start at this time.
    fn may_start(&self, index: usize, at: u128) -> bool {
        let key = self.key(index);
        let (running, interval) = self.limits(key);
        let next_start = self.last_start.get(&key).map_or(0, |last| last + interval);
        self.running_with(key) < running && next_start <= at
    }

    /// Forgets the last start of the key, if the key has no inputs and its interval has passed.
    fn forget_idle(&mut self, key: u8, at: u128) {
        let mut inputs = self.waiting.iter().chain(&self.running);
        let is_idle = inputs.all(|index| self.key(*index) != key);
        let (_, interval) = self.limits(key);
        self.last_start
            .retain(|other, last| *other != key || !is_idle || *last + interval > at);
    }

    /// Applies an event, and checks that the limits permit it.
    fn apply(&mut self, at: u128, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Pulled(index) => {
                self.pulled += 1;
                self.waiting.push(index);
                prop_assert!(self.waiting.len() <= self.settings.look_ahead);
            }
            Event::Started(index) => {
                let key = self.key(index);
                // A gather learns later that a task has finished. If several finish at the same time, the order
                // of inputs with different keys may differ.
                let is_after = |other: usize| match self.settings.has_tasks {
                    true => self.key(other) == key,
                    false => self.may_start(other, at),
                };
                let first = self.waiting.iter().copied().find(|other| is_after(*other));
                prop_assert_eq!(first, Some(index), "inputs that may start do so in order");
                self.waiting.retain(|other| *other != index);
                self.running.push(index);
                self.check_start(key, at)?;
                self.last_start.insert(key, at);
            }
            Event::Finished(index) => self.finish(index),
        }
        Ok(())
    }

    fn finish(&mut self, index: usize) {
        self.running.retain(|other| *other != index);
        self.finished.push(index);
    }

    /// Checks that the limits permit the start of the last running job.
    fn check_start(&self, key: u8, at: u128) -> Result<(), TestCaseError> {
        prop_assert!(self.running.len() <= self.settings.limit);
        let (running, interval) = self.limits(key);
        prop_assert!(self.running_with(key) <= running);
        if let Some(last) = self.last_start.get(&key) {
            prop_assert!(at - last >= interval, "{last} to {at}");
        }
        Ok(())
    }

    /// Checks that no job could have started before the time `next`.
    fn check_settled(&self, next: u128) -> Result<(), TestCaseError> {
        if self.running.len() >= self.settings.limit {
            return Ok(());
        }
        let mut waiting = self.waiting.iter().copied();
        let eligible = waiting.find(|index| self.may_start(*index, next - 1));
        prop_assert_eq!(eligible, None, "an input could have started");
        let has_space = self.waiting.len() < self.settings.look_ahead;
        let is_pulled = self.pulled == self.settings.items.len();
        prop_assert!(
            is_pulled || !has_space,
            "another input could have been pulled"
        );
        Ok(())
    }
}

#[test]
fn jobs_that_wait_for_their_key_do_not_occupy_the_limit() {
    let runtime = Virtual::new();
    let mock = Mock::new(runtime.clone());
    mock.on(
        When::any().repeated(),
        Reply::text("a page").after(MS * 200),
    );
    let session = mock.session().build().unwrap();
    // Sorted by host: 25 pages of each of 8 hosts.
    let urls = (0..200).map(|n| format!("http://host-{}.test/{n}", n / 25));
    // ANCHOR: key
    let pages = gather_with(urls, |url| session.get(url).text())
        .limit(25)
        .key(|url| url.split('/').nth(2).map(str::to_owned))
        .per_key(1);
    // ANCHOR_END: key
    runtime.block_on(pages.all()).unwrap();
    assert_eq!(runtime.elapsed(), MS * 200 * 25);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_slot_stays_free_while_an_input_may_start_and_no_limit_is_exceeded(settings in settings()) {
        let (events, outcomes) = settings.run(None);
        prop_assert_eq!(outcomes, vec![Outcome::Finished; settings.items.len()]);
        let mut model = Model::new(&settings);
        let mut events = events.into_iter().peekable();
        while let Some((at, event)) = events.next() {
            model.apply(at, event)?;
            // Virtual time advances only when nothing else can happen.
            if let Some((next, _)) = events.peek()
                && *next > at
            {
                model.check_settled(*next)?;
            }
        }
        prop_assert!(model.waiting.is_empty() && model.running.is_empty());
    }

    // Jobs change the limits of other keys too, at any time.
    #[test]
    fn no_job_starts_against_the_limits_at_its_start(settings in settings_of_any_key()) {
        let (events, outcomes) = settings.run(None);
        prop_assert_eq!(outcomes, vec![Outcome::Finished; settings.items.len()]);
        let mut model = Model::new(&settings);
        for (at, event) in events {
            // This event may change the limits of a key whose last start the gather has already forgotten.
            (0..4).for_each(|key| model.forget_idle(key, at));
            match event {
                Event::Pulled(index) => model.waiting.push(index),
                Event::Started(index) => {
                    let key = model.key(index);
                    let mut waiting = model.waiting.iter();
                    let first = waiting.find(|other| model.key(**other) == key);
                    prop_assert_eq!(first, Some(&index), "inputs with the same key start in order");
                    model.waiting.retain(|other| *other != index);
                    model.running.push(index);
                    model.check_start(key, at)?;
                    model.last_start.insert(key, at);
                }
                Event::Finished(index) => model.finish(index),
            }
        }
        prop_assert!(model.waiting.is_empty() && model.running.is_empty());
    }

    #[test]
    fn until_gives_each_pulled_input_the_result_that_its_state_implies(
        settings in settings(),
        until in 0..60_u32,
    ) {
        let (events, outcomes) = settings.run(Some(until));
        let has = |event| events.iter().any(|(_, other)| *other == event);
        for (index, outcome) in outcomes.iter().enumerate() {
            prop_assert!(has(Event::Pulled(index)));
            let expected = match (has(Event::Started(index)), has(Event::Finished(index))) {
                (_, true) => Outcome::Finished,
                (true, false) => Outcome::Cancelled,
                (false, false) => Outcome::NeverStarted,
            };
            prop_assert_eq!(*outcome, expected, "input {}", index);
        }
        prop_assert!(!has(Event::Pulled(outcomes.len())));
    }
}

/// Runs a gather whose items are keys, with limits that its jobs may change. Each job takes a second. Returns
/// the keys with the times at which their jobs started, in seconds.
fn starts<const N: usize>(
    items: [&'static str; N],
    limits: impl FnMut(&&'static str) -> KeyLimits,
    change: impl Fn(&'static str),
) -> Vec<(&'static str, u64)> {
    let runtime = Virtual::new();
    let starts = RefCell::new(Vec::new());
    let gather = gather_with(items, async |key| {
        starts.borrow_mut().push((key, runtime.elapsed().as_secs()));
        runtime.sleep(SECOND).await;
        change(key);
        Ok::<_, Error>(())
    });
    let gather = gather.key(|key| *key).limits_by_key(&runtime, limits);
    runtime.block_on(gather.all()).unwrap();
    starts.into_inner()
}

/// Limits that permit one job of a key at a time.
fn one_at_a_time() -> KeyLimits {
    KeyLimits {
        running: 1,
        ..KeyLimits::default()
    }
}

fn every(interval: Duration) -> KeyLimits {
    KeyLimits {
        interval,
        ..KeyLimits::default()
    }
}

#[test]
fn the_first_job_of_a_key_runs_alone_and_the_others_keep_the_interval_that_it_finds() {
    let found = RefCell::new(HashMap::new());
    let limits = |key: &&str| {
        let found = found.borrow().get(key).copied();
        found.unwrap_or_else(one_at_a_time)
    };
    let change = |key| {
        let interval = SECOND * if key == "slow" { 5 } else { 0 };
        found.borrow_mut().insert(key, every(interval));
    };
    let items = ["slow", "fast", "slow", "slow", "fast", "fast"];
    let expected = [
        ("slow", 0),
        ("fast", 0),
        ("fast", 1),
        ("fast", 1),
        ("slow", 5),
        ("slow", 10),
    ];
    assert_eq!(starts(items, limits, change), expected);
}

#[test]
fn if_the_limit_of_a_key_rises_when_a_job_ends_all_permitted_inputs_start() {
    let running = Cell::new(1);
    let limits = |_: &&str| KeyLimits {
        running: running.get(),
        ..KeyLimits::default()
    };
    let started = starts(["a"; 7], limits, |_| running.set(3));
    let times: Vec<_> = started.into_iter().map(|(_, at)| at).collect();
    assert_eq!(times, [0, 1, 1, 1, 2, 2, 2]);
}

#[test]
fn an_interval_that_has_grown_before_the_last_job_ended_applies_to_an_idle_key() {
    let runtime = Virtual::new();
    let interval = Cell::new(Duration::ZERO);
    let starts = RefCell::new(Vec::new());
    let gather = gather_queue([1], |n, _| {
        let (runtime, interval, starts) = (&runtime, &interval, &starts);
        async move {
            starts.borrow_mut().push((n, runtime.elapsed().as_secs()));
            runtime.sleep(SECOND).await;
            interval.set(SECOND * 10);
            Ok::<_, Error>(())
        }
    });
    let queue = gather.queue();
    let gather = gather.key(|_| ());
    let gather = gather.limits_by_key(&runtime, |()| every(interval.get()));
    let feed = async {
        // The key is idle.
        runtime.sleep(SECOND * 4).await;
        queue.push(2).unwrap();
        drop(queue);
    };
    let (all, ()) = runtime.block_on(futures_util::future::join(gather.all(), feed));
    all.unwrap();
    assert_eq!(*starts.borrow(), [(1, 0), (2, 10)]);
}

#[test]
fn the_stricter_limit_of_a_key_applies() {
    let runtime = Virtual::new();
    let run = |own: KeyLimits| {
        let start = runtime.elapsed();
        let gather = gather_with(0..4, |_| runtime.sleep(SECOND * 3).map(Ok::<_, Error>));
        let gather = gather.key(|_| ()).limits_by_key(&runtime, |()| own);
        let gather = gather.per_key(2).rate_per_key(1, SECOND, &runtime);
        runtime.block_on(gather.all()).unwrap();
        (runtime.elapsed() - start).as_secs()
    };
    // With two at a time, the jobs start at 0, 1, 3 and 4 seconds.
    assert_eq!(run(KeyLimits::default()), 4 + 3);
    assert_eq!(run(one_at_a_time()), 3 * 4);
    assert_eq!(run(every(MS)), 4 + 3);
    assert_eq!(run(every(SECOND * 2)), 2 + 2 + 2 + 3);
}

#[test]
fn an_interval_that_the_clock_cannot_represent_permits_no_second_start() {
    let runtime = Virtual::new();
    let gather = gather_with(0..2, |_| ready(Ok::<_, Error>(())));
    let gather = gather
        .key(|_| ())
        .limits_by_key(&runtime, |()| every(Duration::MAX))
        .until(runtime.sleep(SECOND * 1_000_000));
    let settled = runtime.block_on(gather.settled());
    let results = settled
        .results
        .into_iter()
        .map(|(_, result)| result.is_ok());
    assert_eq!(results.collect::<Vec<_>>(), [true, false]);
}

#[test]
#[should_panic = "a limit of zero for a key never ends"]
fn a_limit_of_zero_for_a_key_panics() {
    let limits = |_: &&str| KeyLimits {
        running: 0,
        ..KeyLimits::default()
    };
    starts(["a"], limits, |_| ());
}

#[test]
fn a_gather_with_limits_by_key_works_inside_a_future_that_must_be_send() {
    let runtime = Virtual::new();
    let limits = Arc::new(Mutex::new(HashMap::from([("a".to_owned(), every(SECOND))])));
    let inner = runtime.clone();
    let future: BoxFuture<'_, _> = Box::pin(async move {
        let items = vec!["a/1".to_owned(), "b/1".to_owned(), "a/2".to_owned()];
        let gather = gather_with(items, |_| ready(Ok::<_, Error>(())))
            .key(|item: &String| item[..1].to_owned())
            .limits_by_key(&inner, |key: &String| {
                let limits = limits.lock().unwrap().get(key).copied();
                limits.unwrap_or_default()
            });
        gather.all().await.unwrap().len()
    });
    assert_eq!(runtime.block_on(future), 3);
    assert_eq!(runtime.elapsed(), SECOND);
}

/// A tree of items. Each item adds its children.
#[derive(Debug, Clone)]
struct Tree {
    key: u8,
    /// How long the job takes before it adds its children, and afterwards.
    time: (u32, u32),
    children: Vec<Tree>,
}

impl Tree {
    fn len(&self) -> usize {
        1 + self.children.iter().map(Self::len).sum::<usize>()
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (0..3_u8, (0..20_u32, 0..20_u32));
    let leaf = leaf.prop_map(|(key, time)| Tree {
        key,
        time,
        children: Vec::new(),
    });
    leaf.prop_recursive(4, 30, 4, |child| {
        let children = prop::collection::vec(child, 0..4);
        (0..3_u8, (0..20_u32, 0..20_u32), children).prop_map(|(key, time, children)| Tree {
            key,
            time,
            children,
        })
    })
}

/// Where a handle outside the jobs adds items, and how many milliseconds pass between two of them.
type Feeder = Option<(Vec<Tree>, u32)>;

fn feeder() -> impl Strategy<Value = Feeder> {
    prop::option::of((prop::collection::vec(tree(), 0..5), 0..80_u32))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_ends_when_nothing_runs_and_nothing_can_arrive(
        trees in prop::collection::vec(tree(), 0..4),
        feeder in feeder(),
        limit in 1..5_usize,
        per_key in 1..3_usize,
        until in prop::option::of(0..200_u32),
    ) {
        let runtime = Virtual::new();
        let finished = RefCell::new(0);
        let last_end = RefCell::new(Duration::ZERO);
        let gather = gather_queue(trees.clone(), |tree, queue| {
            let (runtime, finished, last_end) = (&runtime, &finished, &last_end);
            async move {
                runtime.sleep(MS * tree.time.0).await;
                for child in tree.children {
                    assert!(queue.push(child).is_ok());
                }
                runtime.sleep(MS * tree.time.1).await;
                *finished.borrow_mut() += 1;
                *last_end.borrow_mut() = runtime.elapsed();
                Ok::<_, Error>(())
            }
        });
        let fed = feeder.clone();
        let feed = fed.map(|(trees, pause)| {
            let (queue, runtime, last_end) = (gather.queue(), &runtime, &last_end);
            async move {
                for tree in trees {
                    runtime.sleep(MS * pause).await;
                    // Fails if the deadline has ended the gather.
                    queue.push(tree).ok();
                    *last_end.borrow_mut() = runtime.elapsed();
                }
            }
        });
        let deadline = match until {
            Some(until) => runtime.sleep(MS * until),
            None => Box::pin(std::future::pending()),
        };
        let ended = RefCell::new(Duration::ZERO);
        let gather = gather.limit(limit).key(|tree: &Tree| tree.key).per_key(per_key).until(deadline);
        let gather = async {
            let settled = gather.settled().await;
            *ended.borrow_mut() = runtime.elapsed();
            settled
        };
        let feed = async {
            if let Some(feed) = feed {
                feed.await;
            }
        };
        let (settled, ()) = runtime.block_on(futures_util::future::join(gather, feed));
        let succeeded = settled.results.iter().filter(|(_, result)| result.is_ok()).count();
        prop_assert_eq!(succeeded, *finished.borrow());
        prop_assert_eq!(settled.never_started, Some(0));
        if settled.is_cut_off {
            prop_assert_eq!(Some(*ended.borrow()), until.map(|until| MS * until));
        } else {
            let all = trees.iter().chain(feeder.iter().flat_map(|(trees, _)| trees));
            prop_assert_eq!(settled.results.len(), all.map(Tree::len).sum::<usize>());
            prop_assert_eq!(*ended.borrow(), *last_end.borrow());
        }
    }
}
