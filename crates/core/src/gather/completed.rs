//! The stream of results. The other endings of a gather, such as `all`, read this stream.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::Gather;
use super::error::{JobError, JobErrorKind};
use super::launch::{Job, Launch, Start};
use super::running::Running;

/// A stream of a gather's results in the order of completion, from
/// [`completed`](super::Gather::completed).
///
/// The stream is `Unpin`, so `next()` works without `pin!`.
///
/// # Cancel safety
///
/// Dropping the future of `next()` loses no result. Dropping the stream cancels the jobs.
#[must_use = "a stream does nothing unless polled"]
pub struct Completed<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
    // `jobs` and `until` are boxed, because `Completed` is `Unpin` and they may not be.
    jobs: Pin<Box<S>>,
    until: Pin<Box<U>>,
    launch: L,
    start: Start<L, S::Item>,
    limit: usize,
    /// The running jobs. `running` and `finished` together contain at most `limit` jobs.
    running: Running<IndexedJob<L::Running<S::Item>>>,
    /// The number of pulled inputs, which is the index of the next input.
    pulled: usize,
    input: Input,
    /// The results that are returned after `until` has completed.
    remaining: VecDeque<Item<S::Item>>,
    /// The number of results that were returned since the stream last returned `Pending`.
    ready_in_a_row: u32,
    /// Results of jobs that finished when they started.
    finished: VecDeque<Item<S::Item>>,
    /// Whether woken jobs are polled first, because the last result came from `finished`.
    polls_woken_first: bool,
    never_started: Option<usize>,
    is_cut_off: bool,
}

impl<S, L, U> Unpin for Completed<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
}

impl<S, L, U> Drop for Completed<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
    fn drop(&mut self) {
        cancel::<L, S::Item>(&mut self.running);
    }
}

/// Cancels all running jobs and returns their indices.
fn cancel<L: Launch, J: Job>(running: &mut Running<IndexedJob<L::Running<J>>>) -> Vec<usize> {
    let mut unfinished = Vec::with_capacity(running.len());
    for indexed in running.jobs() {
        L::mark_cancelled::<J>(&indexed.job);
        unfinished.push(indexed.index);
    }
    running.clear();
    unfinished.sort_unstable();
    unfinished
}

/// After this many results without a pause, the gather yields to other tasks.
const MAX_READY_IN_A_ROW: u32 = 64;

/// The state of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
    /// `until` has completed.
    CutOff,
}

impl<S, L, U> Completed<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
    pub(super) fn new(gather: Gather<S, L, U>) -> Self {
        Self {
            jobs: Box::pin(gather.jobs),
            until: Box::pin(gather.until),
            launch: gather.launch,
            start: gather.start,
            limit: gather.limit,
            running: Running::new(),
            pulled: 0,
            input: Input::Open,
            remaining: VecDeque::new(),
            ready_in_a_row: 0,
            finished: VecDeque::new(),
            polls_woken_first: false,
            never_started: Some(0),
            is_cut_off: false,
        }
    }

    /// Returns the number of pulled inputs, which is the index of the next input.
    pub(super) fn pulled(&self) -> usize {
        self.pulled
    }

    /// Returns whether [`until`](super::Gather::until) ended the gather before every input had been
    /// pulled and every job had finished.
    pub fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// Returns how many inputs will never be pulled. The number is 0 unless
    /// [`until`](super::Gather::until) has ended the gather, and `None` if the length of the
    /// remaining input is unknown.
    pub fn never_started(&self) -> Option<usize> {
        self.never_started
    }
}

type Item<J> = (usize, Result<<J as Job>::Ok, JobError<<J as Job>::Err>>);

fn to_item<J: Job>((index, result): (usize, Result<J::Ok, JobErrorKind<J::Err>>)) -> Item<J> {
    (index, result.map_err(|kind| JobError::new(index, kind)))
}

impl<S, L, U> Stream for Completed<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
    U: Future,
{
    type Item = Item<S::Item>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let is_idle = this.running.is_empty() && this.finished.is_empty();
        let is_over = this.input == Input::Ended && is_idle;
        // Polls `until` first, because no input may be pulled once `until` has completed.
        if this.input != Input::CutOff && !is_over && this.until.as_mut().poll(cx).is_ready() {
            if this.input == Input::Open {
                this.never_started = exact_len(this.jobs.size_hint());
            }
            this.input = Input::CutOff;
            // Finished jobs keep their results. The other jobs are cancelled and get an error.
            this.remaining.append(&mut this.finished);
            while let Poll::Ready(Some(done)) = this.running.poll_next(cx) {
                this.remaining.push_back(to_item::<S::Item>(done));
            }
            let unfinished = cancel::<L, S::Item>(&mut this.running);
            this.is_cut_off = this.never_started != Some(0) || !unfinished.is_empty();
            this.remaining.extend(unfinished.into_iter().map(|index| {
                let error = JobError::new(index, JobErrorKind::DeadlineExceeded);
                (index, Err(error))
            }));
        }
        if this.input == Input::CutOff {
            return Poll::Ready(this.remaining.pop_front());
        }
        // Jobs that finish immediately must not starve other tasks, such as the timer of `until`.
        if this.ready_in_a_row >= MAX_READY_IN_A_ROW {
            this.ready_in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Jobs that finish immediately must not starve the woken jobs.
        if mem::take(&mut this.polls_woken_first)
            && let Poll::Ready(Some(done)) = this.running.poll_next(cx)
        {
            this.ready_in_a_row += 1;
            return Poll::Ready(Some(to_item::<S::Item>(done)));
        }
        while this.input == Input::Open && this.running.len() + this.finished.len() < this.limit {
            match this.jobs.as_mut().poll_next(cx) {
                Poll::Ready(Some(job)) => {
                    let index = this.pulled;
                    this.pulled += 1;
                    let job = (this.start)(&this.launch, job);
                    // Starts all jobs before it returns the first result, because the consumer may
                    // take a long time before it polls again.
                    if let Poll::Ready(done) = this.running.start(IndexedJob { index, job }) {
                        this.finished.push_back(to_item::<S::Item>(done));
                    }
                }
                Poll::Ready(None) => this.input = Input::Ended,
                Poll::Pending => break,
            }
        }
        if let Some(finished) = this.finished.pop_front() {
            this.polls_woken_first = true;
            this.ready_in_a_row += 1;
            return Poll::Ready(Some(finished));
        }
        match this.running.poll_next(cx) {
            Poll::Ready(Some(done)) => {
                this.ready_in_a_row += 1;
                return Poll::Ready(Some(to_item::<S::Item>(done)));
            }
            Poll::Ready(None) if this.input == Input::Ended => return Poll::Ready(None),
            // Jobs are running, or the input is not ready. Both wake this task.
            Poll::Ready(None) | Poll::Pending => {}
        }
        this.ready_in_a_row = 0;
        Poll::Pending
    }
}

impl<S, L, U> fmt::Debug for Completed<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed")
            .field("limit", &self.limit)
            .field("pulled", &self.pulled)
            .field("untaken", &(self.running.len() + self.finished.len()))
            .finish_non_exhaustive()
    }
}

/// Returns the exact length of a size hint, if it is known.
fn exact_len((lower, upper): (usize, Option<usize>)) -> Option<usize> {
    (upper == Some(lower)).then_some(lower)
}

pin_project! {
    /// A running job with the index of its input.
    struct IndexedJob<F> {
        index: usize,
        #[pin]
        job: F,
    }
}

impl<F: Future> Future for IndexedJob<F> {
    type Output = (usize, F::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.job.poll(cx).map(|output| (*this.index, output))
    }
}
