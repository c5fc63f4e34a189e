//! Where a job runs: in the caller's task, or in one of its own.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;

use super::error::JobErrorKind;
use crate::runtime::Runtime;
use crate::task::{Panic, Task, TaskError};

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

/// How jobs are started. Sealed: [`Here`] and [`On`] are all there are.
pub trait Launch<J: Job> {
    /// The running job. Dropping it cancels the job.
    type Running: Future<Output = Result<J::Ok, JobErrorKind<J::Err>>>;

    /// Starts a job.
    fn launch(&self, job: J) -> Self::Running;
}

/// Jobs run in the caller's task.
#[derive(Debug, Clone, Copy)]
pub struct Here;

/// Each job runs in a task of its own on a runtime.
pub struct On<R, J: Job> {
    runtime: R,
    // A pointer made where `J` is known to be `Send + 'static`. With these bounds on the `impl`
    // of `Launch` instead, the compiler cannot prove that a future which holds a gather is
    // `Send` (rust-lang/rust#102211).
    spawn: fn(&R, J) -> Spawned<J>,
}

impl<R, J> On<R, J>
where
    R: Runtime,
    J: Job + Send + 'static,
    J::Ok: Send + 'static,
    J::Err: Send + 'static,
{
    pub(super) fn new(runtime: R) -> Self {
        Self {
            runtime,
            spawn: |runtime, job| Spawned(Task::spawn(runtime, job)),
        }
    }
}

impl<R: fmt::Debug, J: Job> fmt::Debug for On<R, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("On").field(&self.runtime).finish()
    }
}

pin_project! {
    /// A job in the caller's task, its panic caught.
    pub struct Caught<J> {
        #[pin]
        job: CatchUnwind<AssertUnwindSafe<J>>,
    }
}

impl<J: Job> Launch<J> for Here {
    type Running = Caught<J>;

    fn launch(&self, job: J) -> Caught<J> {
        Caught {
            job: AssertUnwindSafe(job).catch_unwind(),
        }
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

impl<J: Job, R> Launch<J> for On<R, J> {
    type Running = Spawned<J>;

    fn launch(&self, job: J) -> Spawned<J> {
        (self.spawn)(&self.runtime, job)
    }
}

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
