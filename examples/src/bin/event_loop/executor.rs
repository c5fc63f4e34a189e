//! The executor: it keeps a queue of the tasks that can continue, and polls them.

use std::io;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use inflight::backend::BoxFuture;

use crate::reactor::Reactor;
use crate::record::Recorder;

// ANCHOR: state
/// An event loop. Clones are handles of the same loop.
#[derive(Clone)]
pub(crate) struct EventLoop(Arc<Executor>);

struct Executor {
    /// The tasks that the loop polls next.
    ready: Mutex<Vec<Arc<LoopTask>>>,
    reactor: Arc<Reactor>,
    next_number: AtomicUsize,
    recorder: Recorder,
}

struct LoopTask {
    number: usize,
    /// `None` if the task has finished.
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    is_ready: AtomicBool,
    executor: Weak<Executor>,
}
// ANCHOR_END: state

// ANCHOR: wake
impl Wake for LoopTask {
    /// Puts the task into the queue of ready tasks, unless the task is already there.
    fn wake(self: Arc<Self>) {
        if let Some(executor) = self.executor.upgrade()
            && !self.is_ready.swap(true, Ordering::SeqCst)
        {
            lock(&executor.ready).push(self);
            executor.reactor.interrupt();
        }
    }
}
// ANCHOR_END: wake

impl EventLoop {
    /// Creates a loop that reports what it does to `recorder`.
    pub(crate) fn new(recorder: Recorder) -> io::Result<Self> {
        Ok(Self(Arc::new(Executor {
            ready: Mutex::default(),
            reactor: Arc::new(Reactor::new()?),
            next_number: AtomicUsize::new(0),
            recorder,
        })))
    }

    pub(crate) fn reactor(&self) -> &Arc<Reactor> {
        &self.0.reactor
    }

    /// Creates a task and puts it into the queue. Returns its number. The task without a future is the one of `run`.
    pub(crate) fn start_task(&self, future: Option<BoxFuture<'static, ()>>) -> usize {
        let number = self.0.next_number.fetch_add(1, Ordering::SeqCst);
        let task = LoopTask {
            number,
            future: Mutex::new(future),
            is_ready: AtomicBool::new(false),
            executor: Arc::downgrade(&self.0),
        };
        Arc::new(task).wake();
        number
    }

    // ANCHOR: run
    /// Runs the loop until `main` is finished.
    pub(crate) fn run<F: Future>(&self, main: F) -> F::Output {
        let mut main = pin!(main);
        let main_number = self.start_task(None);
        loop {
            let ready = mem::take(&mut *lock(&self.0.ready));
            for task in ready {
                task.is_ready.store(false, Ordering::SeqCst);
                let waker = Waker::from(task.clone());
                let mut cx = Context::from_waker(&waker);
                let _recorded = self.0.recorder.poll(task.number);
                if task.number != main_number {
                    task.poll(&mut cx);
                } else if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            let _recorded = self.0.recorder.sleep();
            self.0.reactor.wait(|| !lock(&self.0.ready).is_empty());
        }
    }
    // ANCHOR_END: run
}

impl LoopTask {
    fn poll(&self, cx: &mut Context<'_>) {
        let mut future = lock(&self.future);
        if let Some(running) = &mut *future
            && running.as_mut().poll(cx).is_ready()
        {
            *future = None;
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
