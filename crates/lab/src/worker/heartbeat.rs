//! A heartbeat: a task that wakes at a fixed interval and records the gaps between its ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inflight::Task;
use inflight::backend::Runtime;

use super::Failure;

/// The interval of an undisturbed heartbeat.
const INTERVAL: Duration = Duration::from_millis(1);

/// A running heartbeat. It is a task of the runtime.
pub(crate) struct Heartbeat {
    stop: Arc<AtomicBool>,
    task: Task<Vec<Tick>>,
}

/// A tick of a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    /// The time since the start.
    pub(crate) at: Duration,
    /// The time since the previous tick.
    pub(crate) gap: Duration,
}

impl Heartbeat {
    /// Starts a heartbeat. The first gap begins here, because the task may have to wait for its first
    /// poll.
    pub(crate) fn start(runtime: &Arc<dyn Runtime>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task::spawn(runtime, run(runtime.clone(), stop.clone(), Instant::now()));
        Self { stop, task }
    }

    /// Stops the heartbeat and returns all ticks.
    pub(crate) async fn stop(self) -> Result<Vec<Tick>, Failure> {
        self.stop.store(true, Ordering::Release);
        Ok(self.task.await?)
    }
}

async fn run(runtime: Arc<dyn Runtime>, stop: Arc<AtomicBool>, first: Instant) -> Vec<Tick> {
    let mut ticks = Vec::new();
    let mut last = first;
    while !stop.load(Ordering::Acquire) {
        runtime.sleep(INTERVAL).await;
        let now = Instant::now();
        ticks.push(Tick {
            at: now - first,
            gap: now - last,
        });
        last = now;
    }
    ticks
}
