use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::stats::CpuScope;

/// The threads of an origin, to measure their CPU time.
///
/// Linux publishes the CPU time of each thread in `/proc/<pid>/task/<tid>/schedstat`, in nanoseconds. If
/// that file is missing, the CPU time of the whole process is used.
#[derive(Default)]
pub(crate) struct Threads(Mutex<Vec<Thread>>);

struct Thread {
    schedstat: PathBuf,
    /// The CPU time at the last reading. It still counts after the thread has ended and the file has
    /// disappeared.
    used: Duration,
}

impl Threads {
    /// Registers the calling thread. Each thread of the origin calls this when it starts.
    pub(crate) fn register(&self) {
        let Ok(thread) = fs::read_link("/proc/thread-self") else {
            return;
        };
        let schedstat = Path::new("/proc").join(thread).join("schedstat");
        if let Some(used) = read_cpu_time(&schedstat) {
            let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            threads.push(Thread { schedstat, used });
        }
    }

    /// Returns the CPU time of the registered threads, or of the process if no thread could be registered.
    pub(crate) fn cpu_time(&self) -> (Duration, CpuScope) {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.is_empty() {
            let used = process_cpu_time().unwrap_or_default();
            return (used, CpuScope::Process);
        }
        let mut sum = Duration::ZERO;
        for thread in threads.iter_mut() {
            thread.used = read_cpu_time(&thread.schedstat).unwrap_or(thread.used);
            sum += thread.used;
        }
        (sum, CpuScope::Threads)
    }
}

/// Returns the first of the file's three numbers: nanoseconds spent on a CPU.
fn read_cpu_time(schedstat: &Path) -> Option<Duration> {
    let text = fs::read_to_string(schedstat).ok()?;
    let nanos = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Returns the CPU time of this process, in its own code and in the kernel. Returns `None` on systems other than Unix.
#[cfg(unix)]
pub fn process_cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).ok()
}

/// Returns the CPU time of this process, in its own code and in the kernel. Returns `None` on systems other than Unix.
#[cfg(not(unix))]
pub fn process_cpu_time() -> Option<Duration> {
    None
}
