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

    /// Pulls the input with this index.
    #[doc(hidden)]
    fn poll_job(
        self: Pin<&mut Self>,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Self::Id, Self::Job)>>;

    /// Returns the bounds of the number of inputs that have not been pulled.
    #[doc(hidden)]
    fn remaining(&self) -> (usize, Option<usize>);

    #[doc(hidden)]
    fn output<T>(id: Self::Id, value: T) -> Self::Output<T>;
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
    type Output<T> = T;

    fn poll_job(
        self: Pin<&mut Self>,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, S::Item)>> {
        self.poll_next(cx).map(|next| next.map(|job| (index, job)))
    }

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
    type Output<T> = (I::Item, T);

    fn poll_job(self: Pin<&mut Self>, _: usize, _: &mut Context<'_>) -> Poll<Option<(I::Item, J)>> {
        let this = self.get_mut();
        let next = this.items.next();
        Poll::Ready(next.map(|item| (item.clone(), (this.job)(item))))
    }

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
    type Output<T> = S::Output<T>;

    fn poll_job(
        self: Pin<&mut Self>,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(S::Id, S::Job)>> {
        let this = self.project();
        if let Some(pause) = this.pause {
            ready!(pause.as_mut().poll(cx));
        }
        *this.pause = None;
        let next = ready!(this.input.poll_job(index, cx));
        if next.is_some() {
            *this.pause = Some(this.runtime.sleep(*this.delay));
        }
        Poll::Ready(next)
    }

    fn remaining(&self) -> (usize, Option<usize>) {
        self.input.remaining()
    }

    fn output<T>(id: S::Id, value: T) -> S::Output<T> {
        S::output(id, value)
    }
}
