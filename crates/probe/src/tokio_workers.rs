//! The workers of a tokio runtime, which report through hooks when they park.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::{Builder, worker_index};

use crate::slot::{self, Slot, WatchedThread, lock};

/// The number of possible workers in one runtime. The ids of two runtimes differ by at least this.
const IDS: u64 = 1 << 32;

/// The id of the first worker of the next runtime. No worker has the id 0.
static NEXT_IDS: AtomicU64 = AtomicU64::new(IDS);

/// The workers of a tokio runtime, which report through the hooks of its builder when they park.
///
/// For a heartbeat with [these workers](crate::Heartbeat::workers), the report of a late tick lists the
/// workers that are not parked.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use inflight_probe::{Heartbeat, Probe, TokioWorkers};
/// use inflight_tokio::Tokio;
///
/// let mut builder = tokio::runtime::Builder::new_multi_thread();
/// let workers = TokioWorkers::install(&mut builder);
/// let runtime = builder.enable_all().build()?;
///
/// let tokio = Arc::new(Tokio::from(runtime.handle().clone()));
/// let heartbeat = Heartbeat::start(tokio, Duration::from_millis(5))?.workers(&workers);
/// let probe = Probe::builder()
///     .heartbeat(&heartbeat)
///     .start(|event| println!("{event}"))?;
/// # drop(probe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TokioWorkers(Arc<WorkerTable>);

#[derive(Debug)]
struct WorkerTable {
    first_id: u64,
    /// The thread of each worker that has parked, by the worker's index.
    threads: Mutex<BTreeMap<u64, WatchedThread>>,
}

impl TokioWorkers {
    /// Sets the hooks `on_thread_park` and `on_thread_unpark` of the builder. Use the builder for one
    /// runtime only.
    ///
    /// tokio keeps one hook of each kind. `install` therefore replaces hooks that were set before, and a
    /// hook of these kinds that is set later disables the returned value.
    ///
    /// A worker registers when it parks for the first time. Afterwards, the hooks take no lock.
    pub fn install(builder: &mut Builder) -> Self {
        let workers = Self(Arc::new(WorkerTable {
            first_id: NEXT_IDS.fetch_add(IDS, Ordering::Relaxed),
            threads: Mutex::default(),
        }));
        let (parks, unparks) = (workers.0.clone(), workers.0.clone());
        builder
            .on_thread_park(move || parks.store_parked(worker_index(), true))
            .on_thread_unpark(move || unparks.store_parked(worker_index(), false));
        workers
    }

    /// Returns the threads of the workers that have parked before.
    pub(crate) fn threads(&self) -> Vec<WatchedThread> {
        lock(&self.0.threads).values().cloned().collect()
    }
}

impl WorkerTable {
    /// Stores whether this thread, which runs the worker with this index, is parked.
    fn store_parked(&self, index: Option<usize>, parked: bool) {
        let Some(index) = index else { return };
        let index = index as u64;
        slot::with_slot(|slot| {
            if slot.worker.load(Ordering::Relaxed) != self.first_id + index {
                self.register(index);
            }
            slot.parked.store(parked, Ordering::Relaxed);
            Some(())
        });
    }

    #[cold]
    fn register(&self, index: u64) {
        let Some(slot) = slot::current() else { return };
        let address = (&raw const slot).addr();
        let id = self.first_id + index;
        let mut threads = lock(&self.threads);
        slot.worker.store(id, Ordering::Relaxed);
        let thread = WatchedThread { slot, address };
        if let Some(old) = threads.insert(index, thread) {
            release(&old.slot, id);
        }
    }
}

/// Marks a thread as parked if it no longer runs a worker. After `block_in_place`, another thread runs the
/// worker, and the old thread belongs to the blocking pool.
fn release(old: &Slot, id: u64) {
    let was_worker = old
        .worker
        .compare_exchange(id, 0, Ordering::Relaxed, Ordering::Relaxed);
    if was_worker.is_ok() {
        old.parked.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_has_lost_its_worker_counts_as_parked() {
        let workers = TokioWorkers::install(&mut Builder::new_current_thread());
        let table = &workers.0;
        table.store_parked(Some(0), false);
        let own = slot::current().unwrap();
        assert!(!own.is_parked());
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                table.store_parked(Some(0), false);
                slot::current().unwrap()
            });
            let other = other.join().unwrap();
            assert!(own.is_parked() && !other.is_parked());
            let threads = workers.threads();
            assert_eq!(threads.len(), 1);
            assert!(Arc::ptr_eq(&threads[0].slot, &other));
        });
        // The thread may become another worker later.
        table.store_parked(Some(1), false);
        assert!(!own.is_parked());
        assert_eq!(workers.threads().len(), 2);
    }
}
