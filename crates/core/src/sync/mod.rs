//! The synchronization primitives of the modules that loom checks.
//!
//! They come from the standard library and from other crates. If the compiler gets `--cfg inflight_loom`,
//! loom controls them, and the module `models` explores the orders in which threads use them.

#[cfg(inflight_loom)]
pub(crate) mod modelled;

#[cfg(inflight_loom)]
pub(crate) use modelled::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, AtomicWaker, Mutex, MutexGuard, Receiver,
    Semaphore, SemaphoreGuardArc, Sender, bounded,
};

#[cfg(not(inflight_loom))]
pub(crate) use {
    async_channel::{Receiver, Sender, bounded},
    async_lock::{Semaphore, SemaphoreGuardArc},
    futures_util::task::AtomicWaker,
    std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize},
    std::sync::{Mutex, MutexGuard},
};
