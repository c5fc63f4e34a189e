#![doc = include_str!("../README.md")]
//!
//! The adapter holds a [`Handle`] and enters it where tokio requires a running runtime. So the adapter's
//! tasks and timers work under any executor. For example, `smol::block_on` can poll a session on tokio.
//!
//! # Runtimes that other code has started
//!
//! The adapter does not keep alive a runtime that other code has started. To detect the end of the runtime,
//! the adapter spawns one task on the runtime. After the end, [`check_running`](Runtime::check_running) and
//! each request return an error of the kind [`NoRuntime`](ErrorKind::NoRuntime).
//!
//! tokio panics if a socket or a timer needs an I/O or time driver that the runtime was built without. The
//! adapter catches the panic, but the panic hook may print a message. From then on, `check_running` and each
//! request return an error of the same kind.
//!
//! A current-thread runtime makes progress only while a thread is inside its `block_on`. If another executor
//! polls a session on a current-thread runtime, the timeouts of the session use timers of [`Tokio::global`]. So
//! the requests time out even if no thread drives the runtime. The adapter cannot distinguish `block_on` from
//! `Runtime::enter`. If a thread enters a current-thread runtime and then blocks in another executor, the
//! requests on this thread use the timers of that runtime, and may never time out.

use std::future::{pending, poll_fn};
use std::io::{self, IoSlice, Read};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(unix)]
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use inflight_core::{
    BlockOn, BoxFuture, ConnectOptions, Error, ErrorKind, Runtime, Socket, runtime_ended,
};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::runtime::{self, Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

/// A tokio runtime: the runtime that the calling code runs in, a new runtime, or one for the whole program.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    // Keeps a runtime alive that this adapter has started.
    _owned: Option<Arc<OwnedRuntime>>,
    status: Arc<Status>,
}

impl Tokio {
    fn with(handle: Handle, owned: Option<OwnedRuntime>) -> Self {
        let has_one_thread = handle.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self {
            status: Arc::new(Status {
                sentinel: handle.spawn(pending()),
                missing_driver: OnceLock::new(),
                entered_by: has_one_thread.then(|| handle.id()),
            }),
            handle,
            _owned: owned.map(Arc::new),
        }
    }

    /// Returns the tokio runtime that the calling code runs in.
    ///
    /// ```
    /// use inflight_core::Task;
    /// use inflight_tokio::Tokio;
    ///
    /// # let outer = Tokio::new(None)?;
    /// # inflight_core::BlockOn::block_on(&outer, async {
    /// // Inside `#[tokio::main]`:
    /// let tokio = Tokio::current()?;
    /// let task = Task::spawn(&tokio, async { 6 * 7 });
    /// assert_eq!(task.await.unwrap(), 42);
    /// # Ok::<(), inflight_core::Error>(())
    /// # })?;
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] if the calling code does not run inside a tokio runtime.
    pub fn current() -> Result<Self, Error> {
        let handle = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::NoRuntime)
                .with_context(
                    "this code does not run inside a tokio runtime: call it from \
                     #[tokio::main] or a task, or use Tokio::new or Tokio::global",
                )
                .with_source(error)
        })?;
        Ok(Self::from(handle))
    }

    /// Starts a new tokio runtime with this many worker threads. `None` means one for each core. The
    /// runtime ends when the last clone of the returned value is dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] if the system refuses threads or descriptors.
    pub fn new(workers: Option<NonZeroUsize>) -> Result<Self, Error> {
        let mut builder = runtime::Builder::new_multi_thread();
        if let Some(workers) = workers {
            builder.worker_threads(workers.get());
        }
        let runtime = builder.enable_all().build().map_err(|error| {
            Error::new(ErrorKind::NoRuntime)
                .with_context(
                    "tokio could not start; the limits on open files or threads may be too low \
                     (ulimit -n, ulimit -u)",
                )
                .with_source(error)
        })?;
        let handle = runtime.handle().clone();
        Ok(Self::with(handle, Some(OwnedRuntime(Some(runtime)))))
    }

    /// Returns the runtime of the whole program. The first call starts it on background threads, one for
    /// each core.
    ///
    /// # Errors
    ///
    /// The same as [`new`](Self::new).
    pub fn global() -> Result<Self, Error> {
        static GLOBAL: OnceLock<Tokio> = OnceLock::new();
        if let Some(tokio) = GLOBAL.get() {
            return Ok(tokio.clone());
        }
        let started = Self::new(None)?;
        Ok(GLOBAL.get_or_init(|| started).clone())
    }

    /// Returns the tokio runtime that the calling code runs in. Outside a tokio runtime, returns the
    /// [`global`](Self::global) runtime.
    ///
    /// # Errors
    ///
    /// The same as [`new`](Self::new).
    pub fn current_or_global() -> Result<Self, Error> {
        match Handle::try_current() {
            Ok(handle) => Ok(Self::from(handle)),
            Err(_) => Self::global(),
        }
    }

    /// Returns the tokio handle of the runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns a future that polls `connecting` inside the runtime. It returns the error of the runtime if
    /// the runtime has ended or has no I/O driver.
    fn enter_for_io<T, F>(&self, connecting: F) -> impl Future<Output = io::Result<T>> + use<T, F>
    where
        F: Future<Output = io::Result<T>>,
    {
        let (handle, status) = (self.handle.clone(), self.status.clone());
        async move {
            let mut connecting = pin!(connecting);
            let entered = poll_fn(|cx| {
                let polled = status.guard(Driver::Io, || {
                    let _guard = handle.enter();
                    connecting.as_mut().poll(cx)
                });
                polled.unwrap_or_else(|error| Poll::Ready(Err(error.into())))
            });
            entered.await
        }
    }
}

/// A tokio socket. After it is connected, it works under any executor.
#[derive(Debug)]
struct TokioSocket<S>(S);

impl<S> Socket for TokioSocket<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    for<'a> SockRef<'a>: From<&'a S>,
{
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Does not use tokio's `try_read`: it reads nothing until the reactor has reported new bytes.
        (&*SockRef::from(&self.0)).read(buffer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TokioSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TokioSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self::with(handle, None)
    }
}

/// The state of a runtime, which the clones of an adapter share.
#[derive(Debug)]
struct Status {
    /// A task that waits forever. A runtime that ends drops this task before it closes its sockets and
    /// timers.
    sentinel: JoinHandle<()>,
    /// A driver that the runtime was built without. Set when a socket or a timer first needs the driver.
    missing_driver: OnceLock<Driver>,
    /// The id of a current-thread runtime. `None` for a runtime with worker threads, which needs no thread
    /// inside `block_on`.
    entered_by: Option<runtime::Id>,
}

/// A part of a runtime that its builder enables.
#[derive(Clone, Copy, Debug)]
enum Driver {
    Io,
    Time,
}

impl Status {
    fn check(&self) -> Result<(), Error> {
        if self.sentinel.is_finished() {
            return Err(runtime_ended("tokio"));
        }
        match self.missing_driver.get() {
            None => Ok(()),
            Some(driver) => Err(driver.missing()),
        }
    }

    fn is_entered(&self) -> bool {
        self.entered_by
            .is_none_or(|id| Handle::try_current().is_ok_and(|current| current.id() == id))
    }

    /// Returns the global runtime if [`is_entered`](Self::is_entered) returns false, because there may be no
    /// thread that drives this runtime's timers. Returns `None` if this runtime's timers are to be used.
    fn background(&self) -> Option<Tokio> {
        // If the system refuses threads for the global runtime, this runtime's timers may still work.
        (!self.is_entered()).then(Tokio::global)?.ok()
    }

    /// Calls `work`, which uses `driver`, and converts a panic of tokio to an error. tokio panics if the
    /// runtime lacks the driver, and if the runtime ends while `work` uses a timer.
    fn guard<T>(&self, driver: Driver, work: impl FnOnce() -> T) -> Result<T, Error> {
        self.check()?;
        catch_unwind(AssertUnwindSafe(work)).map_err(|_| match self.sentinel.is_finished() {
            true => runtime_ended("tokio"),
            false => self.missing_driver.get_or_init(|| driver).missing(),
        })
    }
}

impl Driver {
    fn missing(self) -> Error {
        Error::new(ErrorKind::NoRuntime).with_context(match self {
            Self::Io => "the tokio runtime was built without I/O: call `enable_all` on its builder",
            Self::Time => {
                "the tokio runtime was built without timers: call `enable_all` on its builder"
            }
        })
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.sentinel.abort();
    }
}

/// A runtime that this adapter has started.
#[derive(Debug)]
struct OwnedRuntime(Option<runtime::Runtime>);

impl Drop for OwnedRuntime {
    fn drop(&mut self) {
        // A plain drop waits for the threads, which panics inside a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Runtime for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        drop(self.handle.spawn_blocking(work));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (start, status) = (Instant::now(), self.status.clone());
        let timer = status.guard(Driver::Time, || {
            let _guard = self.handle.enter();
            tokio::time::sleep(duration)
        });
        Box::pin(async move {
            let Ok(timer) = timer else {
                return;
            };
            let mut timer = pin!(timer);
            let mut outside = None;
            poll_fn(|cx| {
                // A future that was polled inside the runtime may later be polled outside it.
                if let (None, Some(background)) = (&outside, status.background()) {
                    outside = Some(background.sleep(duration.saturating_sub(start.elapsed())));
                }
                let polled = match &mut outside {
                    Some(sleep) => status.check().map(|()| sleep.as_mut().poll(cx)),
                    None => status.guard(Driver::Time, || timer.as_mut().poll(cx)),
                };
                polled.unwrap_or(Poll::Ready(()))
            })
            .await;
        })
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let connecting = self.enter_for_io(TcpStream::connect(address));
        Box::pin(async move {
            let stream = connecting.await?;
            stream.set_nodelay(options.nodelay)?;
            Ok(Box::new(TokioSocket(stream)) as Box<dyn Socket>)
        })
    }

    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let connecting = self.enter_for_io(UnixStream::connect(path.to_owned()));
        Box::pin(async move { Ok(Box::new(TokioSocket(connecting.await?)) as Box<dyn Socket>) })
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        // tokio's default. A handle does not report the limit of its runtime.
        Some(512)
    }

    fn check_running(&self) -> Result<(), Error> {
        self.status.check()
    }

    fn is_entered(&self) -> bool {
        self.status.is_entered()
    }
}

impl BlockOn for Tokio {
    /// # Panics
    ///
    /// - In async code on a tokio runtime, because a thread that drives tasks must not block. Use `.await`
    ///   there, or call `block_on` in [`spawn_blocking`](tokio::task::spawn_blocking).
    /// - With the handle of a current-thread runtime that was created elsewhere. Only that runtime's own
    ///   `block_on` drives it, so this call would never return.
    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(
            self.handle.runtime_flavor() != RuntimeFlavor::CurrentThread,
            "a handle does not drive a current-thread tokio runtime: enter that runtime with its own \
             `block_on`, or use `Tokio::new` or `Tokio::global`"
        );
        self.handle.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_outside_of_a_runtime_is_an_error_with_a_remedy() {
        let error = Tokio::current().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRuntime);
        assert!(error.to_string().contains("Tokio::global"), "{error}");
    }

    #[test]
    #[should_panic(expected = "a handle does not drive")]
    fn block_on_with_the_handle_of_a_current_thread_runtime_panics() {
        let other = runtime::Builder::new_current_thread().build().unwrap();
        Tokio::from(other.handle().clone()).block_on(async {});
    }

    #[test]
    fn a_sleep_works_under_another_executor() {
        let tokio = Tokio::new(None).unwrap();
        futures_lite::future::block_on(tokio.sleep(Duration::from_millis(1)));
    }

    #[test]
    fn the_last_clone_may_be_dropped_inside_a_task() {
        let outer = Tokio::new(None).unwrap();
        let inner = Tokio::new(None).unwrap();
        outer.block_on(async move { drop(inner) });
    }
}
