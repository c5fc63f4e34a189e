#![doc = include_str!("../README.md")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use async_io::{Async, IoSafe};
use async_std::task;
use inflight_core::{
    BlockOn, BoxFuture, ConnectOptions, DescriptorCheck, Error, ErrorKind, ReadinessSocket,
    Runtime, Socket,
};

/// The descriptors of async-io's reactor and of the first socket.
static REACTOR: DescriptorCheck = DescriptorCheck::new("async-io", 4);

/// async-std's runtime. The process has one pool of threads. The first use of async-std fixes the size of
/// the pool.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd(());

/// The number of threads that [`AsyncStd::with_workers`] has set.
static WORKERS: OnceLock<NonZeroUsize> = OnceLock::new();

impl AsyncStd {
    /// Returns the pool of the process. The pool has one thread for each core unless it was started with
    /// another size.
    pub fn global() -> Self {
        Self(())
    }

    /// Starts the pool of the process with this many threads.
    ///
    /// Call this function before other code uses async-std. If other code has started the pool, the pool
    /// keeps its size and this function returns no error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] if an earlier call of this function has set another size.
    pub fn with_workers(workers: NonZeroUsize) -> Result<Self, Error> {
        let first = *WORKERS.get_or_init(|| {
            async_global_executor::init_with_config(
                async_global_executor::GlobalExecutorConfig::default()
                    .with_min_threads(workers.get())
                    .with_max_threads(workers.get())
                    .with_thread_name_fn(|| "async-std/runtime".to_owned()),
            );
            workers
        });
        if first != workers {
            return Err(Error::new(ErrorKind::NoRuntime).with_context(format!(
                "async-std has one pool for the process, and the pool already has {first} threads"
            )));
        }
        Ok(Self(()))
    }
}

impl Runtime for AsyncStd {
    fn name(&self) -> &'static str {
        "async-std"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(task::spawn(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        drop(task::spawn_blocking(work));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // Does not use async-std's `sleep`, whose time starts at the first poll. The time of `Runtime::sleep`
        // starts at the call.
        let timer = async_io::Timer::after(duration);
        Box::pin(async move {
            timer.await;
        })
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        Box::pin(async move {
            // Uses async-io's socket, because async-std's `TcpStream` has no method that polls readability.
            let stream = Async::<TcpStream>::connect(address).await?;
            stream.get_ref().set_nodelay(options.nodelay)?;
            Ok(into_socket(stream))
        })
    }

    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let path = path.to_owned();
        Box::pin(async move { Ok(into_socket(Async::<UnixStream>::connect(path).await?)) })
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        // The default of the `blocking` crate, for the whole process.
        Some(500)
    }

    fn check_running(&self) -> Result<(), Error> {
        REACTOR.check_once(ErrorKind::NoRuntime)
    }
}

fn into_socket<S>(stream: Async<S>) -> Box<dyn Socket>
where
    S: IoSafe + Write + Send + Sync + 'static,
    for<'a> &'a S: Read,
{
    let read = |stream: &Async<S>, buffer: &mut [u8]| stream.get_ref().read(buffer);
    Box::new(ReadinessSocket::new(stream, Async::poll_readable, read))
}

impl BlockOn for AsyncStd {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        task::block_on(future)
    }
}
