//! The current poll of each thread, for the watchdog to read.
//!
//! A poll writes a few atomics into its own thread's slot and takes no lock, so that the threads of
//! a runtime share nothing.

use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cpu::ThreadId;

#[cfg(not(target_os = "linux"))]
static EPOCH: std::sync::LazyLock<std::time::Instant> =
    std::sync::LazyLock::new(std::time::Instant::now);
static SLOTS: Mutex<Vec<Arc<Slot>>> = Mutex::new(Vec::new());

thread_local! {
    static SLOT: OnceCell<Owner> = const { OnceCell::new() };
    static STARTED: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
}

/// Returns the nanoseconds of the clock of `Instant`, which is never 0. It avoids the arithmetic of
/// `Instant`, because each poll reads the clock twice.
#[cfg(target_os = "linux")]
pub(crate) fn nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Returns the nanoseconds since the first call, plus one, as 0 means "never".
#[cfg(not(target_os = "linux"))]
pub(crate) fn nanos() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1
}

/// Returns [`nanos`] rounded up to the system's tick of some milliseconds, at a fraction of the cost.
#[cfg(target_os = "linux")]
pub(crate) fn coarse() -> u64 {
    use rustix::time::{ClockId, clock_getres, clock_gettime};
    static TICK: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        let tick = clock_getres(ClockId::MonotonicCoarse);
        tick.tv_nsec.cast_unsigned()
    });
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned() + *TICK
}

/// Returns [`nanos`], because the system has no coarse clock.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse() -> u64 {
    nanos()
}

/// How many futures in each [`WINDOW`], on each thread, are timed without exception. It is enough for
/// a gather that starts hundreds of futures at once, so that a report counts all that are delayed.
const ALWAYS_TIMED: u32 = 512;

/// A quarter of a second, in nanoseconds.
const WINDOW: u64 = 250_000_000;

/// One in this many of the further futures is timed.
const SAMPLE_RATE: u32 = 32;

/// Returns whether to time a future that starts on this thread at this [`coarse`] time. When
/// thousands start in a second, reading the clock would be most of their work.
pub(crate) fn is_timed(now: u64) -> bool {
    let window = now / WINDOW;
    STARTED.with(|begun| {
        let n = match begun.get() {
            (last, n) if last == window => n,
            _ => 0,
        };
        begun.set((window, n.wrapping_add(1)));
        n < ALWAYS_TIMED || n.is_multiple_of(SAMPLE_RATE)
    })
}

/// Returns the time between two values of [`nanos`].
pub(crate) fn between(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

/// Locks a mutex, also after a panic: what this crate locks stays valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slot of one thread.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) thread: ThreadId,
    pub(crate) name: Option<String>,
    started: AtomicU64,
    site: AtomicUsize,
    root: AtomicUsize,
    base: AtomicUsize,
    ended: AtomicBool,
}

/// The poll that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Polling {
    /// When the outermost probed poll began.
    pub(crate) started: u64,
    /// The site of the innermost probed poll.
    pub(crate) site: usize,
    /// The site of the outermost probed poll.
    pub(crate) root: usize,
    /// An address on the thread's stack, in the frame that made the outermost poll. The frames of
    /// the poll lie between this address and the stack pointer.
    pub(crate) base: usize,
}

impl Slot {
    /// Returns the thread's current poll. `None` between polls, and if the poll changes during the
    /// read.
    pub(crate) fn polling(&self) -> Option<Polling> {
        let started = self.started.load(Ordering::Acquire);
        let site = self.site.load(Ordering::Acquire);
        let root = self.root.load(Ordering::Acquire);
        let base = self.base.load(Ordering::Acquire);
        let same = self.started.load(Ordering::Acquire) == started;
        (started != 0 && same).then_some(Polling {
            started,
            site,
            root,
            base,
        })
    }

    fn set(&self, polling: Option<Polling>) {
        // The time is reset first, so that no reader combines a new time with an old site.
        self.started.store(0, Ordering::Release);
        if let Some(polling) = polling {
            self.site.store(polling.site, Ordering::Release);
            self.root.store(polling.root, Ordering::Release);
            self.base.store(polling.base, Ordering::Release);
            let started = polling.started;
            self.started.store(started, Ordering::Release);
        }
    }
}

/// Removes the slot from the list when its thread ends.
struct Owner(Arc<Slot>);

impl Owner {
    fn new() -> Self {
        let slot = Arc::new(Slot {
            thread: ThreadId::current(),
            name: std::thread::current().name().map(str::to_owned),
            started: AtomicU64::new(0),
            site: AtomicUsize::new(0),
            root: AtomicUsize::new(0),
            base: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        lock(&SLOTS).push(slot.clone());
        Self(slot)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

/// Returns the slots of all threads that have polled and have not ended.
pub(crate) fn all() -> Vec<Arc<Slot>> {
    let mut slots = lock(&SLOTS);
    slots.retain(|slot| !slot.ended.load(Ordering::Acquire));
    slots.clone()
}

/// A guard for a poll on this thread, which restores the outer poll when dropped.
pub(crate) struct PollGuard(Option<Polling>);

impl PollGuard {
    pub(crate) fn new(started: u64, site: usize, base: usize) -> Self {
        let inside = |around: Option<Polling>| match around {
            Some(around) => Polling { site, ..around },
            None => Polling {
                started,
                site,
                root: site,
                base,
            },
        };
        Self(swap(|around| Some(inside(around))))
    }
}

impl Drop for PollGuard {
    fn drop(&mut self) {
        swap(|_| self.0);
    }
}

fn swap(next: impl FnOnce(Option<Polling>) -> Option<Polling>) -> Option<Polling> {
    // A thread that is ending no longer has a slot, so its polls are not seen.
    SLOT.try_with(|mine| {
        let slot = &mine.get_or_init(Owner::new).0;
        let before = slot.polling();
        slot.set(next(before));
        before
    })
    .unwrap_or(None)
}
