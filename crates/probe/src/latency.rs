//! Scheduling latency: how many probed futures are ready, and which polls were late.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use crate::slot::{between, lock};

/// The shortest wait that is recorded. Shorter waits are normal scheduling.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// How many late polls are kept; the oldest are dropped first.
const MAX_KEPT: usize = 4096;

/// How many timed futures have been woken and not polled or dropped since.
static READY: AtomicIsize = AtomicIsize::new(0);
static LATE_POLLS: Mutex<VecDeque<LatePoll>> = Mutex::new(VecDeque::new());

#[derive(Clone, Copy)]
struct LatePoll {
    woken: u64,
    polled: u64,
}

/// Counts a timed future as ready, because it was woken.
pub(crate) fn woken() {
    READY.fetch_add(1, Ordering::Relaxed);
}

/// Counts a ready future as dropped.
pub(crate) fn dropped() {
    READY.fetch_sub(1, Ordering::Relaxed);
}

/// Counts a ready future as polled, and records the poll if it was late.
pub(crate) fn polled(woken: u64, now: u64) {
    READY.fetch_sub(1, Ordering::Relaxed);
    if between(woken, now) >= MIN_WAIT {
        let mut late = lock(&LATE_POLLS);
        if late.len() == MAX_KEPT {
            late.pop_front();
        }
        late.push_back(LatePoll { woken, polled: now });
    }
}

/// Returns how many probed futures have been woken and not polled since.
pub(crate) fn ready() -> usize {
    // A poll may be counted before its wake, so the count may be negative for a moment.
    usize::try_from(READY.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Counts the late polls whose future was woken before `end` and polled after `start`. Also returns the
/// longest time between such a wake and its poll.
pub(crate) fn late_polls(start: u64, end: u64) -> (usize, Duration) {
    let late = lock(&LATE_POLLS);
    let hit = late
        .iter()
        .filter(|wait| wait.woken < end && wait.polled > start);
    hit.fold((0, Duration::ZERO), |(count, longest), wait| {
        let waited = between(wait.woken, wait.polled);
        (count + 1, longest.max(waited))
    })
}
