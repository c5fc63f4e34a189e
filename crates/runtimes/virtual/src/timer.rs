//! Virtual time and its timers.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use crate::network::Packet;

/// A thousand years. Timers that are due later never fire.
pub(crate) const FAR: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// The current time, and the timers that are set.
#[derive(Default)]
pub(crate) struct Timers {
    pub(crate) now: Duration,
    // Timers that are due at the same time fire in the order in which they were set.
    pub(crate) queue: BTreeMap<(Duration, u64), Timer>,
    count: u64,
    pub(crate) wakers: DeferredWakers,
}

/// The action of a timer.
pub(crate) enum Timer {
    Wake(Waker),
    Deliver(Packet),
}

impl Timers {
    /// Returns when the next timer is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Removes the next timer that is due by `moment`, and sets the time to when it is due.
    pub(crate) fn fire(&mut self, moment: Duration) -> Option<Timer> {
        let first = self.queue.first_entry()?;
        let (due, _) = *first.key();
        if due > moment {
            return None;
        }
        self.now = self.now.max(due);
        Some(first.remove())
    }

    /// Sets the time to `moment`, unless `moment` is in the past.
    pub(crate) fn pass_to(&mut self, moment: Duration) {
        self.now = self.now.max(moment.min(FAR));
    }

    /// Delivers the packet at `due`.
    pub(crate) fn deliver_at(&mut self, due: Duration, packet: Packet) {
        if due <= FAR {
            let number = self.next_number();
            self.queue.insert((due, number), Timer::Deliver(packet));
        }
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Wakes the waker after the lock is released.
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.woken.extend(waker);
    }

    /// Drops the waker after the lock is released.
    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.wakers.discarded.extend(waker);
    }
}

/// Wakers that are woken or dropped after the lock is released. Both may run a task's code, which may take
/// the lock.
#[derive(Default)]
pub(crate) struct DeferredWakers {
    pub(crate) woken: Vec<Waker>,
    discarded: Vec<Waker>,
}
