//! A future that returns `Pending` must give its waker to whatever will wake the task. Here, these are the timers. The
//! loop must sleep until the earliest of all deadlines, whatever the order in which the tasks have asked.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::Clock;

/// The timers of an event loop: for each task that sleeps, the time at which its sleep ends, and its waker.
#[derive(Default)]
pub struct Timers {
    waiting: RefCell<Vec<(Duration, Waker)>>,
}

impl Timers {
    /// Wakes this waker at `deadline`.
    pub fn add(&self, deadline: Duration, waker: Waker) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push((deadline, waker));
        waiting.sort_by_key(|(deadline, _)| *deadline);
    }

    /// Sleeps until the earliest deadline, and wakes the task that waits for it. Returns `false` if there is no timer.
    pub fn wait(&self, clock: &Clock) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return false;
        }
        let (deadline, waker) = waiting.remove(0);
        clock.sleep_until(deadline);
        waker.wake();
        true
    }
}

/// A future that is ready at `deadline`.
pub struct Sleep {
    clock: Clock,
    timers: Rc<Timers>,
    deadline: Duration,
}

impl Sleep {
    /// Creates a sleep that ends at `deadline`.
    pub fn new(clock: Clock, timers: Rc<Timers>, deadline: Duration) -> Self {
        Self {
            clock,
            timers,
            deadline,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        self.timers.add(self.deadline, cx.waker().clone());
        Poll::Pending
    }
}
