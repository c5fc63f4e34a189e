//! What each thread is polling right now, where the watchdog can read it.
//!
//! A poll writes a few atomics into its own thread's slot and takes no lock, so that
//! nothing is shared between the threads of a runtime but when the watchdog looks.

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
    static MINE: OnceCell<Owner> = const { OnceCell::new() };
    static BEGUN: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
}

/// Nanoseconds on a clock that never stands at 0, which means "never": the one of `Instant`, read
/// without its arithmetic, as each poll reads it twice.
#[cfg(target_os = "linux")]
pub(crate) fn nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// The nanoseconds since the first time that this was asked, and one: 0 means "never".
#[cfg(not(target_os = "linux"))]
pub(crate) fn nanos() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1
}

/// [`nanos`] to the system's tick of some milliseconds, rounded up, for a fraction of the cost.
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

/// The system has no other clock: all is timed.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse() -> u64 {
    nanos()
}

/// So many futures in each [`WINDOW`], on each thread, are timed without exception: enough for a
/// gather that begins hundreds at once, as who of them suffers is to be told in full.
const ALL: u32 = 512;

/// A quarter of a second.
const WINDOW: u64 = 250_000_000;

/// Of those beyond, one in so many.
const ONE_IN: u32 = 32;

/// Whether a future that begins on this thread at this [`coarse`] time is timed: not every one
/// where thousands begin in a second, as reading the clock would be what they do most.
pub(crate) fn is_timed(now: u64) -> bool {
    let window = now / WINDOW;
    BEGUN.with(|begun| {
        let n = match begun.get() {
            (last, n) if last == window => n,
            _ => 0,
        };
        begun.set((window, n.wrapping_add(1)));
        n < ALL || n.is_multiple_of(ONE_IN)
    })
}

/// The time between two of [`nanos`].
pub(crate) fn between(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

/// A lock whose holder panicked holds counts that are still good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) thread: ThreadId,
    pub(crate) name: Option<String>,
    started: AtomicU64,
    site: AtomicUsize,
    root: AtomicUsize,
    base: AtomicUsize,
    gone: AtomicBool,
}

/// The poll that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Polling {
    /// When the outermost probed poll began: since then the thread has done nothing else.
    pub(crate) started: u64,
    /// The place of the innermost.
    pub(crate) site: usize,
    /// The place of the outermost.
    pub(crate) root: usize,
    /// An address on the thread's stack, in the frame that made the outermost poll: what the poll
    /// has called lies between it and the stack pointer.
    pub(crate) base: usize,
}

impl Slot {
    /// What the thread polls. `None` between polls, and where the poll changes while it is read.
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
        // Never a new time with an old place: a reader that sees the time change reads nothing.
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

/// Takes the slot out of the list with its thread.
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
            gone: AtomicBool::new(false),
        });
        lock(&SLOTS).push(slot.clone());
        Self(slot)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
    }
}

/// The threads that have polled and still live.
pub(crate) fn all() -> Vec<Arc<Slot>> {
    let mut slots = lock(&SLOTS);
    slots.retain(|slot| !slot.gone.load(Ordering::Acquire));
    slots.clone()
}

/// A poll under way on this thread; the poll around it comes back when it ends.
pub(crate) struct Entered(Option<Polling>);

impl Entered {
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

impl Drop for Entered {
    fn drop(&mut self) {
        swap(|_| self.0);
    }
}

fn swap(next: impl FnOnce(Option<Polling>) -> Option<Polling>) -> Option<Polling> {
    // A thread that is ending has no slot any more; its polls go unseen.
    MINE.try_with(|mine| {
        let slot = &mine.get_or_init(Owner::new).0;
        let before = slot.polling();
        slot.set(next(before));
        before
    })
    .unwrap_or(None)
}
