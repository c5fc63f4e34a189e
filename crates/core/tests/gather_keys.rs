//! Tests of gathers with limits for each key, and of gathers whose jobs add items. The time is virtual.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use inflight_core::{BlockOn, Error, JobErrorKind, Runtime, gather_queue, gather_with};
use inflight_mock::{Mock, Reply, When};
use inflight_virtual::Virtual;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

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
}

/// The settings of a gather.
#[derive(Debug, Clone)]
struct Settings {
    items: Vec<Item>,
    limit: usize,
    per_key: Option<usize>,
    /// The time between two starts with the same key, in milliseconds.
    interval: Option<u32>,
    look_ahead: usize,
    /// Whether each job is a task of the runtime.
    has_tasks: bool,
}

prop_compose! {
    fn settings()(
        items in prop::collection::vec((0..4_u8, 0..30_u32), 0..60),
        limit in 1..6_usize,
        per_key in prop::option::of(1..4_usize),
        interval in prop::option::of(1..40_u32),
        look_ahead in prop_oneof![Just(1), 1..20_usize, Just(1000)],
        has_tasks in any::<bool>(),
    ) -> Settings {
        Settings { items, limit, per_key, interval, look_ahead, has_tasks }
    }
}

impl Settings {
    /// Runs the gather. Ends it after `until` milliseconds. Returns its events and the outcomes of its items.
    fn run(&self, until: Option<u32>) -> (Vec<(u128, Event)>, Vec<Outcome>) {
        let runtime = Virtual::new();
        let log = Log::new(&runtime);
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
        let settled = match self.has_tasks {
            true => runtime.block_on(gather.on(&runtime).settled()),
            false => runtime.block_on(gather.settled()),
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
        let events = log.events.lock().unwrap().clone();
        (events, outcomes)
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
    last_start: HashMap<u8, u128>,
    pulled: usize,
}

impl Model<'_> {
    fn key(&self, index: usize) -> u8 {
        self.settings.items[index].0
    }

    fn running_with(&self, key: u8) -> usize {
        let same = self.running.iter().filter(|index| self.key(**index) == key);
        same.count()
    }

    /// Returns whether the limits of the input's key permit a start at this time.
    fn may_start(&self, index: usize, at: u128) -> bool {
        let key = self.key(index);
        let per_key = self.settings.per_key.unwrap_or(usize::MAX);
        let interval = self.settings.interval.map_or(0, u128::from);
        let next_start = self.last_start.get(&key).map_or(0, |last| last + interval);
        self.running_with(key) < per_key && next_start <= at
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
                prop_assert!(self.running.len() <= self.settings.limit);
                if let Some(per_key) = self.settings.per_key {
                    prop_assert!(self.running_with(key) <= per_key);
                }
                let last = self.last_start.insert(key, at);
                if let (Some(interval), Some(last)) = (self.settings.interval, last) {
                    prop_assert!(at - last >= u128::from(interval), "{last} to {at}");
                }
            }
            Event::Finished(index) => self.running.retain(|other| *other != index),
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
        let mut model = Model {
            settings: &settings,
            waiting: Vec::new(),
            running: Vec::new(),
            last_start: HashMap::new(),
            pulled: 0,
        };
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
