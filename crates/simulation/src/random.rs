//! Random choices of a plan.

use std::time::Duration;

use fastrand::Rng;

/// The random numbers of one plan.
pub(crate) struct Random(Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Returns `true` in about `percent` of 100 calls.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.0.u32(..100) < percent
    }

    /// Returns a number from `low` up to and including `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high)
    }

    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        self.0.usize(low..=high)
    }

    /// Returns a number of milliseconds from `low` up to and including `high`.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.0.usize(..len)
    }

    /// Returns the value of `make` in about `percent` of 100 calls.
    pub(crate) fn maybe<T>(
        &mut self,
        percent: u32,
        make: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }
}
