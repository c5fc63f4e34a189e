//! Virtual time and those who wait for it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::Shared;

/// A thousand years: what is to happen later does not happen.
const FAR: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// The time, and who is to be woken when.
#[derive(Default)]
pub(crate) struct Timers {
    pub(crate) now: Duration,
    // By the order in which they were first waited for, where the time is the same.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    count: u64,
}

impl Timers {
    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.sleepers.keys().next().map(|(until, _)| *until)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sleepers.is_empty()
    }

    /// Lets time pass, and gives those who are to be woken for it.
    pub(crate) fn pass_to(&mut self, moment: Duration) -> Vec<Waker> {
        self.now = self.now.max(moment.min(FAR));
        let later = self.sleepers.split_off(&(self.now, u64::MAX));
        let due = std::mem::replace(&mut self.sleepers, later);
        due.into_values().collect()
    }
}

/// Completes when it is time.
pub(crate) struct Sleep {
    // A task that sleeps does not keep its runtime.
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
        // Nobody's time passes when the runtime is gone.
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
        let number = *this.number.get_or_insert_with(|| {
            timers.count += 1;
            timers.count
        });
        let waker = cx.waker().clone();
        let before = timers.sleepers.insert((this.until, number), waker);
        drop(state);
        drop(before);
        // Whoever waits for other threads has a timer to wait for now.
        shared.changed.notify_all();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(number), Some(shared)) = (self.number, self.shared.upgrade()) {
            let key = (self.until, number);
            let waker = shared.lock().timers.sleepers.remove(&key);
            drop(waker);
        }
    }
}
