//! A runtime for tests: one thread, and a time that passes when nothing else is left to do.
//!
//! Tasks run one after another in the thread that calls [`block_on`](BlockOn::block_on), always
//! in the same order. Time stands still while anything can run; when nothing can, it jumps to the
//! next timer. A test of a retry after an hour takes no time, and gives the same result each time.
//!
//! ```
//! use std::time::Duration;
//!
//! use inflight_core::{BlockOn, Runtime, Task};
//! use inflight_virtual::Virtual;
//!
//! let runtime = Virtual::new();
//! let (one, other) = (runtime.clone(), runtime.clone());
//! runtime.block_on(async {
//!     let slow = Task::spawn(&one, {
//!         let one = one.clone();
//!         async move { one.sleep(Duration::from_secs(3600)).await }
//!     });
//!     other.sleep(Duration::from_secs(60)).await;
//!     assert_eq!(other.elapsed(), Duration::from_secs(60));
//!     slow.await.unwrap();
//! });
//! assert_eq!(runtime.elapsed(), Duration::from_secs(3600));
//! ```
//!
//! # What it is not for
//!
//! Its time says nothing to the rest of the world: a request to a real server takes none of it,
//! so timers run ahead of the answer. It goes with a client that answers by itself, such as
//! `inflight-mock`.

mod timer;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use fastrand::Rng;
use inflight_core::{BlockOn, BoxFuture, Runtime};
use slab::Slab;

use timer::{Sleep, Timers};

/// How long [`Virtual`] waits for a thread that is not its own, in real time, before it takes the
/// waiting for a deadlock.
const PATIENCE: Duration = Duration::from_secs(2);

/// One thread, virtual time. Clones are the same runtime.
#[derive(Clone)]
pub struct Virtual(Arc<Shared>);

struct Shared {
    /// What [`Runtime::now`] counts from.
    zero: Instant,
    patience: Duration,
    state: Mutex<State>,
    /// Somebody woke a task, or the runtime is free again.
    changed: Condvar,
}

struct State {
    timers: Timers,
    tasks: Slab<Entry>,
    ready: VecDeque<Ready>,
    order: Option<Rng>,
    /// Who is inside.
    runs_on: Option<ThreadId>,
}

enum Ready {
    /// The future that is blocked on.
    Main,
    Task(usize),
    Blocking(Box<dyn FnOnce() + Send>),
}

struct Entry {
    // Away while it is polled.
    task: Option<BoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

impl Virtual {
    /// Tasks run in the order in which they were woken.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// What could run next is chosen at random, from this seed: the same order each time, and
    /// another with another seed. A test that runs under many finds what depends on an order.
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
        Self::with(Some(Rng::with_seed(seed)))
    }

    fn with(order: Option<Rng>) -> Self {
        Self(Arc::new(Shared {
            zero: Instant::now(),
            patience: PATIENCE,
            state: Mutex::new(State {
                timers: Timers::default(),
                tasks: Slab::new(),
                ready: VecDeque::new(),
                order,
                runs_on: None,
            }),
            changed: Condvar::new(),
        }))
    }

    /// How long to wait, in real time, for a thread that is not the runtime's before the waiting
    /// is taken for a deadlock. Default 2 s.
    ///
    /// # Panics
    ///
    /// If the runtime was cloned already.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        let shared = Arc::get_mut(&mut self.0).expect("patience is set before the first clone");
        shared.patience = patience;
        self
    }

    /// The virtual time since the runtime was made.
    pub fn elapsed(&self) -> Duration {
        self.0.lock().timers.now
    }

    /// Lets this much time pass at once, for tests that poll by hand. What was to be woken
    /// meanwhile is woken; nothing runs before the next [`block_on`](BlockOn::block_on).
    pub fn advance(&self, time: Duration) {
        let woken = {
            let mut state = self.0.lock();
            let until = state.timers.now.saturating_add(time);
            state.timers.pass_to(until)
        };
        woken.into_iter().for_each(Waker::wake);
    }
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
        entry.insert(Entry {
            task: Some(task),
            waker,
        });
        state.ready.push_back(Ready::Task(key));
        drop(state);
        self.0.changed.notify_all();
    }

    /// In its turn, on the runtime's one thread: everything else waits meanwhile. Work that waits
    /// for a task waits for ever.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.lock().ready.push_back(Ready::Blocking(work));
        self.0.changed.notify_all();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.elapsed().saturating_add(duration);
        Box::pin(Sleep::new(Arc::downgrade(&self.0), until))
    }

    fn now(&self) -> Instant {
        self.0.zero + self.elapsed()
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        Some(1)
    }
}

impl BlockOn for Virtual {
    /// Runs the future and whatever was spawned, one at a time, until the future's end. Tasks
    /// that are left go on in the next call.
    ///
    /// A second thread waits until the first is done.
    ///
    /// # Panics
    ///
    /// When everything waits, no timer is set, and no other thread wakes anything for
    /// [`patience`](Virtual::patience): the program would hang. And when it is called by what it
    /// runs.
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
                Ready::Main => {
                    main.is_ready.store(false, Ordering::SeqCst);
                    let waker = Waker::from(main.clone());
                    if let Poll::Ready(output) =
                        future.as_mut().poll(&mut Context::from_waker(&waker))
                    {
                        return output;
                    }
                }
                Ready::Task(key) => self.0.poll_task(key),
                // As a panic of a pool's thread, which takes nothing with it.
                Ready::Blocking(work) => drop(catch_unwind(AssertUnwindSafe(work))),
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Inside<'_> {
        let here = thread::current().id();
        let mut state = self.lock();
        while let Some(inside) = state.runs_on {
            assert_ne!(
                inside, here,
                "the virtual runtime is entered by what it runs: await in place of block_on"
            );
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.runs_on = Some(here);
        Inside(self)
    }

    /// What runs next. Lets time pass when nothing can.
    fn next(&self) -> Ready {
        let mut state = self.lock();
        loop {
            let len = state.ready.len();
            let index = match &mut state.order {
                Some(order) if len > 1 => order.usize(..len),
                _ => 0,
            };
            if let Some(ready) = state.ready.remove(index) {
                return ready;
            }
            if let Some(next) = state.timers.next() {
                let woken = state.timers.pass_to(next);
                drop(state);
                woken.into_iter().for_each(Waker::wake);
                state = self.lock();
                continue;
            }
            // A thread of somebody else's may be about to wake something.
            let patient = |state: &mut State| state.ready.is_empty() && state.timers.is_empty();
            let waited = self
                .changed
                .wait_timeout_while(state, self.patience, patient);
            let (still, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = still;
            if timeout.timed_out() {
                let tasks = state.tasks.len();
                drop(state);
                panic!(
                    "deadlock: the future and {tasks} tasks wait for what nothing brings: no \
                     timer is set, and no other thread has woken any of them for {:?}",
                    self.patience
                );
            }
        }
    }

    fn poll_task(&self, key: usize) {
        let (task, waker) = {
            let mut state = self.lock();
            let Some(entry) = state.tasks.get_mut(key) else {
                return;
            };
            entry.waker.is_ready.store(false, Ordering::SeqCst);
            (entry.task.take(), entry.waker.clone())
        };
        let Some(mut task) = task else { return };
        let waker = Waker::from(waker);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            task.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        // A panic ends its task and no other, as on tokio.
        let is_over = !matches!(polled, Ok(Poll::Pending));
        let mut state = self.lock();
        if is_over {
            state.tasks.remove(key);
        } else if let Some(entry) = state.tasks.get_mut(key) {
            entry.task = Some(task);
            return;
        }
        // What it held may want the lock, and may panic as well.
        drop(state);
        drop(catch_unwind(AssertUnwindSafe(|| drop(task))));
    }
}

/// This thread runs the runtime.
struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.runs_on = None;
        // It is this call's future that it stands for.
        state.ready.retain(|ready| !matches!(ready, Ready::Main));
        drop(state);
        self.0.changed.notify_all();
    }
}

struct TaskWaker {
    shared: Weak<Shared>,
    // None for the future that is blocked on.
    key: Option<usize>,
    is_ready: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_ready.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            let mut state = shared.lock();
            match self.key {
                None if state.runs_on.is_some() => state.ready.push_back(Ready::Main),
                // Its number may be another task's by now.
                Some(key)
                    if state
                        .tasks
                        .get(key)
                        .is_some_and(|e| Arc::ptr_eq(&e.waker, self)) =>
                {
                    state.ready.push_back(Ready::Task(key));
                }
                _ => {}
            }
            drop(state);
            shared.changed.notify_all();
        }
    }
}
