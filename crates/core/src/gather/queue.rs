//! An input to which jobs add more items: [`gather_queue`](super::gather_queue).

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::input::{Input, Pulled, PulledFrom};
use super::launch::Job;
use super::launch::sealed::Sealed;

/// A handle that adds items to a running gather.
///
/// For an example, see [`gather_queue`](super::gather_queue).
///
/// The gather ends when no job runs, no item waits, and no handle exists. The queue has no limit,
/// so [`push`](Self::push) never waits.
pub struct InputQueue<T>(Arc<Shared<T>>);

/// The queue that a gather and the handles share.
struct Shared<T>(Mutex<State<T>>);

struct State<T> {
    items: VecDeque<T>,
    handles: usize,
    has_ended: bool,
    /// Wakes the gather if it waits for an item.
    waiting: Option<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_handle(self: &Arc<Self>) -> InputQueue<T> {
        self.lock().handles += 1;
        InputQueue(self.clone())
    }
}

impl<T> InputQueue<T> {
    /// Adds an item at the end of the queue.
    ///
    /// # Errors
    ///
    /// Returns the item if the gather has ended.
    pub fn push(&self, item: T) -> Result<(), T> {
        let waiting = {
            let mut state = self.0.lock();
            if state.has_ended {
                return Err(item);
            }
            state.items.push_back(item);
            state.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Clone for InputQueue<T> {
    fn clone(&self) -> Self {
        self.0.new_handle()
    }
}

impl<T> Drop for InputQueue<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.lock();
            state.handles -= 1;
            match state.handles {
                0 => state.waiting.take(),
                _ => None,
            }
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<T> fmt::Debug for InputQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputQueue")
            .field("len", &self.0.lock().items.len())
            .finish()
    }
}

/// Items of a queue, and a function that creates the job of an item.
///
/// For an example, see [`gather_queue`](super::gather_queue).
pub struct QueuedItems<T, F> {
    queue: Arc<Shared<T>>,
    job: F,
}

impl<T, F> QueuedItems<T, F> {
    pub(super) fn new(items: impl IntoIterator<Item = T>, job: F) -> Self {
        let queue = Shared(Mutex::new(State {
            items: items.into_iter().collect(),
            handles: 0,
            has_ended: false,
            waiting: None,
        }));
        Self {
            queue: Arc::new(queue),
            job,
        }
    }

    pub(super) fn new_handle(&self) -> InputQueue<T> {
        self.queue.new_handle()
    }
}

impl<T, F> Unpin for QueuedItems<T, F> {}

impl<T, F> Sealed for QueuedItems<T, F> {}

impl<T, F, J> Input for QueuedItems<T, F>
where
    T: Clone,
    F: FnMut(T, InputQueue<T>) -> J,
    J: Job,
{
    type Job = J;
    type Id = T;
    // The handle of the job. It exists from the moment at which the item leaves the queue.
    type Seed = InputQueue<T>;
    type Permit = ();
    type Output<R> = (T, R);

    fn poll_input(
        self: Pin<&mut Self>,
        next: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<PulledFrom<Self>>> {
        let mut state = self.queue.lock();
        if let Some(item) = state.items.pop_front() {
            drop(state);
            return Poll::Ready(Some(Pulled::next(next, item, self.new_handle())));
        }
        if state.handles == 0 {
            state.has_ended = true;
            return Poll::Ready(None);
        }
        let old = state.waiting.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn start(self: Pin<&mut Self>, item: &T, queue: InputQueue<T>) -> J {
        (self.get_mut().job)(item.clone(), queue)
    }

    fn release(self: Pin<&mut Self>, (): ()) {}

    fn take_waiting(self: Pin<&mut Self>, next: &mut usize) -> Vec<(usize, T)> {
        let items = {
            let mut state = self.queue.lock();
            state.has_ended = true;
            std::mem::take(&mut state.items)
        };
        let first = *next;
        *next += items.len();
        (first..).zip(items).collect()
    }

    fn remaining(&self) -> (usize, Option<usize>) {
        let state = self.queue.lock();
        let len = state.items.len();
        // Handles may add more items.
        let is_exact = state.handles == 0 || state.has_ended;
        (len, is_exact.then_some(len))
    }

    fn output<R>(item: T, value: R) -> (T, R) {
        (item, value)
    }
}

impl<T, F> Drop for QueuedItems<T, F> {
    fn drop(&mut self) {
        let items = {
            let mut state = self.queue.lock();
            state.has_ended = true;
            std::mem::take(&mut state.items)
        };
        // The destructors of the items may use a handle.
        drop(items);
    }
}

impl<T, F> fmt::Debug for QueuedItems<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedItems").finish_non_exhaustive()
    }
}
