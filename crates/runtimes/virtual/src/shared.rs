//! The state that the clones of a runtime share, and the loop that runs its tasks.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use fastrand::Rng;
use inflight_core::BoxFuture;
use slab::Slab;

use crate::network::NetworkState;
use crate::timer::{Timer, Timers};

/// The state that all clones of a runtime share.
pub(crate) struct Shared {
    /// The result of [`Runtime::now`] at virtual time zero.
    pub(crate) epoch: Instant,
    /// How long `next` waits, in real time, for another thread to wake a task.
    pub(crate) patience: Duration,
    pub(crate) state: Mutex<State>,
    /// Notified when a task is woken, a timer is set, or `block_on` returns.
    pub(crate) changed: Condvar,
}

pub(crate) struct State {
    pub(crate) timers: Timers,
    pub(crate) network: NetworkState,
    pub(crate) tasks: Slab<TaskSlot>,
    pub(crate) ready: VecDeque<Runnable>,
    /// Chooses the next task. If `None`, tasks run in the order in which they were woken.
    pub(crate) schedule_rng: Option<Rng>,
    /// The thread that is in `block_on`, if any.
    pub(crate) block_on_thread: Option<ThreadId>,
}

/// Work that is ready to run.
pub(crate) enum Runnable {
    /// The future of `block_on`.
    Main,
    Task(usize),
    Blocking(Box<dyn FnOnce() + Send>),
}

pub(crate) struct TaskSlot {
    /// `None` while the task is polled.
    pub(crate) task: Option<BoxFuture<'static, ()>>,
    pub(crate) waker: Arc<TaskWaker>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other thread is in `block_on`. Marks this thread as the thread in `block_on` until the
    /// guard is dropped.
    ///
    /// # Panics
    ///
    /// Panics if this thread is in `block_on`.
    pub(crate) fn enter(&self) -> EnteredGuard<'_> {
        let here = thread::current().id();
        let mut state = self.lock();
        while let Some(inside) = state.block_on_thread {
            assert_ne!(
                inside, here,
                "a task of the virtual runtime called its block_on: await the future instead"
            );
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.block_on_thread = Some(here);
        EnteredGuard(self)
    }

    /// Runs `operation` on the network, and then wakes the tasks that the operation affects.
    pub(crate) fn with_network<T>(
        &self,
        operation: impl FnOnce(&mut NetworkState, &mut Timers) -> T,
    ) -> T {
        let mut state = self.lock();
        // Packets that are already due arrive before the operation.
        let now = state.timers.now;
        state.advance_to(now);
        let State {
            network, timers, ..
        } = &mut *state;
        let output = operation(network, timers);
        release(state);
        // A thread in `block_on` may be waiting for another thread to wake a task. The operation may have set a
        // timer to which that thread can advance the time.
        self.changed.notify_all();
        output
    }

    /// Returns the next work to run. If no work is ready, advances the time to the next timer.
    pub(crate) fn next(&self) -> Runnable {
        let mut state = self.lock();
        loop {
            // Timers that are due now fire before the next task runs.
            let now = state.timers.now;
            let is_due = |due: &Duration| *due <= now || state.ready.is_empty();
            if let Some(due) = state.timers.next().filter(is_due) {
                state.advance_to(due);
                release(state);
                state = self.lock();
                continue;
            }
            let len = state.ready.len();
            let index = match &mut state.schedule_rng {
                Some(rng) if len > 1 => rng.usize(..len),
                _ => 0,
            };
            if let Some(ready) = state.ready.remove(index) {
                return ready;
            }
            // Another thread may be about to wake a task.
            let is_idle =
                |state: &mut State| state.ready.is_empty() && state.timers.next().is_none();
            let waited = self
                .changed
                .wait_timeout_while(state, self.patience, is_idle);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                let (tasks, held) = (state.tasks.len(), state.network.held_packets());
                drop(state);
                panic!(
                    "deadlock: the future and {tasks} tasks wait, no timer is set, no other \
                     thread has woken a task for {:?}, and the network's partitions hold {held} \
                     packets",
                    self.patience
                );
            }
        }
    }

    pub(crate) fn poll_task(&self, key: usize) {
        let mut state = self.lock();
        let Some(entry) = state.tasks.get_mut(key) else {
            return;
        };
        entry.waker.is_ready.store(false, Ordering::SeqCst);
        let waker = Waker::from(entry.waker.clone());
        let Some(mut task) = entry.task.take() else {
            return;
        };
        drop(state);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            task.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        // A panic ends only this task, as on tokio.
        let has_ended = !matches!(polled, Ok(Poll::Pending));
        let mut state = self.lock();
        if has_ended {
            state.tasks.remove(key);
        } else if let Some(entry) = state.tasks.get_mut(key) {
            entry.task = Some(task);
            return;
        }
        // Dropping the task may take the lock, and may panic.
        drop(state);
        drop(catch_unwind(AssertUnwindSafe(|| drop(task))));
    }
}

/// Releases the lock, and then wakes or drops the stored wakers.
pub(crate) fn release(mut state: MutexGuard<'_, State>) {
    let wakers = mem::take(&mut state.timers.wakers);
    drop(state);
    wakers.to_wake.into_iter().for_each(Waker::wake);
}

impl State {
    /// Advances the time to `moment`, fires the timers that become due, and stores the wakers for `release`.
    pub(crate) fn advance_to(&mut self, moment: Duration) {
        while let Some(timer) = self.timers.fire(moment) {
            match timer {
                Timer::Wake(waker) => self.timers.defer_wake(Some(waker)),
                Timer::Deliver(packet) => self.network.deliver(packet, &mut self.timers),
            }
        }
        self.timers.advance_to(moment);
    }
}

/// A guard that the thread in `block_on` holds. Dropping the guard lets another thread enter.
pub(crate) struct EnteredGuard<'a>(&'a Shared);

impl Drop for EnteredGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.block_on_thread = None;
        // The call of `block_on` has ended, so its future must not be polled again.
        state.ready.retain(|ready| !matches!(ready, Runnable::Main));
        drop(state);
        self.0.changed.notify_all();
    }
}

pub(crate) struct TaskWaker {
    pub(crate) shared: Weak<Shared>,
    // `None` for the future of `block_on`.
    pub(crate) key: Option<usize>,
    pub(crate) is_ready: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_ready.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            let mut state = shared.lock();
            let runnable = match self.key {
                None => state.block_on_thread.map(|_| Runnable::Main),
                // The slab may have reused the key for another task.
                Some(key) => state
                    .tasks
                    .get(key)
                    .filter(|slot| Arc::ptr_eq(&slot.waker, self))
                    .map(|_| Runnable::Task(key)),
            };
            state.ready.extend(runnable);
            drop(state);
            shared.changed.notify_all();
        }
    }
}
