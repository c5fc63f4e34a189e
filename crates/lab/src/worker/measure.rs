//! Time, CPU and memory of this process.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Failure;

/// Measures from where it is started.
pub(crate) struct Meter {
    started: Instant,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self {
            cpu: cpu(),
            started: Instant::now(),
        }
    }

    /// The time that has passed, in milliseconds.
    pub(crate) fn wall_ms(&self) -> f64 {
        ms(self.started.elapsed())
    }

    /// The CPU time that this process has used, all threads together, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        ms(cpu() - self.cpu)
    }
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(unix)]
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(unix))]
fn cpu() -> Duration {
    Duration::ZERO
}

/// The most memory that this process ever had resident, in KB: `VmHWM` of Linux.
pub(crate) fn peak_memory_kb() -> Result<f64, Failure> {
    memory_kb("VmHWM:")
}

/// The memory that this process has resident now, in KB: `VmRSS` of Linux.
pub(crate) fn resident_memory_kb() -> Result<f64, Failure> {
    memory_kb("VmRSS:")
}

/// How many descriptors this process has open, the one that looks included.
pub(crate) fn open_files() -> Result<usize, Failure> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn memory_kb(key: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .ok_or("the system does not tell a process's memory")?;
    Ok(kilobytes.trim().parse()?)
}

static ALLOCATIONS: OnceLock<fn() -> u64> = OnceLock::new();

/// Tells how many allocations this process has made: for a program whose allocator counts them.
pub fn count_allocations(count: fn() -> u64) {
    // Whoever was first has the same allocator.
    let _ = ALLOCATIONS.set(count);
}

/// How many allocations this process has made.
pub(crate) fn allocations() -> Result<u64, Failure> {
    let count = ALLOCATIONS.get();
    Ok(count
        .ok_or("the allocator of this program does not count")?(
    ))
}
