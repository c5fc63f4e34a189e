//! Records when the event loop polled a task, and when it slept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Records what a loop does. Clones share the record.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Recorded>>>);

/// What the loop did from one time to another.
#[derive(Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) action: Action,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Recorded {
    pub(crate) fn duration(&self) -> Duration {
        self.to - self.from
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The loop polled the task with this number.
    Poll(usize),
    /// The loop slept.
    Sleep,
}

impl Recorder {
    /// Records a poll, which ends when the returned value is dropped.
    pub(crate) fn poll(&self, task: usize) -> Recording<'_> {
        self.record(Action::Poll(task))
    }

    /// Records a sleep, which ends when the returned value is dropped.
    pub(crate) fn sleep(&self) -> Recording<'_> {
        self.record(Action::Sleep)
    }

    /// Returns what the loop has done so far.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.clone()
    }

    fn record(&self, action: Action) -> Recording<'_> {
        let from = Instant::now();
        Recording {
            recorder: self,
            action,
            from,
        }
    }
}

/// An action that has not ended.
pub(crate) struct Recording<'a> {
    recorder: &'a Recorder,
    action: Action,
    from: Instant,
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        let Self { action, from, .. } = *self;
        let to = Instant::now();
        let mut record = self
            .recorder
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        record.push(Recorded { action, from, to });
    }
}
