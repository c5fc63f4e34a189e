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
//! do not say here. The thread is sent no signal and is never stopped, so no call of its is
//! interrupted. What a watchdog sees late because it was late itself, it does not blame on a poll:
//! that is a [pause of the machine](Event::MachinePaused).
//!
//! The report names the future by its label and the place of [`FutureExt::probed`], not the line
//! within it that is stuck.

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
