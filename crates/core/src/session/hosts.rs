//! The limits, the intervals and the pauses of single hosts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use super::fair_semaphore::FairSemaphore;
use crate::backend::runtime::saturating_add;
use crate::message::target::Origin;

/// The hosts that have requests, an interval, or a time before which no request may start.
#[derive(Default)]
pub(crate) struct Hosts {
    max_in_flight: Option<usize>,
    /// The shortest time between the starts of two requests to one host.
    interval: Option<Duration>,
    states: Mutex<HashMap<Origin, Arc<HostState>>>,
    has_states: AtomicBool,
}

/// The state of one host.
pub(crate) struct HostState {
    /// `None` if there is no limit.
    pub(super) in_flight: Option<Arc<FairSemaphore>>,
    /// A semaphore with one permit, so that requests start in order. Empty until the host has an interval.
    turn: OnceLock<Arc<FairSemaphore>>,
    /// The interval of all hosts.
    interval: Duration,
    starts: Mutex<Starts>,
    /// Wakes the request whose turn it is when the interval changes.
    turn_waker: AtomicWaker,
}

/// What determines when the next request may start.
#[derive(Clone, Copy, Default)]
struct Starts {
    /// The time of the last start.
    last: Option<Instant>,
    /// The interval of this host, and when it was set.
    own_interval: Option<(Duration, Instant)>,
    /// The end of the pause that the host has asked for.
    pause_end: Option<Instant>,
}

impl Starts {
    /// Returns the earliest time of the next start.
    fn next(&self, interval: Duration) -> Option<Instant> {
        let own = self.own_interval;
        let interval = own.map_or(interval, |(own, _)| own.max(interval));
        let after_last = self.last.map(|last| saturating_add(last, interval));
        let after_set = own.map(|(own, set_at)| saturating_add(set_at, own));
        after_last.max(after_set).max(self.pause_end)
    }
}

impl Hosts {
    pub(crate) fn new(max_in_flight: Option<usize>, interval: Option<Duration>) -> Self {
        Self {
            max_in_flight,
            interval,
            ..Self::default()
        }
    }

    /// Returns `true` if every host may have any number of requests now.
    pub(super) fn is_unlimited(&self) -> bool {
        !self.limits_all() && !self.has_states.load(Ordering::Relaxed)
    }

    /// Returns whether all hosts have limits.
    fn limits_all(&self) -> bool {
        self.max_in_flight.is_some() || self.interval.is_some()
    }

    /// Returns the state of the host, if it has limits or a pause.
    pub(super) fn state(&self, origin: &Origin, now: Instant) -> Option<Arc<HostState>> {
        if self.is_unlimited() {
            return None;
        }
        let mut states = self.lock();
        if self.limits_all() {
            return Some(self.get_or_insert(&mut states, origin, now));
        }
        let state = states.get(origin)?;
        if state.is_in_use(now) {
            return Some(state.clone());
        }
        states.remove(origin);
        self.has_states.store(!states.is_empty(), Ordering::Relaxed);
        None
    }

    /// Lets no request to the host start before `until`.
    pub(super) fn pause(&self, origin: &Origin, until: Instant, now: Instant) {
        let mut states = self.lock();
        let state = self.get_or_insert(&mut states, origin, now);
        let mut starts = state.lock();
        starts.pause_end = starts.pause_end.max(Some(until));
    }

    /// Sets the shortest time between the starts of two requests to this host. Zero means no limit.
    pub(super) fn set_interval(&self, origin: &Origin, interval: Duration, now: Instant) {
        let state = {
            let mut states = self.lock();
            if interval.is_zero() && !states.contains_key(origin) {
                return;
            }
            self.get_or_insert(&mut states, origin, now)
        };
        state.set_interval(interval, now);
    }

    fn get_or_insert(
        &self,
        states: &mut HashMap<Origin, Arc<HostState>>,
        origin: &Origin,
        now: Instant,
    ) -> Arc<HostState> {
        match states.get(origin) {
            Some(state) => state.clone(),
            None => self.insert(states, origin, now),
        }
    }

    fn insert(
        &self,
        states: &mut HashMap<Origin, Arc<HostState>>,
        origin: &Origin,
        now: Instant,
    ) -> Arc<HostState> {
        // Removes hosts without requests before the table grows.
        if states.len() == states.capacity() {
            states.retain(|_, state| state.is_in_use(now));
            // Hosts with an interval stay, so the next call must not search all of them again.
            states.reserve(states.len() + 1);
        }
        let turn = self.interval.map(|_| FairSemaphore::new(1));
        let state = Arc::new(HostState {
            in_flight: self.max_in_flight.map(FairSemaphore::new),
            turn: turn.map_or_else(OnceLock::new, OnceLock::from),
            interval: self.interval.unwrap_or_default(),
            starts: Mutex::default(),
            turn_waker: AtomicWaker::new(),
        });
        states.insert(origin.clone(), state.clone());
        self.has_states.store(true, Ordering::Relaxed);
        state
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Arc<HostState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostState {
    /// Returns the semaphore for the order of starts, if the host has or had an interval.
    pub(super) fn turn(&self) -> Option<&Arc<FairSemaphore>> {
        self.turn.get()
    }

    /// Returns when the next request may start, unless it may start now.
    pub(super) fn next_start(&self, now: Instant) -> Option<Instant> {
        self.lock().next(self.interval).filter(|at| *at > now)
    }

    /// Completes when the next request may start earlier than at `start`, because the interval has
    /// changed. Only the request whose turn it is may call this method.
    pub(super) fn poll_earlier_start(&self, start: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.turn_waker.register(cx.waker());
        match self.lock().next(self.interval) < Some(start) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Drops the waker of [`poll_earlier_start`](Self::poll_earlier_start), which could keep the memory of a
    /// task.
    pub(super) fn forget_waker(&self) {
        drop(self.turn_waker.take());
    }

    /// Returns the end of the pause that the host has asked for, unless it is over.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.lock().pause_end.filter(|at| *at > now)
    }

    /// Records that a request starts. Returns `false` if it may not start yet.
    pub(super) fn start(&self, now: Instant) -> bool {
        let mut starts = self.lock();
        if starts.next(self.interval).is_some_and(|at| at > now) {
            return false;
        }
        starts.last = Some(now);
        starts.pause_end = None;
        true
    }

    fn set_interval(&self, interval: Duration, now: Instant) {
        let own = (!interval.is_zero()).then_some((interval, now));
        if own.is_some() {
            // Before the interval, so that a request that waits for the interval waits for its turn too.
            self.turn.get_or_init(|| FairSemaphore::new(1));
        }
        self.lock().own_interval = own;
        self.turn_waker.wake();
    }

    fn is_in_use(self: &Arc<Self>, now: Instant) -> bool {
        let semaphores = [self.in_flight.as_ref(), self.turn()];
        let mut semaphores = semaphores.into_iter().flatten();
        Arc::strong_count(self) > 1
            || self.lock().own_interval.is_some()
            || self.next_start(now).is_some()
            || semaphores.any(|semaphore| Arc::strong_count(semaphore) > 1)
    }

    fn lock(&self) -> MutexGuard<'_, Starts> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
