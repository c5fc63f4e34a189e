//! Who is in flight, and the end of a session.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use sync_wrapper::SyncWrapper;

use crate::fetch::BoxFuture;
use crate::runtime::Runtime;

/// How often those that wait are woken, to see whether their time is near. Most requests are over
/// before, and need no timer of their own.
const ROUND: Duration = Duration::from_secs(5);

/// How many requests a session has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sent, and not over: until the body is read to its end or dropped.
    pub in_flight: usize,
    /// Waiting for their turn under the caps.
    pub waiting: usize,
    /// Connections made so far; `None` if the client does not tell.
    pub opened: Option<u64>,
    /// Requests so far that went over a connection which had served others; `None` if the client
    /// does not tell.
    pub reused: Option<u64>,
}

/// A session's requests, so that they can be counted and told to end.
#[derive(Default)]
pub(crate) struct Roll {
    stage: AtomicU8,
    begun: AtomicUsize,
    waiting: AtomicUsize,
    /// The number of the round to come; 0 when none is.
    round: AtomicU64,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    rounds: u64,
    round: Option<Round>,
    /// Who wants to know when the session's time is over.
    exchanges: Slab<Waker>,
    /// Who wants to know when no request is left.
    closers: Vec<Waker>,
}

/// When everybody is woken next.
struct Round {
    number: u64,
    rings: Instant,
    // None for the moment in which it is set.
    _sleep: Option<SyncWrapper<BoxFuture<'static, ()>>>,
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
            opened: None,
            reused: None,
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
        self.wake_all(|_| true);
    }

    /// Wakes those that wait, if it is so, and ends the round.
    fn wake_all(&self, if_so: impl FnOnce(&Calls) -> bool) {
        let (round, wakers) = {
            let mut calls = self.calls();
            if !if_so(&calls) {
                return;
            }
            self.round.store(0, Ordering::SeqCst);
            // Those who are woken look again, and leave a waker again if they wait on. To clone theirs
            // here would run somebody else's code under the lock.
            let exchanges = calls.exchanges.iter_mut();
            let wakers: Vec<Waker> = exchanges
                .map(|(_, waker)| mem::replace(waker, Waker::noop().clone()))
                .collect();
            (calls.round.take(), wakers)
        };
        drop(round);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The round to come, by its number. Where there is none it begins, for those who can wait
    /// `until` then.
    fn round(
        self: &Arc<Self>,
        until: Instant,
        runtime: &Arc<dyn Runtime>,
    ) -> Option<(u64, Instant)> {
        let (number, rings) = {
            let mut calls = self.calls();
            if let Some(round) = &calls.round {
                return Some((round.number, round.rings));
            }
            let rings = runtime.now() + ROUND;
            if until < rings || self.is_closed() {
                return None;
            }
            calls.rounds += 1;
            let number = calls.rounds;
            calls.round = Some(Round {
                number,
                rings,
                _sleep: None,
            });
            self.round.store(number, Ordering::SeqCst);
            (number, rings)
        };
        let waker = Waker::from(Arc::new(Ringer {
            number,
            roll: Arc::downgrade(self),
        }));
        // Without the lock: a runtime may wake at once.
        let mut sleep = runtime.sleep(ROUND);
        match sleep.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => waker.wake(),
            Poll::Pending => {
                let mut calls = self.calls();
                if let Some(round) = calls.round.as_mut().filter(|r| r.number == number) {
                    round._sleep = Some(SyncWrapper::new(sleep));
                }
            }
        }
        Some((number, rings))
    }

    /// Completes when no request is under way.
    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut calls = self.calls();
        if self.begun.load(Ordering::SeqCst) == 0 {
            drop(calls);
            return Poll::Ready(());
        }
        calls.closers.push(waker);
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

/// Whom the runtime wakes when a round is due.
struct Ringer {
    number: u64,
    roll: Weak<Roll>,
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        if let Some(roll) = self.roll.upgrade() {
            roll.wake_all(|calls| {
                let round = calls.round.as_ref();
                round.is_some_and(|round| round.number == self.number)
            });
        }
    }
}

/// One request in the roll.
#[derive(Default)]
pub(crate) struct Entry {
    is_in: bool,
    // The round that wakes it.
    round: Option<(u64, Instant)>,
    // Where it is called.
    call: Option<usize>,
}

impl Entry {
    /// Enters, if the session takes requests.
    pub(crate) fn enter(roll: &Roll) -> Option<Self> {
        roll.begun.fetch_add(1, Ordering::SeqCst);
        let mut entry = Self {
            is_in: true,
            ..Self::default()
        };
        if roll.is_open() {
            return Some(entry);
        }
        entry.leave(roll);
        None
    }

    /// Ready when the session's time is over; otherwise its waker hears of it.
    pub(crate) fn poll_closed(&mut self, roll: &Roll, cx: &mut Context<'_>) -> Poll<()> {
        // Wakers are cloned and dropped without the lock: they are somebody else's code.
        match self.call {
            Some(key) => {
                let is_known = roll.calls().exchanges[key].will_wake(cx.waker());
                if !is_known {
                    let waker = cx.waker().clone();
                    let last = mem::replace(&mut roll.calls().exchanges[key], waker);
                    drop(last);
                }
            }
            None => {
                let waker = cx.waker().clone();
                let mut calls = roll.calls();
                self.call = Some(calls.exchanges.insert(waker));
                let round = calls.round.as_ref();
                self.round = round.map(|round| (round.number, round.rings));
            }
        }
        if roll.is_closed() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Whether a round wakes it before `until`, so that it needs no timer to be woken by.
    /// For those that [`poll_closed`](Self::poll_closed) has noted.
    pub(crate) fn is_called_by(
        &mut self,
        until: Instant,
        roll: &Arc<Roll>,
        runtime: &Arc<dyn Runtime>,
    ) -> bool {
        let to_come = roll.round.load(Ordering::SeqCst);
        if self.round.is_none_or(|(number, _)| number != to_come) {
            self.round = roll.round(until, runtime);
        }
        self.round.is_some_and(|(_, rings)| rings <= until)
    }

    /// The request is over.
    pub(crate) fn leave(&mut self, roll: &Roll) {
        if let Some(key) = self.call.take() {
            let waker = roll.calls().exchanges.remove(key);
            drop(waker);
        }
        if !mem::take(&mut self.is_in) {
            return;
        }
        let was_last = roll.begun.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && !roll.is_open() {
            let closers = mem::take(&mut roll.calls().closers);
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
