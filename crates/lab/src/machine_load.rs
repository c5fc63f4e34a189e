//! The load of the machine: the processor time that other programs use, and the time that the hypervisor takes
//! (steal time). The system reports both on Linux only.

use std::time::{Duration, Instant};

/// The machine is busy if other programs use at least this many cores. A smaller load hardly changes a
/// measurement, and the kernel counts in ticks of 10 ms, so it cannot be told from none.
pub const BUSY_CORES: f64 = 0.25;

/// The shortest time in which the load is measured: two ticks of the kernel.
const SHORTEST: Duration = Duration::from_millis(20);

/// Measures the load for a while. The result is in cores: 0.5 means that other programs used half of the time of
/// one core. Returns `None` if the system does not report the load.
pub fn other_cores(duration: Duration) -> Option<f64> {
    let meter = LoadMeter::start(&[])?;
    std::thread::sleep(duration);
    meter.other_cores()
}

/// Measures the load since its creation.
pub(crate) struct LoadMeter {
    started: Instant,
    /// The processes whose time does not count as that of other programs. This process is one of them.
    processes: Vec<u32>,
    /// The time that all programs had used, and the time of `processes`, in ticks.
    before: (u64, u64),
}

impl LoadMeter {
    /// Starts to measure. The time of `processes` and of this process does not count. Returns `None` if the system
    /// does not report the load.
    pub(crate) fn start(processes: &[u32]) -> Option<Self> {
        let mut processes = processes.to_vec();
        processes.push(std::process::id());
        Some(Self {
            before: ticks(&processes)?,
            processes,
            started: Instant::now(),
        })
    }

    /// Returns the number of cores that other programs and the hypervisor have used, or `None` if the time is too short
    /// to measure it. In short periods, the result
    /// can be negative, because the kernel counts the time of the machine and of a process in different ways.
    pub(crate) fn other_cores(&self) -> Option<f64> {
        let (machine, own) = ticks(&self.processes)?;
        let elapsed = self.started.elapsed();
        if elapsed < SHORTEST {
            return None;
        }
        let others =
            machine.checked_sub(self.before.0)? as f64 - own.checked_sub(self.before.1)? as f64;
        Some(others / ticks_per_second()? / elapsed.as_secs_f64())
    }
}

/// Returns the time of the machine and of the processes.
fn ticks(processes: &[u32]) -> Option<(u64, u64)> {
    let machine = machine_ticks(&std::fs::read_to_string("/proc/stat").ok()?)?;
    let mut own = 0;
    for process in processes {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        own += process_ticks(&stat)?;
    }
    Some((machine, own))
}

/// Parses the first line of `/proc/stat`. The result does not include interrupts, because the kernel may count the
/// network traffic of a measurement as interrupts.
fn machine_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    // The fields are user, nice, system, idle, iowait, irq, softirq and steal.
    Some(fields.first()? + fields.get(1)? + fields.get(2)? + fields.get(7).unwrap_or(&0))
}

/// Parses `/proc/PID/stat`: the time of a process and of its finished children.
fn process_ticks(stat: &str) -> Option<u64> {
    // The second field is the name of the program, which may contain spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first of these fields is the third of the line. The fields from the 14th are utime, stime, cutime, cstime.
    fields.get(11..15)?.iter().try_fold(0, |sum, field| {
        Some(sum + field.parse::<i64>().ok()?.max(0) as u64)
    })
}

#[cfg(target_os = "linux")]
fn ticks_per_second() -> Option<f64> {
    Some(rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(not(target_os = "linux"))]
fn ticks_per_second() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_machine_excludes_interrupts_and_includes_steal_time() {
        let stat = "cpu  100 20 3 5000 60 7 8 900 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(machine_ticks(stat), Some(100 + 20 + 3 + 900));
        assert_eq!(machine_ticks("intr 1 2 3"), None);
    }

    #[test]
    fn the_time_of_a_process_includes_its_finished_children() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 10 20 0 0 11 22 33 44 20 0 1 0 5";
        assert_eq!(process_ticks(stat), Some(11 + 22 + 33 + 44));
        assert_eq!(process_ticks("7 (short) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_work_of_this_process_does_not_count() {
        let processes = [std::process::id()];
        let before = ticks(&processes).unwrap();
        let mut work = 0u64;
        // Works until the kernel has counted a tick.
        while ticks(&processes).unwrap().1 == before.1 {
            work = work.wrapping_add(1);
        }
        let after = ticks(&processes).unwrap();
        assert!(after.0 >= before.0, "{before:?} {after:?} {work}");
        assert!(other_cores(Duration::from_millis(20)).is_some());
    }
}
