//! The stream of results, on which every ending is built.

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

pin_project! {
    /// A stream of a gather's results in the order of completion, from
    /// [`completed`](super::Gather::completed).
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
        #[pin]
        jobs: S,
        #[pin]
        until: U,
        launch: L,
        start: Start<L, S::Item>,
        limit: usize,
        // Together with `finished`, at most `limit` jobs.
        running: Running<IndexedJob<L::Running<S::Item>>>,
        // How many inputs have been pulled. It is the index of the next one.
        pulled: usize,
        input: Input,
        // After `until`: the results that have not been returned.
        last: VecDeque<Item<S::Item>>,
        ready_in_a_row: u32,
        // Results of jobs that finished when they started.
        finished: VecDeque<Item<S::Item>>,
        // The last result came from `finished`, so woken jobs come first now.
        woken_first: bool,
        never_started: Option<usize>,
    }

    impl<S, L, U> PinnedDrop for Completed<S, L, U>
    where
        S: Stream,
        S::Item: Job,
        L: Launch,
    {
        fn drop(this: Pin<&mut Self>) {
            cancel::<L, S::Item>(this.project().running);
        }
    }
}

/// Cancels all running jobs and returns their indices.
fn cancel<L: Launch, J: Job>(running: &mut Running<IndexedJob<L::Running<J>>>) -> Vec<usize> {
    let mut unfinished = Vec::with_capacity(running.len());
    for numbered in running.jobs() {
        L::forbid::<J>(&numbered.job);
        unfinished.push(numbered.index);
    }
    running.clear();
    unfinished.sort_unstable();
    unfinished
}

/// After this many results without a pause, the gather yields to other tasks.
const READY_IN_A_ROW: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
    CutOff,
}

impl<S, L, U> Completed<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
    U: Future,
{
    pub(super) fn new(gather: Gather<S, L, U>) -> Self {
        Self {
            jobs: gather.jobs,
            until: gather.until,
            launch: gather.launch,
            start: gather.start,
            limit: gather.limit,
            running: Running::new(),
            pulled: 0,
            input: Input::Open,
            last: VecDeque::new(),
            ready_in_a_row: 0,
            finished: VecDeque::new(),
            woken_first: false,
            never_started: Some(0),
        }
    }

    pub(super) fn pulled(self: Pin<&Self>) -> usize {
        self.pulled
    }

    /// Returns whether `until` completed while the input may have had more jobs.
    pub(super) fn was_cut_off(self: Pin<&Self>) -> bool {
        self.input == Input::CutOff && self.never_started != Some(0)
    }

    pub(super) fn never_started(self: Pin<&Self>) -> Option<usize> {
        self.never_started
    }
}

type Item<J> = (usize, Result<<J as Job>::Ok, JobError<<J as Job>::Err>>);

fn answer<J: Job>((index, result): (usize, Result<J::Ok, JobErrorKind<J::Err>>)) -> Item<J> {
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
        let mut this = self.project();
        let is_idle = this.running.is_empty() && this.finished.is_empty();
        let over = *this.input == Input::Ended && is_idle;
        // First of all: after `until`, no input is pulled.
        if *this.input != Input::CutOff && !over && this.until.poll(cx).is_ready() {
            if *this.input == Input::Open {
                *this.never_started = exactly(this.jobs.size_hint());
            }
            *this.input = Input::CutOff;
            // Finished jobs keep their results. The others are cancelled now, and each gets an
            // error.
            this.last.append(this.finished);
            while let Poll::Ready(Some(done)) = this.running.poll_next(cx) {
                this.last.push_back(answer::<S::Item>(done));
            }
            let unfinished = cancel::<L, S::Item>(this.running);
            this.last.extend(unfinished.into_iter().map(|index| {
                let error = JobError::new(index, JobErrorKind::DeadlineExceeded);
                (index, Err(error))
            }));
        }
        if *this.input == Input::CutOff {
            return Poll::Ready(this.last.pop_front());
        }
        // Jobs that finish at once must not starve other tasks, such as the timer behind `until`.
        if *this.ready_in_a_row >= READY_IN_A_ROW {
            *this.ready_in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Jobs that finish at once must not starve the woken jobs.
        if mem::take(this.woken_first)
            && let Poll::Ready(Some(done)) = this.running.poll_next(cx)
        {
            *this.ready_in_a_row += 1;
            return Poll::Ready(Some(answer::<S::Item>(done)));
        }
        while *this.input == Input::Open && this.running.len() + this.finished.len() < *this.limit {
            match this.jobs.as_mut().poll_next(cx) {
                Poll::Ready(Some(job)) => {
                    let index = *this.pulled;
                    *this.pulled += 1;
                    let job = (this.start)(this.launch, job);
                    // All jobs start before the first result is returned, because the consumer may
                    // take a long time before it polls again.
                    if let Poll::Ready(done) = this.running.start(IndexedJob { index, job }) {
                        this.finished.push_back(answer::<S::Item>(done));
                    }
                }
                Poll::Ready(None) => *this.input = Input::Ended,
                Poll::Pending => break,
            }
        }
        if let Some(finished) = this.finished.pop_front() {
            *this.woken_first = true;
            *this.ready_in_a_row += 1;
            return Poll::Ready(Some(finished));
        }
        match this.running.poll_next(cx) {
            Poll::Ready(Some(done)) => {
                *this.ready_in_a_row += 1;
                return Poll::Ready(Some(answer::<S::Item>(done)));
            }
            Poll::Ready(None) if *this.input == Input::Ended => return Poll::Ready(None),
            // Jobs run, or the input has more jobs to come. Both wake this task.
            Poll::Ready(None) | Poll::Pending => {}
        }
        *this.ready_in_a_row = 0;
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

/// Returns the number of items left, if it is known.
fn exactly((lower, upper): (usize, Option<usize>)) -> Option<usize> {
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
