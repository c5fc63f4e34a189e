use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A timer with its own thread. Dropping the timer stops the thread.
///
/// Delays must be precise. tokio's timer rounds up to a whole millisecond, and so does
/// `epoll_wait`. Together they would make responses up to 2 ms late, even on an idle machine. A
/// thread that waits on a condition variable is late by only about 0.1 ms, and works on every
/// system.
pub(crate) struct Timer {
    clock: SystemClock,
    thread: Option<JoinHandle<()>>,
}

impl Timer {
    /// Starts the thread, which calls `on_start` first.
    pub(crate) fn start(on_start: impl FnOnce() + Send + 'static) -> io::Result<Timer> {
        let clock = SystemClock(Arc::new(TimerQueue::default()));
        let thread = thread::Builder::new()
            .name("origin-timer".to_owned())
            .spawn({
                let clock = clock.clone();
                move || {
                    on_start();
                    clock.0.run();
                }
            })?;
        Ok(Timer {
            clock,
            thread: Some(thread),
        })
    }

    pub(crate) fn clock(&self) -> SharedClock {
        Arc::new(self.clock.clone())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clock.0.lock().stopped = true;
        self.clock.0.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A source of the current time and of delays, for example the virtual clock of a test runtime.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Instant;

    /// Returns a future that completes once `time` has passed since the call.
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl dyn Clock {
    /// Sleeps until `at`. The sleep never ends early.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        self.sleep(at.saturating_duration_since(self.now())).await;
    }
}

/// The clock for delays: the system's, or one that the caller provides.
pub(crate) type SharedClock = Arc<dyn Clock>;

/// The system's clock. The thread of a [`Timer`] wakes the tasks that sleep, so no task is woken after
/// the timer was dropped.
#[derive(Clone)]
struct SystemClock(Arc<TimerQueue>);

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Sleep {
            clock: self.clone(),
            at: Instant::now() + time,
            id: None,
        })
    }
}

#[derive(Default)]
struct TimerQueue {
    sleepers: Mutex<Sleepers>,
    changed: Condvar,
}

#[derive(Default)]
struct Sleepers {
    /// The wakers, sorted by the time when they are due. The second part of the key is an id, which
    /// distinguishes sleeps that end at the same time.
    wakers: BTreeMap<(Instant, u64), Waker>,
    last_id: u64,
    stopped: bool,
}

impl TimerQueue {
    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut due = Vec::new();
        let mut sleepers = self.lock();
        while !sleepers.stopped {
            let now = Instant::now();
            while let Some(first) = sleepers.wakers.first_entry()
                && first.key().0 <= now
            {
                due.push(first.remove());
            }
            if !due.is_empty() {
                // Waking runs code of the runtime, so the lock is released first.
                drop(sleepers);
                due.drain(..).for_each(Waker::wake);
                sleepers = self.lock();
                continue;
            }
            let first = sleepers.wakers.first_key_value();
            let left = first.map_or(Duration::MAX, |((at, _), _)| *at - now);
            let waited = self.changed.wait_timeout(sleepers, left);
            sleepers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The future of [`SystemClock::sleep`].
struct Sleep {
    clock: SystemClock,
    at: Instant,
    /// The id of this sleep in [`Sleepers::wakers`]. `None` until the first poll.
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let clock = self.clock.clone();
        let mut sleepers = clock.0.lock();
        let id = *self.id.get_or_insert_with(|| {
            sleepers.last_id += 1;
            sleepers.last_id
        });
        let replaced = sleepers.wakers.insert((self.at, id), cx.waker().clone());
        let first = sleepers.wakers.first_key_value();
        let is_first = first.is_some_and(|(key, _)| *key == (self.at, id));
        drop(sleepers);
        drop(replaced);
        if is_first {
            // The timer's thread waits for a later sleep, or without a time limit, so it must be woken.
            clock.0.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.clock.0.lock().wakers.remove(&(self.at, id));
            // Dropping a waker runs code of the runtime too, so the lock is released first.
            drop(waker);
        }
    }
}
