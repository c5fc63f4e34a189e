//! How much a thread has computed: Linux tells it of any thread of the process, in a file.
//!
//! `schedstat` counts nanoseconds; where the kernel was built without it, `stat` counts ticks.
//! Reading files needs no `unsafe` and sends the thread no signal, so a stuck call is left alone.

use std::time::Duration;

/// A thread as the system knows it; empty where the system does not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadId(#[cfg(target_os = "linux")] i32);

/// What a thread has done up to a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    /// On a processor. What came since the scheduler's last tick may be missing.
    running: Duration,
    /// In the queue for one. The time is added when the thread gets its turn.
    queued: Duration,
    /// How often it has left a processor to wait for something.
    waits: u64,
    /// It runs now, or stands in the queue.
    runnable: bool,
}

impl Past {
    /// Whether it has computed from then till now, a time of this length: it has not waited once, or
    /// less than it ran. Time in the queue for a processor is neither.
    pub(crate) fn computed_since(&self, then: &Self, length: Duration) -> bool {
        if self.waits == then.waits {
            return self.runnable;
        }
        let queued = self.queued.saturating_sub(then.queued);
        // Some of that may have been before.
        let own = length.saturating_sub(queued).max(length / 4);
        self.running.saturating_sub(then.running) * 2 >= own
    }
}

#[cfg(target_os = "linux")]
impl ThreadId {
    pub(crate) fn current() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().get())
    }

    /// The number that the system's tools show.
    pub(crate) fn number(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }

    /// What the thread has done since it began.
    pub(crate) fn past(self) -> Option<Past> {
        let task = format!("/proc/self/task/{}", self.0);
        let status = std::fs::read_to_string(format!("{task}/status")).ok()?;
        let (waits, runnable) = waits(&status)?;
        let past = |running, queued| Past {
            running,
            queued,
            waits,
            runnable,
        };
        if let Ok(text) = std::fs::read_to_string(format!("{task}/schedstat")) {
            let fields = text.split_whitespace().map(str::parse::<u64>);
            let mut times = fields.map_while(Result::ok).map(Duration::from_nanos);
            return Some(past(times.next()?, times.next()?));
        }
        let text = std::fs::read_to_string(format!("{task}/stat")).ok()?;
        // The name in parentheses may hold anything; the fields after it are numbers.
        let fields = text.rsplit_once(')')?.1;
        let mut fields = fields.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        // USER_HZ is 100 on every architecture that Rust's Linux targets run on.
        let running = Duration::from_millis((user + system) * 10);
        Some(past(running, Duration::ZERO))
    }
}

/// How often a thread has waited, and whether it is runnable now.
#[cfg(target_os = "linux")]
fn waits(status: &str) -> Option<(u64, bool)> {
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let times = field("voluntary_ctxt_switches:")?.trim().parse().ok()?;
    Some((times, field("State:")?.trim().starts_with('R')))
}

#[cfg(not(target_os = "linux"))]
impl ThreadId {
    pub(crate) fn current() -> Self {
        Self()
    }

    pub(crate) fn number(self) -> Option<u32> {
        None
    }

    pub(crate) fn past(self) -> Option<Past> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_no_sign_of_either() {
        let ms = Duration::from_millis;
        let past = |running, queued, waits, runnable| Past {
            running: ms(running),
            queued: ms(queued),
            waits,
            runnable,
        };
        let then = past(0, 0, 0, true);
        let computed = |now: Past| now.computed_since(&then, ms(20));
        // The times are not there yet.
        assert!(computed(past(0, 0, 0, true)));
        assert!(!computed(past(0, 0, 0, false)));
        assert!(computed(past(4, 13, 1, true)));
        assert!(!computed(past(1, 15, 1, true)));
        assert!(!computed(past(1, 40, 2, true)));
    }

    #[test]
    fn what_linux_writes_is_understood() {
        let status = "Name:\ta\nState:\tR (running)\nnonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t4\n";
        assert_eq!(waits(status), Some((4, true)));
        assert_eq!(waits(&status.replace('R', "S")), Some((4, false)));
        assert!(ThreadId::current().past().is_some_and(|past| past.runnable));
    }
}
