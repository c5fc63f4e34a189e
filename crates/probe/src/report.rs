//! What is told of a stall.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stack::{Frame, Stack};

/// What the stuck thread does with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// It computes: it has not waited at all, or ran for as long. When many want the processor, it may
    /// have stood in the queue for most of the time, which is neither.
    Computes,
    /// It waits: for the network, a disk, a lock, a sleep.
    Waits,
    /// The system does not tell what other threads do. So it is everywhere but on Linux.
    Unknown,
}

impl Class {
    /// As it is written in outputs: `computes`, `waits` or `unknown`.
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

/// A poll that took longer than the threshold, as it is, or as it was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stall {
    /// The label of the innermost probed future that the thread polls.
    pub label: &'static str,
    /// Where the future was given its label.
    pub location: &'static Location<'static>,
    /// How long the poll has lasted, without the time in which the whole process was stopped. As the
    /// watchdog only looks now and then, that of a stall that is over may be short by its pace.
    pub lasted: Duration,
    /// What the thread does.
    pub class: Class,
    /// The thread's name.
    pub thread: Option<String>,
    /// The thread's number in the system's tools.
    pub thread_id: Option<u32>,
    /// How many probed futures, of the whole process, were woken and waited for their poll when
    /// the stall was seen.
    pub ready: usize,
    /// How many earlier stalls of the same place were not told, as the last one that was told
    /// was too recent.
    pub folded: u64,
    /// Where in its code the thread was when the stall was seen. `None` unless
    /// [asked for](crate#the-line-that-is-stuck), and where it could not be read.
    pub stack: Option<Stack>,
    /// What it came to, once it is over.
    pub aftermath: Option<Aftermath>,
}

/// Who suffered from a stall, counted when it was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Aftermath {
    /// How many polls of probed futures came late: asked for before the stall ended, done after
    /// it began, at least a millisecond between.
    pub late: usize,
    /// The longest that one of them waited.
    pub longest_wait: Duration,
}

impl Stall {
    /// The innermost line of the program's own code that the thread was in: see
    /// [`Stack::culprit`].
    pub fn culprit(&self) -> Option<&Frame> {
        self.stack.as_ref()?.culprit()
    }

    /// The stall as a JSON object, for a line of its own. Times are in seconds.
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
            None => write!(f, "; ready and waiting: {}", self.ready),
            Some(after) => {
                let longest = after.longest_wait.as_millis();
                write!(f, "; came late: {}, by up to {longest} ms", after.late)
            }
        }
    }
}

/// What a [`Probe`](crate::Probe) tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A poll has exceeded the threshold and is still stuck.
    Stalled(Stall),
    /// That poll is over.
    Recovered(Stall),
    /// The watchdog itself was late by this much: the machine paused, or the process was
    /// stopped. Polls are not blamed for that time.
    MachinePaused(Duration),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(stall) | Self::Recovered(stall) => stall.fmt(f),
            Self::MachinePaused(late) => {
                write!(f, "the machine paused for {} ms", late.as_millis())
            }
        }
    }
}

impl Event {
    /// The event as a JSON object, for a line of its own. Times are in seconds.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Stalled(stall) | Self::Recovered(stall) => stall.to_json(),
            Self::MachinePaused(late) => {
                json!({ "event": "machine_paused", "lasted": late.as_secs_f64() })
            }
        }
    }
}
