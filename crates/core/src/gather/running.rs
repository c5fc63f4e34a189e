//! The jobs that run.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Jobs, each polled when it starts and when it is woken.
///
/// A new job takes the place of one that has just finished, and is polled at once. It then reuses the
/// connection and the memory of the finished job while they are still in the processor's cache.
/// `FuturesUnordered` queues a new job behind all woken jobs and allocates memory for each job. Here, a
/// place and its waker are allocated once.
pub(super) struct Running<F> {
    places: Vec<Place<F>>,
    free: Vec<usize>,
    woken: Arc<Woken>,
}

/// Where one job after another runs.
struct Place<F> {
    job: Pin<Box<Option<F>>>,
    job_waker: Arc<JobWaker>,
    // A handle on the same `JobWaker`.
    waker: Waker,
}

/// Wakes the job of a place. It may outlive the job. The next job in that place is then polled once
/// without need.
struct JobWaker {
    place: usize,
    /// The place is in the queue.
    is_queued: AtomicBool,
    woken: Arc<Woken>,
}

/// The places whose jobs were woken.
#[derive(Default)]
struct Woken(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    places: VecDeque<usize>,
    /// Who polls the jobs, if it waits.
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
            queue.places.push_back(self.place);
            queue.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl Woken {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<usize> {
        self.queue().places.pop_front()
    }

    /// Registers the waker for the next queued place. Returns `false` if a place is queued already.
    fn wait(&self, waker: &Waker) -> bool {
        // Wakers are cloned and dropped without the lock: they are somebody else's code.
        let waker = waker.clone();
        let (is_waiting, spare) = {
            let mut queue = self.queue();
            match queue.places.is_empty() {
                true => (true, queue.waiting.replace(waker)),
                false => (false, Some(waker)),
            }
        };
        drop(spare);
        is_waiting
    }
}

impl<F: Future> Running<F> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            woken: Arc::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a job and polls it.
    pub(super) fn start(&mut self, job: F) -> Poll<F::Output> {
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place].job.set(Some(job));
                place
            }
            None => {
                let job_waker = Arc::new(JobWaker {
                    place: self.places.len(),
                    is_queued: AtomicBool::new(false),
                    woken: self.woken.clone(),
                });
                self.places.push(Place {
                    job: Box::pin(Some(job)),
                    waker: Waker::from(job_waker.clone()),
                    job_waker,
                });
                self.places.len() - 1
            }
        };
        self.poll_place(place)
    }

    /// The output of a job that was woken and has finished; `None` when no job runs.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        // Jobs that wake themselves must not keep the thread from everything else.
        for _ in 0..=self.len() {
            if self.is_empty() {
                return Poll::Ready(None);
            }
            let Some(place) = self.woken.next() else {
                if self.woken.wait(cx.waker()) {
                    return Poll::Pending;
                }
                continue;
            };
            if let Poll::Ready(output) = self.poll_place(place) {
                return Poll::Ready(Some(output));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_place(&mut self, number: usize) -> Poll<F::Output> {
        let place = &mut self.places[number];
        // Before the poll: whatever wakes the job from here on queues it again.
        place.job_waker.is_queued.store(false, Ordering::SeqCst);
        let Some(job) = place.job.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let polled = job.poll(&mut Context::from_waker(&place.waker));
        if polled.is_ready() {
            // First the place is free, as the job's destructor may panic.
            self.free.push(number);
            place.job.set(None);
        }
        polled
    }

    /// The jobs that have not finished.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &F> {
        self.places
            .iter()
            .filter_map(|place| place.job.as_ref().get_ref().as_ref())
    }

    /// Drops all jobs.
    pub(super) fn clear(&mut self) {
        self.free.clear();
        drop(mem::take(&mut self.places));
        self.woken = Arc::default();
    }
}
