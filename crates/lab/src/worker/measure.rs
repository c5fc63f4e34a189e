//! Measures time, CPU, memory and system calls of this process.

use std::fmt;
#[cfg(target_os = "linux")]
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Failure;
use crate::peers;

/// Measures the wall time and the CPU time since its creation.
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

    /// Returns the elapsed time in milliseconds.
    pub(crate) fn wall_ms(&self) -> f64 {
        ms(self.started.elapsed())
    }

    /// Returns the CPU time of all threads of this process in milliseconds.
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

/// Returns the peak resident memory of this process in KB (`VmHWM` on Linux).
pub(crate) fn peak_memory_kb() -> Result<f64, Failure> {
    memory_kb("VmHWM:")
}

/// Returns the resident memory of this process in KB (`VmRSS` on Linux).
pub(crate) fn resident_memory_kb() -> Result<f64, Failure> {
    memory_kb("VmRSS:")
}

/// Returns the number of open file descriptors, including the descriptor that this function opens.
pub(crate) fn open_files() -> Result<usize, Failure> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn memory_kb(key: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .ok_or("the system does not report the memory of a process")?;
    Ok(kilobytes.trim().parse()?)
}

static ALLOCATIONS: OnceLock<fn() -> u64> = OnceLock::new();

/// Sets the function that returns the number of allocations so far. A program with a counting allocator
/// calls this at its start.
pub fn set_allocation_counter(count: fn() -> u64) {
    // A second call changes nothing, because a program has only one allocator.
    let _ = ALLOCATIONS.set(count);
}

/// Returns the number of allocations of this process so far.
pub(crate) fn allocations() -> Result<u64, Failure> {
    let count = ALLOCATIONS.get();
    Ok(count.ok_or("this program has no counting allocator")?())
}

/// A program that counts the system calls of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SystemCallCounter {
    /// perf lets the kernel count. It needs permission to read tracepoints.
    Perf,
    /// strace stops the process at each system call, which changes the behaviour of clients.
    Strace,
}

impl SystemCallCounter {
    /// Returns the first of perf and strace that works on this machine.
    pub(crate) fn find() -> Option<Self> {
        static FOUND: OnceLock<Option<SystemCallCounter>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let counters = [Self::Perf, Self::Strace];
            counters.into_iter().find(|counter| counter.works())
        })
    }

    /// Explains why neither perf nor strace works. Returns `None` if one of them works.
    pub(crate) fn missing() -> Option<String> {
        if Self::find().is_some() {
            return None;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let [perf, strace] = ["perf", "strace"].map(|tool| peers::is_on_path(tool, &path));
        Some(explain_missing_counter(cfg!(target_os = "linux"), perf, strace).to_owned())
    }

    fn works(self) -> bool {
        let mut command = match self {
            Self::Perf => {
                let mut command = Command::new("perf");
                command.args(["stat", "-e", PERF_EVENTS, "--", "true"]);
                command
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                command.arg("-V");
                command
            }
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        cfg!(target_os = "linux") && command.status().is_ok_and(|status| status.success())
    }
}

/// Explains why no program counts system calls. `has_perf` and `has_strace` are whether these programs are on the PATH.
fn explain_missing_counter(is_linux: bool, has_perf: bool, has_strace: bool) -> &'static str {
    match (is_linux, has_perf, has_strace) {
        (false, ..) => "only Linux lets perf and strace count system calls",
        (_, false, false) => {
            "neither perf nor strace is on the PATH: on Debian, apt-get install strace"
        }
        (_, true, false) => {
            "perf is not allowed to read tracepoints, which usually only root may do, and strace is not on the PATH: \
             on Debian, apt-get install strace"
        }
        (_, false, true) => "strace does not run, and perf is not on the PATH",
        (_, true, true) => {
            "perf is not allowed to read tracepoints, which usually only root may do, and strace does not run"
        }
    }
}

impl fmt::Display for SystemCallCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        })
    }
}

const PERF_EVENTS: &str = "raw_syscalls:sys_enter,syscalls:sys_enter_futex";

/// Numbers of system calls.
#[derive(Debug, PartialEq)]
pub(crate) struct SystemCalls {
    pub(crate) all: u64,
    /// The futex calls, by which threads wait for each other.
    pub(crate) futex: u64,
}

/// Calls `work`. Returns its result and the number of system calls that all threads made during the call.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "only Linux can count them")
)]
pub(crate) fn system_calls<T>(
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, SystemCalls), Failure> {
    match SystemCallCounter::find() {
        #[cfg(target_os = "linux")]
        Some(SystemCallCounter::Perf) => counting::by_perf(work),
        #[cfg(target_os = "linux")]
        Some(SystemCallCounter::Strace) => counting::by_strace(work),
        _ => Err("neither perf nor strace works here".into()),
    }
}

#[cfg(target_os = "linux")]
mod counting {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::FileExt;

    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::process::{PTracer, Pid, Signal, kill_process, set_ptracer};

    use super::*;

    pub(super) fn by_perf<T>(
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(T, SystemCalls), Failure> {
        let output = File::from(memfd_create("perf", MemfdFlags::CLOEXEC)?);
        let mut perf = Command::new("perf")
            // perf counts between the commands `enable` and `disable` on its input. It acknowledges each
            // command on its output.
            .args([
                "stat",
                "-x",
                ",",
                "-e",
                PERF_EVENTS,
                "-D",
                "-1",
                "--control=fd:0,1",
                "-p",
            ])
            .arg(std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output.try_clone()?)
            .spawn()?;
        let pipes = perf.stdin.take().zip(perf.stdout.take());
        let (mut commands, answers) = pipes.ok_or("perf has no pipes")?;
        let mut answers = BufReader::new(answers);
        let mut command = |command: &str| {
            // If perf has exited, its error output has the reason.
            let sent = commands.write_all(command.as_bytes());
            let mut answer = String::new();
            sent.and_then(|()| answers.read_line(&mut answer))?;
            match answer.contains("ack") {
                true => Ok(()),
                false => Err(Failure::from(contents(&output)?.trim())),
            }
        };
        command("enable\n")?;
        let done = work();
        command("disable\n")?;
        kill_process(Pid::from_child(&perf), Signal::INT)?;
        perf.wait()?;
        let table = contents(&output)?;
        let calls = perf_counts(&table).ok_or_else(|| format!("perf printed {table:?}"))?;
        Ok((done?, calls))
    }

    pub(super) fn by_strace<T>(
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(T, SystemCalls), Failure> {
        // Lets strace attach on systems where a process may trace only its children.
        let _ = set_ptracer(PTracer::Any);
        // A file in memory, because strace would block on a full pipe.
        let output = File::from(memfd_create("strace", MemfdFlags::CLOEXEC)?);
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-U", "calls,name", "-p"])
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output.try_clone()?)
            .spawn()?;
        // strace prints this line when all threads are attached.
        while !contents(&output)?.contains(" attached") {
            if strace.try_wait()?.is_some() {
                return Err(contents(&output)?.trim().into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let done = work();
        kill_process(Pid::from_child(&strace), Signal::INT)?;
        strace.wait()?;
        let table = contents(&output)?;
        let calls = strace_counts(&table).ok_or_else(|| format!("strace printed {table:?}"))?;
        Ok((done?, calls))
    }

    /// Reads a file that another process writes.
    fn contents(file: &File) -> Result<String, Failure> {
        let mut bytes = vec![0; file.metadata()?.len().try_into()?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Parses perf's table, which has lines of the form `NUMBER,,EVENT,…`.
#[cfg(any(target_os = "linux", test))]
fn perf_counts(table: &str) -> Option<SystemCalls> {
    let mut counts = PERF_EVENTS.split(',').map(|event| {
        let mut lines = table.lines().map(|line| line.split(','));
        lines.find_map(|mut fields| {
            let number = fields.next()?.parse().ok()?;
            (fields.nth(1)? == event).then_some(number)
        })
    });
    Some(SystemCalls {
        all: counts.next()??,
        futex: counts.next()??,
    })
}

/// Parses strace's table, which has lines of the form `NUMBER NAME`, and a sum `NUMBER total`.
#[cfg(any(target_os = "linux", test))]
fn strace_counts(table: &str) -> Option<SystemCalls> {
    let count_of = |name: &str| {
        let number = |line: &str| line.trim().strip_suffix(name)?.trim().parse().ok();
        table.lines().rev().find_map(number)
    };
    Some(SystemCalls {
        all: count_of(" total")?,
        futex: count_of(" futex").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_parsed() {
        let table = "    calls syscall\n--------- --------\n        2 read\n       12 futex\n--------- --------\n       14 total\n";
        assert_eq!(
            strace_counts(table),
            Some(SystemCalls { all: 14, futex: 12 })
        );
        assert_eq!(strace_counts(""), None);
        assert_eq!(strace_counts("strace: no table"), None);
    }

    #[test]
    fn a_tool_is_called_missing_only_if_it_is_missing() {
        for (has_perf, has_strace) in [(false, false), (true, false), (false, true), (true, true)] {
            let reason = explain_missing_counter(true, has_perf, has_strace);
            let says_missing = |tool: &str| {
                reason.contains(&format!("{tool} is not on the PATH"))
                    || reason.contains("neither perf nor strace is on the PATH")
            };
            assert_eq!(says_missing("perf"), !has_perf, "{reason}");
            assert_eq!(says_missing("strace"), !has_strace, "{reason}");
            assert_eq!(
                reason.contains("apt-get install strace"),
                !has_strace,
                "{reason}"
            );
        }
    }

    #[test]
    fn the_table_of_perf_is_parsed() {
        let table = "Events disabled\n14,,raw_syscalls:sys_enter,29253,100.00,,\n12,,syscalls:sys_enter_futex,29253,100.00,,\n";
        assert_eq!(perf_counts(table), Some(SystemCalls { all: 14, futex: 12 }));
        assert_eq!(perf_counts(""), None);
        assert_eq!(
            perf_counts("<not counted>,,raw_syscalls:sys_enter,0,0.00,,"),
            None
        );
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "prints that the test is skipped")]
    fn the_calls_of_this_process_are_counted() {
        if SystemCallCounter::find().is_none() {
            println!("SKIPPED: neither perf nor strace works here");
            return;
        }
        let (length, calls) = system_calls(|| {
            (0..100)
                .map(|_| Ok(std::fs::read("/proc/self/stat")?.len()))
                .sum::<Result<usize, Failure>>()
        })
        .unwrap();
        assert!(length > 0);
        // Each of the 100 iterations opens, reads and closes the file.
        assert!(calls.all >= 300, "{calls:?}");
    }
}
