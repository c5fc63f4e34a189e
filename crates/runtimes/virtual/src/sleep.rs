//! The future of `Runtime::sleep`.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::shared::Shared;
use crate::timer::{FAR, Timer};

/// A future that completes at the virtual time `until`.
pub(crate) struct Sleep {
    // Weak, so that a task that sleeps does not keep its runtime alive.
    shared: Weak<Shared>,
    until: Duration,
    timer_id: Option<u64>,
}

impl Sleep {
    pub(crate) fn new(shared: Weak<Shared>, until: Duration) -> Self {
        Self {
            shared,
            until,
            timer_id: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // After the runtime has ended, no time passes, so the sleep never completes.
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
        let timer_id = *this.timer_id.get_or_insert_with(|| timers.next_id());
        let timer = Timer::Wake(cx.waker().clone());
        let replaced = timers.queue.insert((this.until, timer_id), timer);
        drop(state);
        drop(replaced);
        // A thread in `block_on` may be waiting for another thread to wake a task. Instead, it can now advance
        // the time to this timer.
        shared.changed.notify_all();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(timer_id), Some(shared)) = (self.timer_id, self.shared.upgrade()) {
            let timer = shared.lock().timers.queue.remove(&(self.until, timer_id));
            drop(timer);
        }
    }
}
