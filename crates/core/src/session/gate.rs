//! A cap on how many at once: first come, first served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A number of places, and the queue for them.
pub(crate) struct Gate {
    places: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// How many places are held by a response of which nobody has begun to read the body.
    unread: usize,
    /// Since when that has been all of them.
    stuck_since: Option<Instant>,
    next_number: u64,
    waiting: BTreeMap<u64, Waker>,
    /// Those of the queue whose turn has come and who have not taken their place yet.
    called: BTreeSet<u64>,
}

impl Gate {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, unread: bool) {
        let next = {
            let mut state = self.state();
            state.unread -= usize::from(unread);
            state.stuck_since = None;
            state.pass_on()
        };
        wake(next);
    }
}

/// Without the lock, as everything else that is somebody else's code: an executor may run or drop
/// a task at once, and that one's place or wait comes back here.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl State {
    /// Gives a place that has become free to the first in the queue, who is to be woken.
    fn pass_on(&mut self) -> Option<Waker> {
        let first = self.waiting.pop_first();
        match &first {
            Some((number, _)) => drop(self.called.insert(*number)),
            None => self.taken -= 1,
        }
        first.map(|(_, waker)| waker)
    }

    fn first(&self) -> Option<Waker> {
        self.waiting
            .first_key_value()
            .map(|(_, waker)| waker.clone())
    }
}

/// Somebody in the queue, or on the way to it. Dropping it leaves the queue.
pub(crate) struct Waiting {
    gate: Arc<Gate>,
    number: Option<u64>,
}

impl Waiting {
    pub(crate) fn new(gate: &Arc<Gate>) -> Self {
        Self {
            gate: gate.clone(),
            number: None,
        }
    }

    /// The place, when it is this one's turn.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Place> {
        let mut state = self.gate.state();
        match self.number {
            None if state.taken < self.gate.places => state.taken += 1,
            None => {
                let number = state.next_number;
                state.next_number += 1;
                state.waiting.insert(number, cx.waker().clone());
                self.number = Some(number);
                return Poll::Pending;
            }
            Some(number) if state.called.remove(&number) => self.number = None,
            Some(number) => {
                let last = state.waiting.insert(number, cx.waker().clone());
                drop(state);
                drop(last);
                return Poll::Pending;
            }
        }
        drop(state);
        Poll::Ready(Place {
            gate: self.gate.clone(),
            unread: false,
        })
    }

    /// Since when every place has been held by a response that nobody reads, if so and if this
    /// one is the first in the queue: nobody else is woken to hear of it.
    pub(crate) fn stuck_since(&self) -> Option<Instant> {
        let state = self.gate.state();
        let (first, _) = state.waiting.first_key_value()?;
        state.stuck_since.filter(|_| self.number == Some(*first))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let (next, _own) = {
            let mut state = self.gate.state();
            if state.called.remove(&number) {
                (state.pass_on(), None)
            } else {
                let own = state.waiting.remove(&number);
                let is_stuck = state.stuck_since.is_some();
                (state.first().filter(|_| is_stuck), own)
            }
        };
        wake(next);
    }
}

/// A place that was taken. Dropping it gives it to the next.
pub(crate) struct Place {
    gate: Arc<Gate>,
    unread: bool,
}

impl Place {
    /// Notes that this place's response is there and nobody has begun to read it.
    pub(crate) fn unread(&mut self, now: Instant) {
        if self.unread {
            return;
        }
        self.unread = true;
        let first = {
            let mut state = self.gate.state();
            state.unread += 1;
            if state.unread < self.gate.places {
                return;
            }
            state.stuck_since = Some(now);
            state.first()
        };
        wake(first);
    }

    /// Notes that somebody reads.
    pub(crate) fn read(&mut self) {
        if self.unread {
            self.unread = false;
            let mut state = self.gate.state();
            state.unread -= 1;
            state.stuck_since = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.release(self.unread);
    }
}
