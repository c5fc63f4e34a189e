//! Limits on the jobs of one key, such as a host: [`Gather::key`](super::Gather::key).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::input::{Input, Pulled, PulledFrom};
use super::launch::sealed::Sealed;
use crate::backend::fetch::BoxFuture;
use crate::backend::runtime::{Runtime, saturating_add};

/// How many inputs may wait for their key by default.
const DEFAULT_LOOK_AHEAD: usize = 10_000;

/// After this many pulls without an input that may start, the gather yields to other tasks.
const MAX_PULLS: usize = 256;

pin_project! {
    /// The input of a gather with limits for each key. Created by [`Gather::key`](super::Gather::key).
    ///
    /// `F` returns the key of an input. `G` is the closure of
    /// [`Gather::limits_by_key`](super::Gather::limits_by_key), or `()` without one.
    ///
    /// For an example, see [`Gather::key`](super::Gather::key).
    pub struct Keyed<S, F, K, G = ()>
    where
        S: Input,
    {
        #[pin]
        input: S,
        has_ended: bool,
        key: F,
        limiter: KeyLimiter<G>,
        waiting: Waiting<S, K>,
        // The timer of the key whose next job may start first.
        timer: Option<(Instant, BoxFuture<'static, ()>)>,
    }
}

/// The limits of one key, which [`Gather::limits_by_key`](super::Gather::limits_by_key) asks for. By
/// default, there is no limit.
///
/// For an example, see [`Gather::limits_by_key`](super::Gather::limits_by_key).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLimits {
    /// How many jobs with the key may run at once, at least 1. `usize::MAX` means no limit.
    pub running: usize,
    /// The shortest time between the starts of two jobs with the key. `Duration::ZERO` means no limit.
    pub interval: Duration,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            running: usize::MAX,
            interval: Duration::ZERO,
        }
    }
}

impl KeyLimits {
    /// Returns the stricter limits of both.
    fn and(self, other: Self) -> Self {
        Self {
            running: self.running.min(other.running),
            interval: self.interval.max(other.interval),
        }
    }
}

/// The source of the limits that differ between keys: a closure, or `()` if all keys have the same limits.
pub trait LimitsByKey<K> {
    /// Whether the limits of a key may change at any time.
    const IS_DYNAMIC: bool;

    /// Returns the limits of the key now.
    fn limits(&mut self, key: &K) -> KeyLimits;
}

impl<K> LimitsByKey<K> for () {
    const IS_DYNAMIC: bool = false;

    fn limits(&mut self, _: &K) -> KeyLimits {
        KeyLimits::default()
    }
}

impl<K, G> LimitsByKey<K> for G
where
    G: FnMut(&K) -> KeyLimits,
{
    const IS_DYNAMIC: bool = true;

    fn limits(&mut self, key: &K) -> KeyLimits {
        let limits = self(key);
        assert_ne!(
            limits.running, 0,
            "a gather with a limit of zero for a key never ends"
        );
        limits
    }
}

/// The settings of a gather with keys.
pub(super) struct KeyLimiter<G> {
    /// The limits of every key.
    pub(super) common: KeyLimits,
    by_key: G,
    /// The clock for the intervals. `None` if no limit depends on the time.
    pub(super) runtime: Option<Arc<dyn Runtime>>,
    pub(super) look_ahead: usize,
}

impl<G> KeyLimiter<G> {
    /// Returns the time, if a limit depends on it.
    fn now(&self) -> Option<Instant> {
        self.runtime.as_ref().map(|runtime| runtime.now())
    }

    fn limits<K>(&mut self, key: &K) -> KeyLimits
    where
        G: LimitsByKey<K>,
    {
        self.by_key.limits(key).and(self.common)
    }
}

/// The inputs that wait for their key.
struct Waiting<S: Input, K> {
    /// Each key that has a waiting input or a running job, or whose last start still delays the next one.
    keys: HashMap<K, KeyState<S>>,
    /// The keys whose next job may start now, by the index of the job's input.
    eligible: BTreeMap<usize, K>,
    /// The keys whose interval permits no start yet, by the time when it does, and by their number.
    paused: BTreeMap<(Instant, u64), K>,
    /// The number of waiting inputs.
    len: usize,
    /// The number of the next new key.
    next_number: u64,
}

struct KeyState<S: Input> {
    number: u64,
    inputs: VecDeque<PulledFrom<S>>,
    running: usize,
    /// `None` before the first start, and if no limit depends on the time.
    last_start: Option<Instant>,
    listing: Listing,
}

/// Where a key is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    None,
    Eligible(usize),
    Paused(Instant),
}

impl<S: Input> KeyState<S> {
    fn new(number: u64) -> Self {
        Self {
            number,
            inputs: VecDeque::new(),
            running: 0,
            last_start: None,
            listing: Listing::None,
        }
    }

    fn is_idle(&self) -> bool {
        self.inputs.is_empty() && self.running == 0
    }

    /// Returns where the key belongs.
    fn listing(&self, limits: KeyLimits, now: Option<Instant>) -> Listing {
        let is_full = self.running >= limits.running;
        match (self.inputs.front(), self.next_start(limits.interval, now)) {
            (Some(_), _) if is_full => Listing::None,
            (None, _) if !self.is_idle() => Listing::None,
            // An idle key stays listed until its next start, so that the next input keeps the interval.
            (_, Some(start)) => Listing::Paused(start),
            (Some(next), None) => Listing::Eligible(next.index),
            (None, None) => Listing::None,
        }
    }

    /// Returns when the interval permits the next start, unless it permits a start now.
    fn next_start(&self, interval: Duration, now: Option<Instant>) -> Option<Instant> {
        let (last, now) = self.last_start.zip(now)?;
        Some(saturating_add(last, interval)).filter(|start| *start > now)
    }
}

impl<S: Input, K: Clone + Eq + Hash> Waiting<S, K> {
    fn push<G: LimitsByKey<K>>(
        &mut self,
        key: &K,
        input: PulledFrom<S>,
        limiter: &mut KeyLimiter<G>,
        now: Option<Instant>,
    ) {
        if !self.keys.contains_key(key) {
            self.keys
                .insert(key.clone(), KeyState::new(self.next_number));
            self.next_number += 1;
        }
        if let Some(state) = self.keys.get_mut(key) {
            state.inputs.push_back(input);
            self.len += 1;
        }
        self.update(key, limiter, now);
    }

    /// Removes the first input whose job may start.
    fn pop<G: LimitsByKey<K>>(
        &mut self,
        limiter: &mut KeyLimiter<G>,
        now: Option<Instant>,
    ) -> Option<(K, PulledFrom<S>)> {
        self.resume_paused(limiter, now);
        let key = self.first_eligible(limiter, now)?;
        let state = self.keys.get_mut(&key)?;
        let input = state.inputs.pop_front()?;
        self.len -= 1;
        state.running += 1;
        state.last_start = now;
        self.update(&key, limiter, now);
        Some((key, input))
    }

    /// Returns the key of the first input whose job may start.
    fn first_eligible<G: LimitsByKey<K>>(
        &mut self,
        limiter: &mut KeyLimiter<G>,
        now: Option<Instant>,
    ) -> Option<K> {
        loop {
            let (&index, key) = self.eligible.first_key_value()?;
            let key = key.clone();
            if G::IS_DYNAMIC {
                // The limits may have become stricter since the key was listed.
                self.update(&key, limiter, now);
                if !self.eligible.contains_key(&index) {
                    continue;
                }
            }
            return Some(key);
        }
    }

    /// Records that a job with this key has ended.
    fn release<G: LimitsByKey<K>>(&mut self, key: &K, limiter: &mut KeyLimiter<G>) {
        if let Some(state) = self.keys.get_mut(key) {
            state.running -= 1;
            self.update(key, limiter, limiter.now());
        }
    }

    /// Updates the keys whose interval permits a start by now.
    fn resume_paused<G: LimitsByKey<K>>(
        &mut self,
        limiter: &mut KeyLimiter<G>,
        now: Option<Instant>,
    ) {
        while let Some((&(start, _), key)) = self.paused.first_key_value()
            && now.is_some_and(|now| start <= now)
        {
            let key = key.clone();
            self.update(&key, limiter, now);
        }
    }

    /// Lists the key where it belongs. Removes a key that has nothing left.
    fn update<G: LimitsByKey<K>>(
        &mut self,
        key: &K,
        limiter: &mut KeyLimiter<G>,
        now: Option<Instant>,
    ) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        let listing = state.listing(limiter.limits(key), now);
        if listing != state.listing {
            match state.listing {
                Listing::None => {}
                Listing::Eligible(index) => drop(self.eligible.remove(&index)),
                Listing::Paused(start) => drop(self.paused.remove(&(start, state.number))),
            }
            match listing {
                Listing::None => {}
                Listing::Eligible(index) => drop(self.eligible.insert(index, key.clone())),
                Listing::Paused(start) => {
                    self.paused.insert((start, state.number), key.clone());
                }
            }
            state.listing = listing;
        }
        if listing == Listing::None && state.is_idle() {
            self.keys.remove(key);
        }
    }
}

impl<S, F, K> Keyed<S, F, K>
where
    S: Input,
{
    pub(super) fn new(input: S, key: F) -> Self {
        Self {
            input,
            has_ended: false,
            key,
            limiter: KeyLimiter {
                common: KeyLimits::default(),
                by_key: (),
                runtime: None,
                look_ahead: DEFAULT_LOOK_AHEAD,
            },
            waiting: Waiting {
                keys: HashMap::new(),
                eligible: BTreeMap::new(),
                paused: BTreeMap::new(),
                len: 0,
                next_number: 0,
            },
            timer: None,
        }
    }
}

impl<S, F, K, G> Keyed<S, F, K, G>
where
    S: Input,
{
    pub(super) fn with_limits(mut self, change: impl FnOnce(&mut KeyLimiter<G>)) -> Self {
        change(&mut self.limiter);
        self
    }

    pub(super) fn limits_by_key<H>(
        self,
        runtime: Arc<dyn Runtime>,
        limits: H,
    ) -> Keyed<S, F, K, H> {
        Keyed {
            input: self.input,
            has_ended: self.has_ended,
            key: self.key,
            limiter: KeyLimiter {
                common: self.limiter.common,
                by_key: limits,
                runtime: Some(runtime),
                look_ahead: self.limiter.look_ahead,
            },
            waiting: self.waiting,
            timer: self.timer,
        }
    }
}

impl<S: Input, F, K, G> Sealed for Keyed<S, F, K, G> {}

impl<S, F, K, G> Input for Keyed<S, F, K, G>
where
    S: Input,
    F: FnMut(&S::Id) -> K,
    K: Clone + Eq + Hash,
    G: LimitsByKey<K>,
{
    type Job = S::Job;
    type Id = S::Id;
    type Seed = S::Seed;
    type Permit = (K, S::Permit);
    type Output<T> = S::Output<T>;

    fn poll_input(
        self: Pin<&mut Self>,
        next: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<PulledFrom<Self>>> {
        let mut this = self.project();
        let mut pulls_left = MAX_PULLS;
        loop {
            let now = this.limiter.now();
            if let Some((key, input)) = this.waiting.pop(this.limiter, now) {
                let Pulled {
                    index,
                    id,
                    seed,
                    permit,
                } = input;
                return Poll::Ready(Some(Pulled {
                    index,
                    id,
                    seed,
                    permit: (key, permit),
                }));
            }
            if !*this.has_ended && this.waiting.len < this.limiter.look_ahead {
                if pulls_left == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                pulls_left -= 1;
                match this.input.as_mut().poll_input(next, cx) {
                    Poll::Ready(Some(input)) => {
                        let key = (this.key)(&input.id);
                        this.waiting.push(&key, input, this.limiter, now);
                        continue;
                    }
                    Poll::Ready(None) => *this.has_ended = true,
                    Poll::Pending => {}
                }
            }
            if this.waiting.len == 0 {
                return match this.has_ended {
                    true => Poll::Ready(None),
                    false => Poll::Pending,
                };
            }
            let runtime = this.limiter.runtime.as_deref();
            ready!(poll_first_start(this.timer, this.waiting, runtime, cx));
        }
    }

    fn start(self: Pin<&mut Self>, id: &S::Id, seed: S::Seed) -> S::Job {
        self.project().input.start(id, seed)
    }

    fn release(self: Pin<&mut Self>, (key, permit): (K, S::Permit)) {
        let this = self.project();
        this.waiting.release(&key, this.limiter);
        this.input.release(permit);
    }

    fn remaining(&self) -> (usize, Option<usize>) {
        self.input.remaining()
    }

    fn take_waiting(self: Pin<&mut Self>, next: &mut usize) -> Vec<(usize, S::Id)> {
        let this = self.project();
        let states = this.waiting.keys.drain().map(|(_, state)| state);
        let inputs = states.flat_map(|state| state.inputs);
        let mut waiting: Vec<_> = inputs.map(|input| (input.index, input.id)).collect();
        waiting.sort_unstable_by_key(|(index, _)| *index);
        waiting.extend(this.input.take_waiting(next));
        waiting
    }

    fn output<T>(id: S::Id, value: T) -> S::Output<T> {
        S::output(id, value)
    }
}

/// Waits until the interval of a key permits a start. Does not complete if no key waits for its interval.
fn poll_first_start<S: Input, K>(
    timer: &mut Option<(Instant, BoxFuture<'static, ()>)>,
    waiting: &Waiting<S, K>,
    runtime: Option<&dyn Runtime>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let (Some((&(start, _), _)), Some(runtime)) = (waiting.paused.first_key_value(), runtime)
    else {
        return Poll::Pending;
    };
    if timer.as_ref().is_none_or(|(at, _)| *at != start) {
        let left = start.saturating_duration_since(runtime.now());
        *timer = Some((start, runtime.sleep(left)));
    }
    if let Some((_, sleep)) = timer {
        ready!(sleep.as_mut().poll(cx));
    }
    *timer = None;
    Poll::Ready(())
}

impl<S: Input, F, K, G> fmt::Debug for Keyed<S, F, K, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("waiting", &self.waiting.len)
            .finish_non_exhaustive()
    }
}
