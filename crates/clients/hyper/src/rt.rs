//! Tasks and timers for hyper, from an inflight runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Sleep};
use inflight_core::{BoxFuture, Runtime};
use sync_wrapper::SyncWrapper;

/// hyper's executor on an inflight runtime.
#[derive(Clone)]
pub(crate) struct TaskExecutor(pub(crate) Arc<dyn Runtime>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for TaskExecutor {
    fn execute(&self, task: F) {
        self.0.spawn(Box::pin(task));
    }
}

/// hyper's timer on an inflight runtime.
#[derive(Clone)]
pub(crate) struct RuntimeTimer(pub(crate) Arc<dyn Runtime>);

impl hyper::rt::Timer for RuntimeTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(RuntimeSleep(SyncWrapper::new(self.0.sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        self.0.now()
    }
}

struct RuntimeSleep(SyncWrapper<BoxFuture<'static, ()>>);

impl Future for RuntimeSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_mut().as_mut().poll(cx)
    }
}

impl Sleep for RuntimeSleep {}
