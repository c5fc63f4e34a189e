//! Who is in flight, and the end of a session.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// How many requests a session has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sent, and not over: until the body is read to its end or dropped.
    pub in_flight: usize,
    /// Waiting for their turn under the caps.
    pub waiting: usize,
}

/// A session's requests, so that they can be counted and told to end.
#[derive(Default)]
pub(crate) struct Roll {
    stage: AtomicU8,
    begun: AtomicUsize,
    waiting: AtomicUsize,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    /// Who wants to know when the session's time is over.
    exchanges: Slab<Waker>,
    /// Who wants to know when no request is left.
    closers: Vec<Waker>,
}

/// Requests are taken.
const OPEN: u8 = 0;
/// None is taken; those that are there may finish.
const CLOSING: u8 = 1;
/// Those that are there end now.
const CLOSED: u8 = 2;

impl Roll {
    pub(crate) fn stats(&self) -> Stats {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let begun = self.begun.load(Ordering::Relaxed);
        Stats {
            in_flight: begun.saturating_sub(waiting),
            waiting,
        }
    }

    fn stage(&self) -> u8 {
        self.stage.load(Ordering::SeqCst)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage() == OPEN
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stage() == CLOSED
    }

    /// Takes no more requests.
    pub(crate) fn stop(&self) {
        self.stage.fetch_max(CLOSING, Ordering::SeqCst);
    }

    /// Tells those that are there to end.
    pub(crate) fn end(&self) {
        self.stage.store(CLOSED, Ordering::SeqCst);
        let wakers: Vec<Waker> = {
            let mut calls = self.calls();
            calls.exchanges.iter_mut().map(|(_, w)| w.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Completes when no request is under way.
    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut calls = self.calls();
        if self.begun.load(Ordering::SeqCst) == 0 {
            return Poll::Ready(());
        }
        calls.closers.push(cx.waker().clone());
        Poll::Pending
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

/// One request in the roll.
#[derive(Default)]
pub(crate) struct Entry {
    is_in: bool,
    // Where it is called, and whom.
    call: Option<(usize, Waker)>,
}

impl Entry {
    /// Enters, if the session takes requests.
    pub(crate) fn enter(roll: &Roll) -> Option<Self> {
        roll.begun.fetch_add(1, Ordering::SeqCst);
        let mut entry = Self {
            is_in: true,
            call: None,
        };
        if roll.is_open() {
            return Some(entry);
        }
        entry.leave(roll);
        None
    }

    /// Ready when the session's time is over; otherwise its waker hears of it.
    pub(crate) fn poll_closed(&mut self, roll: &Roll, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.call {
            Some((_, waker)) if waker.will_wake(cx.waker()) => {}
            Some((key, waker)) => {
                *waker = cx.waker().clone();
                roll.calls().exchanges[*key] = waker.clone();
            }
            None => {
                let waker = cx.waker().clone();
                let key = roll.calls().exchanges.insert(waker.clone());
                self.call = Some((key, waker));
            }
        }
        if roll.is_closed() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// The request is over.
    pub(crate) fn leave(&mut self, roll: &Roll) {
        if let Some((key, _)) = self.call.take() {
            roll.calls().exchanges.remove(key);
        }
        if !std::mem::take(&mut self.is_in) {
            return;
        }
        let was_last = roll.begun.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && !roll.is_open() {
            let closers = std::mem::take(&mut roll.calls().closers);
            closers.into_iter().for_each(Waker::wake);
        }
    }
}

/// Counts a request as waiting while it lives.
pub(crate) struct InQueue<'a>(&'a Roll);

impl<'a> InQueue<'a> {
    pub(crate) fn new(roll: &'a Roll) -> Self {
        roll.waiting.fetch_add(1, Ordering::Relaxed);
        Self(roll)
    }
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
