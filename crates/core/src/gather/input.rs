//! The input of a gather: a stream of jobs, or items and a function that creates their jobs.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::launch::Job;
use super::launch::sealed::Sealed;
use crate::backend::fetch::BoxFuture;
use crate::backend::runtime::Runtime;
use crate::bugs::{Bug, is_planted};

/// The input of a gather: any stream of jobs, or [`Items`], which
/// [`gather_with`](super::gather_with) creates. The trait is sealed.
///
/// For an example, see [`gather`](super::gather), [`gather_stream`](super::gather_stream) and
/// [`gather_with`](super::gather_with).
pub trait Input: Sealed {
    /// A job.
    type Job: Job;
    /// What [`completed`](super::Gather::completed) returns with each result: the index of the job,
    /// or its item.
    type Id;
    /// What the other endings return for each job: `T`, or the item and `T`.
    type Output<T>;

    /// What a job is created from, together with its id.
    #[doc(hidden)]
    type Seed;
    /// What a running job holds of the input's limits.
    #[doc(hidden)]
    type Permit;

    /// Pulls an input whose job may start now. `next` is the index of the next input.
    #[doc(hidden)]
    fn poll_input(
        self: Pin<&mut Self>,
        next: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<PulledFrom<Self>>>;

    /// Creates the job of an input.
    #[doc(hidden)]
    fn start(self: Pin<&mut Self>, id: &Self::Id, seed: Self::Seed) -> Self::Job;

    /// Takes back the permit of a job that has ended.
    #[doc(hidden)]
    fn release(self: Pin<&mut Self>, permit: Self::Permit);

    /// Removes the inputs that have arrived and whose jobs will not start.
    #[doc(hidden)]
    fn take_waiting(self: Pin<&mut Self>, _next: &mut usize) -> Vec<(usize, Self::Id)> {
        Vec::new()
    }

    /// Returns the bounds of the number of inputs that have not been pulled.
    #[doc(hidden)]
    fn remaining(&self) -> (usize, Option<usize>);

    #[doc(hidden)]
    fn output<T>(id: Self::Id, value: T) -> Self::Output<T>;
}

/// An input whose job has not started.
#[doc(hidden)]
pub struct Pulled<I, D, P> {
    pub(super) index: usize,
    pub(super) id: I,
    pub(super) seed: D,
    pub(super) permit: P,
}

/// An input of `S` whose job has not started.
pub(super) type PulledFrom<S> = Pulled<<S as Input>::Id, <S as Input>::Seed, <S as Input>::Permit>;

impl<I, D> Pulled<I, D, ()> {
    /// Returns the input with the index `next`, and increases `next`.
    pub(super) fn next(next: &mut usize, id: I, seed: D) -> Self {
        let index = *next;
        if !(is_planted(Bug::DuplicateResult) && *next == 64) {
            *next += 1;
        }
        Self {
            index,
            id,
            seed,
            permit: (),
        }
    }
}

impl<S> Sealed for S
where
    S: Stream,
    S::Item: Job,
{
}

impl<I, F> Sealed for Items<I, F> {}

impl<S, R> Sealed for Staggered<S, R> {}

impl<S> Input for S
where
    S: Stream,
    S::Item: Job,
{
    type Job = S::Item;
    type Id = usize;
    type Seed = S::Item;
    type Permit = ();
    type Output<T> = T;

    fn poll_input(
        self: Pin<&mut Self>,
        next: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<PulledFrom<Self>>> {
        let polled = self.poll_next(cx);
        polled.map(|job| job.map(|job| Pulled::next(next, *next, job)))
    }

    fn start(self: Pin<&mut Self>, _: &usize, job: S::Item) -> S::Item {
        job
    }

    fn release(self: Pin<&mut Self>, (): ()) {}

    fn remaining(&self) -> (usize, Option<usize>) {
        self.size_hint()
    }

    fn output<T>(_: usize, value: T) -> T {
        value
    }
}

/// Items, and a function that creates the job of an item. Created by
/// [`gather_with`](super::gather_with).
///
/// For an example, see [`gather_with`](super::gather_with).
pub struct Items<I, F> {
    items: I,
    job: F,
}

impl<I, F> Items<I, F> {
    pub(super) fn new(items: I, job: F) -> Self {
        Self { items, job }
    }
}

impl<I, F> Unpin for Items<I, F> {}

impl<I, F, J> Input for Items<I, F>
where
    I: Iterator,
    I::Item: Clone,
    F: FnMut(I::Item) -> J,
    J: Job,
{
    type Job = J;
    type Id = I::Item;
    type Seed = ();
    type Permit = ();
    type Output<T> = (I::Item, T);

    fn poll_input(
        self: Pin<&mut Self>,
        next: &mut usize,
        _: &mut Context<'_>,
    ) -> Poll<Option<PulledFrom<Self>>> {
        let item = self.get_mut().items.next();
        Poll::Ready(item.map(|item| Pulled::next(next, item, ())))
    }

    fn start(self: Pin<&mut Self>, item: &I::Item, (): ()) -> J {
        (self.get_mut().job)(item.clone())
    }

    fn release(self: Pin<&mut Self>, (): ()) {}

    fn remaining(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }

    fn output<T>(item: I::Item, value: T) -> (I::Item, T) {
        (item, value)
    }
}

impl<I, F> fmt::Debug for Items<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

pin_project! {
    /// An input that pauses after each pull, for [`hedge`](super::Gather::hedge).
    pub(super) struct Staggered<S, R> {
        #[pin]
        input: S,
        delay: Duration,
        runtime: R,
        // `None` if the next job may start.
        pause: Option<BoxFuture<'static, ()>>,
    }
}

impl<S, R> Staggered<S, R> {
    pub(super) fn new(input: S, delay: Duration, runtime: R) -> Self {
        Self {
            input,
            delay,
            runtime,
            pause: None,
        }
    }

    /// Ends the pause.
    pub(super) fn start_next(self: Pin<&mut Self>) {
        *self.project().pause = None;
    }
}

impl<S: Input, R: Runtime> Input for Staggered<S, R> {
    type Job = S::Job;
    type Id = S::Id;
    type Seed = S::Seed;
    type Permit = S::Permit;
    type Output<T> = S::Output<T>;

    fn poll_input(
        self: Pin<&mut Self>,
        next: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<PulledFrom<Self>>> {
        let this = self.project();
        if let Some(pause) = this.pause {
            ready!(pause.as_mut().poll(cx));
        }
        *this.pause = None;
        let pulled = ready!(this.input.poll_input(next, cx));
        if pulled.is_some() {
            *this.pause = Some(this.runtime.sleep(*this.delay));
        }
        Poll::Ready(pulled)
    }

    fn start(self: Pin<&mut Self>, id: &S::Id, seed: S::Seed) -> S::Job {
        self.project().input.start(id, seed)
    }

    fn release(self: Pin<&mut Self>, permit: S::Permit) {
        self.project().input.release(permit);
    }

    fn take_waiting(self: Pin<&mut Self>, next: &mut usize) -> Vec<(usize, S::Id)> {
        self.project().input.take_waiting(next)
    }

    fn remaining(&self) -> (usize, Option<usize>) {
        self.input.remaining()
    }

    fn output<T>(id: S::Id, value: T) -> S::Output<T> {
        S::output(id, value)
    }
}
