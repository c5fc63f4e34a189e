//! The stream of results. The other endings of a gather, such as `all`, read this stream.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Gather;
use super::error::{JobError, JobErrorKind};
use super::input::{Input, Pulled};
use super::launch::{Job, Launch, Start};
use super::running::Running;

/// A stream of a gather's results in the order of completion, from
/// [`completed`](super::Gather::completed).
///
/// The stream is `Unpin`, so `next()` works without `pin!`.
///
/// For an example, see [`completed`](super::Gather::completed) and [`until`](super::Gather::until).
///
/// # Cancel safety
///
/// Dropping the future of `next()` loses no result. Dropping the stream cancels the jobs.
#[must_use = "a stream does nothing unless polled"]
pub struct Completed<S, L, U>
where
    S: Input,
    L: Launch,
{
    // `input` and `until` are boxed, because `Completed` is `Unpin` and they may not be.
    input: Pin<Box<S>>,
    until: Pin<Box<U>>,
    launch: L,
    start: Start<L, S::Job>,
    limit: usize,
    /// The running jobs. `running` and `finished` together contain at most `limit` jobs.
    running: RunningJobs<S, L>,
    /// The number of pulled inputs, which is the index of the next input.
    pulled: usize,
    state: InputState,
    /// The results that are returned after `until` has completed.
    remaining: VecDeque<Finished<S>>,
    /// The number of results that were returned since the stream last returned `Pending`.
    ready_in_a_row: u32,
    /// Results of jobs that finished when they started.
    finished: VecDeque<Finished<S>>,
    /// Whether woken jobs are polled first, because the last result came from `finished`.
    polls_woken_first: bool,
    never_started: Option<usize>,
    is_cut_off: bool,
}

impl<S, L, U> Unpin for Completed<S, L, U>
where
    S: Input,
    L: Launch,
{
}

/// A job that has finished or was cancelled.
pub(super) struct Finished<S: Input> {
    pub(super) index: usize,
    pub(super) id: S::Id,
    pub(super) result: JobResult<S::Job>,
}

/// The result of a job.
pub(super) type JobResult<J> = Result<<J as Job>::Ok, JobError<<J as Job>::Err>>;

impl<S: Input> Finished<S> {
    fn new(
        index: usize,
        id: S::Id,
        result: Result<<S::Job as Job>::Ok, JobErrorKind<<S::Job as Job>::Err>>,
    ) -> Self {
        let result = result.map_err(|kind| JobError::new(index, kind));
        Self { index, id, result }
    }
}

/// The input of a running job.
struct Started<S: Input> {
    index: usize,
    id: S::Id,
    permit: S::Permit,
}

/// The running jobs with their inputs. Dropping them cancels them.
struct RunningJobs<S: Input, L: Launch>(Running<Started<S>, L::Running<S::Job>>);

impl<S: Input, L: Launch> RunningJobs<S, L> {
    /// Returns the next job that has finished, and takes its permit back.
    fn poll_next(&mut self, input: Pin<&mut S>, cx: &mut Context<'_>) -> Poll<Option<Finished<S>>> {
        let polled = self.0.poll_next(cx);
        polled.map(|next| next.map(|(started, result)| Self::finish(input, started, result)))
    }

    fn start(
        &mut self,
        input: Pin<&mut S>,
        started: Started<S>,
        job: L::Running<S::Job>,
    ) -> Poll<Finished<S>> {
        let polled = self.0.start(started, job);
        polled.map(|(started, result)| Self::finish(input, started, result))
    }

    fn finish(
        input: Pin<&mut S>,
        started: Started<S>,
        result: <L::Running<S::Job> as Future>::Output,
    ) -> Finished<S> {
        input.release(started.permit);
        Finished::new(started.index, started.id, result)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Cancels all jobs. Returns them in input order.
    fn cancel(&mut self) -> Vec<Finished<S>> {
        for job in self.0.jobs() {
            L::mark_cancelled::<S::Job>(job);
        }
        let sent: Vec<_> = self.0.jobs().map(L::has_sent::<S::Job>).collect();
        let unfinished = self.0.clear().into_iter().zip(sent);
        let mut cancelled: Vec<_> = unfinished
            .map(|(Started { index, id, .. }, sent)| {
                Finished::new(index, id, Err(JobErrorKind::DeadlineExceeded { sent }))
            })
            .collect();
        cancelled.sort_unstable_by_key(|job| job.index);
        cancelled
    }
}

impl<S: Input, L: Launch> Drop for RunningJobs<S, L> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// After this many results without a pause, the gather yields to other tasks.
const MAX_READY_IN_A_ROW: u32 = 64;

/// The state of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    Open,
    Ended,
    /// `until` has completed.
    CutOff,
}

impl<S, L, U> Completed<S, L, U>
where
    S: Input,
    L: Launch,
{
    pub(super) fn new(gather: Gather<S, L, U>) -> Self {
        Self {
            input: Box::pin(gather.input),
            until: Box::pin(gather.until),
            launch: gather.launch,
            start: gather.start,
            limit: gather.limit,
            running: RunningJobs(Running::new()),
            pulled: 0,
            state: InputState::Open,
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

    /// Returns the rest of the input.
    pub(super) fn input(&mut self) -> Pin<&mut S> {
        self.input.as_mut()
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

impl<S, L, U> Completed<S, L, U>
where
    S: Input,
    L: Launch,
    U: Future,
{
    /// Returns the next job that has finished or was cancelled.
    pub(super) async fn next_finished(&mut self) -> Option<Finished<S>> {
        poll_fn(|cx| self.poll_finished(cx)).await
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished<S>>> {
        let is_idle = self.running.len() == 0 && self.finished.is_empty();
        let is_over = self.state == InputState::Ended && is_idle;
        // Polls `until` first, because no input may be pulled once `until` has completed.
        if self.state != InputState::CutOff && !is_over && self.until.as_mut().poll(cx).is_ready() {
            let was_open = self.state == InputState::Open;
            let has_rest = was_open && exact_len(self.input.remaining()) != Some(0);
            self.state = InputState::CutOff;
            // Finished jobs keep their results. The other jobs are cancelled and get an error.
            self.remaining.append(&mut self.finished);
            while let Poll::Ready(Some(done)) = self.running.poll_next(self.input.as_mut(), cx) {
                self.remaining.push_back(done);
            }
            let finished = self.remaining.len();
            self.remaining.extend(self.running.cancel());
            let waiting = self.input.as_mut().take_waiting(&mut self.pulled);
            self.remaining.extend(
                waiting
                    .into_iter()
                    .map(|(index, id)| Finished::new(index, id, Err(JobErrorKind::NeverStarted))),
            );
            if was_open {
                self.never_started = exact_len(self.input.remaining());
            }
            self.is_cut_off = has_rest || self.remaining.len() > finished;
        }
        if self.state == InputState::CutOff {
            return Poll::Ready(self.remaining.pop_front());
        }
        // Jobs that finish immediately must not starve other tasks, such as the timer of `until`.
        if self.ready_in_a_row >= MAX_READY_IN_A_ROW {
            self.ready_in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Jobs that finish immediately must not starve the woken jobs.
        if mem::take(&mut self.polls_woken_first)
            && let Poll::Ready(Some(done)) = self.running.poll_next(self.input.as_mut(), cx)
        {
            self.ready_in_a_row += 1;
            return Poll::Ready(Some(done));
        }
        while self.state == InputState::Open
            && self.running.len() + self.finished.len() < self.limit
        {
            match self.input.as_mut().poll_input(&mut self.pulled, cx) {
                Poll::Ready(Some(Pulled {
                    index,
                    id,
                    seed,
                    permit,
                })) => {
                    let job = self.input.as_mut().start(&id, seed);
                    let job = (self.start)(&self.launch, job);
                    let started = Started { index, id, permit };
                    // Starts all jobs before it returns the first result, because the consumer may
                    // take a long time before it polls again.
                    if let Poll::Ready(done) = self.running.start(self.input.as_mut(), started, job)
                    {
                        self.finished.push_back(done);
                    }
                }
                Poll::Ready(None) => self.state = InputState::Ended,
                Poll::Pending => break,
            }
        }
        if let Some(finished) = self.finished.pop_front() {
            self.polls_woken_first = true;
            self.ready_in_a_row += 1;
            return Poll::Ready(Some(finished));
        }
        match self.running.poll_next(self.input.as_mut(), cx) {
            Poll::Ready(Some(done)) => {
                self.ready_in_a_row += 1;
                return Poll::Ready(Some(done));
            }
            Poll::Ready(None) if self.state == InputState::Ended => return Poll::Ready(None),
            // Jobs are running, or the input is not ready. Both wake this task.
            Poll::Ready(None) | Poll::Pending => {}
        }
        self.ready_in_a_row = 0;
        Poll::Pending
    }
}

impl<S, L, U> Stream for Completed<S, L, U>
where
    S: Input,
    L: Launch,
    U: Future,
{
    type Item = (S::Id, JobResult<S::Job>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.poll_finished(cx);
        polled.map(|next| next.map(|finished| (finished.id, finished.result)))
    }
}

impl<S, L, U> fmt::Debug for Completed<S, L, U>
where
    S: Input,
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
