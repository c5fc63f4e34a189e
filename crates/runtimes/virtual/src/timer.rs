//! Virtual time, and what happens when.

use std::collections::BTreeMap;
use std::mem;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::Shared;
use crate::network::Packet;

/// A thousand years: what is due later never happens.
const FAR: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// The time, and the timers that are set.
#[derive(Default)]
pub(crate) struct Timers {
    pub(crate) now: Duration,
    // Timers that are due at the same time fire in the order in which they were set.
    queue: BTreeMap<(Duration, u64), Timer>,
    count: u64,
    wakers: DeferredWakers,
}

/// What a timer does when it fires.
pub(crate) enum Timer {
    Wake(Waker),
    Deliver(Packet),
}

impl Timers {
    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
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

    /// Sets the time to `moment`, unless that is past.
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

    fn next_number(&mut self) -> u64 {
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

    /// Returns the wakers for the caller, who is to release the lock first.
    pub(crate) fn take_wakers(&mut self) -> DeferredWakers {
        mem::take(&mut self.wakers)
    }
}

/// Wakers that are woken or dropped after the lock is released: both may run code of a task,
/// which may want the lock.
#[derive(Default)]
pub(crate) struct DeferredWakers {
    woken: Vec<Waker>,
    discarded: Vec<Waker>,
}

impl DeferredWakers {
    pub(crate) fn wake(self) {
        self.woken.into_iter().for_each(Waker::wake);
    }
}

/// Completes at a point in virtual time.
pub(crate) struct Sleep {
    // A task that sleeps does not keep its runtime alive.
    shared: Weak<Shared>,
    until: Duration,
    number: Option<u64>,
}

impl Sleep {
    pub(crate) fn new(shared: Weak<Shared>, until: Duration) -> Self {
        Self {
            shared,
            until,
            number: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // No time passes after the runtime has ended.
        let Some(shared) = this.shared.upgrade() else {
            return Poll::Pending;
        };
        let mut state = shared.lock();
        let timers = &mut state.timers;
        if timers.now >= this.until {
            return Poll::Ready(());
        }
        if this.until > FAR {
            return Poll::Pending;
        }
        let number = *this.number.get_or_insert_with(|| timers.next_number());
        let timer = Timer::Wake(cx.waker().clone());
        let replaced = timers.queue.insert((this.until, number), timer);
        drop(state);
        drop(replaced);
        // A thread that waits for other threads now has a timer to wait for.
        shared.changed.notify_all();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(number), Some(shared)) = (self.number, self.shared.upgrade()) {
            let timer = shared.lock().timers.queue.remove(&(self.until, number));
            drop(timer);
        }
    }
}
