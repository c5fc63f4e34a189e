//! A task on any runtime, which is cancelled on drop and returns a panic as a value.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;
use sync_wrapper::SyncWrapper;

use crate::backend::runtime::Runtime;
use crate::backend::sent;
use crate::error::{Error, ErrorKind};
use crate::sync::{AtomicBool, AtomicWaker, Mutex, MutexGuard};

/// A task that [`Task::spawn`] has started. Awaiting it returns its output.
///
/// Chapter [2](../../tutorial/ch02.html) of the book teaches its use.
///
/// Dropping the task cancels it at its next yield. [`detach`](Self::detach) lets it run to its end.
/// Cancelling and detaching work in the same way on every runtime.
///
/// ```
/// use inflight_core::{BlockOn, Task};
/// use inflight_threads::Threads;
///
/// let threads = Threads::new();
/// let fine = Task::spawn(&threads, async { 6 * 7 });
/// let faulty = Task::<()>::spawn(&threads, async { panic!("out of luck") });
/// threads.block_on(async {
///     assert_eq!(fine.await.unwrap(), 42);
///     let error = faulty.await.unwrap_err();
///     assert_eq!(error.to_string(), "the task panicked: out of luck");
/// });
/// ```
///
/// # Cancel safety
///
/// Awaiting `&mut task` may be cancelled and repeated.
#[doc(alias("JoinHandle", "create_task"))]
pub struct Task<T> {
    shared: Arc<Shared<T>>,
    is_detached: bool,
}

/// The reason why a task has no output.
///
/// ```
/// use inflight_core::{BlockOn, Task, TaskError};
/// use inflight_threads::Threads;
///
/// let threads = Threads::new();
/// let task = Task::<()>::spawn(&threads, async { panic!("out of luck") });
/// match threads.block_on(task) {
///     Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "out of luck"),
///     other => unreachable!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
pub enum TaskError {
    /// The task panicked.
    Panicked(Panic),
    /// The task was cancelled, or its runtime ended before the task finished.
    Cancelled,
}

/// A panic as a value.
///
/// For an example, see [`TaskError`].
pub struct Panic {
    message: String,
    payload: SyncWrapper<Box<dyn Any + Send>>,
}

impl<T: Send + 'static> Task<T> {
    /// Starts `future` on `runtime`.
    pub fn spawn<F>(runtime: &dyn Runtime, future: F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            is_cancelled: AtomicBool::new(false),
            has_sent: AtomicBool::new(false),
            task_waker: AtomicWaker::new(),
            outcome: Mutex::new(None),
            owner_waker: AtomicWaker::new(),
        });
        runtime.spawn(Box::pin(TaskFuture {
            future: Some(AssertUnwindSafe(future).catch_unwind()),
            completion: CompletionGuard(Some(Arc::clone(&shared))),
        }));
        Self {
            shared,
            is_detached: false,
        }
    }
}

impl<T> Task<T> {
    /// Detaches the task. It runs to its end, and its output is dropped.
    pub fn detach(mut self) {
        self.is_detached = true;
    }

    /// Cancels the task at its next yield. Awaiting the task then returns [`TaskError::Cancelled`],
    /// unless the task had already finished.
    pub fn cancel(&self) {
        self.mark_cancelled();
        self.shared.task_waker.wake();
    }

    /// Marks the task as cancelled without waking it. The task then ends at its next poll. A
    /// gather marks all its tasks before it drops the first, so that no task continues because
    /// another task has ended.
    pub(crate) fn mark_cancelled(&self) {
        self.shared.is_cancelled.store(true, Ordering::SeqCst);
    }

    /// Returns whether the task has sent a request.
    pub(crate) fn has_sent(&self) -> bool {
        self.shared.has_sent.load(Ordering::SeqCst)
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.shared.owner_waker.register(cx.waker());
        let mut outcome = self.shared.outcome();
        match outcome.take() {
            Some(result) => {
                // A later poll returns `Cancelled`.
                *outcome = Some(Err(TaskError::Cancelled));
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.is_detached {
            self.cancel();
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

/// The state that a task and its owner share.
struct Shared<T> {
    is_cancelled: AtomicBool,
    /// Whether the task has sent a request.
    has_sent: AtomicBool,
    /// Wakes the task when it is cancelled.
    task_waker: AtomicWaker,
    outcome: Mutex<Option<Result<T, TaskError>>>,
    /// Wakes the owner, which waits for the outcome.
    owner_waker: AtomicWaker,
}

impl<T> Shared<T> {
    fn outcome(&self) -> MutexGuard<'_, Option<Result<T, TaskError>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }
}

pin_project! {
    /// The future that the runtime runs for a task. It completes when the task finishes or is
    /// cancelled.
    struct TaskFuture<F: Future> {
        #[pin]
        future: Option<CatchUnwind<AssertUnwindSafe<F>>>,
        // Declared after `future`, so that `future` is dropped before the owner is woken.
        completion: CompletionGuard<F::Output>,
    }
}

impl<F: Future> Future for TaskFuture<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let (Some(future), Some(shared)) = (this.future.as_mut().as_pin_mut(), &this.completion.0)
        else {
            return Poll::Ready(());
        };
        let mut result = Err(TaskError::Cancelled);
        if !shared.is_cancelled() {
            let (polled, has_sent) = sent::observe(|| future.poll(cx));
            if has_sent {
                shared.has_sent.store(true, Ordering::SeqCst);
            }
            match polled {
                Poll::Ready(Ok(output)) => result = Ok(output),
                Poll::Ready(Err(payload)) => {
                    result = Err(TaskError::Panicked(Panic::new(payload)));
                }
                Poll::Pending => {
                    shared.task_waker.register(cx.waker());
                    // The task may have been cancelled before the waker was registered.
                    if !shared.is_cancelled() {
                        return Poll::Pending;
                    }
                }
            }
        }
        this.future.set(None);
        this.completion.complete(result);
        Poll::Ready(())
    }
}

/// A guard that passes the outcome to the owner. If the runtime drops the task early, the outcome
/// is `Cancelled`.
struct CompletionGuard<T>(Option<Arc<Shared<T>>>);

impl<T> CompletionGuard<T> {
    fn complete(&mut self, result: Result<T, TaskError>) {
        if let Some(shared) = self.0.take() {
            *shared.outcome() = Some(result);
            shared.owner_waker.wake();
        }
    }
}

impl<T> Drop for CompletionGuard<T> {
    fn drop(&mut self) {
        self.complete(Err(TaskError::Cancelled));
    }
}

/// Runs blocking work on the runtime's blocking pool and waits for its result. The work is queued
/// when this function is called, not when the future is first polled.
///
/// Chapter [6](../../tutorial/ch06.html) of the book teaches its use.
///
/// ```
/// use inflight_core::{BlockOn, unblock};
/// use inflight_threads::Threads;
///
/// let threads = Threads::new();
/// let sum = unblock(&threads, || (1..=100).sum::<u32>());
/// assert_eq!(threads.block_on(sum).unwrap(), 5050);
/// ```
///
/// In a function that returns [`Error`], `?` converts the error of the task:
///
/// ```
/// use inflight_core::{BlockOn, Error, ErrorKind, unblock};
/// # use inflight_threads::Threads;
///
/// # let threads = Threads::new();
/// # threads.block_on(async {
/// let sum: u32 = unblock(&threads, || (1..=100).sum()).await?;
/// # assert_eq!(sum, 5050);
/// # Ok::<(), Error>(())
/// # })?;
/// # let failed = threads.block_on(unblock(&threads, || -> u32 { panic!("the disk is full") }));
/// # let error = Error::from(failed.unwrap_err());
/// # assert_eq!(error.kind(), ErrorKind::Panicked);
/// # assert!(error.to_string().contains("the disk is full"));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// [`TaskError::Panicked`] if the work panics. [`TaskError::Cancelled`] if the runtime ends before
/// the work has begun. Both convert to an [`Error`], of the kinds [`ErrorKind::Panicked`] and
/// [`ErrorKind::Cancelled`].
///
/// # Cancel safety
///
/// If the future is dropped, work that has not begun is skipped, and work that has begun runs to its
/// end.
#[doc(alias("spawn_blocking", "run_in_executor", "to_thread"))]
pub fn unblock<T, W>(
    runtime: &dyn Runtime,
    work: W,
) -> impl Future<Output = Result<T, TaskError>> + Send + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let (work, output) = blocking_work(work);
    runtime.spawn_blocking(work);
    output
}

/// Returns work for a blocking pool, and a future of its result, which is like that of [`unblock`].
pub(crate) fn blocking_work<T, W>(
    work: W,
) -> (
    Box<dyn FnOnce() + Send>,
    impl Future<Output = Result<T, TaskError>> + Send,
)
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let (sender, output) = oneshot::channel();
    let work = Box::new(move || {
        if sender.is_canceled() {
            return;
        }
        let result = std::panic::catch_unwind(AssertUnwindSafe(work));
        let _ = sender.send(result);
    });
    let output = async move {
        match output.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(payload)) => Err(TaskError::Panicked(Panic::new(payload))),
            Err(oneshot::Canceled) => Err(TaskError::Cancelled),
        }
    };
    (work, output)
}

impl TaskError {
    /// Resumes the task's panic in this thread. Does nothing if the task was cancelled.
    pub fn resume(self) {
        if let Self::Panicked(panic) = self {
            panic.resume();
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "the task panicked: {}", panic.message()),
            Self::Cancelled => f.write_str("the task was cancelled"),
        }
    }
}

impl std::error::Error for TaskError {}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Panicked(panic) => {
                Self::new(ErrorKind::Panicked).with_context(panic.message().to_owned())
            }
            TaskError::Cancelled => {
                Self::new(ErrorKind::Cancelled).with_context("the task was cancelled")
            }
        }
    }
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = payload
            .downcast_ref::<&'static str>()
            .map(|message| (*message).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        Self {
            message,
            payload: SyncWrapper::new(payload),
        }
    }

    /// Returns the panic's message, or a placeholder if it has none.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Resumes the panic in this thread.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(self.payload.into_inner())
    }

    /// Returns the value that was passed to `panic!` or `panic_any`.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner()
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panic({:?})", self.message)
    }
}
