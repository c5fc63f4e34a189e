//! Where jobs run: in the caller's task, or in tasks of a runtime.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;

use super::error::JobErrorKind;
use crate::backend::runtime::Runtime;
use crate::backend::sent;
use crate::backend::task::{Panic, Task, TaskError};

/// A future of a `Result`, which a gather can run. Every such future implements this trait.
///
/// ```
/// use std::convert::Infallible;
///
/// use inflight_core::gather;
///
/// # futures_lite::future::block_on(async {
/// // This job cannot fail.
/// let length = async |text: &str| Ok::<_, Infallible>(text.len());
/// assert_eq!(gather(["a", "bc"].map(length)).all().await.unwrap(), [1, 2]);
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job of a gather",
    note = "a job is a future of a `Result`: if it cannot fail, return `Ok::<_, Infallible>(output)`"
)]
pub trait Job: Future<Output = Result<Self::Ok, Self::Err>> {
    /// The output of a successful job.
    type Ok;
    /// The error of a failed job.
    type Err;
}

impl<F, T, E> Job for F
where
    F: Future<Output = Result<T, E>>,
{
    type Ok = T;
    type Err = E;
}

/// Where jobs run. The trait is sealed: only [`Here`] and [`On`] implement it.
///
/// The trait is not generic over the job. Otherwise the compiler could not prove that a future that
/// contains a gather of boxed futures is `Send` (rust-lang/rust#102211).
pub trait Launch: sealed::Sealed {
    /// A running job. Dropping it cancels the job.
    type Running<J: Job>: Future<Output = Result<J::Ok, JobErrorKind<J::Err>>>;

    /// Marks a job as cancelled. A gather marks all its jobs before it drops the first, so that no
    /// job starts a request with a permit that another job releases.
    fn mark_cancelled<J: Job>(_: &Self::Running<J>) {
        // No mark is needed in the caller's task, because no job runs while others are dropped.
    }

    /// Returns whether the job has sent a request.
    fn has_sent<J: Job>(running: &Self::Running<J>) -> bool;
}

pub(super) mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Here {}
    impl<R> Sealed for super::On<R> {}
}

/// A pointer to a function that starts a job. It is created where the bounds of the job are known:
/// `Send + 'static` for [`On`], none for [`Here`].
pub(super) type Start<L, J> = fn(&L, J) -> <L as Launch>::Running<J>;

/// The launcher that runs jobs in the caller's task.
///
/// For an example, see [`gather`](super::gather), whose jobs run in this way.
#[derive(Debug, Clone, Copy)]
pub struct Here;

impl Launch for Here {
    type Running<J: Job> = CaughtJob<J>;

    fn has_sent<J: Job>(running: &CaughtJob<J>) -> bool {
        running.has_sent
    }
}

impl Here {
    pub(super) fn start<J: Job>(&self, job: J) -> CaughtJob<J> {
        CaughtJob {
            job: AssertUnwindSafe(job).catch_unwind(),
            has_sent: false,
        }
    }
}

/// The launcher that runs each job in a separate task on a runtime.
///
/// For an example, see [`Gather::on`](super::Gather::on).
#[derive(Debug, Clone, Copy)]
pub struct On<R>(pub(super) R);

impl<R> Launch for On<R> {
    type Running<J: Job> = SpawnedJob<J>;

    fn mark_cancelled<J: Job>(running: &SpawnedJob<J>) {
        running.0.mark_cancelled();
    }

    fn has_sent<J: Job>(running: &SpawnedJob<J>) -> bool {
        running.0.has_sent()
    }
}

impl<R: Runtime> On<R> {
    pub(super) fn start<J>(&self, job: J) -> SpawnedJob<J>
    where
        J: Job + Send + 'static,
        J::Ok: Send + 'static,
        J::Err: Send + 'static,
    {
        SpawnedJob(Task::spawn(&self.0, job))
    }
}

pin_project! {
    /// A job in the caller's task. Its output contains the job's panic, if the job panicked.
    pub struct CaughtJob<J> {
        #[pin]
        job: CatchUnwind<AssertUnwindSafe<J>>,
        has_sent: bool,
    }
}

impl<J: Job> Future for CaughtJob<J> {
    type Output = Result<J::Ok, JobErrorKind<J::Err>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (polled, has_sent) = sent::observe(|| this.job.poll(cx));
        *this.has_sent |= has_sent;
        polled.map(|caught| match caught {
            Ok(result) => result.map_err(JobErrorKind::Failed),
            Err(payload) => Err(JobErrorKind::Panicked(Panic::new(payload))),
        })
    }
}

/// A job in a separate task.
pub struct SpawnedJob<J: Job>(Task<Result<J::Ok, J::Err>>);

impl<J: Job> Future for SpawnedJob<J> {
    type Output = Result<J::Ok, JobErrorKind<J::Err>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|done| match done {
            Ok(result) => result.map_err(JobErrorKind::Failed),
            Err(TaskError::Panicked(panic)) => Err(JobErrorKind::Panicked(panic)),
            Err(TaskError::Cancelled) => Err(JobErrorKind::Cancelled),
        })
    }
}
