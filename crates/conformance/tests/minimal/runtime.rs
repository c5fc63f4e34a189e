//! A runtime in which each task has a thread of its own.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use inflight_core::{BoxFuture, ConnectOptions, Runtime, Socket, no_sockets};

// ANCHOR: runtime
/// A runtime that starts a thread for each task and for each blocking call.
#[derive(Clone, Copy)]
pub(crate) struct ThreadPerTask;

impl Runtime for ThreadPerTask {
    fn name(&self) -> &'static str {
        "thread per task"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        thread::spawn(move || block_on(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        thread::spawn(work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let timer = async_io::Timer::after(duration);
        Box::pin(async move {
            timer.await;
        })
    }

    /// The client of this backend opens its own sockets.
    fn connect(
        &self,
        _: SocketAddr,
        _: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        Box::pin(ready(Err(no_sockets(self.name()))))
    }

    /// There is no limit on the number of threads.
    fn blocking_ceiling(&self) -> Option<usize> {
        None
    }
}
// ANCHOR_END: runtime
