#![doc = include_str!("../README.md")]
//!
//! [Chapter 12 of the book](../../tutorial/ch12.html) finds a blocking call in a service.
//!
//! Give futures a label with [`FutureExt::probed`] and start a [`Probe`]. Its watchdog detects a poll that
//! lasts too long while the poll is still running. It reports the label, whether the thread computes or
//! waits, and how many other futures are ready and delayed. To find blocking tasks without a label, let the
//! probe watch a [`Heartbeat`] on their runtime: see [`ProbeBuilder::heartbeat`].
//!
//! ```
//! use std::sync::mpsc::channel;
//! use std::time::Duration;
//!
//! use inflight_probe::{Class, Event, FutureExt, Probe};
//!
//! let (sender, events) = channel();
//! let probe = Probe::builder()
//!     .threshold(Duration::from_millis(20))
//!     .start(move |event| {
//!         let _ = sender.send(event.clone());
//!     })?;
//! let release = std::sync::Barrier::new(2);
//! std::thread::scope(|scope| {
//!     // This blocks inside a poll, until the barrier opens.
//!     let stuck = async { release.wait() }.probed("barrier");
//!     scope.spawn(move || futures_lite::future::block_on(stuck));
//!     while let Ok(event) = events.recv() {
//!         if let Event::Stalled(stall) = event {
//!             assert_eq!(stall.label, "barrier");
//!             # #[cfg(target_os = "linux")]
//!             assert_eq!(stall.class, Class::Waits);
//!             break;
//!         }
//!     }
//!     release.wait();
//! });
//! # drop(probe);
//! # Ok::<(), inflight_core::Error>(())
//! ```
//!
//! # How it works
//!
//! Each thread has a slot with its current poll. A poll writes the slot with plain stores, and the
//! watchdog reads the slots of all threads. To find whether a stuck thread computes, the watchdog
//! compares the thread's processor time at two checks. Only Linux provides that time, in
//! `/proc/self/task`. The end of a stall is exact: if the watchdog has marked the poll, the thread
//! itself stores the time at which the poll ends. When the watchdog itself is late, it does not
//! attribute the delay to a poll: it reports a [pause of the machine](Event::MachinePaused).
//!
//! The report names the future by its label and the location of the call to [`FutureExt::probed`].
//!
//! # Traces
//!
//! A [`Recorder`] keeps the last polls of each thread, and the last stalls. It writes them as a trace for
//! [Perfetto](https://ui.perfetto.dev), on demand or whenever the probe reports a stall.
//!
//! # The line that is stuck
//!
//! With the feature `stacks`, and if you enable it with `ProbeBuilder::stacks`, the report also names
//! the innermost line of the program's own code: [`Stall::culprit`]. This works on Linux on
//! x86-64, for programs with line tables (`debug = "line-tables-only"` in the profile).
//!
//! The probe reads the stack of a waiting thread from `/proc` and sends the thread no signal. It
//! therefore interrupts no call, not even one with a time limit. Only a thread that has computed
//! since the last check, and runs at this moment, gets a signal: a real-time signal that the program
//! does not use. The signal's handler copies the registers and the stack up to the probed poll. The
//! handler stays installed. After the handler, the system restarts a call that the signal has
//! interrupted. A timer on the thread's processor time sends the signal, so that it does not arrive
//! after the thread has begun to wait. Without the feature, or without `ProbeBuilder::stacks`, the probe
//! sends no signal at all.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod assert;
mod cpu;
mod gather;
mod heartbeat;
mod latency;
#[cfg(feature = "tower")]
mod layer;
mod probe;
mod probed;
mod prometheus;
mod recorder;
mod report;
mod site;
mod slot;
mod stack;
#[cfg(all(
    feature = "stacks",
    target_os = "linux",
    target_pointer_width = "64",
    target_arch = "x86_64"
))]
mod stacks;
#[cfg(not(all(
    feature = "stacks",
    target_os = "linux",
    target_pointer_width = "64",
    target_arch = "x86_64"
)))]
#[path = "no_stacks.rs"]
mod stacks;
#[cfg(feature = "tokio-hooks")]
mod tokio_workers;
#[cfg(feature = "tracing")]
mod trace;
mod watchdog;

pub use assert::{Findings, NoStall, assert_no_stall};
pub use gather::{Exchanges, exchanges, gather, gather_stream};
pub use heartbeat::{Heartbeat, Lateness};
#[cfg(feature = "tower")]
pub use layer::{Layer, ProbedService};
pub use probe::{Probe, ProbeBuilder};
pub use probed::{FutureExt, Probed};
pub use recorder::Recorder;
pub use report::{Aftermath, Class, Event, LoopDelay, LoopThread, Stall};
pub use site::{PollStats, poll_stats};
pub use slot::unwatched;
pub use stack::{Frame, Stack};
#[cfg(feature = "tokio-hooks")]
pub use tokio_workers::TokioWorkers;
