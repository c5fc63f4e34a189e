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
//! A gather has five methods that run the jobs and return their results. These methods are called
//! endings:
//!
//! | ending | returns | a failure |
//! |---|---|---|
//! | [`all`](Gather::all) | every output, in input order | is returned; the other jobs are cancelled |
//! | [`settled`](Gather::settled) | a result for each input, in input order | is one of the results |
//! | [`completed`](Gather::completed) | a stream of results in the order of completion | is one of the items |
//! | [`first`](Gather::first) | the first output | is skipped; the gather fails only if every job fails |
//! | [`hedge`](Gather::hedge) | the first output, with delayed starts | starts the next job |
//!
//! A gather takes its jobs from one of four functions:
//!
//! | function | input |
//! |---|---|
//! | [`gather`] | futures |
//! | [`gather_stream`] | a stream of futures |
//! | [`gather_with`] | items, and a function that creates the job of an item; each result comes with its item |
//! | [`gather_queue`] | like `gather_with`, and jobs can add items |
//!
//! [`limit`](Gather::limit) limits how many jobs run at once. [`key`](Gather::key) adds limits for each
//! host, or for any other key. Jobs of other keys do not wait for a key that is at its limit.
//!
//! Python's `asyncio.gather` lets the other jobs continue if a job fails. [`all`](Gather::all)
//! cancels them.

mod completed;
mod error;
mod input;
mod keyed;
mod launch;
mod queue;
mod running;

use std::fmt;
use std::future::{Pending, pending};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::{self, Iter};

use crate::backend::runtime::Runtime;
pub use completed::Completed;
use completed::{Finished, JobResult};
pub use error::{AllFailed, JobError, JobErrorKind, Settled};
use input::Staggered;
pub use input::{Input, Items};
use keyed::{KeyLimiter, LimitsByKey};
pub use keyed::{KeyLimits, Keyed};
pub use launch::{Here, Job, On};
use launch::{Launch, Start};
pub use queue::{InputQueue, QueuedItems};

/// The default limit, which is aiohttp's.
const DEFAULT_LIMIT: usize = 100;

/// Runs futures concurrently; see the [module's documentation](mod@crate::gather).
///
/// Chapters [1](../../tutorial/ch01.html) and [4](../../tutorial/ch04.html) of the book teach its use.
///
/// The input may be lazy and infinite: an input is pulled when fewer jobs than the limit run. Each
/// job is a future of a `Result`.
///
/// Inside a future that must be `Send`, such as a spawned task, a gather cannot map over a borrowed
/// iterator (`urls.iter().map(|url| ..)`). The compiler then reports that the closure is "not
/// general enough" (rust-lang/rust#102211). Map `urls.into_iter()` instead, or collect the jobs
/// into a `Vec` first.
///
/// ```
/// use inflight_core::gather;
///
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_mock::{Mock, Reply, When};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
/// # mock.on(When::any().repeated(), Reply::text("a page"));
/// # let session = mock.session().build()?;
/// # runtime.block_on(async {
/// let pages = (1..=3).map(|n| session.get(format!("http://pages.test/{n}")).text());
/// let texts = gather(pages).limit(2).all().await?;
/// assert_eq!(texts, ["a page", "a page", "a page"]);
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
#[doc(alias("join_all", "JoinSet", "TaskGroup", "FuturesUnordered"))]
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
#[doc(alias = "buffer_unordered")]
pub fn gather_stream<S>(jobs: S) -> Gather<S>
where
    S: Stream,
    S::Item: Job,
{
    Gather::new(jobs)
}

/// Calls `job` with each item, and runs the futures that it returns concurrently, like [`gather`].
/// The results contain their items: [`completed`](Gather::completed) yields `(item, result)`, and
/// the other endings return the item with each result or output.
///
/// Chapter [4](../../tutorial/ch04.html) of the book teaches its use.
///
/// An item is cloned when its job starts. If that is expensive, gather references or `Arc`s.
///
/// ```
/// use futures_util::StreamExt;
/// use inflight_core::gather_with;
///
/// # futures_lite::future::block_on(async {
/// let parse = |text: &'static str| async move { text.parse::<u8>() };
/// let mut numbers = gather_with(["1", "two", "3"], parse).completed();
/// while let Some((text, number)) = numbers.next().await {
///     match number {
///         Ok(number) => assert_eq!(number.to_string(), text),
///         Err(_) => assert_eq!(text, "two"),
///     }
/// }
/// # });
/// ```
///
/// A job that [`until`](Gather::until) cancels has a result with its item. To keep the items whose
/// jobs never started, lend the iterator:
///
/// ```
/// use std::future::{pending, poll_fn};
/// use std::task::Poll;
///
/// use inflight_core::gather_with;
///
/// # futures_lite::future::block_on(async {
/// # let mut polls = 0;
/// # let deadline = poll_fn(|cx| {
/// #     polls += 1;
/// #     cx.waker().wake_by_ref();
/// #     if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
/// # });
/// let mut items = ['a', 'b', 'c'].into_iter();
/// let hang = |_: char| pending::<Result<(), ()>>();
/// let settled = gather_with(items.by_ref(), hang).limit(1).until(deadline).settled().await;
/// assert_eq!(settled.results[0].0, 'a');
/// assert!(items.eq(['b', 'c']));
/// # });
/// ```
#[doc(alias = "for_each_concurrent")]
pub fn gather_with<I, F, J>(items: I, job: F) -> Gather<Items<I::IntoIter, F>>
where
    I: IntoIterator,
    I::Item: Clone,
    F: FnMut(I::Item) -> J,
    J: Job,
{
    Gather::new(Items::new(items.into_iter(), job))
}

/// Calls `job` with each item and a handle, and runs the futures that it returns concurrently, like
/// [`gather_with`]. Jobs can add items with the handle.
///
/// The gather ends when no job runs, no item waits, and no handle exists. A job owns its handle, so a
/// finished job keeps no gather from ending. [`Gather::queue`] returns a handle for code outside the
/// jobs. Drop this handle when no more items follow, because otherwise the gather never ends.
///
/// A crawler visits each page once, and adds the links of the page:
///
/// ```
/// use std::collections::HashSet;
///
/// use inflight_core::gather_queue;
/// # use inflight_core::Error;
///
/// /// Returns the links of a page.
/// async fn links(page: u32) -> Result<Vec<u32>, Error> {
///     Ok(vec![page * 2, page * 2 + 1])
/// }
///
/// # futures_lite::future::block_on(async {
/// let seen = std::cell::RefCell::new(HashSet::from([1]));
/// let seen = &seen;
/// let crawl = gather_queue([1], |page, queue| async move {
///     for link in links(page).await? {
///         if link < 10 && seen.borrow_mut().insert(link) {
///             queue.push(link).ok();
///         }
///     }
///     Ok::<_, Error>(())
/// });
/// let pages = crawl.limit(4).all().await?;
/// assert_eq!(pages.len(), 9);
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
///
/// # `until`
///
/// If [`until`](Gather::until) ends the gather, the items that still wait get results too, with
/// [`JobErrorKind::NeverStarted`]. So a program can save them and continue later.
#[doc(alias("worklist", "crawl", "nursery", "spawn"))]
pub fn gather_queue<I, F, J>(items: I, job: F) -> Gather<QueuedItems<I::Item, F>>
where
    I: IntoIterator,
    I::Item: Clone,
    F: FnMut(I::Item, InputQueue<I::Item>) -> J,
    J: Job,
{
    Gather::new(QueuedItems::new(items, job))
}

/// A gather that has not started. An ending, such as [`all`](Self::all), starts it.
///
/// Chapter [4](../../../tutorial/ch04.html) of the book teaches its use.
///
/// The jobs run while the ending is awaited or its stream polled. Without [`on`](Self::on), they
/// all run in the caller's task: they need not be `Send` or `'static`, and a job that blocks its
/// thread stops all others.
///
/// For an example, see [`gather`] and the documentation of each ending.
///
/// # Cancel safety
///
/// Dropping the ending's future or stream cancels the jobs. Each job stops at its next yield, and no
/// more inputs are pulled. A blocking call that a job has started on a blocking pool still runs to
/// its end.
#[must_use = "a gather does nothing before one of its endings is awaited"]
pub struct Gather<S, L = Here, U = Pending<()>>
where
    S: Input,
    L: Launch,
{
    input: S,
    limit: usize,
    launch: L,
    start: Start<L, S::Job>,
    until: U,
}

impl<S: Input> Gather<S> {
    fn new(input: S) -> Self {
        Self {
            input,
            limit: DEFAULT_LIMIT,
            launch: Here,
            start: Here::start,
            until: pending(),
        }
    }
}

impl<S, L, U> Gather<S, L, U>
where
    S: Input,
    L: Launch,
{
    /// Sets how many jobs may run at once. Default 100.
    ///
    /// A finished job counts as running until its result is taken.
    ///
    /// # Panics
    ///
    /// If `limit` is 0, because no job would ever run.
    #[doc(alias("Semaphore", "buffer_unordered"))]
    #[track_caller]
    pub fn limit(self, limit: usize) -> Self {
        assert_ne!(limit, 0, "a gather with a limit of zero never ends");
        Self { limit, ..self }
    }

    /// Ends the gather when `until` completes: a sleep, a signal, or any other future.
    ///
    /// Chapter [9](../../../tutorial/ch09.html) of the book teaches its use.
    ///
    /// The results of finished jobs are returned. All running jobs are cancelled at the same time
    /// and fail with [`JobErrorKind::DeadlineExceeded`], which tells jobs that had sent a request from
    /// those that still waited for a permit. If a cancelled job releases a permit of a
    /// session, no other cancelled job can use the permit. No more inputs are pulled.
    ///
    /// [`Settled::is_cut_off`] and [`Completed::is_cut_off`] return whether `until` ended the
    /// gather. [`Settled::never_started`] and [`Completed::never_started`] return how many jobs did
    /// not start.
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
    /// assert!(matches!(second.unwrap_err().kind(), JobErrorKind::DeadlineExceeded { .. }));
    /// # assert_eq!(index, 1);
    /// # });
    /// ```
    #[doc(alias("timeout", "wait_for"))]
    pub fn until<V: Future>(self, until: V) -> Gather<S, L, V> {
        Gather {
            input: self.input,
            limit: self.limit,
            launch: self.launch,
            start: self.start,
            until,
        }
    }
}

impl<S, L, U> Gather<S, L, U>
where
    S: Input,
    L: Launch,
{
    /// Gives each input a key, such as the host of its URL, for the limits of one key:
    /// [`per_key`](Gather::per_key), [`rate_per_key`](Gather::rate_per_key) and
    /// [`limits_by_key`](Gather::limits_by_key).
    ///
    /// `key` is called with the item, or with the index of the input unless the gather has items.
    ///
    /// An input whose key is at its limit waits while the gather starts later inputs with other keys.
    /// Inputs with the same key start in input order. At most [`look_ahead`](Gather::look_ahead) inputs
    /// wait, by default 10,000. They do not count as running.
    ///
    /// ```
    /// use inflight_core::gather_with;
    ///
    /// # use std::time::Duration;
    /// # use inflight_core::{BlockOn, Error};
    /// # use inflight_mock::{Mock, Reply, When};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # let second = Duration::from_secs(1);
    /// # mock.on(When::any().repeated(), Reply::text("a page").after(second));
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(async {
    /// // Each page takes a second.
    /// let urls = ["http://a.test/1", "http://a.test/2", "http://b.test/1", "http://b.test/2"];
    /// let pages = gather_with(urls, |url| session.get(url).text())
    ///     .limit(2)
    ///     .key(|url| url.split('/').nth(2))
    ///     .per_key(1);
    /// pages.all().await?;
    /// // One request for each host was in flight at any time.
    /// assert_eq!(runtime.elapsed().as_secs(), 2);
    /// # Ok::<(), Error>(())
    /// # })?;
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias("group_by", "fairness", "per_host"))]
    pub fn key<F, K>(self, key: F) -> Gather<Keyed<S, F, K>, L, U>
    where
        F: FnMut(&S::Id) -> K,
        K: Clone + Eq + Hash,
    {
        Gather {
            input: Keyed::new(self.input, key),
            limit: self.limit,
            launch: self.launch,
            start: self.start,
            until: self.until,
        }
    }
}

impl<S, F, K, G, L, U> Gather<Keyed<S, F, K, G>, L, U>
where
    S: Input,
    F: FnMut(&S::Id) -> K,
    K: Clone + Eq + Hash,
    G: LimitsByKey<K>,
    L: Launch,
{
    /// Sets how many jobs with the same key may run at once. Default: no limit for one key.
    ///
    /// Chapter [11](../../../tutorial/ch11.html) of the book teaches its use.
    ///
    /// For an example, see [`key`](Gather::key).
    ///
    /// # Panics
    ///
    /// If `limit` is 0, because no job would ever run.
    #[track_caller]
    pub fn per_key(self, limit: usize) -> Self {
        assert_ne!(
            limit, 0,
            "a gather with a limit of zero for each key never ends"
        );
        self.with_limits(|limiter| limiter.common.running = limit)
    }

    /// Sets how many jobs with the same key may start in each `period`. The starts of two jobs with the
    /// same key are at least `period / jobs` apart. Default: no limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use inflight_core::{BlockOn, gather_with};
    /// # use inflight_core::Error;
    /// # use inflight_virtual::Virtual;
    ///
    /// # let runtime = Virtual::new();
    /// // 4 jobs with the key "a", one of them every 5 seconds.
    /// let jobs = gather_with(["a", "a", "b", "a", "a"], |_| async { Ok::<_, Error>(()) })
    ///     .key(|host| *host)
    ///     .rate_per_key(2, Duration::from_secs(10), &runtime);
    /// runtime.block_on(jobs.all())?;
    /// assert_eq!(runtime.elapsed().as_secs(), 15);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `jobs` is 0, because no job would ever run.
    #[doc(alias("rate_limit", "throttle", "crawl_delay"))]
    #[track_caller]
    pub fn rate_per_key<R>(self, jobs: u32, period: Duration, runtime: &R) -> Self
    where
        R: Runtime + Clone,
    {
        assert_ne!(jobs, 0, "a gather with a rate of zero never ends");
        let runtime = Arc::new(runtime.clone());
        self.with_limits(|limiter| {
            limiter.common.interval = period / jobs;
            limiter.runtime = Some(runtime);
        })
    }

    /// Sets a closure that returns the limits of one key. The closure may return other limits later. For
    /// example, a crawler reads the `Crawl-delay` of a host in the host's robots.txt while it runs.
    ///
    /// [`per_key`](Self::per_key) and [`rate_per_key`](Self::rate_per_key) apply too. The stricter limit
    /// counts.
    ///
    /// The first job of each host runs alone and finds the delay of the host, which the other jobs keep:
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::collections::HashMap;
    /// use std::time::Duration;
    ///
    /// use inflight_core::gather::KeyLimits;
    /// use inflight_core::{BlockOn, gather_with};
    /// # use inflight_core::{Error, Runtime};
    /// # use inflight_virtual::Virtual;
    /// # let runtime = Virtual::new();
    ///
    /// # let host_of = |url: &str| url.split('/').nth(2).unwrap().to_owned();
    /// # let starts = RefCell::new(Vec::new());
    /// # let pause = runtime.clone();
    /// # let fetch_crawl_delay = async |host: &str| {
    /// #     pause.sleep(Duration::from_secs(1)).await;
    /// #     Duration::from_secs(if host == "a.test" { 5 } else { 0 })
    /// # };
    /// # let fetch_page = async |url: &str| starts.borrow_mut().push((url.to_owned(), pause.elapsed().as_secs()));
    /// let delays = RefCell::new(HashMap::new());
    /// let urls = ["http://a.test/1", "http://b.test/1", "http://a.test/2", "http://a.test/3"];
    /// let pages = gather_with(urls, async |url| {
    ///     let host = host_of(url);
    ///     if !delays.borrow().contains_key(&host) {
    ///         let delay: Duration = fetch_crawl_delay(&host).await;
    ///         delays.borrow_mut().insert(host, delay);
    ///     }
    ///     fetch_page(url).await;
    ///     Ok::<_, Error>(())
    /// })
    /// .key(|url| host_of(url))
    /// .limits_by_key(&runtime, |host| match delays.borrow().get(host) {
    ///     Some(delay) => KeyLimits { interval: *delay, ..KeyLimits::default() },
    ///     None => KeyLimits { running: 1, ..KeyLimits::default() },
    /// });
    /// runtime.block_on(pages.all())?;
    /// // The second and the third page of the first host start 5 and 10 seconds after its first job.
    /// assert_eq!(runtime.elapsed().as_secs(), 10);
    /// # let expected = [("http://a.test/1", 1), ("http://b.test/1", 1), ("http://a.test/2", 5), ("http://a.test/3", 10)];
    /// # assert_eq!(*starts.borrow(), expected.map(|(url, at)| (url.to_owned(), at)));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # When limits change
    ///
    /// The gather calls the closure for a key when an input of the key is added, before and after a job of
    /// the key starts, when such a job ends, and when an interval has passed. It notices a change of the
    /// limits at the next of these events. If a job changes the limits of its own key before the job ends,
    /// the gather notices the change in time. No job starts against the limits that the closure returns
    /// before its start. The closure should be fast.
    ///
    /// An interval counts from the last start, even if the interval has grown since then. The gather
    /// forgets the last start of a key when no input of the key waits, no job of the key runs, and the
    /// interval has passed. If the interval grows after that, it counts from the next start.
    ///
    /// # Panics
    ///
    /// The gather panics while it runs if the closure returns a `running` of 0, because no job of the key
    /// would ever run.
    #[doc(alias("rate_limit", "throttle", "crawl_delay"))]
    pub fn limits_by_key<R, H>(self, runtime: &R, limits: H) -> Gather<Keyed<S, F, K, H>, L, U>
    where
        R: Runtime + Clone,
        H: FnMut(&K) -> KeyLimits,
    {
        Gather {
            input: self.input.limits_by_key(Arc::new(runtime.clone()), limits),
            limit: self.limit,
            launch: self.launch,
            start: self.start,
            until: self.until,
        }
    }

    /// Sets how many inputs may wait for their key. Default 10,000.
    ///
    /// The gather keeps waiting inputs in memory. If this number of inputs wait and all their keys are at
    /// their limit, the gather starts no job until one of these keys permits it.
    ///
    /// # Panics
    ///
    /// If `inputs` is 0.
    #[track_caller]
    pub fn look_ahead(self, inputs: usize) -> Self {
        assert_ne!(inputs, 0, "a gather with keys needs space for one input");
        self.with_limits(|limiter| limiter.look_ahead = inputs)
    }

    fn with_limits(self, change: impl FnOnce(&mut KeyLimiter<G>)) -> Self {
        Self {
            input: self.input.with_limits(change),
            ..self
        }
    }
}

impl<T, F, J, L, U> Gather<QueuedItems<T, F>, L, U>
where
    T: Clone,
    F: FnMut(T, InputQueue<T>) -> J,
    J: Job,
    L: Launch,
{
    /// Returns a handle that adds items to the gather. Drop the handle when no more items follow,
    /// because otherwise the gather never ends.
    ///
    /// ```
    /// use inflight_core::{Error, gather_queue};
    ///
    /// # futures_lite::future::block_on(async {
    /// let squares = gather_queue([], |n, _| async move { Ok::<_, Error>(n * n) });
    /// let queue = squares.queue();
    /// // This may also happen in another task, while the gather runs.
    /// queue.push(2).unwrap();
    /// queue.push(3).unwrap();
    /// drop(queue);
    /// assert_eq!(squares.all().await.unwrap(), [(2, 4), (3, 9)]);
    /// # });
    /// ```
    pub fn queue(&self) -> InputQueue<T> {
        self.input.new_handle()
    }
}

impl<S, U> Gather<S, Here, U>
where
    S: Input,
{
    /// Runs each job as a separate task on `runtime`. Jobs then progress while the caller's task is
    /// busy, and use all of the runtime's threads.
    ///
    /// ```
    /// use inflight_core::{BlockOn, gather};
    /// use inflight_threads::Threads;
    ///
    /// let threads = Threads::new();
    /// let squares = gather((1..=3).map(|n| async move { Ok::<_, ()>(n * n) })).on(&threads);
    /// assert_eq!(threads.block_on(squares.all()).unwrap(), [1, 4, 9]);
    /// ```
    #[doc(alias("spawn", "JoinSet"))]
    pub fn on<R>(self, runtime: &R) -> Gather<S, On<R>, U>
    where
        R: Runtime + Clone,
        S::Job: Send + 'static,
        <S::Job as Job>::Ok: Send + 'static,
        <S::Job as Job>::Err: Send + 'static,
    {
        Gather {
            input: self.input,
            limit: self.limit,
            launch: On(runtime.clone()),
            start: On::start,
            until: self.until,
        }
    }
}

impl<S, L, U> Gather<S, L, U>
where
    S: Input,
    L: Launch,
    U: Future,
{
    /// Returns a stream of the results in the order of completion, each with the index of its
    /// input, or with its item after [`gather_with`].
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
    #[doc(alias("as_completed", "FuturesUnordered"))]
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
    #[doc(alias("try_join_all", "TaskGroup"))]
    pub async fn all(
        self,
    ) -> Result<Vec<S::Output<<S::Job as Job>::Ok>>, JobError<<S::Job as Job>::Err>> {
        let mut slots = OrderedResults::new();
        let mut results = self.completed();
        while let Some(Finished { index, id, result }) = results.next_finished().await {
            slots.fill(index, S::output(id, result?));
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
    #[doc(alias("return_exceptions", "join_all"))]
    pub async fn settled(self) -> Settled<S::Output<JobResult<S::Job>>> {
        let mut slots = OrderedResults::new();
        let mut results = self.completed();
        while let Some(Finished { index, id, result }) = results.next_finished().await {
            slots.fill(index, S::output(id, result));
        }
        Settled {
            results: slots.into_vec(),
            never_started: results.never_started(),
            is_cut_off: results.is_cut_off(),
        }
    }

    /// Returns the first output and cancels the other jobs. To start the jobs one after another, use
    /// [`hedge`](Self::hedge).
    ///
    /// ```
    /// use inflight_core::gather;
    ///
    /// # futures_lite::future::block_on(async {
    /// let numbers = gather(["one", "2"].map(|text| async { text.parse::<u8>() }));
    /// assert_eq!(numbers.first().await.unwrap(), 2);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// [`AllFailed`] if there is no job, if every job fails, or if [`until`](Self::until) completes
    /// before a job succeeds.
    #[doc(alias("select_ok", "FIRST_COMPLETED"))]
    pub async fn first(self) -> First<S> {
        first_output(self.completed(), |_| {}).await
    }

    /// Starts one job after another until one succeeds. Returns its output and cancels the other jobs.
    ///
    /// The next job starts when `delay` has passed since the last start, or as soon as a job fails.
    /// Hedging shortens the slowest responses if the inputs are equivalent, such as two mirrors, and
    /// repeating them does no harm. If `delay` is the 95th percentile of the response time, it adds
    /// about 5 % more requests (Dean and Barroso, "The Tail at Scale", 2013).
    ///
    /// ```
    /// use std::future::{pending, ready};
    /// use std::time::Duration;
    ///
    /// use futures_util::FutureExt;
    /// use inflight_core::gather;
    /// use inflight_threads::Threads;
    ///
    /// # futures_lite::future::block_on(async {
    /// let (slow, fast) = (pending().boxed(), ready(Ok::<_, ()>("fast")).boxed());
    /// // In a program, the runtime is that of the session: `session.runtime()`.
    /// let runtime = Threads::new();
    /// let jobs = gather([slow, fast]);
    /// let output = jobs.hedge(Duration::from_millis(10), &runtime).await.unwrap();
    /// assert_eq!(output, "fast");
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`first`](Self::first).
    pub async fn hedge<R>(self, delay: Duration, runtime: &R) -> First<S>
    where
        R: Runtime + Clone,
    {
        let staggered = Gather {
            input: Staggered::new(self.input, delay, runtime.clone()),
            limit: self.limit,
            launch: self.launch,
            start: self.start,
            until: self.until,
        };
        first_output(staggered.completed(), Staggered::start_next).await
    }
}

/// The result of [`first`](Gather::first) and [`hedge`](Gather::hedge).
type First<S> = Result<
    <S as Input>::Output<<<S as Input>::Job as Job>::Ok>,
    AllFailed<<<S as Input>::Job as Job>::Err>,
>;

/// Returns the first output. Calls `on_failure` with the input after each failure.
async fn first_output<S, L, U>(
    mut results: Completed<S, L, U>,
    mut on_failure: impl FnMut(Pin<&mut S>),
) -> First<S>
where
    S: Input,
    L: Launch,
    U: Future,
{
    let mut failures = Vec::new();
    while let Some(Finished { id, result, .. }) = results.next_finished().await {
        match result {
            Ok(output) => return Ok(S::output(id, output)),
            Err(error) => failures.push(error),
        }
        on_failure(results.input());
    }
    failures.sort_by_key(JobError::index);
    Err(AllFailed {
        failures,
        never_started: results.never_started(),
    })
}

impl<S, L, U> fmt::Debug for Gather<S, L, U>
where
    S: Input,
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
