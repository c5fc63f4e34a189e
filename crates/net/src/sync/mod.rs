//! The synchronization primitives of the pool, which loom checks.
//!
//! If the compiler gets `--cfg inflight_loom`, loom controls them.

#[cfg(inflight_loom)]
pub(crate) mod oneshot;

#[cfg(inflight_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

#[cfg(not(inflight_loom))]
pub(crate) use {
    futures_channel::oneshot,
    std::sync::{Mutex, MutexGuard},
};
