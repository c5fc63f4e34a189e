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
    /// The current [`WINDOW`], and how many probed futures this thread has started in it.
    static STARTED: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
}

/// Returns the time of the clock that `Instant` uses, in nanoseconds. The result is never 0. Avoids the
/// arithmetic of `Instant`, because each timed poll reads the clock twice.
#[cfg(target_os = "linux")]
pub(crate) fn nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Returns the nanoseconds since the first call, plus one, because 0 means "never".
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

/// How many futures each thread times without exception in each [`WINDOW`]. This is enough for a gather
/// that starts hundreds of futures at once, so a report counts all of its delayed futures.
const ALWAYS_TIMED: u32 = 512;

/// A quarter of a second, in nanoseconds.
const WINDOW: u64 = 250_000_000;

/// After the first [`ALWAYS_TIMED`] futures of a window, one in this many is timed.
const SAMPLE_RATE: u32 = 32;

/// Returns whether to time a future that starts on this thread at this [`coarse`] time. If thousands of
/// futures start per second, reading the clock would be most of their cost.
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

/// Locks a mutex, even if a thread has panicked while it held the lock. The data behind the locks of
/// this crate stays valid in that case.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slot of one thread, which holds the thread's current poll.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) thread: ThreadId,
    pub(crate) name: Option<String>,
    /// The end of the thread's outermost poll.
    pub(crate) end: EndTime,
    started: AtomicU64,
    site: AtomicUsize,
    root: AtomicUsize,
    base: AtomicUsize,
    ended: AtomicBool,
    /// Whether the thread has reported through a hook that it waits for work.
    pub(crate) parked: AtomicBool,
    /// The id of the worker that the thread runs, or 0 if it has registered as none.
    #[cfg(feature = "tokio-hooks")]
    pub(crate) worker: AtomicU64,
}

/// The time at which a watched poll or tick ended. A watchdog marks the poll or tick by its start time.
/// The thread stores the time only at the end of a marked one, so this costs other polls nothing.
#[derive(Debug, Default)]
pub(crate) struct EndTime {
    /// The start of the poll or tick that a watchdog marked last.
    watched: AtomicU64,
    ended: AtomicU64,
}

impl EndTime {
    /// Marks the poll or tick that began at `started`, so that its end is stored.
    pub(crate) fn watch(&self, started: u64) {
        if self.watched.load(Ordering::Relaxed) != started {
            self.ended.store(0, Ordering::Relaxed);
            self.watched.store(started, Ordering::Release);
        }
    }

    /// Ends the poll or tick that began at `started`. Stores the time if a watchdog has marked it.
    pub(crate) fn finish(&self, started: u64) {
        if self.watched.load(Ordering::Relaxed) == started {
            self.store_now();
        }
    }

    #[cold]
    fn store_now(&self) {
        self.ended.store(nanos(), Ordering::Release);
    }

    /// Returns when the poll or tick that began at `started` ended. `None` if the thread has not stored
    /// the time, or if another watchdog has marked a different poll or tick since.
    pub(crate) fn after(&self, started: u64) -> Option<u64> {
        let ended = self.ended.load(Ordering::Acquire);
        (self.watched.load(Ordering::Relaxed) == started && ended >= started).then_some(ended)
    }
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

    /// Ends the thread's innermost poll. The poll around it, `outer`, continues if there is one.
    fn leave(&self, outer: Option<Polling>) {
        let started = self.started.load(Ordering::Relaxed);
        match outer {
            // `unwatched` may have changed the start of the poll.
            Some(outer) => self.set(Some(Polling { started, ..outer })),
            None => {
                self.end.finish(started);
                self.set(None);
            }
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }
}

/// A thread of an event loop, whose state is read when a tick of a heartbeat is late.
#[derive(Debug, Clone)]
pub(crate) struct WatchedThread {
    pub(crate) slot: Arc<Slot>,
    /// An address on the thread's stack, in a frame that the loop has called.
    pub(crate) address: usize,
}

/// A thread's reference to its slot. It is dropped when the thread ends, and marks the slot as ended.
struct Owner(Arc<Slot>);

impl Owner {
    fn new() -> Self {
        let slot = Arc::new(Slot {
            thread: ThreadId::current(),
            name: std::thread::current().name().map(str::to_owned),
            end: EndTime::default(),
            started: AtomicU64::new(0),
            site: AtomicUsize::new(0),
            root: AtomicUsize::new(0),
            base: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            #[cfg(feature = "tokio-hooks")]
            worker: AtomicU64::new(0),
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
    slots.retain(|slot| slot.is_running());
    slots.clone()
}

/// Returns this thread's slot. `None` if the thread is ending.
pub(crate) fn current() -> Option<Arc<Slot>> {
    SLOT.try_with(|mine| mine.get_or_init(Owner::new).0.clone())
        .ok()
}

/// Calls `f` with this thread's slot. A thread that is ending no longer has a slot, so its polls are
/// not seen.
pub(crate) fn with_slot<T>(f: impl FnOnce(&Slot) -> Option<T>) -> Option<T> {
    SLOT.try_with(|mine| f(&mine.get_or_init(Owner::new).0))
        .unwrap_or(None)
}

/// A guard for a poll on this thread, which restores the outer poll when dropped.
pub(crate) struct PollGuard(Option<Polling>);

impl PollGuard {
    pub(crate) fn new(started: u64, site: usize, base: usize) -> Self {
        Self(with_slot(|slot| {
            let outer = slot.polling();
            slot.set(Some(match outer {
                Some(outer) => Polling { site, ..outer },
                None => Polling {
                    started,
                    site,
                    root: site,
                    base,
                },
            }));
            outer
        }))
    }
}

impl Drop for PollGuard {
    fn drop(&mut self) {
        with_slot(|slot| {
            slot.leave(self.0);
            Some(())
        });
    }
}

/// Calls `blocking`, and excludes the call from the current poll, so that no probe reports it. After the
/// call, the poll counts as if it had just begun.
///
/// Use `unwatched` for blocking code that does not stall the event loop. An example is
/// `tokio::task::block_in_place`, which first moves the other tasks of the thread to another thread. A
/// probe that [reads stacks](crate#the-line-that-is-stuck) finds `block_in_place` by itself. Probes still
/// watch probed futures that `blocking` itself polls.
///
/// ```
/// use inflight_probe::unwatched;
/// # use inflight_tokio::Tokio;
/// # use inflight_core::BlockOn;
///
/// # let tokio = Tokio::new(None)?;
/// # let text = tokio.block_on(async {
/// let text = unwatched(|| tokio::task::block_in_place(|| std::fs::read_to_string("Cargo.toml")));
/// # text });
/// # assert!(text.is_ok());
/// # Ok::<(), inflight_core::Error>(())
/// ```
pub fn unwatched<T>(blocking: impl FnOnce() -> T) -> T {
    let _guard = UnwatchedGuard::new();
    blocking()
}

/// A guard for code in a poll that is not watched. It continues the poll when dropped.
struct UnwatchedGuard(Option<Polling>);

impl UnwatchedGuard {
    fn new() -> Self {
        Self(with_slot(|slot| {
            let polling = slot.polling()?;
            slot.leave(None);
            Some(polling)
        }))
    }
}

impl Drop for UnwatchedGuard {
    fn drop(&mut self) {
        if let Some(polling) = self.0 {
            with_slot(|slot| {
                let started = nanos();
                slot.set(Some(Polling { started, ..polling }));
                Some(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn site() -> Option<usize> {
        with_slot(Slot::polling).map(|polling| polling.site)
    }

    #[test]
    fn a_panic_restores_the_outer_poll() {
        let outer = PollGuard::new(1, 10, 100);
        let poll_panics = || {
            let _inner = PollGuard::new(2, 20, 200);
            assert_eq!(site(), Some(20));
            panic!("in a poll");
        };
        assert!(catch_unwind(poll_panics).is_err());
        assert_eq!(site(), Some(10));
        let unwatched_panics = || {
            unwatched(|| {
                assert_eq!(site(), None);
                panic!("in a blocking call");
            });
        };
        assert!(catch_unwind(unwatched_panics).is_err());
        assert_eq!(site(), Some(10));
        drop(outer);
        assert_eq!(site(), None);
    }
}
