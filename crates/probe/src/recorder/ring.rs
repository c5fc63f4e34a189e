//! The rings of recorders. A thread has its own ring for each recorder, and is the only writer of this ring.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::slot::{self, Slot, lock};

/// The maximum number of threads in a recorder. This limits the memory of a program that starts threads all
/// the time.
pub(super) const MAX_THREADS: usize = 128;

/// Stands for a poll without a wake before it.
const NO_WAIT: u64 = u64::MAX;

static RECORDERS: Mutex<Vec<Arc<RingSet>>> = Mutex::new(Vec::new());
/// Whether there is a recorder.
static IS_RECORDING: AtomicBool = AtomicBool::new(false);
/// Counts the changes of [`RECORDERS`]. Changes only while that lock is held.
static GENERATION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static RINGS: ThreadRings = const {
        ThreadRings {
            generation: Cell::new(0),
            rings: RefCell::new(Vec::new()),
        }
    };
}

/// A poll that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordedPoll {
    /// The number of the site.
    pub(crate) site: usize,
    pub(crate) started: u64,
    /// How long the poll took, in nanoseconds.
    pub(crate) lasted: u64,
    /// The time from the wake to the poll, in nanoseconds.
    pub(crate) wait: Option<u64>,
    /// Whether the start is exact. If not, the poll began up to one tick of the coarse clock earlier.
    pub(crate) is_exact: bool,
}

/// Returns whether there is a recorder.
pub(crate) fn is_recording() -> bool {
    IS_RECORDING.load(Ordering::Relaxed)
}

/// Records a poll of this thread in all recorders. Takes a lock only if a recorder has started or ended since
/// the thread's last poll. The polls of a thread that is ending are not recorded.
pub(crate) fn record(poll: RecordedPoll) {
    // Also compared without a recorder, so that the thread frees the rings of a recorder that has ended.
    let generation = GENERATION.load(Ordering::Relaxed);
    if generation != 0 {
        let _ = RINGS.try_with(|mine| mine.push(generation, poll));
    }
}

/// A thread's rings, one for each recorder.
struct ThreadRings {
    /// The value of [`GENERATION`] for which `rings` is correct.
    generation: Cell<u64>,
    rings: RefCell<Vec<Arc<Ring>>>,
}

impl ThreadRings {
    fn push(&self, generation: u64, poll: RecordedPoll) {
        if self.generation.get() != generation {
            self.refresh();
        }
        for ring in &*self.rings.borrow() {
            ring.push(poll);
        }
    }

    #[cold]
    fn refresh(&self) {
        let Some(slot) = slot::current() else { return };
        let recorders = lock(&RECORDERS);
        self.generation.set(GENERATION.load(Ordering::Relaxed));
        let rings = recorders.iter().filter_map(|rings| rings.of_thread(&slot));
        self.rings.replace(rings.collect());
    }
}

/// The rings of one recorder.
pub(super) struct RingSet {
    pub(super) capacity: usize,
    rings: Mutex<Vec<Arc<Ring>>>,
    /// How many threads are not recorded, because there are too many.
    omitted_threads: AtomicUsize,
}

impl RingSet {
    /// Creates the rings of a recorder. From now on, threads record their polls in them.
    pub(super) fn register(capacity: usize) -> Arc<Self> {
        let rings = Arc::new(Self {
            capacity,
            rings: Mutex::default(),
            omitted_threads: AtomicUsize::new(0),
        });
        change_recorders(|recorders| recorders.push(rings.clone()));
        rings
    }

    /// Ends the recording.
    pub(super) fn unregister(self: &Arc<Self>) {
        change_recorders(|recorders| recorders.retain(|rings| !Arc::ptr_eq(rings, self)));
    }

    pub(super) fn all(&self) -> Vec<Arc<Ring>> {
        lock(&self.rings).clone()
    }

    pub(super) fn omitted_threads(&self) -> usize {
        self.omitted_threads.load(Ordering::Relaxed)
    }

    /// Returns the ring of a thread. If there are too many, the thread gets the ring of a thread that has
    /// ended. Returns `None` if all of these threads are running.
    fn of_thread(&self, slot: &Arc<Slot>) -> Option<Arc<Ring>> {
        let mut rings = lock(&self.rings);
        if let Some(ring) = rings.iter().find(|ring| Arc::ptr_eq(&ring.slot, slot)) {
            return Some(ring.clone());
        }
        if rings.len() < MAX_THREADS {
            let ring = Arc::new(Ring::new(slot.clone(), self.capacity));
            rings.push(ring.clone());
            return Some(ring);
        }
        // A thread keeps its ring until it ends. Other owners read the ring.
        let unused = rings
            .iter_mut()
            .filter(|ring| Arc::strong_count(ring) == 1)
            .min_by_key(|ring| ring.last_started());
        if let Some(ring) = unused
            && let Some(unique) = Arc::get_mut(ring)
        {
            unique.reset(slot.clone());
            return Some(ring.clone());
        }
        self.omitted_threads.fetch_add(1, Ordering::Relaxed);
        None
    }
}

fn change_recorders(change: impl FnOnce(&mut Vec<Arc<RingSet>>)) {
    let mut recorders = lock(&RECORDERS);
    change(&mut recorders);
    IS_RECORDING.store(!recorders.is_empty(), Ordering::Relaxed);
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The last polls of one thread. Only this thread writes the ring, with plain stores. Other threads read it
/// without a lock.
pub(super) struct Ring {
    pub(super) slot: Arc<Slot>,
    /// One entry more than the ring shows, because the thread may be writing that entry.
    entries: Box<[RingEntry]>,
    /// How many polls the thread has recorded.
    written: AtomicU64,
    /// The index of the next entry. Read by the thread only.
    next: AtomicUsize,
}

#[derive(Default)]
struct RingEntry {
    /// The number of the site times two, plus one if the start is exact.
    site: AtomicU64,
    started: AtomicU64,
    lasted: AtomicU64,
    wait: AtomicU64,
}

impl RingEntry {
    fn store(&self, poll: RecordedPoll) {
        let site = (poll.site as u64) << 1 | u64::from(poll.is_exact);
        self.site.store(site, Ordering::Release);
        self.started.store(poll.started, Ordering::Release);
        self.lasted.store(poll.lasted, Ordering::Release);
        let wait = poll.wait.unwrap_or(NO_WAIT);
        self.wait.store(wait, Ordering::Release);
    }

    fn load(&self) -> RecordedPoll {
        let site = self.site.load(Ordering::Acquire);
        let wait = self.wait.load(Ordering::Acquire);
        RecordedPoll {
            site: (site >> 1) as usize,
            started: self.started.load(Ordering::Acquire),
            lasted: self.lasted.load(Ordering::Acquire),
            wait: (wait != NO_WAIT).then_some(wait),
            is_exact: site & 1 == 1,
        }
    }
}

impl Ring {
    fn new(slot: Arc<Slot>, capacity: usize) -> Self {
        Self {
            slot,
            entries: (0..=capacity).map(|_| RingEntry::default()).collect(),
            written: AtomicU64::new(0),
            next: AtomicUsize::new(0),
        }
    }

    fn reset(&mut self, slot: Arc<Slot>) {
        self.slot = slot;
        *self.written.get_mut() = 0;
        *self.next.get_mut() = 0;
    }

    fn push(&self, poll: RecordedPoll) {
        let index = self.next.load(Ordering::Relaxed);
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        entry.store(poll);
        let is_last = index + 1 == self.entries.len();
        let next = if is_last { 0 } else { index + 1 };
        self.next.store(next, Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        self.written.store(written + 1, Ordering::Release);
    }

    /// Returns when the last poll started, or 0 if there is none.
    fn last_started(&self) -> u64 {
        let written = self.written.load(Ordering::Relaxed);
        written.checked_sub(1).map_or(0, |last| {
            self.entry_at(last).started.load(Ordering::Relaxed)
        })
    }

    fn entry_at(&self, number: u64) -> &RingEntry {
        &self.entries[(number % self.entries.len() as u64) as usize]
    }

    /// Returns the last polls, in the order of their ends.
    pub(super) fn polls(&self) -> Vec<RecordedPoll> {
        self.copy(|| ())
    }

    /// Copies the last polls. Calls `copied` before it looks which entries the thread has overwritten meanwhile.
    fn copy(&self, copied: impl FnOnce()) -> Vec<RecordedPoll> {
        let entries = self.entries.len() as u64;
        let written = self.written.load(Ordering::Acquire);
        let first = written.saturating_sub(entries - 1);
        let polls: Vec<_> = (first..written)
            .map(|number| (number, self.entry_at(number).load()))
            .collect();
        copied();
        // The thread may have overwritten entries meanwhile. It starts to overwrite an entry only after it has
        // counted all polls before the new one. The stores of an entry have the order `Release`, so a reader of a
        // new value also sees that count.
        let written = self.written.load(Ordering::Acquire);
        polls
            .into_iter()
            .filter(|(number, _)| number + entries > written)
            .map(|(_, poll)| poll)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    /// Returns a poll whose fields all depend on the number.
    fn poll(number: u64) -> RecordedPoll {
        RecordedPoll {
            site: number as usize,
            started: number * 3,
            lasted: number * 5,
            wait: (!number.is_multiple_of(7)).then_some(number * 11),
            is_exact: number.is_multiple_of(2),
        }
    }

    fn ring(capacity: usize) -> Ring {
        Ring::new(slot::current().unwrap(), capacity)
    }

    #[test]
    fn a_ring_keeps_the_newest_polls() {
        for capacity in [1, 2, 10] {
            let ring = ring(capacity);
            assert_eq!(ring.polls(), []);
            for number in 0..100 {
                ring.push(poll(number));
                let first = (number + 1).saturating_sub(capacity as u64);
                let expected: Vec<_> = (first..=number).map(poll).collect();
                assert_eq!(ring.polls(), expected);
            }
        }
    }

    #[test]
    fn entries_that_are_overwritten_while_they_are_copied_are_dropped() {
        let ring = ring(10);
        (0..100).for_each(|number| ring.push(poll(number)));
        let polls = ring.copy(|| (100..103).for_each(|number| ring.push(poll(number))));
        // The thread may be writing poll 103, in the place of poll 92.
        let expected: Vec<_> = (93..100).map(poll).collect();
        assert_eq!(polls, expected);
    }

    #[test]
    fn a_reader_sees_complete_polls_while_the_thread_overwrites_them() {
        let ring = ring(4);
        let (is_read, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut numbers = 0..;
                // The reader must have read a full ring several times.
                while is_read.load(Ordering::Relaxed) < 1000 {
                    ring.push(poll(numbers.next().unwrap()));
                }
                is_done.store(true, Ordering::Relaxed);
            });
            while !is_done.load(Ordering::Relaxed) {
                let polls = ring.polls();
                let Some(last) = polls.last() else { continue };
                let first = last.site + 1 - polls.len();
                let expected: Vec<_> = (first..=last.site)
                    .map(|number| poll(number as u64))
                    .collect();
                assert_eq!(polls, expected);
                is_read.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    #[test]
    fn a_new_thread_gets_the_ring_of_the_thread_that_ended_first() {
        let set = RingSet {
            capacity: 1,
            rings: Mutex::default(),
            omitted_threads: AtomicUsize::new(0),
        };
        // Each thread has a slot of its own.
        let slot = || thread::spawn(|| slot::current().unwrap()).join().unwrap();
        let slots: Vec<_> = (0..=MAX_THREADS).map(|_| slot()).collect();
        let mut rings: Vec<_> = (0..MAX_THREADS)
            .map(|n| {
                let ring = set.of_thread(&slots[n]).unwrap();
                ring.push(poll(1000 - n as u64));
                ring
            })
            .collect();
        assert!(Arc::ptr_eq(&set.of_thread(&slots[3]).unwrap(), &rings[3]));
        assert!(set.of_thread(&slots[MAX_THREADS]).is_none());
        assert_eq!(set.omitted_threads(), 1);
        // The later of these two threads has the older poll.
        rings.truncate(MAX_THREADS - 2);
        let reused = set.of_thread(&slots[MAX_THREADS]).unwrap();
        assert_eq!(reused.polls(), []);
        assert!(Arc::ptr_eq(&reused.slot, &slots[MAX_THREADS]));
        assert!(Arc::ptr_eq(&set.all()[MAX_THREADS - 1], &reused));
        assert_eq!(set.all().len(), MAX_THREADS);
    }
}
