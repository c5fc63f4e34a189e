//! The futures that were ready and had to wait: who suffers from a stall.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use crate::slot::{between, lock};

/// Waits shorter than this are the usual business of a scheduler and not kept.
const KEPT: Duration = Duration::from_millis(1);

/// So many late polls are kept, the newest.
const MOST: usize = 4096;

static READY: AtomicIsize = AtomicIsize::new(0);
static LATE: Mutex<VecDeque<Wait>> = Mutex::new(VecDeque::new());

#[derive(Clone, Copy)]
struct Wait {
    woken: u64,
    polled: u64,
}

pub(crate) fn woken() {
    READY.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn dropped() {
    READY.fetch_sub(1, Ordering::Relaxed);
}

pub(crate) fn polled(woken: u64, now: u64) {
    READY.fetch_sub(1, Ordering::Relaxed);
    if between(woken, now) >= KEPT {
        let mut late = lock(&LATE);
        if late.len() == MOST {
            late.pop_front();
        }
        late.push_back(Wait { woken, polled: now });
    }
}

/// How many probed futures are woken and not polled yet.
pub(crate) fn ready() -> usize {
    // A poll may be counted before the wake that it answers.
    usize::try_from(READY.load(Ordering::Relaxed)).unwrap_or(0)
}

/// How many futures that were woken before `end` had to wait beyond `start`, and the longest
/// that one of them waited.
pub(crate) fn during(start: u64, end: u64) -> (usize, Duration) {
    let late = lock(&LATE);
    let hit = late
        .iter()
        .filter(|wait| wait.woken < end && wait.polled > start);
    hit.fold((0, Duration::ZERO), |(count, longest), wait| {
        let waited = between(wait.woken, wait.polled);
        (count + 1, longest.max(waited))
    })
}
