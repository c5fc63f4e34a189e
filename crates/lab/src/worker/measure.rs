//! Time, CPU, memory and system calls of this process.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::process::{Command, Stdio};
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

/// What counts system calls, if it is there.
pub(crate) fn has_strace() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let mut command = Command::new("strace");
        command
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        cfg!(target_os = "linux") && command.status().is_ok_and(|status| status.success())
    })
}

/// How many there were.
#[derive(Debug, PartialEq)]
pub(crate) struct SystemCalls {
    pub(crate) all: u64,
    /// Those by which threads wait for each other.
    pub(crate) futex: u64,
}

/// What `work` gives, and how many system calls this process made meanwhile, all threads together.
///
/// strace stops the process at each of them: what is timed meanwhile is not to be believed.
#[cfg(target_os = "linux")]
pub(crate) fn system_calls<T>(
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, SystemCalls), Failure> {
    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::process::{PTracer, Pid, Signal, kill_process, set_ptracer};

    // Where processes may look at their children alone. Elsewhere there is nothing to allow.
    let _ = set_ptracer(PTracer::Any);
    // In memory: it tells of each thread, and a pipe that nobody reads would stop it.
    let said = File::from(memfd_create("strace", MemfdFlags::CLOEXEC)?);
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-p"])
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?)
        .spawn()?;
    // It says so when it has all threads.
    while !all_of(&said)?.contains(" attached") {
        if strace.try_wait()?.is_some() {
            return Err(all_of(&said)?.trim().into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let done = work();
    kill_process(Pid::from_child(&strace), Signal::INT)?;
    strace.wait()?;
    let said = all_of(&said)?;
    Ok((
        done?,
        calls(&said).ok_or_else(|| format!("strace said {said:?}"))?,
    ))
}

/// What is in a file that others write to.
#[cfg(target_os = "linux")]
fn all_of(file: &File) -> Result<String, Failure> {
    use std::os::unix::fs::FileExt;

    let mut bytes = vec![0; file.metadata()?.len().try_into()?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn system_calls<T>(
    _: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, SystemCalls), Failure> {
    Err("strace is a program for Linux".into())
}

/// strace's table: lines of the form `NUMBER NAME`, and their sum as `NUMBER total`.
#[cfg(any(target_os = "linux", test))]
fn calls(said: &str) -> Option<SystemCalls> {
    let of = |name: &str| {
        let number = |line: &str| line.trim().strip_suffix(name)?.trim().parse().ok();
        said.lines().rev().find_map(number)
    };
    Some(SystemCalls {
        all: of(" total")?,
        futex: of(" futex").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_table_is_read() {
        let table = "    calls syscall\n--------- --------\n        2 read\n       12 futex\n--------- --------\n       14 total\n";
        assert_eq!(calls(table), Some(SystemCalls { all: 14, futex: 12 }));
        assert_eq!(calls(""), None);
        assert_eq!(calls("strace: no table"), None);
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "what is not tested is said")]
    fn a_processs_own_calls_are_counted() {
        if !has_strace() {
            println!("SKIPPED: there is no strace");
            return;
        }
        let (length, calls) = system_calls(|| {
            (0..100)
                .map(|_| Ok(std::fs::read("/proc/self/stat")?.len()))
                .sum::<Result<usize, Failure>>()
        })
        .unwrap();
        assert!(length > 0);
        // Each is opened, read and closed.
        assert!(calls.all >= 300, "{calls:?}");
    }
}
