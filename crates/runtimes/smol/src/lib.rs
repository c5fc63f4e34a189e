#![doc = include_str!("../README.md")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::panic::catch_unwind;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_executor::Executor;
use async_io::{Async, IoSafe};
use inflight_core::{
    BlockOn, BoxFuture, ConnectOptions, DescriptorCheck, Error, ErrorKind, ReadinessSocket,
    Runtime, Socket,
};
use smol::channel::{Receiver, Sender, bounded};

/// The descriptors of async-io's reactor and of the first socket.
static REACTOR: DescriptorCheck = DescriptorCheck::new("async-io", 4);

/// smol's runtime. All executors of the process share one reactor for timers and sockets.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Clone, Debug)]
pub struct Smol(Option<Arc<OwnedExecutor>>);

impl Smol {
    /// Returns the executor that `smol::spawn` uses. It has one thread unless the environment variable
    /// `SMOL_THREADS` sets another number when the executor starts.
    pub fn global() -> Self {
        Self(None)
    }

    /// Starts a new executor with this many threads. The executor ends when the last clone of the returned
    /// value is dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] if the system refuses the threads.
    pub fn new(workers: NonZeroUsize) -> Result<Self, Error> {
        let (stop, stopped) = bounded(1);
        let owned = OwnedExecutor {
            executor: Arc::new(Executor::new()),
            _stop: stop,
        };
        for index in 0..workers.get() {
            let (executor, stopped) = (owned.executor.clone(), stopped.clone());
            thread::Builder::new()
                .name(format!("inflight-smol-{index}"))
                .spawn(move || run_executor(&executor, &stopped))
                .map_err(|error| {
                    Error::new(ErrorKind::NoRuntime)
                        .with_context("smol's threads could not start")
                        .with_source(error)
                })?;
        }
        Ok(Self(Some(Arc::new(owned))))
    }
}

/// An executor that this adapter has started.
#[derive(Debug)]
struct OwnedExecutor {
    executor: Arc<Executor<'static>>,
    // Dropping the sender ends the threads.
    _stop: Sender<()>,
}

fn run_executor(executor: &Executor<'static>, stopped: &Receiver<()>) {
    // A task's panic must not end the thread. smol's own executor also continues after a panic.
    while catch_unwind(|| smol::block_on(executor.run(stopped.recv()))).is_err() {}
}

impl Runtime for Smol {
    fn name(&self) -> &'static str {
        "smol"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match &self.0 {
            Some(owned) => owned.executor.spawn(task).detach(),
            None => smol::spawn(task).detach(),
        }
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        blocking::unblock(work).detach();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
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

impl BlockOn for Smol {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inflight_core::Task;

    #[test]
    fn a_task_that_panics_does_not_end_the_thread() {
        let smol = Smol::new(NonZeroUsize::MIN).unwrap();
        smol.spawn(Box::pin(async { panic!("on purpose") }));
        let task = Task::spawn(&smol, async { 1 });
        assert_eq!(smol.block_on(task).unwrap(), 1);
    }
}
