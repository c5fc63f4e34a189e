//! A task on any runtime: cancelled on drop, with its panic as a value.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, abortable};
use sync_wrapper::SyncWrapper;

use crate::runtime::Runtime;

/// A task that was started with [`Task::spawn`]. Awaiting it gives its output.
///
/// Dropping it cancels the task, which stops at its next yield; [`detach`](Self::detach) lets
/// it run on. This is the same on every runtime, whatever the runtime's own handles do.
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
/// Awaiting `&mut task` may be given up and taken up again.
pub struct Task<T> {
    output: oneshot::Receiver<Result<T, Panic>>,
    abort: Option<AbortHandle>,
}

/// Why a task has no output.
#[derive(Debug)]
pub enum TaskError {
    /// It panicked.
    Panicked(Panic),
    /// It was cancelled, or its runtime ended before it did.
    Cancelled,
}

/// A panic as a value.
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
        let (sender, output) = oneshot::channel();
        let (work, abort) = abortable(AssertUnwindSafe(future).catch_unwind());
        // An async block would hold the work twice: captured, and awaited.
        runtime.spawn(Box::pin(work.map(|done| {
            if let Ok(result) = done {
                // Nobody waits for a detached task's output.
                let _ = sender.send(result.map_err(Panic::new));
            }
        })));
        Self {
            output,
            abort: Some(abort),
        }
    }
}

impl<T> Task<T> {
    /// Lets the task run on; its output is lost.
    pub fn detach(mut self) {
        self.abort = None;
    }

    /// Asks the task to stop at its next yield. Awaiting it then gives
    /// [`TaskError::Cancelled`], unless it had finished already.
    pub fn cancel(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.output).poll(cx).map(|sent| match sent {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(panic)) => Err(TaskError::Panicked(panic)),
            Err(oneshot::Canceled) => Err(TaskError::Cancelled),
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

/// Runs work that blocks on the runtime's pool and waits for its result. The work starts with
/// the call, not with the first poll.
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
/// # Errors
///
/// [`TaskError::Panicked`] with the work's panic; [`TaskError::Cancelled`] when the runtime
/// ended before the work began.
///
/// # Cancel safety
///
/// Work that has begun runs to its end although nobody waits for it any more.
pub fn unblock<T, W>(
    runtime: &dyn Runtime,
    work: W,
) -> impl Future<Output = Result<T, TaskError>> + Send + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let (sender, output) = oneshot::channel();
    runtime.spawn_blocking(Box::new(move || {
        if sender.is_canceled() {
            return;
        }
        let result = std::panic::catch_unwind(AssertUnwindSafe(work));
        let _ = sender.send(result);
    }));
    async move {
        match output.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(payload)) => Err(TaskError::Panicked(Panic::new(payload))),
            Err(oneshot::Canceled) => Err(TaskError::Cancelled),
        }
    }
}

impl TaskError {
    /// Continues a panic in this thread, as `JoinHandle::join().unwrap()` would not.
    ///
    /// Returns when the task was cancelled.
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

    /// The panic's message, where it has one.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Continues the panic in this thread.
    pub fn resume(self) -> ! {
        std::panic::resume_unwind(self.payload.into_inner())
    }

    /// What was given to `panic!` or `panic_any`.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner()
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panic({:?})", self.message)
    }
}
