//! Virtual time and its timers.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use crate::network::Packet;

/// The latest virtual time, a thousand years after the start. A timer that is due later never fires.
pub(crate) const FAR: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// The current time, and the timers that are set.
#[derive(Default)]
pub(crate) struct Timers {
    pub(crate) now: Duration,
    // The key is the due time and the id. So timers that are due at the same time fire in the order in which
    // they were set.
    pub(crate) queue: BTreeMap<(Duration, u64), Timer>,
    last_id: u64,
    pub(crate) wakers: DeferredWakers,
}

/// The action of a timer.
pub(crate) enum Timer {
    Wake(Waker),
    Deliver(Packet),
}

impl Timers {
    /// Returns the time when the next timer is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Removes and returns the next timer if it is due by `moment`. Also advances the time to when the timer
    /// is due.
    pub(crate) fn fire(&mut self, moment: Duration) -> Option<Timer> {
        let first = self.queue.first_entry()?;
        let (due, _) = *first.key();
        if due > moment {
            return None;
        }
        self.now = self.now.max(due);
        Some(first.remove())
    }

    /// Advances the time to `moment`, unless `moment` is in the past.
    pub(crate) fn advance_to(&mut self, moment: Duration) {
        self.now = self.now.max(moment.min(FAR));
    }

    /// Sets a timer that delivers the packet at `due`.
    pub(crate) fn deliver_at(&mut self, due: Duration, packet: Packet) {
        if due <= FAR {
            let id = self.next_id();
            self.queue.insert((due, id), Timer::Deliver(packet));
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Stores the waker. `release` releases the lock and then wakes the stored wakers.
    pub(crate) fn defer_wake(&mut self, waker: Option<Waker>) {
        self.wakers.to_wake.extend(waker);
    }

    /// Stores the waker. `release` releases the lock and then drops the stored wakers.
    pub(crate) fn defer_drop(&mut self, waker: Option<Waker>) {
        self.wakers.to_drop.extend(waker);
    }
}

/// Wakers that are woken or dropped after the lock is released. Waking or dropping a waker may run a task's
/// code, and that code may take the lock.
#[derive(Default)]
pub(crate) struct DeferredWakers {
    pub(crate) to_wake: Vec<Waker>,
    to_drop: Vec<Waker>,
}
