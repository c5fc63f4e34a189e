//! A semaphore with a queue of waiters. It detects when responses that nobody reads hold all permits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::bugs::{Bug, is_planted};
use crate::sync::{Mutex, MutexGuard};

/// A semaphore that grants its permits to the waiters in the order of their arrival.
pub(crate) struct FairSemaphore {
    permits: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many permits are in use.
    acquired: usize,
    /// How many permits are held by responses whose bodies have not been read at all.
    unread: usize,
    /// When unread responses began to hold all permits; `None` if they do not.
    stuck_since: Option<Instant>,
    next_id: u64,
    /// The wakers of the waiters, by id.
    waiting: BTreeMap<u64, Waker>,
    /// The ids of waiters that were granted a permit and have not been polled since then.
    granted: BTreeSet<u64>,
}

impl FairSemaphore {
    pub(crate) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            permits,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, was_unread: bool) {
        let next = {
            let mut state = self.state();
            state.unread -= usize::from(was_unread);
            state.stuck_since = None;
            let next = state.release();
            if is_planted(Bug::LostWake) && state.waiting.is_empty() {
                return;
            }
            next
        };
        wake(next);
    }
}

/// Wakes a waiter. The caller must not hold the lock: an executor may run or drop the waiter's task
/// immediately, and the task may then take the lock.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl State {
    /// Passes a permit to the first waiter, or frees it if there is no waiter. Returns the waiter's waker,
    /// which the caller must wake.
    fn release(&mut self) -> Option<Waker> {
        let first = self.waiting.pop_first();
        match &first {
            Some((id, _)) => drop(self.granted.insert(*id)),
            None => self.acquired -= 1,
        }
        first.map(|(_, waker)| waker)
    }

    fn first_waker(&self) -> Option<Waker> {
        self.waiting
            .first_key_value()
            .map(|(_, waker)| waker.clone())
    }
}

/// A waiter for a permit. Dropping the waiter removes it from the queue.
pub(crate) struct Acquire {
    semaphore: Arc<FairSemaphore>,
    /// The waiter's id in the queue. `None` before the waiter joins the queue and after it gets a permit.
    id: Option<u64>,
}

impl Acquire {
    pub(crate) fn new(semaphore: &Arc<FairSemaphore>) -> Self {
        Self {
            semaphore: semaphore.clone(),
            id: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Permit> {
        let mut state = self.semaphore.state();
        match self.id {
            None if state.acquired < self.semaphore.permits => state.acquired += 1,
            None => {
                let id = state.next_id;
                state.next_id += 1;
                state.waiting.insert(id, cx.waker().clone());
                self.id = Some(id);
                return Poll::Pending;
            }
            Some(id) if state.granted.remove(&id) => self.id = None,
            Some(id) => {
                let previous = state.waiting.insert(id, cx.waker().clone());
                drop(state);
                drop(previous);
                return Poll::Pending;
            }
        }
        drop(state);
        Poll::Ready(Permit {
            semaphore: self.semaphore.clone(),
            is_unread: false,
        })
    }

    /// Returns when unread responses began to hold all permits. Returns `None` if they do not, or if
    /// this is not the first waiter. Only the first waiter is woken at that time.
    pub(crate) fn stuck_since(&self) -> Option<Instant> {
        let state = self.semaphore.state();
        let (first, _) = state.waiting.first_key_value()?;
        state.stuck_since.filter(|_| self.id == Some(*first))
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let (next, _waker) = {
            let mut state = self.semaphore.state();
            if state.granted.remove(&id) {
                match is_planted(Bug::LeakedPermit) {
                    true => (None, None),
                    false => (state.release(), None),
                }
            } else {
                let waker = state.waiting.remove(&id);
                let is_stuck = state.stuck_since.is_some();
                (state.first_waker().filter(|_| is_stuck), waker)
            }
        };
        wake(next);
    }
}

/// The permission to have one request in flight. Dropping it passes the permission to the first
/// waiter.
pub(crate) struct Permit {
    semaphore: Arc<FairSemaphore>,
    is_unread: bool,
}

impl Permit {
    /// Marks the response as arrived and unread.
    pub(crate) fn mark_unread(&mut self, now: Instant) {
        if self.is_unread {
            return;
        }
        self.is_unread = true;
        let first = {
            let mut state = self.semaphore.state();
            state.unread += 1;
            if state.unread < self.semaphore.permits {
                return;
            }
            state.stuck_since = Some(now);
            state.first_waker()
        };
        wake(first);
    }

    /// Marks the body as being read.
    pub(crate) fn mark_read(&mut self) {
        if self.is_unread {
            self.is_unread = false;
            let mut state = self.semaphore.state();
            state.unread -= 1;
            state.stuck_since = None;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release(self.is_unread);
    }
}
