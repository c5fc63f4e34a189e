//! How much a thread has computed: Linux tells it of any thread of the process, in a file.
//!
//! `schedstat` counts nanoseconds; where the kernel was built without it, `stat` counts ticks.
//! Reading files needs no `unsafe` and sends the thread no signal, so a stuck call is left alone.

use std::time::Duration;

/// A thread as the system knows it; empty where the system does not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadId(#[cfg(target_os = "linux")] i32);

#[cfg(target_os = "linux")]
impl ThreadId {
    pub(crate) fn current() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().get())
    }

    /// The number that the system's tools show.
    pub(crate) fn number(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }

    /// The time that the thread has spent on a processor since it began, or in the queue for one:
    /// on a busy machine, what computes waits its turn and computes all the same.
    pub(crate) fn runnable_time(self) -> Option<Duration> {
        let task = format!("/proc/self/task/{}", self.0);
        if let Ok(text) = std::fs::read_to_string(format!("{task}/schedstat")) {
            let mut fields = text.split_whitespace().map(str::parse::<u64>);
            let running = fields.next()?.ok()?;
            let queued = fields.next()?.ok()?;
            return Some(Duration::from_nanos(running + queued));
        }
        let text = std::fs::read_to_string(format!("{task}/stat")).ok()?;
        // The name in parentheses may hold anything; the fields after it are numbers.
        let fields = text.rsplit_once(')')?.1;
        let mut fields = fields.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        // USER_HZ is 100 on every architecture that Rust's Linux targets run on.
        Some(Duration::from_millis((user + system) * 10))
    }
}

#[cfg(not(target_os = "linux"))]
impl ThreadId {
    pub(crate) fn current() -> Self {
        Self()
    }

    pub(crate) fn number(self) -> Option<u32> {
        None
    }

    pub(crate) fn runnable_time(self) -> Option<Duration> {
        None
    }
}
