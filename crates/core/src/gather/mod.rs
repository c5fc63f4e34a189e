//! Runs many futures concurrently, under a limit, and returns their results.
//!
//! ```
//! use inflight_core::gather;
//!
//! # futures_lite::future::block_on(async {
//! let squares = gather((1..=3).map(|n| async move { Ok::<_, ()>(n * n) }))
//!     .limit(2)
//!     .all()
//!     .await
//!     .unwrap();
//! assert_eq!(squares, [1, 4, 9]);
//! # });
//! ```
//!
//! A gather has four methods that run the jobs and return their results. These methods are called
//! endings:
//!
//! | ending | returns | a failure |
//! |---|---|---|
//! | [`all`](Gather::all) | every output, in input order | is returned; the other jobs are cancelled |
//! | [`settled`](Gather::settled) | a result for each input, in input order | is one of the results |
//! | [`completed`](Gather::completed) | a stream of results in the order of completion | is one of the items |
//! | [`first`](Gather::first) | the first output | is skipped; the gather fails only if every job fails |
//!
//! Python's `asyncio.gather` lets the other jobs continue if a job fails. [`all`](Gather::all)
//! cancels them.

mod completed;
mod error;
mod launch;
mod running;

use std::fmt;
use std::future::{Pending, pending};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{self, Iter};

use crate::backend::runtime::Runtime;
pub use completed::Completed;
pub use error::{AllFailed, JobError, JobErrorKind, Settled};
pub use launch::{Here, On};
use launch::{Job, Launch, Start};

/// The default limit, which is aiohttp's.
const DEFAULT_LIMIT: usize = 100;

/// Runs futures concurrently; see the [module's documentation](mod@crate::gather).
///
/// The input may be lazy and infinite: an input is pulled when fewer jobs than the limit run. Each
/// job is a future of a `Result`.
///
/// Inside a future that must be `Send`, such as a spawned task, a gather cannot map over a borrowed
/// iterator (`urls.iter().map(|url| ..)`). The compiler then reports that the closure is "not
/// general enough" (rust-lang/rust#102211). Map `urls.into_iter()` instead, or collect the jobs
/// into a `Vec` first.
pub fn gather<I>(jobs: I) -> Gather<Iter<I::IntoIter>>
where
    I: IntoIterator,
    I::Item: Job,
{
    gather_stream(stream::iter(jobs))
}

/// Runs the futures of a stream concurrently, like [`gather`].
///
/// ```
/// use futures_util::stream::{self, StreamExt};
/// use inflight_core::gather_stream;
///
/// # futures_lite::future::block_on(async {
/// // The input is infinite, but at most three of its jobs exist at once.
/// let jobs = stream::iter(1..).map(|n| async move { Ok::<_, ()>(n * n) });
/// let squares = gather_stream(jobs).limit(3).completed();
/// let first: Vec<_> = squares.map(|(_, square)| square.unwrap()).take(3).collect().await;
/// assert_eq!(first, [1, 4, 9]);
/// # });
/// ```
pub fn gather_stream<S>(jobs: S) -> Gather<S>
where
    S: Stream,
    S::Item: Job,
{
    Gather {
        jobs,
        limit: DEFAULT_LIMIT,
        launch: Here,
        start: Here::start,
        until: pending(),
    }
}

/// A gather that has not started. An ending, such as [`all`](Self::all), starts it.
///
/// The jobs run while the ending is awaited or its stream polled. Without [`on`](Self::on), they
/// all run in the caller's task: they need not be `Send` or `'static`, and a job that blocks its
/// thread stops all others.
///
/// # Cancel safety
///
/// Dropping the ending's future or stream cancels the jobs. Each job stops at its next yield, and no
/// more inputs are pulled. A blocking call that a job has started on a blocking pool still runs to
/// its end.
#[must_use = "a gather does nothing before one of its endings is awaited"]
pub struct Gather<S, L = Here, U = Pending<()>>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
    jobs: S,
    limit: usize,
    launch: L,
    start: Start<L, S::Item>,
    until: U,
}

impl<S, L, U> Gather<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
    /// Sets how many jobs may run at once. Default 100.
    ///
    /// A finished job counts as running until its result is taken.
    ///
    /// # Panics
    ///
    /// If `limit` is 0, because no job would ever run.
    #[track_caller]
    pub fn limit(self, limit: usize) -> Self {
        assert_ne!(limit, 0, "a gather with a limit of zero never ends");
        Self { limit, ..self }
    }

    /// Ends the gather when `until` completes: a sleep, a signal, or any other future.
    ///
    /// The results of finished jobs are returned. All running jobs are cancelled at the same time
    /// and fail with [`JobErrorKind::DeadlineExceeded`]. If a cancelled job releases a permit of a
    /// session, no other cancelled job can use the permit. No more inputs are pulled.
    ///
    /// [`Settled::is_cut_off`] and [`Completed::is_cut_off`] return whether `until` ended the
    /// gather. [`Settled::never_started`] and [`Completed::never_started`] return how many jobs did
    /// not start. The gather does not know what a job did after its start. The job may have sent
    /// its request, or it may have waited for a permit of the session. If the gather's limit is not
    /// above the session's limit, and nothing else uses the session, no job that has started waits
    /// for a permit.
    ///
    /// ```
    /// use std::future::{pending, ready};
    ///
    /// use futures_util::{FutureExt, StreamExt};
    /// use inflight_core::{JobErrorKind, gather};
    ///
    /// # futures_lite::future::block_on(async {
    /// // Any future works: a runtime's sleep or, as here, a message from a channel.
    /// let (stop, stopped) = futures_channel::oneshot::channel::<()>();
    /// let jobs = [ready(Ok::<_, ()>("done")).boxed(), pending().boxed()];
    /// let mut results = gather(jobs).until(stopped).completed();
    ///
    /// let (index, first) = results.next().await.unwrap();
    /// assert_eq!((index, first.unwrap()), (0, "done"));
    /// stop.send(()).unwrap();
    /// let (index, second) = results.next().await.unwrap();
    /// assert!(matches!(second.unwrap_err().kind(), JobErrorKind::DeadlineExceeded));
    /// # assert_eq!(index, 1);
    /// # });
    /// ```
    pub fn until<V: Future>(self, until: V) -> Gather<S, L, V> {
        Gather {
            jobs: self.jobs,
            limit: self.limit,
            launch: self.launch,
            start: self.start,
            until,
        }
    }
}

impl<S, U> Gather<S, Here, U>
where
    S: Stream,
    S::Item: Job,
{
    /// Runs each job as a separate task on `runtime`. Jobs then progress while the caller's task is
    /// busy, and use all of the runtime's threads.
    pub fn on<R>(self, runtime: &R) -> Gather<S, On<R>, U>
    where
        R: Runtime + Clone,
        S::Item: Send + 'static,
        <S::Item as Job>::Ok: Send + 'static,
        <S::Item as Job>::Err: Send + 'static,
    {
        Gather {
            jobs: self.jobs,
            limit: self.limit,
            launch: On(runtime.clone()),
            start: On::start,
            until: self.until,
        }
    }
}

impl<S, L, U> Gather<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
    U: Future,
{
    /// Returns a stream of the results in the order of completion, each with the index of its
    /// input.
    ///
    /// A job starts when the stream is polled and fewer jobs than the limit run. The stream is
    /// fused and `Unpin`.
    ///
    /// ```
    /// use futures_util::StreamExt;
    /// use inflight_core::gather;
    ///
    /// # futures_lite::future::block_on(async {
    /// let jobs = (1..=3).map(|n| async move { Ok::<_, ()>(n * n) });
    /// let mut squares = gather(jobs).completed();
    /// while let Some((index, square)) = squares.next().await {
    ///     assert_eq!(square.unwrap(), (index + 1) * (index + 1));
    /// }
    /// # });
    /// ```
    pub fn completed(self) -> Completed<S, L, U> {
        Completed::new(self)
    }

    /// Returns every output in input order, or the first failure. On a failure, the other jobs are
    /// cancelled.
    ///
    /// # Errors
    ///
    /// The error of the first job that fails, panics, or is cancelled by [`until`](Self::until). If
    /// `until` completes before every input has been pulled, the error is
    /// [`JobErrorKind::NeverStarted`] with the index of the next input.
    pub async fn all(self) -> Result<Vec<<S::Item as Job>::Ok>, JobError<<S::Item as Job>::Err>> {
        let mut slots = OrderedResults::new();
        let mut results = self.completed();
        while let Some((index, result)) = results.next().await {
            slots.fill(index, result?);
        }
        if results.is_cut_off() {
            let next = results.pulled();
            return Err(JobError::new(next, JobErrorKind::NeverStarted));
        }
        Ok(slots.into_vec())
    }

    /// Returns a result for each input that was pulled, in input order.
    ///
    /// ```
    /// use inflight_core::gather;
    ///
    /// # futures_lite::future::block_on(async {
    /// let numbers = gather(["1", "two", "3"].map(|text| async { text.parse::<u8>() }));
    /// let results = numbers.settled().await.results;
    /// assert_eq!(results[0].as_ref().unwrap(), &1);
    /// assert_eq!(results[1].as_ref().unwrap_err().index(), 1);
    /// # });
    /// ```
    pub async fn settled(self) -> Settled<<S::Item as Job>::Ok, <S::Item as Job>::Err> {
        let mut slots = OrderedResults::new();
        let mut results = self.completed();
        while let Some((index, result)) = results.next().await {
            slots.fill(index, result);
        }
        Settled {
            results: slots.into_vec(),
            never_started: results.never_started(),
            is_cut_off: results.is_cut_off(),
        }
    }

    /// Returns the first output and cancels the other jobs.
    ///
    /// # Errors
    ///
    /// [`AllFailed`] if there is no job, if every job fails, or if [`until`](Self::until) completes
    /// before a job succeeds.
    pub async fn first(self) -> Result<<S::Item as Job>::Ok, AllFailed<<S::Item as Job>::Err>> {
        let mut failures = Vec::new();
        let mut results = self.completed();
        while let Some((_, result)) = results.next().await {
            match result {
                Ok(output) => return Ok(output),
                Err(error) => failures.push(error),
            }
        }
        failures.sort_by_key(JobError::index);
        Err(AllFailed {
            failures,
            never_started: results.never_started(),
        })
    }
}

impl<S, L, U> fmt::Debug for Gather<S, L, U>
where
    S: Stream,
    S::Item: Job,
    L: Launch,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Results by the index of their input.
struct OrderedResults<T>(Vec<Option<T>>);

impl<T> OrderedResults<T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn fill(&mut self, index: usize, value: T) {
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(value);
    }

    fn into_vec(self) -> Vec<T> {
        // Every pulled input has exactly one result, so no slot is empty.
        self.0.into_iter().flatten().collect()
    }
}
