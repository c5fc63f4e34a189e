#![doc = include_str!("../README.md")]

use std::collections::VecDeque;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures_lite::future;
use inflight_core::{
    BlockOn, BoxFuture, ConnectOptions, DescriptorCheck, Error, ErrorKind, Runtime, Socket,
    no_sockets,
};

/// The time after which an idle thread ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The descriptors of async-io, which provides the timers, and of the first socket of the client.
static REACTOR: DescriptorCheck = DescriptorCheck::new("async-io", 4);

type Work = Box<dyn FnOnce() + Send>;

/// A runtime that runs each task and each blocking call on its own thread. Clones share their idle threads.
///
/// The number of threads has no limit. A thread that has finished its work waits up to 5 s for other work,
/// which saves the cost of a new thread. If the system refuses a thread, the work waits until another
/// thread is free. If there is no other thread, the work is dropped.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Clone, Default)]
pub struct Threads(Arc<Pool>);

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

impl Threads {
    /// Returns a runtime that has not started a thread yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn run(&self, work: Work) {
        let mut state = self.0.lock();
        state.queue.push_back(work);
        if state.idle >= state.queue.len() {
            self.0.work.notify_one();
            return;
        }
        let pool = self.0.clone();
        let started = thread::Builder::new()
            .name("inflight-thread".to_owned())
            .spawn(move || pool.work_until_idle());
        if started.is_ok() {
            state.threads += 1;
        } else if state.threads == 0 {
            // No thread will run the work. Dropping the work reports it as cancelled.
            let dropped = state.queue.pop_back();
            drop(state);
            drop(dropped);
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_until_idle(&self) {
        let mut state = self.lock();
        loop {
            while let Some(work) = state.queue.pop_front() {
                drop(state);
                // inflight-core reports a panic to the caller that waits for the work.
                let _ = catch_unwind(AssertUnwindSafe(work));
                state = self.lock();
            }
            state.idle += 1;
            let (woken, timeout) = self
                .work
                .wait_timeout_while(state, IDLE_TIMEOUT, |state| state.queue.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl Runtime for Threads {
    fn name(&self) -> &'static str {
        "threads"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.run(Box::new(move || future::block_on(task)));
    }

    fn spawn_blocking(&self, work: Work) {
        self.run(work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let timer = async_io::Timer::after(duration);
        Box::pin(async move {
            timer.await;
        })
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

    fn check_running(&self) -> Result<(), Error> {
        REACTOR.check_once(ErrorKind::NoRuntime)
    }
}

impl BlockOn for Threads {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        future::block_on(future)
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Threads")
            .field("threads", &state.threads)
            .field("idle", &state.idle)
            .finish()
    }
}
