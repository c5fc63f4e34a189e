//! Finds what stalls an event loop, on any runtime, while it is still stuck.
//!
//! An async function that blocks, or computes for long, keeps its thread from everybody else.
//! Give the futures that may do so a label, and start a [`Probe`]: its watchdog sees a poll that
//! lasts too long, from outside and while it lasts, and tells which it is, whether the thread
//! computes or waits, and how many others are ready and held up.
//!
//! ```
//! use std::sync::mpsc::channel;
//! use std::time::Duration;
//!
//! use inflight_probe::{Class, Event, FutureExt, Probe};
//!
//! let (tell, told) = channel();
//! let probe = Probe::builder()
//!     .threshold(Duration::from_millis(20))
//!     .start(move |event| {
//!         let _ = tell.send(event.clone());
//!     })?;
//! let release = std::sync::Barrier::new(2);
//! std::thread::scope(|scope| {
//!     // This blocks inside a poll, until the barrier opens.
//!     let stuck = async { release.wait() }.probed("barrier");
//!     scope.spawn(move || futures_lite::future::block_on(stuck));
//!     while let Ok(event) = told.recv() {
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
//! # How it looks
//!
//! Each thread has a slot with the poll that it is in; a poll writes it with plain stores and the
//! watchdog reads the slots of all. Whether a stuck thread computes is told by how much processor
//! time it had between two looks, which Linux says in `/proc/self/task` and which other systems
//! do not say here. What a watchdog sees late because it was late itself, it does not blame on a poll:
//! that is a [pause of the machine](Event::MachinePaused).
//!
//! The report names the future by its label and the place of [`FutureExt::probed`].
//!
//! # The line that is stuck
//!
//! With the feature `stacks`, and where the probe is told so (`ProbeBuilder::stacks`), the report
//! names the innermost line of the program's own code, too: [`Stall::culprit`]. This is for Linux, on
//! x86-64 and AArch64, and for programs with line tables (`debug = "line-tables-only"` in the profile).
//!
//! The stack of a thread that waits is read from `/proc`, and the thread gets no signal: no call of
//! its is interrupted, and none fails that has a time limit. Only a thread that has computed rather
//! than waited since the last look, and runs at this moment, gets one: a real-time signal that the program
//! does not use. Its handler copies the registers and the stack up to the probed poll, and is left
//! installed; calls are restarted after it. It is sent by a timer on the thread's own time on a
//! processor, so that it does not come when the thread has begun to wait instead.
//! Without the feature, or without being told, the probe sends no signal at all.

mod assert;
mod cpu;
mod gather;
mod heartbeat;
mod late;
mod probe;
mod probed;
mod prometheus;
mod report;
mod site;
mod slot;
mod stack;
#[cfg(all(
    feature = "stacks",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod stacks;
#[cfg(not(all(
    feature = "stacks",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "no_stacks.rs"]
mod stacks;
#[cfg(feature = "tracing")]
mod trace;
mod watchdog;

pub use assert::{Findings, NoStall, assert_no_stall};
pub use gather::{Exchanges, exchanges, gather, gather_stream};
pub use heartbeat::{Heartbeat, Lateness};
pub use probe::{Probe, ProbeBuilder};
pub use probed::{FutureExt, Probed};
pub use report::{Aftermath, Class, Event, Stall};
pub use site::{PollStats, poll_stats};
pub use stack::{Frame, Stack};
