//! The interface of a runtime.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::fetch::BoxFuture;
use crate::backend::socket::{ConnectOptions, Socket, no_unix_sockets};
use crate::error::{Error, ErrorKind};

/// A runtime: it spawns tasks, runs blocking work, sleeps, and opens sockets.
///
/// Chapter [7](../../../tutorial/ch07.html) of the book teaches its use.
///
/// The trait is object-safe, so that a session holds any runtime as `Arc<dyn Runtime>`.
/// [`Task`](crate::Task) and [`unblock`](crate::unblock) work on every runtime.
///
/// [`BlockOn`] enters a runtime from a thread outside it.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::{BlockOn, Runtime};
/// use inflight_threads::Threads;
///
/// /// Works on every runtime.
/// async fn measure_sleep(runtime: &dyn Runtime) -> Duration {
///     let start = runtime.now();
///     runtime.sleep(Duration::from_millis(1)).await;
///     runtime.now() - start
/// }
///
/// let threads = Threads::new();
/// assert!(threads.block_on(measure_sleep(&threads)) >= Duration::from_millis(1));
/// ```
pub trait Runtime: Send + Sync + 'static {
    /// Returns the runtime's name, for example `smol`.
    fn name(&self) -> &'static str;

    /// Starts a detached task.
    ///
    /// The runtime runs the task even if nothing waits for the task. When the runtime ends, it
    /// drops the task.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs blocking work on a thread that runs no tasks.
    ///
    /// If [`blocking_ceiling`](Self::blocking_ceiling) calls are running, further work waits. The
    /// runtime drops no work until the runtime ends.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);

    /// Returns a future that completes when `duration` has passed since the call, never earlier.
    /// Any executor may poll the future.
    ///
    /// If [`check_running`](Self::check_running) returns an error, the future completes immediately,
    /// because no timer would wake its task.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Returns the time of the clock that [`sleep`](Self::sleep) uses. This is the machine's clock,
    /// unless the runtime is for tests and simulates time.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Connects to one address.
    ///
    /// Any executor may poll the future and the socket, because the runtime's reactor wakes the
    /// task that reads or writes. A runtime without sockets returns [`no_sockets`].
    ///
    /// # Errors
    ///
    /// The system's error, if the connect fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the attempt and closes its socket.
    ///
    /// [`no_sockets`]: crate::no_sockets
    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>>;

    /// Connects to the Unix socket at `path`.
    ///
    /// The requirements are those of [`connect`](Self::connect). The default implementation returns
    /// [`no_unix_sockets`], for runtimes without sockets and for systems other than Unix.
    ///
    /// # Errors
    ///
    /// The system's error, if the connect fails. If the queue of the listener is full, a runtime may
    /// return [`WouldBlock`](io::ErrorKind::WouldBlock) or
    /// [`NotConnected`](io::ErrorKind::NotConnected). The caller then tries again later.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the attempt and closes its socket.
    ///
    /// [`no_unix_sockets`]: crate::no_unix_sockets
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let _ = path;
        Box::pin(ready(Err(no_unix_sockets(self.name()))))
    }

    /// Returns how many calls [`spawn_blocking`](Self::spawn_blocking) runs at once, or `None` if
    /// the runtime sets no limit.
    fn blocking_ceiling(&self) -> Option<usize>;

    /// Returns an error of the kind [`NoRuntime`](ErrorKind::NoRuntime) if the runtime has ended,
    /// or if it was built without timers or sockets that a session needs.
    ///
    /// The default implementation returns `Ok`. It is correct for a runtime that runs until its last
    /// clone is dropped.
    ///
    /// A session calls this method before it sends a request, while the request waits, and when the
    /// request has failed.
    ///
    /// # Errors
    ///
    /// [`runtime_ended`] or another error of this kind.
    fn check_running(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns `false` if only one thread at a time can drive this runtime, and the caller runs
    /// outside the runtime. The runtime then makes no progress unless another thread drives it. The
    /// default implementation returns `true`.
    ///
    /// If the result is `false`, [`sleep`](Self::sleep) works, but sockets and tasks may not. A
    /// session then does not rely on timers that were set inside the runtime.
    fn is_entered(&self) -> bool {
        true
    }
}

const REMEDY: &str = "build the session on a runtime that lives as long as the session, or build \
                      one session for each runtime or test";

/// Returns the error of a runtime that has ended: [`ErrorKind::NoRuntime`] with the runtime's name
/// and a remedy.
///
/// ```
/// use inflight_core::{Error, runtime_ended};
///
/// /// Implements `Runtime::check_running` for a runtime that can end.
/// fn check_running(has_ended: bool) -> Result<(), Error> {
///     match has_ended {
///         true => Err(runtime_ended("smol")),
///         false => Ok(()),
///     }
/// }
/// # assert!(check_running(false).is_ok());
/// # assert_eq!(check_running(true).unwrap_err().kind(), inflight_core::ErrorKind::NoRuntime);
/// ```
pub fn runtime_ended(runtime: &str) -> Error {
    Error::new(ErrorKind::NoRuntime).with_context(format!(
        "the {runtime} runtime that the session was built on has ended: {REMEDY}"
    ))
}

/// Returns the error of blocking work that the runtime has dropped.
pub(crate) fn work_dropped(work: &str) -> Error {
    Error::new(ErrorKind::NoRuntime).with_context(format!(
        "the runtime dropped {work}, because it has ended or can start no thread: {REMEDY}"
    ))
}

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        (**self).spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        (**self).spawn_blocking(work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        (**self).sleep(duration)
    }

    fn now(&self) -> Instant {
        (**self).now()
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        (**self).connect(address, options)
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        (**self).connect_unix(path)
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        (**self).blocking_ceiling()
    }

    fn check_running(&self) -> Result<(), Error> {
        (**self).check_running()
    }

    fn is_entered(&self) -> bool {
        (**self).is_entered()
    }
}

/// Returns the time after `duration`. If the clock cannot represent it, returns a time in the far future.
pub(crate) fn saturating_add(at: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    at.checked_add(duration).unwrap_or_else(|| at + 30 * YEAR)
}

/// Enters a runtime from a thread outside it.
///
/// The trait is separate from [`Runtime`], because only the owner of a runtime can enter it.
///
/// ```
/// use inflight_core::BlockOn;
/// use inflight_threads::Threads;
///
/// assert_eq!(Threads::new().block_on(async { 6 * 7 }), 42);
/// ```
#[doc(alias("run", "Runner"))]
pub trait BlockOn {
    /// Runs the future to completion and blocks this thread until then.
    ///
    /// # Panics
    ///
    /// If the runtime does not allow the call. For example, tokio panics if one of its threads makes
    /// the call.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}
