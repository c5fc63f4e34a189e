//! A heart that beats on a runtime, and how late it is.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use inflight_core::{Error, ErrorKind, Runtime, Task};

use crate::site::{histogram, nanos as in_nanos};
use crate::slot::{between, lock, nanos};

/// Ticks on a runtime at absolute times, and beside it on a plain thread, and measures how late
/// each tick is. It ends when it is dropped.
///
/// The thread is the control: where both are late, the machine is, and not the event loop.
///
/// The runtime's ticks are one task: where a runtime has several threads, they show how late a
/// task is that any of them may run.
#[derive(Debug)]
pub struct Heartbeat {
    runtime: Arc<Mutex<Histogram<u64>>>,
    control: Arc<Mutex<Histogram<u64>>>,
    // Cancelled on drop; the thread ends with the sender.
    _task: Task<()>,
    _stop: std::sync::mpsc::Sender<()>,
}

/// How late ticks were, in nanoseconds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Lateness {
    /// On the runtime.
    pub runtime: Histogram<u64>,
    /// On a thread that does nothing else.
    pub control: Histogram<u64>,
}

impl Heartbeat {
    /// Starts to tick on this runtime. A runtime of one's own needs an
    /// [`inflight_core::Runtime`], of which this uses `spawn` and `sleep`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] when the system refuses the control's thread.
    pub fn start(on: Arc<dyn Runtime>, every: Duration) -> Result<Self, Error> {
        let every = every.max(Duration::from_millis(1));
        let runtime = Arc::new(Mutex::new(histogram()));
        let control = Arc::new(Mutex::new(histogram()));

        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let mut beat = Beat::new(every, control.clone());
        thread::Builder::new()
            .name("inflight-probe-control".to_owned())
            .spawn(move || {
                use std::sync::mpsc::RecvTimeoutError::Timeout;
                while stopped.recv_timeout(beat.until_next()) == Err(Timeout) {
                    beat.tick();
                }
            })
            .map_err(|error| {
                Error::new(ErrorKind::NoRuntime)
                    .with_context("the heartbeat's control thread could not start")
                    .with_source(error)
            })?;

        let mut beat = Beat::new(every, runtime.clone());
        let timer = on.clone();
        let task = Task::spawn(&*on, async move {
            loop {
                timer.sleep(beat.until_next()).await;
                beat.tick();
            }
        });
        Ok(Self {
            runtime,
            control,
            _task: task,
            _stop: stop,
        })
    }

    /// How late the ticks were so far. A tick that was missed counts as one that was late by the
    /// time that it was missed for, so that one long stall is not one late tick among many.
    pub fn lateness(&self) -> Lateness {
        Lateness {
            runtime: lock(&self.runtime).clone(),
            control: lock(&self.control).clone(),
        }
    }
}

/// The times of the ticks.
struct Beat {
    every: u64,
    due: u64,
    late: Arc<Mutex<Histogram<u64>>>,
}

impl Beat {
    fn new(every: Duration, late: Arc<Mutex<Histogram<u64>>>) -> Self {
        let every = in_nanos(every);
        Self {
            every,
            due: nanos().saturating_add(every),
            late,
        }
    }

    fn until_next(&self) -> Duration {
        between(nanos(), self.due)
    }

    fn tick(&mut self) {
        self.tick_at(nanos());
    }

    fn tick_at(&mut self, now: u64) {
        let late = now.saturating_sub(self.due);
        let mut histogram = lock(&self.late);
        // Each tick that was due meanwhile would have been late by what was left.
        let missed = late / self.every;
        histogram.saturating_record(late);
        for n in 1..=missed {
            histogram.saturating_record(late - n * self.every);
        }
        self.due = self
            .due
            .saturating_add(self.every.saturating_mul(missed + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_count_as_late_ones() {
        let late = Arc::new(Mutex::new(histogram()));
        let mut beat = Beat {
            every: 10,
            due: 100,
            late: late.clone(),
        };
        beat.tick_at(100);
        assert_eq!(beat.due, 110);
        // Those of 110, 120 and 130 are late by 25, 15 and 5.
        beat.tick_at(135);
        assert_eq!(beat.due, 140);
        let late = lock(&late);
        assert_eq!(late.len(), 4);
        assert_eq!((late.min(), late.max()), (0, 25));
        assert_eq!(late.count_at(15), 1);
        assert_eq!(late.count_at(5), 1);
    }
}
