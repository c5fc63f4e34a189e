//! Where a job runs: in the caller's task, or in one of its own.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;

use super::error::JobErrorKind;
use crate::backend::runtime::Runtime;
use crate::backend::task::{Panic, Task, TaskError};

/// A future of a `Result`: what a gather runs. Implemented for all of them.
pub trait Job: Future<Output = Result<Self::Ok, Self::Err>> {
    /// What it gives when it succeeds.
    type Ok;
    /// What it gives when it fails.
    type Err;
}

impl<F, T, E> Job for F
where
    F: Future<Output = Result<T, E>>,
{
    type Ok = T;
    type Err = E;
}

/// Where jobs run. Sealed: [`Here`] and [`On`] are all there are.
///
/// It does not name the job: a type that names the same job twice keeps the compiler from seeing
/// that a future which holds a gather of boxed futures is `Send` (rust-lang/rust#102211).
pub trait Launch: sealed::Sealed {
    /// A running job. Dropping it cancels the job.
    type Running<J: Job>: Future<Output = Result<J::Ok, JobErrorKind<J::Err>>>;

    /// Keeps a job that is about to be dropped from going on. All that are to be dropped are
    /// told before the first is: none is to begin a request in the place that another gives up.
    fn forbid<J: Job>(_: &Self::Running<J>) {
        // In the caller's task nothing goes on while the others are dropped.
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Here {}
    impl<R> Sealed for super::On<R> {}
}

/// Starts a job. A pointer that is made where it is known what the job must be: `Send + 'static`
/// for [`On`], nothing for [`Here`].
pub(super) type Start<L, J> = fn(&L, J) -> <L as Launch>::Running<J>;

/// Jobs run in the caller's task.
#[derive(Debug, Clone, Copy)]
pub struct Here;

impl Launch for Here {
    type Running<J: Job> = Caught<J>;
}

impl Here {
    pub(super) fn start<J: Job>(&self, job: J) -> Caught<J> {
        Caught {
            job: AssertUnwindSafe(job).catch_unwind(),
        }
    }
}

/// Each job runs in a task of its own on a runtime.
#[derive(Debug, Clone, Copy)]
pub struct On<R>(pub(super) R);

impl<R> Launch for On<R> {
    type Running<J: Job> = Spawned<J>;

    fn forbid<J: Job>(running: &Spawned<J>) {
        running.0.forbid();
    }
}

impl<R: Runtime> On<R> {
    pub(super) fn start<J>(&self, job: J) -> Spawned<J>
    where
        J: Job + Send + 'static,
        J::Ok: Send + 'static,
        J::Err: Send + 'static,
    {
        Spawned(Task::spawn(&self.0, job))
    }
}

pin_project! {
    /// A job in the caller's task, its panic caught.
    pub struct Caught<J> {
        #[pin]
        job: CatchUnwind<AssertUnwindSafe<J>>,
    }
}

impl<J: Job> Future for Caught<J> {
    type Output = Result<J::Ok, JobErrorKind<J::Err>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().job.poll(cx).map(|caught| match caught {
            Ok(result) => result.map_err(JobErrorKind::Failed),
            Err(payload) => Err(JobErrorKind::Panicked(Panic::new(payload))),
        })
    }
}

/// A job in a task of its own.
pub struct Spawned<J: Job>(Task<Result<J::Ok, J::Err>>);

impl<J: Job> Future for Spawned<J> {
    type Output = Result<J::Ok, JobErrorKind<J::Err>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|done| match done {
            Ok(result) => result.map_err(JobErrorKind::Failed),
            Err(TaskError::Panicked(panic)) => Err(JobErrorKind::Panicked(panic)),
            Err(TaskError::Cancelled) => Err(JobErrorKind::Cancelled),
        })
    }
}
