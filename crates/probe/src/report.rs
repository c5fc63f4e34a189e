//! The events that a probe reports.

use std::fmt;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use inflight_core::Error;
use serde_json::{Value, json};

use crate::stack::{Frame, Stack};

/// Whether a stuck thread computes or waits.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The thread computes: while the watchdog has watched the poll or the late tick, the thread has not
    /// waited, or has waited for at most as long as it ran. Time in the queue for a processor counts as
    /// neither.
    Computes,
    /// The thread waits: for the network, a disk, a lock or a sleep.
    Waits,
    /// The system does not provide the times of other threads. This is the class on all systems but
    /// Linux.
    Unknown,
}

impl Class {
    /// Returns the name used in outputs: `computes`, `waits` or `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Computes => "computes",
            Self::Waits => "waits",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A poll that exceeded the threshold.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stall {
    /// The label of the innermost probed future that the thread polled.
    pub label: &'static str,
    /// The location of the call that labeled the future.
    pub location: &'static Location<'static>,
    /// How long the poll has lasted, without [pauses of the machine](Event::MachinePaused). In
    /// [`Event::Stalled`], this is the time until the stall was detected. In [`Event::Recovered`], it
    /// is the time until the poll ended. For a future that is [not
    /// timed](crate::FutureExt::probed), this is exact to the tick of the system's coarse clock.
    pub lasted: Duration,
    /// Whether the thread computes or waits.
    pub class: Class,
    /// The thread's name.
    pub thread: Option<String>,
    /// The thread's id, as the system's tools show it.
    pub thread_id: Option<u32>,
    /// How many probed futures of the whole process had been woken and waited for their poll when
    /// the stall was detected.
    pub ready: usize,
    /// How many earlier stalls at the same location, and with the same line of the
    /// [culprit](Self::culprit), were not reported, because they followed too soon after the last
    /// report.
    pub folded: u64,
    /// The thread's stack when the stall was detected. `None` if [not
    /// enabled](crate#the-line-that-is-stuck) or if the stack could not be read.
    pub stack: Option<Stack>,
    /// The effects of the stall. `None` while it lasts.
    pub aftermath: Option<Aftermath>,
    /// The number of the stall in the probe's recorder.
    pub(crate) number: Option<StallNumber>,
}

/// Identifies a stall or a delay in its recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StallNumber(pub(crate) u64);

/// The effects of a stall on other futures, counted when it was over.
///
/// ```
/// use inflight_probe::Event;
///
/// /// Prints how many polls a stall delayed.
/// fn print(event: &Event) {
///     if let Event::Recovered(stall) = event
///         && let Some(aftermath) = stall.aftermath
///     {
///         println!("{}: {} late polls", stall.label, aftermath.late);
///     }
/// }
/// # print(&Event::EventsLost(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Aftermath {
    /// How many polls of probed futures were late: woken before the stall ended, polled after it
    /// began, and at least a millisecond after the wake.
    pub late: usize,
    /// The longest time from the wake to the poll, of these polls.
    pub longest_wait: Duration,
}

impl Stall {
    /// Returns the innermost frame of the program's own code: see [`Stack::culprit`].
    pub fn culprit(&self) -> Option<&Frame> {
        self.stack.as_ref()?.culprit()
    }

    /// Returns the stall as a JSON object. Times are in seconds.
    pub fn to_json(&self) -> Value {
        json!({
            "event": if self.aftermath.is_some() { "stalled" } else { "stall" },
            "label": self.label,
            "file": self.location.file(),
            "line": self.location.line(),
            "lasted": self.lasted.as_secs_f64(),
            "class": self.class.as_str(),
            "thread": self.thread,
            "thread_id": self.thread_id,
            "ready": self.ready,
            "folded": self.folded,
            "at": self.culprit().map(Frame::to_json),
            "stack": self.stack.as_ref().map(Stack::to_json),
            "late": self.aftermath.map(|after| after.late),
            "longest_wait": self.aftermath.map(|after| after.longest_wait.as_secs_f64()),
        })
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match (self.aftermath.is_some(), self.class) {
            (false, Class::Computes) => "has computed for",
            (false, Class::Waits) => "has waited for",
            (false, Class::Unknown) => "has been stuck for",
            (true, Class::Computes) => "computed for",
            (true, Class::Waits) => "waited for",
            (true, Class::Unknown) => "was stuck for",
        };
        let (label, location, lasted) = (self.label, self.location, self.lasted.as_millis());
        write!(f, "{label} ({location}) {verb} {lasted} ms in one poll")?;
        if let Some(thread) = &self.thread {
            write!(f, " on thread {thread}")?;
        }
        if let Some(frame) = self.culprit() {
            write!(f, ", in {frame}")?;
        }
        if self.folded > 0 {
            write!(f, " (and {} times before)", self.folded)?;
        }
        match self.aftermath {
            None => write!(f, "; futures ready for a poll: {}", self.ready),
            Some(after) => {
                let longest = after.longest_wait.as_millis();
                write!(f, "; late polls: {}, by up to {longest} ms", after.late)
            }
        }
    }
}

/// A tick of a heartbeat that is late by more than the threshold: see
/// [`ProbeBuilder::heartbeat`](crate::ProbeBuilder::heartbeat).
///
/// For an example, see [`ProbeBuilder::heartbeat`](crate::ProbeBuilder::heartbeat).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoopDelay {
    /// How late the tick is, without [pauses of the machine](Event::MachinePaused). In
    /// [`Event::LoopDelayed`], this is the time until the delay was detected. In
    /// [`Event::LoopResumed`], it is the time until the tick arrived.
    pub lasted: Duration,
    /// The threads that have run the heartbeat. A thread is missing if it is in a stalled poll with a
    /// label, because the probe reports that stall separately. Threads that have ended are missing too,
    /// and so are threads in tokio's `block_in_place` if the probe [reads
    /// stacks](crate#the-line-that-is-stuck). Threads with a [culprit](LoopThread::culprit) come first.
    ///
    /// On a runtime with one worker thread, the list contains the late thread. On a runtime with
    /// several, a thread without a culprit may be idle, and the list lacks threads that have never run
    /// the heartbeat.
    ///
    /// On a tokio runtime with the hooks of `TokioWorkers` (feature `tokio-hooks`), the list lacks parked
    /// workers, and may be empty. If the heartbeat has these workers (`Heartbeat::workers`), the list also
    /// contains workers that have never run the heartbeat. A worker that has neither parked nor run the
    /// heartbeat yet is missing.
    pub threads: Vec<LoopThread>,
    /// How many earlier delays with the same line of the first culprit were not reported, because they
    /// followed too soon after the last report.
    pub folded: u64,
    /// Whether the tick has arrived.
    pub is_over: bool,
    /// The number of the delay in the probe's recorder.
    pub(crate) number: Option<StallNumber>,
}

/// A thread that has run a heartbeat, as it was when the heartbeat was late.
///
/// For an example, see [`ProbeBuilder::heartbeat`](crate::ProbeBuilder::heartbeat).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoopThread {
    /// The thread's name.
    pub name: Option<String>,
    /// The thread's id, as the system's tools show it.
    pub id: Option<u32>,
    /// Whether the thread computes or waits.
    pub class: Class,
    /// The thread's stack. `None` if [not enabled](crate#the-line-that-is-stuck) or if the stack
    /// could not be read.
    pub stack: Option<Stack>,
}

impl LoopThread {
    /// Returns the innermost frame of the program's own code: see [`Stack::culprit`].
    pub fn culprit(&self) -> Option<&Frame> {
        self.stack.as_ref()?.culprit()
    }

    fn to_json(&self) -> Value {
        json!({
            "thread": self.name,
            "thread_id": self.id,
            "class": self.class.as_str(),
            "at": self.culprit().map(Frame::to_json),
            "stack": self.stack.as_ref().map(Stack::to_json),
        })
    }
}

impl fmt::Display for LoopThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("?");
        match self.class {
            Class::Computes => write!(f, "thread {name} computes")?,
            Class::Waits => write!(f, "thread {name} waits")?,
            Class::Unknown => write!(f, "thread {name}")?,
        }
        match self.culprit() {
            Some(frame) => write!(f, ", in {frame}"),
            None => Ok(()),
        }
    }
}

impl LoopDelay {
    /// Returns the culprit of the first thread: see [`LoopThread::culprit`].
    pub fn culprit(&self) -> Option<&Frame> {
        self.threads.first()?.culprit()
    }

    pub(crate) fn to_json(&self) -> Value {
        let threads: Vec<_> = self.threads.iter().map(LoopThread::to_json).collect();
        json!({
            "event": if self.is_over { "loop_resumed" } else { "loop_delayed" },
            "lasted": self.lasted.as_secs_f64(),
            "folded": self.folded,
            "threads": threads,
        })
    }
}

impl fmt::Display for LoopDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_over { "was" } else { "has been" };
        let lasted = self.lasted.as_millis();
        write!(f, "the event loop {verb} late for {lasted} ms")?;
        if self.folded > 0 {
            write!(f, " (and {} times before)", self.folded)?;
        }
        for thread in &self.threads {
            write!(f, "; {thread}")?;
        }
        Ok(())
    }
}

/// An event that a [`Probe`](crate::Probe) reports.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A poll has exceeded the threshold and is still stuck.
    Stalled(Stall),
    /// A stuck poll is over.
    Recovered(Stall),
    /// The watchdog itself was late by this much: the machine paused, or the process was stopped.
    /// This time does not count as part of a poll.
    MachinePaused(Duration),
    /// A tick of a heartbeat is late by more than the threshold. The probe does not report the tick if
    /// each thread that [`LoopDelay::threads`] could contain is in a stalled poll with a label.
    LoopDelayed(LoopDelay),
    /// A late tick has arrived.
    LoopResumed(LoopDelay),
    /// The probe has dropped this many events, because the listener took too long and its queue was
    /// full. If the start of a stall was dropped, its end is not reported either.
    EventsLost(u64),
    /// The probe has written a trace of a stall or delay to this file: see
    /// [`Recorder::write_on_stall`](crate::Recorder::write_on_stall).
    TraceWritten(PathBuf),
    /// The probe could not write a trace. The error names the file.
    TraceFailed(Arc<Error>),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(stall) | Self::Recovered(stall) => stall.fmt(f),
            Self::MachinePaused(late) => {
                write!(f, "the machine paused for {} ms", late.as_millis())
            }
            Self::LoopDelayed(delay) | Self::LoopResumed(delay) => delay.fmt(f),
            Self::EventsLost(count) => {
                write!(f, "{count} events were lost, because the listener is slow")
            }
            Self::TraceWritten(path) => write!(f, "trace written to {}", path.display()),
            Self::TraceFailed(error) => error.fmt(f),
        }
    }
}

impl Event {
    /// Returns the event as a JSON object. Times are in seconds.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Stalled(stall) | Self::Recovered(stall) => stall.to_json(),
            Self::MachinePaused(late) => {
                json!({ "event": "machine_paused", "lasted": late.as_secs_f64() })
            }
            Self::LoopDelayed(delay) | Self::LoopResumed(delay) => delay.to_json(),
            Self::EventsLost(count) => json!({ "event": "events_lost", "count": count }),
            Self::TraceWritten(path) => {
                json!({ "event": "trace_written", "path": path.to_string_lossy() })
            }
            Self::TraceFailed(error) => {
                json!({ "event": "trace_failed", "error": error.to_string() })
            }
        }
    }
}
