#![doc = include_str!("../README.md")]
//!
//! [Chapter 13 of the book](../../tutorial/ch13.html) tests an hour in a millisecond.
//!
//! Tasks run one after another on the thread that calls [`block_on`](BlockOn::block_on), always in the
//! same order.
//!
//! # Network
//!
//! The runtime has a network in memory, with latency, bandwidth, resets and partitions that a test
//! controls: see [`Virtual::listen`] and [`Virtual::network`]. A client that takes its sockets from
//! the runtime, such as `inflight-hyper`, connects to servers in the same program that listen on
//! this network. The runtime's seed determines random faults, so they are the same in each run.
//!
//! # Limitations
//!
//! The network does not reach other processes, so a program cannot connect to real servers. Do not
//! use a client that opens its own sockets, such as `inflight-isahc`: virtual time does not wait
//! for a real server, so timers fire before the response arrives. A client that creates its
//! responses itself, such as `inflight-mock`, needs no network.

mod network;
mod shared;
mod sleep;
mod timer;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;
use inflight_core::{BlockOn, BoxFuture, ConnectOptions, Runtime, Socket};
use slab::Slab;

use network::NetworkState;
pub use network::{LinkOptions, Listener, Network};
use shared::{Runnable, Shared, State, TaskSlot, TaskWaker};
use sleep::Sleep;
use timer::Timers;

/// The default of [`Virtual::patience`].
const PATIENCE: Duration = Duration::from_secs(2);

/// A runtime with one thread, virtual time and a network in memory. Clones refer to the same
/// runtime.
///
/// Chapter [13](../../tutorial/ch13.html) of the book teaches its use.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Clone)]
pub struct Virtual(Arc<Shared>);

impl Virtual {
    /// Returns a runtime whose tasks run in the order in which they were woken.
    ///
    /// The random faults of the runtime's network are the same in each run.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// Returns a runtime that runs the woken tasks in a random order.
    ///
    /// The same seed always produces the same order. A test that runs with many seeds finds code that
    /// depends on the order of tasks. The seed also determines the random faults of the runtime's network.
    ///
    /// ```
    /// use inflight_core::{BlockOn, Task};
    /// use inflight_virtual::Virtual;
    ///
    /// let first_done = |seed| {
    ///     let runtime = Virtual::seeded(seed);
    ///     let (sender, done) = std::sync::mpsc::channel();
    ///     let tasks = [1, 2].map(|n| {
    ///         let sender = sender.clone();
    ///         Task::spawn(&runtime, async move { sender.send(n) })
    ///     });
    ///     runtime.block_on(async {
    ///         for task in tasks {
    ///             let _ = task.await;
    ///         }
    ///     });
    ///     done.recv().unwrap()
    /// };
    /// assert!((0..20).any(|seed| first_done(seed) == 1));
    /// assert!((0..20).any(|seed| first_done(seed) == 2));
    /// assert_eq!(first_done(7), first_done(7));
    /// ```
    pub fn seeded(seed: u64) -> Self {
        Self::with(Some(seed))
    }

    fn with(seed: Option<u64>) -> Self {
        Self(Arc::new(Shared {
            epoch: Instant::now(),
            patience: PATIENCE,
            state: Mutex::new(State {
                timers: Timers::default(),
                network: NetworkState::new(seed.unwrap_or(0)),
                tasks: Slab::new(),
                ready: VecDeque::new(),
                schedule_rng: seed.map(Rng::with_seed),
                block_on_thread: None,
            }),
            changed: Condvar::new(),
        }))
    }

    /// Sets how long the runtime waits for other threads, in real time, before it reports a
    /// deadlock. Default 2 s.
    ///
    /// # Panics
    ///
    /// Panics if the runtime has already been cloned.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        let shared = Arc::get_mut(&mut self.0).expect("patience is set before the first clone");
        shared.patience = patience;
        self
    }

    /// Returns the virtual time since the runtime was created.
    pub fn elapsed(&self) -> Duration {
        self.0.lock().timers.now
    }

    /// Returns what has not ended: tasks, timers and connections. A test checks with it that nothing is left.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use inflight_core::{BlockOn, Runtime, Task};
    /// use inflight_virtual::Virtual;
    ///
    /// let runtime = Virtual::new();
    /// let task = Task::spawn(&runtime, runtime.sleep(Duration::from_secs(60)));
    /// assert_eq!(runtime.pending().tasks, 1);
    /// runtime.block_on(task).unwrap();
    /// assert_eq!(runtime.pending().tasks, 0);
    /// ```
    pub fn pending(&self) -> Pending {
        let state = self.0.lock();
        Pending {
            tasks: state.tasks.len(),
            timers: state.timers.queue.len(),
            connections: state.network.connections(),
        }
    }

    /// Advances virtual time by `time`, for tests that poll futures by hand.
    ///
    /// Timers that become due wake their tasks, and the network delivers packets that become due. No
    /// task runs before the next [`block_on`](BlockOn::block_on).
    pub fn advance(&self, time: Duration) {
        let mut state = self.0.lock();
        let until = state.timers.now.saturating_add(time);
        state.advance_to(until);
        shared::release(state);
    }
}

/// What has not ended in a [`Virtual`] runtime, from [`Virtual::pending`].
///
/// For an example, see [`Virtual::pending`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// The number of tasks that were spawned and have not ended.
    pub tasks: usize,
    /// The number of timers and packets on the way.
    pub timers: usize,
    /// The number of connections that have an open end.
    pub connections: usize,
}

impl Default for Virtual {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Virtual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Virtual({:?})", self.elapsed())
    }
}

impl Runtime for Virtual {
    fn name(&self) -> &'static str {
        "virtual"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = self.0.lock();
        let entry = state.tasks.vacant_entry();
        let key = entry.key();
        let waker = Arc::new(TaskWaker {
            shared: Arc::downgrade(&self.0),
            key: Some(key),
            is_ready: AtomicBool::new(true),
        });
        entry.insert(TaskSlot {
            task: Some(task),
            waker,
        });
        state.ready.push_back(Runnable::Task(key));
        drop(state);
        self.0.changed.notify_all();
    }

    /// Runs the work on the runtime's only thread, like a task. All tasks wait until the work
    /// returns, so work that waits for a task never returns.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.lock().ready.push_back(Runnable::Blocking(work));
        self.0.changed.notify_all();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.elapsed().saturating_add(duration);
        Box::pin(Sleep::new(Arc::downgrade(&self.0), until))
    }

    fn now(&self) -> Instant {
        self.0.epoch + self.elapsed()
    }

    /// Connects to a [`Listener`] on the runtime's [`Network`]. Ignores the options.
    ///
    /// The connect starts when the future is first polled, and takes one round trip.
    ///
    /// # Errors
    ///
    /// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), after one round trip, if there is no
    ///   listener at the address when the connect arrives.
    /// - [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) if the runtime has ended.
    ///
    /// Reads and writes of the socket fail with:
    ///
    /// - [`ConnectionReset`](io::ErrorKind::ConnectionReset) after a reset. A reset discards the
    ///   bytes that were received and not read. As in TCP, dropping a socket resets the peer if the
    ///   dropped socket has unread bytes, or if bytes arrive for it later.
    /// - [`BrokenPipe`](io::ErrorKind::BrokenPipe) for a write to a socket that was shut down.
    /// - [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) if the runtime has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connect. The listener either never returns the connection, or
    /// returns a connection that the client has already closed.
    fn connect(
        &self,
        address: SocketAddr,
        _: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        Box::pin(network::connect(Arc::downgrade(&self.0), address))
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        Some(1)
    }
}

impl BlockOn for Virtual {
    /// Runs the future and the spawned tasks, one at a time, until the future completes. Tasks that
    /// have not finished continue in the next call.
    ///
    /// If another thread is in `block_on`, this thread waits until that call returns.
    ///
    /// # Panics
    ///
    /// - If there is a deadlock: all tasks wait, no timer is set, the network delivers no packets, and no
    ///   other thread wakes a task within [`patience`](Virtual::patience).
    /// - If a task of the runtime calls this method.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _inside = self.0.enter();
        let mut future = pin!(future);
        let main = Arc::new(TaskWaker {
            shared: Arc::downgrade(&self.0),
            key: None,
            is_ready: AtomicBool::new(false),
        });
        main.clone().wake();
        loop {
            match self.0.next() {
                Runnable::Main => {
                    main.is_ready.store(false, Ordering::SeqCst);
                    let waker = Waker::from(main.clone());
                    if let Poll::Ready(output) =
                        future.as_mut().poll(&mut Context::from_waker(&waker))
                    {
                        return output;
                    }
                }
                Runnable::Task(key) => self.0.poll_task(key),
                // A panic ends only this work, as on a blocking pool.
                Runnable::Blocking(work) => drop(catch_unwind(AssertUnwindSafe(work))),
            }
        }
    }
}
