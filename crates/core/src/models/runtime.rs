//! A runtime whose tasks and timers a model controls.

use std::future::{poll_fn, ready};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::backend::fetch::BoxFuture;
use crate::backend::runtime::Runtime;
use crate::backend::socket::{ConnectOptions, Socket, no_sockets};
use crate::sync::Mutex;

/// The time of the runtime. It never changes, because loom needs the same run every time.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A runtime that polls nothing. The model takes its tasks, and fires its timers.
///
/// For an example, see the models of this crate.
#[derive(Default)]
pub struct ModelRuntime {
    tasks: Mutex<Vec<BoxFuture<'static, ()>>>,
    sleepers: Arc<Mutex<Vec<Waker>>>,
}

impl ModelRuntime {
    /// Returns a runtime without tasks.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns the task that was spawned last.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn take_task(&self) -> BoxFuture<'static, ()> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.pop().expect("no task was spawned")
    }

    /// Fires all timers.
    pub fn fire_timers(&self) {
        let sleepers = {
            let mut sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
            mem::take(&mut *sleepers)
        };
        sleepers.into_iter().for_each(Waker::wake);
    }
}

impl Runtime for ModelRuntime {
    fn name(&self) -> &'static str {
        "model"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        loom::thread::spawn(work);
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        let sleepers = self.sleepers.clone();
        Box::pin(poll_fn(move |cx| {
            let waker = cx.waker().clone();
            sleepers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(waker);
            Poll::Pending
        }))
    }

    fn now(&self) -> Instant {
        *NOW
    }

    fn connect(
        &self,
        _: SocketAddr,
        _: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        Box::pin(ready(Err(no_sockets(self.name()))))
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        None
    }
}
