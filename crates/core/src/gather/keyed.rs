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
use crate::backend::runtime::Runtime;

/// How many inputs may wait for their key by default.
const DEFAULT_LOOK_AHEAD: usize = 10_000;

/// After this many pulls without an input that may start, the gather yields to other tasks.
const MAX_PULLS: usize = 256;

pin_project! {
    /// The input of a gather with limits for each key. Created by [`Gather::key`](super::Gather::key).
    ///
    /// For an example, see [`Gather::key`](super::Gather::key).
    pub struct Keyed<S, F, K>
    where
        S: Input,
    {
        #[pin]
        input: S,
        has_ended: bool,
        key: F,
        limits: KeyLimits,
        waiting: Waiting<S, K>,
        // The timer of the key whose next job may start first.
        timer: Option<(Instant, BoxFuture<'static, ()>)>,
    }
}

/// The limits for each key.
#[derive(Clone)]
pub(super) struct KeyLimits {
    pub(super) running: usize,
    pub(super) rate: Option<KeyRate>,
    pub(super) look_ahead: usize,
}

/// The shortest time between the starts of two jobs with the same key.
#[derive(Clone)]
pub(super) struct KeyRate {
    pub(super) interval: Duration,
    pub(super) runtime: Arc<dyn Runtime>,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            running: usize::MAX,
            rate: None,
            look_ahead: DEFAULT_LOOK_AHEAD,
        }
    }
}

/// The inputs that wait for their key.
struct Waiting<S: Input, K> {
    /// Each key that has a waiting input or a running job, or whose last start still limits its rate.
    keys: HashMap<K, KeyState<S>>,
    /// The keys whose next job may start now, by the index of the job's input.
    eligible: BTreeMap<usize, K>,
    /// The keys whose rate permits no start yet, by the time when it does, and by their number.
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
    /// The earliest time of the next start. `None` if there is no limit on the rate.
    next_start: Option<Instant>,
    listing: Listing,
}

/// Where a key is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    None,
    Eligible(usize),
    Paused(Instant),
}

impl KeyLimits {
    /// Returns the time, if a limit depends on it.
    fn now(&self) -> Option<Instant> {
        self.rate.as_ref().map(|rate| rate.runtime.now())
    }
}

impl<S: Input> KeyState<S> {
    fn new(number: u64) -> Self {
        Self {
            number,
            inputs: VecDeque::new(),
            running: 0,
            next_start: None,
            listing: Listing::None,
        }
    }

    fn is_idle(&self) -> bool {
        self.inputs.is_empty() && self.running == 0
    }

    /// Returns where the key belongs.
    fn listing(&self, limits: &KeyLimits, now: Option<Instant>) -> Listing {
        let is_full = self.running >= limits.running;
        match (self.inputs.front(), self.next_start) {
            (Some(_), _) if is_full => Listing::None,
            (next, Some(start)) if now.is_some_and(|now| now < start) => match next {
                // An idle key stays listed until its next start, so that its rate is not exceeded.
                None if !self.is_idle() => Listing::None,
                _ => Listing::Paused(start),
            },
            (Some(next), _) => Listing::Eligible(next.index),
            (None, _) => Listing::None,
        }
    }
}

impl<S: Input, K: Clone + Eq + Hash> Waiting<S, K> {
    fn push(&mut self, key: &K, input: PulledFrom<S>, limits: &KeyLimits, now: Option<Instant>) {
        if !self.keys.contains_key(key) {
            self.keys
                .insert(key.clone(), KeyState::new(self.next_number));
            self.next_number += 1;
        }
        if let Some(state) = self.keys.get_mut(key) {
            state.inputs.push_back(input);
            self.len += 1;
        }
        self.update(key, limits, now);
    }

    /// Removes the first input whose job may start.
    fn pop(&mut self, limits: &KeyLimits, now: Option<Instant>) -> Option<(K, PulledFrom<S>)> {
        self.resume_paused(limits, now);
        let key = self.eligible.first_key_value()?.1.clone();
        let state = self.keys.get_mut(&key)?;
        let input = state.inputs.pop_front()?;
        self.len -= 1;
        state.running += 1;
        let interval = limits.rate.as_ref().map(|rate| rate.interval);
        state.next_start = interval.and_then(|interval| now?.checked_add(interval));
        self.update(&key, limits, now);
        Some((key, input))
    }

    /// Records that a job with this key has ended.
    fn release(&mut self, key: &K, limits: &KeyLimits) {
        if let Some(state) = self.keys.get_mut(key) {
            state.running -= 1;
            self.update(key, limits, limits.now());
        }
    }

    /// Updates the keys whose rate permits a start by now.
    fn resume_paused(&mut self, limits: &KeyLimits, now: Option<Instant>) {
        while let Some((&(start, _), key)) = self.paused.first_key_value()
            && now.is_some_and(|now| start <= now)
        {
            let key = key.clone();
            self.update(&key, limits, now);
        }
    }

    /// Lists the key where it belongs. Removes a key that has nothing left.
    fn update(&mut self, key: &K, limits: &KeyLimits, now: Option<Instant>) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        let listing = state.listing(limits, now);
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
            limits: KeyLimits::default(),
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

    pub(super) fn with_limits(mut self, change: impl FnOnce(&mut KeyLimits)) -> Self {
        change(&mut self.limits);
        self
    }
}

impl<S: Input, F, K> Sealed for Keyed<S, F, K> {}

impl<S, F, K> Input for Keyed<S, F, K>
where
    S: Input,
    F: FnMut(&S::Id) -> K,
    K: Clone + Eq + Hash,
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
            let now = this.limits.now();
            if let Some((key, input)) = this.waiting.pop(this.limits, now) {
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
            if !*this.has_ended && this.waiting.len < this.limits.look_ahead {
                if pulls_left == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                pulls_left -= 1;
                match this.input.as_mut().poll_input(next, cx) {
                    Poll::Ready(Some(input)) => {
                        let key = (this.key)(&input.id);
                        this.waiting.push(&key, input, this.limits, now);
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
            ready!(poll_first_start(this.timer, this.waiting, this.limits, cx));
        }
    }

    fn start(self: Pin<&mut Self>, id: &S::Id, seed: S::Seed) -> S::Job {
        self.project().input.start(id, seed)
    }

    fn release(self: Pin<&mut Self>, (key, permit): (K, S::Permit)) {
        let this = self.project();
        this.waiting.release(&key, this.limits);
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

/// Waits until the rate of a key permits a start. Does not complete if no key waits for its rate.
fn poll_first_start<S: Input, K>(
    timer: &mut Option<(Instant, BoxFuture<'static, ()>)>,
    waiting: &Waiting<S, K>,
    limits: &KeyLimits,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let (Some((&(start, _), _)), Some(rate)) = (waiting.paused.first_key_value(), &limits.rate)
    else {
        return Poll::Pending;
    };
    if timer.as_ref().is_none_or(|(at, _)| *at != start) {
        let left = start.saturating_duration_since(rate.runtime.now());
        *timer = Some((start, rate.runtime.sleep(left)));
    }
    if let Some((_, sleep)) = timer {
        ready!(sleep.as_mut().poll(cx));
    }
    *timer = None;
    Poll::Ready(())
}

impl<S: Input, F, K> fmt::Debug for Keyed<S, F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("waiting", &self.waiting.len)
            .finish_non_exhaustive()
    }
}
