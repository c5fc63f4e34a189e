//! The processor time of a thread. Linux publishes it in a file for each thread.
//!
//! Reading files needs no `unsafe` and sends the thread no signal, so it does not interrupt a stuck
//! call.

use std::time::Duration;

/// The id that Linux has given to a thread. Empty on other systems.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadId(#[cfg(target_os = "linux")] i32);

/// How a thread has spent its time up to a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadUsage {
    /// Time on a processor. The time since the scheduler's last tick may be missing.
    running: Duration,
    /// Time in the queue for a processor. The kernel adds it when the thread starts to run.
    queued: Duration,
    /// How often the thread has left a processor to wait for something.
    waits: u64,
    /// Whether the thread runs now or is in the queue for a processor.
    runnable: bool,
}

impl ThreadUsage {
    /// Returns whether the thread has mostly computed since `then`, which was `length` ago.
    ///
    /// If it has not waited since, it must be runnable now. Otherwise it must have run at least as long
    /// as it waited.
    pub(crate) fn computed_since(&self, then: &Self, length: Duration) -> bool {
        if self.waits == then.waits {
            return self.runnable;
        }
        let queued = self.queued.saturating_sub(then.queued);
        // `queued` may contain queue time from before `then`, so at least a quarter of `length` counts as
        // time outside the queue.
        let outside_queue = length.saturating_sub(queued).max(length / 4);
        self.running.saturating_sub(then.running) * 2 >= outside_queue
    }
}

#[cfg(target_os = "linux")]
impl ThreadId {
    pub(crate) fn current() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().get())
    }

    /// Returns the thread id that tools such as `top` show.
    pub(crate) fn number(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }

    /// Returns how the thread has spent its time since it started.
    pub(crate) fn usage(self) -> Option<ThreadUsage> {
        let task = format!("/proc/self/task/{}", self.0);
        let status = std::fs::read_to_string(format!("{task}/status")).ok()?;
        let (waits, runnable) = parse_status(&status)?;
        let [running, queued] = self.times()?;
        Some(ThreadUsage {
            running,
            queued,
            waits,
            runnable,
        })
    }

    /// Returns how long the thread has been in the queue for a processor since it started.
    pub(crate) fn queued(self) -> Option<Duration> {
        self.times().map(|[_, queued]| queued)
    }

    /// Returns how long the thread has run, and how long it has been in the queue for a processor.
    fn times(self) -> Option<[Duration; 2]> {
        let schedstat = format!("/proc/self/task/{}/schedstat", self.0);
        let times = std::fs::read_to_string(schedstat).ok()?;
        let mut times = times.split_whitespace().map(str::parse);
        let mut next = || Some(Duration::from_nanos(times.next()?.ok()?));
        Some([next()?, next()?])
    }
}

/// Returns how often a thread has waited, and whether it is runnable now.
#[cfg(target_os = "linux")]
fn parse_status(status: &str) -> Option<(u64, bool)> {
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let count = field("voluntary_ctxt_switches:")?.trim().parse().ok()?;
    Some((count, field("State:")?.trim().starts_with('R')))
}

#[cfg(not(target_os = "linux"))]
impl ThreadId {
    pub(crate) fn current() -> Self {
        Self()
    }

    pub(crate) fn number(self) -> Option<u32> {
        None
    }

    pub(crate) fn usage(self) -> Option<ThreadUsage> {
        None
    }

    pub(crate) fn queued(self) -> Option<Duration> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn time_in_the_queue_is_neither_running_nor_waiting() {
        let ms = Duration::from_millis;
        let usage = |running, queued, waits, runnable| ThreadUsage {
            running: ms(running),
            queued: ms(queued),
            waits,
            runnable,
        };
        let then = usage(0, 0, 0, true);
        let computed = |now: ThreadUsage| now.computed_since(&then, ms(20));
        // The kernel has not updated the times yet.
        assert!(computed(usage(0, 0, 0, true)));
        assert!(!computed(usage(0, 0, 0, false)));
        assert!(computed(usage(4, 13, 1, true)));
        assert!(!computed(usage(1, 15, 1, true)));
        assert!(!computed(usage(1, 40, 2, true)));
    }

    #[test]
    fn parses_proc_status() {
        let status = "Name:\ta\nState:\tR (running)\nnonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t4\n";
        assert_eq!(parse_status(status), Some((4, true)));
        assert_eq!(parse_status(&status.replace('R', "S")), Some((4, false)));
        assert!(
            ThreadId::current()
                .usage()
                .is_some_and(|usage| usage.runnable)
        );
    }
}
