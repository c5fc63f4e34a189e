use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::stats::CpuScope;

/// The CPU time of the threads that registered here.
///
/// Linux publishes it per thread, in nanoseconds, in `/proc/<pid>/task/<tid>/schedstat`, readable from any thread.
/// Where that file is missing the whole process stands in.
#[derive(Default)]
pub(crate) struct Threads(Mutex<Vec<Thread>>);

struct Thread {
    schedstat: PathBuf,
    /// Kept because the file goes when the thread ends.
    used: Duration,
}

impl Threads {
    /// Called by each thread of the origin as it starts.
    pub(crate) fn register(&self) {
        let Ok(thread) = fs::read_link("/proc/thread-self") else {
            return;
        };
        let schedstat = Path::new("/proc").join(thread).join("schedstat");
        if let Some(used) = on_cpu(&schedstat) {
            let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            threads.push(Thread { schedstat, used });
        }
    }

    pub(crate) fn used(&self) -> (Duration, CpuScope) {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.is_empty() {
            return (process(), CpuScope::Process);
        }
        let mut sum = Duration::ZERO;
        for thread in threads.iter_mut() {
            thread.used = on_cpu(&thread.schedstat).unwrap_or(thread.used);
            sum += thread.used;
        }
        (sum, CpuScope::Threads)
    }
}

/// The first of the file's three numbers: nanoseconds spent on a CPU.
fn on_cpu(schedstat: &Path) -> Option<Duration> {
    let text = fs::read_to_string(schedstat).ok()?;
    let nanos = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

#[cfg(unix)]
fn process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(unix))]
fn process() -> Duration {
    Duration::ZERO
}
