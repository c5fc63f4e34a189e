//! The limits and the pauses of single hosts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fair_semaphore::FairSemaphore;
use crate::message::target::Origin;

/// The hosts that have requests, or a time before which no request may start.
#[derive(Default)]
pub(crate) struct Hosts {
    max_in_flight: Option<usize>,
    /// The shortest time between the starts of two requests to one host.
    interval: Option<Duration>,
    states: Mutex<HashMap<Origin, Arc<HostState>>>,
    has_pauses: AtomicBool,
}

/// The state of one host.
pub(crate) struct HostState {
    /// `None` if there is no limit.
    pub(super) in_flight: Option<Arc<FairSemaphore>>,
    /// A semaphore with one permit, so that requests start in order. `None` if the rate has no limit.
    pub(super) turn: Option<Arc<FairSemaphore>>,
    interval: Option<Duration>,
    starts: Mutex<Starts>,
}

/// When the next request may start.
#[derive(Clone, Copy, Default)]
struct Starts {
    /// After the interval since the last start.
    by_rate: Option<Instant>,
    /// After the pause that the host has asked for.
    by_pause: Option<Instant>,
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
        self.max_in_flight.is_none()
            && self.interval.is_none()
            && !self.has_pauses.load(Ordering::Relaxed)
    }

    /// Returns the state of the host, if it has limits or a pause.
    pub(super) fn state(&self, origin: &Origin, now: Instant) -> Option<Arc<HostState>> {
        if self.is_unlimited() {
            return None;
        }
        let mut states = self.lock();
        if self.max_in_flight.is_some() || self.interval.is_some() {
            return match states.get(origin) {
                Some(state) => Some(state.clone()),
                None => Some(self.insert(&mut states, origin, now)),
            };
        }
        let state = states.get(origin)?.clone();
        if state.next_start(now).is_none() {
            states.remove(origin);
            self.has_pauses.store(!states.is_empty(), Ordering::Relaxed);
            return None;
        }
        Some(state)
    }

    /// Lets no request to the host start before `until`.
    pub(super) fn pause(&self, origin: &Origin, until: Instant, now: Instant) {
        let mut states = self.lock();
        let state = match states.get(origin) {
            Some(state) => state.clone(),
            None => self.insert(&mut states, origin, now),
        };
        let mut starts = state.lock();
        starts.by_pause = starts.by_pause.max(Some(until));
        self.has_pauses.store(true, Ordering::Relaxed);
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
        }
        let state = Arc::new(HostState {
            in_flight: self.max_in_flight.map(FairSemaphore::new),
            turn: self.interval.map(|_| FairSemaphore::new(1)),
            interval: self.interval,
            starts: Mutex::default(),
        });
        states.insert(origin.clone(), state.clone());
        state
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Arc<HostState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostState {
    /// Returns when the next request may start, unless it may start now.
    pub(super) fn next_start(&self, now: Instant) -> Option<Instant> {
        let starts = *self.lock();
        starts.by_rate.max(starts.by_pause).filter(|at| *at > now)
    }

    /// Returns the end of the pause that the host has asked for, unless it is over.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.lock().by_pause.filter(|at| *at > now)
    }

    /// Records that a request starts. Returns `false` if it may not start yet.
    pub(super) fn start(&self, now: Instant) -> bool {
        let mut starts = self.lock();
        if starts
            .by_rate
            .max(starts.by_pause)
            .is_some_and(|at| at > now)
        {
            return false;
        }
        let next = self.interval.and_then(|interval| now.checked_add(interval));
        *starts = Starts {
            by_rate: next,
            by_pause: None,
        };
        true
    }

    fn is_in_use(self: &Arc<Self>, now: Instant) -> bool {
        let semaphores = [&self.in_flight, &self.turn];
        let mut semaphores = semaphores.into_iter().flatten();
        Arc::strong_count(self) > 1
            || self.next_start(now).is_some()
            || semaphores.any(|semaphore| Arc::strong_count(semaphore) > 1)
    }

    fn lock(&self) -> MutexGuard<'_, Starts> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
