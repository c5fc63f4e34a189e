//! A heart that beats on a runtime, and how far apart its beats are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inflight::{Runtime, Task};

use super::Failure;

/// How often it beats when nothing is in its way.
const BEAT: Duration = Duration::from_millis(1);

/// Beats as a task of the runtime until it is stopped.
pub(crate) struct Heart {
    stop: Arc<AtomicBool>,
    task: Task<Vec<Beat>>,
}

/// A beat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    /// When, after the start.
    pub(crate) at: Duration,
    /// How long after the one before.
    pub(crate) gap: Duration,
}

impl Heart {
    /// The first gap begins here, and not where the task is first polled: it may have to wait.
    pub(crate) fn start(runtime: &Arc<dyn Runtime>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task::spawn(runtime, beat(runtime.clone(), stop.clone(), Instant::now()));
        Self { stop, task }
    }

    /// Every beat.
    pub(crate) async fn stop(self) -> Result<Vec<Beat>, Failure> {
        self.stop.store(true, Ordering::Release);
        Ok(self.task.await?)
    }
}

async fn beat(runtime: Arc<dyn Runtime>, stop: Arc<AtomicBool>, first: Instant) -> Vec<Beat> {
    let mut beats = Vec::new();
    let mut last = first;
    while !stop.load(Ordering::Acquire) {
        runtime.sleep(BEAT).await;
        let now = Instant::now();
        beats.push(Beat {
            at: now - first,
            gap: now - last,
        });
        last = now;
    }
    beats
}
