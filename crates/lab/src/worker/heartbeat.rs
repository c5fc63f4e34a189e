//! A heartbeat: a task that wakes at a fixed interval and measures the gaps between its wake-ups. A large gap
//! shows that the event loop was stalled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inflight::Task;
use inflight::backend::Runtime;

use super::Failure;

/// The interval of an undisturbed heartbeat.
const INTERVAL: Duration = Duration::from_millis(1);

/// A running heartbeat, which is a task of the runtime.
pub(crate) struct Heartbeat {
    stop: Arc<AtomicBool>,
    task: Task<Duration>,
}

impl Heartbeat {
    /// Starts a heartbeat. The first gap begins now, so that it includes the wait for the task's first
    /// poll.
    pub(crate) fn start(runtime: &Arc<dyn Runtime>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task::spawn(runtime, run(runtime.clone(), stop.clone(), Instant::now()));
        Self { stop, task }
    }

    /// Stops the heartbeat and returns its largest gap.
    pub(crate) async fn stop(self) -> Result<Duration, Failure> {
        self.stop.store(true, Ordering::Release);
        Ok(self.task.await?)
    }
}

async fn run(runtime: Arc<dyn Runtime>, stop: Arc<AtomicBool>, started: Instant) -> Duration {
    let mut largest = Duration::ZERO;
    let mut last = started;
    loop {
        runtime.sleep(INTERVAL).await;
        let now = Instant::now();
        largest = largest.max(now - last);
        last = now;
        if stop.load(Ordering::Acquire) {
            return largest;
        }
    }
}
