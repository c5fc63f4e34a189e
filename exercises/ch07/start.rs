//! Chapter 7 (`docs/src/tutorial/ch07.md`): complete the timers of an event loop.
//!
//! The file `check.rs` contains the rest of the loop: it polls each task that was woken. If no task was woken, it calls
//! `Timers::wait`. This file has two mistakes:
//!
//! 1. `Sleep::poll` gives the timers a waker that wakes no task.
//! 2. With several timers, `Timers::wait` does not wait for the earliest deadline.
//!
//! The clock is virtual. `clock.now()` returns the time since the start, and `clock.sleep_until(time)` lets the time pass.

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
        self.waiting.borrow_mut().push((deadline, waker));
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

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        self.timers.add(self.deadline, Waker::noop().clone());
        Poll::Pending
    }
}
