//! The running jobs of a gather.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

/// The running jobs. Each job is polled when it starts and when it is woken.
///
/// A new job takes the slot of a job that has just finished, and is polled immediately. The new job
/// can then reuse the connection and the memory of the finished job while both are still in the
/// processor's cache. `FuturesUnordered`, in contrast, queues a new job behind all woken jobs. It also
/// allocates memory for each job, while this type allocates a slot and its waker once.
///
/// Each job has an id, which is returned with the job's output.
pub(super) struct Running<I, F> {
    slots: Vec<Slot<I, F>>,
    /// The indices of the slots without a job.
    free: Vec<usize>,
    woken: Arc<WokenSlots>,
}

/// A slot, in which jobs run one after another.
struct Slot<I, F> {
    job: Pin<Box<Option<F>>>,
    id: Option<I>,
    job_waker: Arc<JobWaker>,
    // The `Waker` of `job_waker`.
    waker: Waker,
}

/// A waker for the job of a slot. A waker that outlives its job may wake the next job of the slot.
/// This causes one unnecessary poll.
struct JobWaker {
    slot: usize,
    /// Whether the slot is in the queue.
    is_queued: AtomicBool,
    woken: Arc<WokenSlots>,
}

/// The queue of the slots whose jobs were woken.
#[derive(Default)]
struct WokenSlots(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    slots: VecDeque<usize>,
    /// Wakes the task that polls the jobs, if it waits.
    waiting: Option<Waker>,
}

impl Wake for JobWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let waiting = {
            let mut queue = self.woken.queue();
            queue.slots.push_back(self.slot);
            queue.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl WokenSlots {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<usize> {
        self.queue().slots.pop_front()
    }

    /// Registers a waker, which the next job that is woken will wake. Returns `false`, and does not
    /// register the waker, if the queue already contains a slot.
    fn register(&self, waker: &Waker) -> bool {
        // Clones and drops wakers outside the lock, because both run the executor's code.
        let waker = waker.clone();
        let (is_waiting, spare) = {
            let mut queue = self.queue();
            match queue.slots.is_empty() {
                true => (true, queue.waiting.replace(waker)),
                false => (false, Some(waker)),
            }
        };
        drop(spare);
        is_waiting
    }
}

impl<I, F: Future> Running<I, F> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            woken: Arc::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a job and polls it.
    pub(super) fn start(&mut self, id: I, job: F) -> Poll<(I, F::Output)> {
        let slot = match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index];
                slot.job.set(Some(job));
                slot.id = Some(id);
                index
            }
            None => {
                let job_waker = Arc::new(JobWaker {
                    slot: self.slots.len(),
                    is_queued: AtomicBool::new(false),
                    woken: self.woken.clone(),
                });
                self.slots.push(Slot {
                    job: Box::pin(Some(job)),
                    id: Some(id),
                    waker: Waker::from(job_waker.clone()),
                    job_waker,
                });
                self.slots.len() - 1
            }
        };
        self.poll_slot(slot)
    }

    /// Returns the output of a woken job that has finished; `None` if no job runs.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(I, F::Output)>> {
        // Jobs that wake themselves must not starve other tasks.
        for _ in 0..=self.len() {
            if self.is_empty() {
                return Poll::Ready(None);
            }
            let Some(slot) = self.woken.next() else {
                if self.woken.register(cx.waker()) {
                    return Poll::Pending;
                }
                continue;
            };
            if let Poll::Ready(done) = self.poll_slot(slot) {
                return Poll::Ready(Some(done));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_slot(&mut self, index: usize) -> Poll<(I, F::Output)> {
        let slot = &mut self.slots[index];
        // Cleared before the poll, so that a wake during the poll queues the job again.
        slot.job_waker.is_queued.store(false, Ordering::SeqCst);
        let Some(job) = slot.job.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let output = ready!(job.poll(&mut Context::from_waker(&slot.waker)));
        // Frees the slot first, because the job's destructor may panic.
        self.free.push(index);
        let id = slot.id.take();
        slot.job.set(None);
        // A slot with a job always has an id.
        id.map_or(Poll::Pending, |id| Poll::Ready((id, output)))
    }

    /// Returns the jobs that have not finished.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &F> {
        self.slots
            .iter()
            .filter_map(|slot| slot.job.as_ref().get_ref().as_ref())
    }

    /// Drops all jobs and returns their ids.
    pub(super) fn clear(&mut self) -> Vec<I> {
        self.free.clear();
        self.woken = Arc::default();
        let slots = mem::take(&mut self.slots).into_iter();
        slots.filter_map(|slot| slot.id).collect()
    }
}
