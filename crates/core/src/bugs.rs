//! Bugs that the simulation plants, to show that it would find them.
//!
//! [`is_planted`] is `false` and costs nothing unless the compiler gets `--cfg inflight_bugs`.

use std::sync::atomic::{AtomicU8, Ordering};

/// A bug that can be planted. For an example, see [`plant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A semaphore grants a permit to its last waiter and does not wake it.
    LostWake = 1,
    /// A waiter that is dropped after it was granted a permit keeps the permit.
    LeakedPermit,
    /// The pool does not check whether a connection has unread bytes.
    LeftoverBytes,
    /// The session retries requests that must not be repeated.
    RetriedUnrepeatable,
    /// A request that waits for a permit has no deadline.
    DeadlineInQueue,
    /// A redirect to another origin keeps the credentials.
    KeptCredentials,
    /// A body that ends early counts as complete.
    TruncatedBody,
    /// A gather returns two results for one input.
    DuplicateResult,
    /// After `close`, idle connections stay open.
    UnclosedConnection,
    /// After a minute, the rate has no limit.
    RateAfterJump,
}

impl Bug {
    /// All bugs.
    pub const ALL: [Self; 10] = [
        Self::LostWake,
        Self::LeakedPermit,
        Self::LeftoverBytes,
        Self::RetriedUnrepeatable,
        Self::DeadlineInQueue,
        Self::KeptCredentials,
        Self::TruncatedBody,
        Self::DuplicateResult,
        Self::UnclosedConnection,
        Self::RateAfterJump,
    ];
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants a bug in all sessions of the process, instead of the one that was planted before.
///
/// For an example, see the program of `inflight-simulation`.
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
}

/// Returns whether the bug is planted.
///
/// For an example, see the uses in this crate.
#[inline(always)]
pub fn is_planted(bug: Bug) -> bool {
    cfg!(inflight_bugs) && PLANTED.load(Ordering::Relaxed) == bug as u8
}
