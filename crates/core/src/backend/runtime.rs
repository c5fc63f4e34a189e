//! What the core asks of a runtime: as little as this.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::fetch::BoxFuture;
use crate::backend::socket::{ConnectOptions, Socket};

/// Who waits: spawns tasks, runs blocking work beside them, sleeps, and opens sockets.
///
/// Object-safe, so that a session holds any runtime as `Arc<dyn Runtime>`. [`Task`](crate::Task)
/// and [`unblock`](crate::unblock) are built on it, once for all runtimes.
///
/// Using a runtime is not entering it: see [`BlockOn`] for that.
pub trait Runtime: Send + Sync + 'static {
    /// The runtime's name, as in `smol/hyper`.
    fn name(&self) -> &'static str;

    /// Starts a task, detached. It must run even if nobody waits for it, and be dropped when
    /// the runtime ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs work that blocks, beside the tasks. Work beyond
    /// [`blocking_ceiling`](Self::blocking_ceiling) waits; none is lost while the runtime lives.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);

    /// Completes once `duration` has passed since the call, never earlier.
    /// May be polled from any executor.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// The time by the clock that [`sleep`](Self::sleep) goes by: the machine's, except on a
    /// runtime for tests.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Connects to one address.
    ///
    /// The future may be polled from any executor, and so may the socket: the runtime's reactor
    /// wakes whoever reads or writes. A runtime without sockets returns [`no_sockets`].
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up and closes its socket.
    ///
    /// [`no_sockets`]: crate::no_sockets
    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>>;

    /// How many calls [`spawn_blocking`](Self::spawn_blocking) runs at once at most; `None`
    /// when only the machine limits them.
    fn blocking_ceiling(&self) -> Option<usize>;
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

    fn blocking_ceiling(&self) -> Option<usize> {
        (**self).blocking_ceiling()
    }
}

/// Entering a runtime from a thread that is not one of its own.
///
/// Kept apart from [`Runtime`], which is for those who are inside: only the owner of a runtime
/// can enter it.
pub trait BlockOn {
    /// Runs the future to its end and blocks this thread meanwhile.
    ///
    /// # Panics
    ///
    /// Where the runtime forbids it, as tokio does on one of its own threads.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}
