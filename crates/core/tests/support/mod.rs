//! What the tests share: a runtime whose clock, tasks and blocking pool obey the test, signals
//! that jobs wait at, and bells that tell when something was dropped.

// Each test file is a crate of its own and none of them uses everything.
#![allow(dead_code)]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_executor::Executor;
use futures_lite::future::{block_on, or};
use http::Request;
use inflight_core::{
    Body, BoxFuture, Capabilities, ConnectOptions, Error, Fetch, Runtime, Session, SessionBuilder,
    Socket, no_sockets,
};

/// How long a test waits for an event before it fails. No test that passes waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a future to its end; one that hangs fails the test.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    block_on(or(future, async {
        async_io::Timer::after(PATIENCE).await;
        panic!("the future hangs");
    }))
}

/// Runs what may block on a thread of its own; if it hangs, the test fails.
pub(crate) fn without_deadlock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        // The receiver is gone only if the test has failed already.
        let _ = sender.send(work());
    });
    match result.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the thread hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the wake-ups of what it is given to.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        let waker = Waker::from(wakes.clone());
        (wakes, waker)
    }

    /// How often it was woken since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future once, for tests that decide themselves when that happens.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future as often as it wants to be polled, until it has to wait for somebody else.
pub(crate) fn poll_until_stalled<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let (wakes, waker) = Wakes::new();
    for _ in 0..100_000 {
        let polled = Pin::new(&mut *future).poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || wakes.take() == 0 {
            return polled;
        }
    }
    panic!("a busy loop: the future never stops waking itself");
}

/// Something to wait for, opened by the test.
#[derive(Clone, Default)]
pub(crate) struct Signal(Arc<Mutex<SignalState>>);

#[derive(Default)]
struct SignalState {
    open: bool,
    wakers: Vec<Waker>,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        let wakers = {
            let mut state = lock(&self.0);
            state.open = true;
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits for the signal to be open. A future that was ready panics when it is polled again.
    pub(crate) fn passed(&self) -> impl Future<Output = ()> + Send + Sync + Unpin + use<> {
        let signal = self.clone();
        let mut over = false;
        poll_fn(move |cx| {
            assert!(!over, "polled after completion");
            let mut state = lock(&signal.0);
            if state.open {
                over = true;
                return Poll::Ready(());
            }
            state.wakers.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// Sends its number when it is dropped.
pub(crate) struct DropNotifier(usize, mpsc::Sender<usize>);

/// Rings without being dropped, from any thread.
#[derive(Clone)]
pub(crate) struct DropNotifiers(mpsc::Sender<usize>);

impl DropNotifiers {
    pub(crate) fn ring(&self, number: usize) {
        // Nobody listens when the test is over.
        let _ = self.0.send(number);
    }

    pub(crate) fn notifier(&self, number: usize) -> DropNotifier {
        DropNotifier(number, self.0.clone())
    }
}

/// Hears the bells.
pub(crate) struct DropListener(mpsc::Sender<usize>, mpsc::Receiver<usize>);

impl DropListener {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self(sender, receiver)
    }

    pub(crate) fn notifier(&self, number: usize) -> DropNotifier {
        DropNotifier(number, self.0.clone())
    }

    pub(crate) fn notifiers(&self) -> DropNotifiers {
        DropNotifiers(self.0.clone())
    }

    /// Waits for this many bells and returns their numbers, sorted.
    pub(crate) fn hear(&self, count: usize) -> Vec<usize> {
        let next = |_| {
            self.1
                .recv_timeout(PATIENCE)
                .expect("the event does not come")
        };
        let mut heard: Vec<_> = (0..count).map(next).collect();
        heard.sort_unstable();
        heard
    }

    /// What has rung and was not heard yet, sorted.
    pub(crate) fn heard(&self) -> Vec<usize> {
        let mut heard: Vec<_> = self.1.try_iter().collect();
        heard.sort_unstable();
        heard
    }
}

impl Drop for DropNotifier {
    fn drop(&mut self) {
        // Nobody listens when the test is over.
        let _ = self.1.send(self.0);
    }
}

/// A number that one thread changes and another waits for.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<(Mutex<usize>, Condvar)>);

impl Counter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn get(&self) -> usize {
        *lock(&self.0.0)
    }

    pub(crate) fn add(&self, n: usize) -> usize {
        let mut count = lock(&self.0.0);
        *count += n;
        self.0.1.notify_all();
        *count
    }

    pub(crate) fn sub(&self, n: usize) {
        *lock(&self.0.0) -= n;
        self.0.1.notify_all();
    }

    /// Blocks this thread until the count is `wanted`.
    pub(crate) fn wait_for(&self, wanted: usize) {
        let waited = self
            .0
            .1
            .wait_timeout_while(lock(&self.0.0), PATIENCE, |count| *count != wanted)
            .unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*waited.0, wanted, "the count does not come");
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A runtime with as many threads as the test wants. With none, [`tick`](Self::tick) runs the
/// tasks. Its time stands still but for [`advance`](Self::advance); blocking work has a thread
/// for each call.
#[derive(Clone)]
pub(crate) struct TestRuntime(Arc<Inner>);

struct Inner {
    executor: RwLock<Option<Arc<Executor<'static>>>>,
    // Closed to end the threads.
    stop: async_channel::Sender<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    zero: Instant,
    clock: Arc<Mutex<Clock>>,
    held: Mutex<Option<Vec<Work>>>,
    blocking_started: Counter,
    blocking_running: Counter,
    blocking_ceiling: Option<usize>,
}

#[derive(Default)]
struct Clock {
    now: Duration,
    // Every sleep that was ever asked for.
    asked: Vec<Duration>,
    alive: usize,
    wakers: Vec<Waker>,
}

impl TestRuntime {
    pub(crate) fn new(threads: usize) -> Self {
        Self::with_ceiling(threads, None)
    }

    pub(crate) fn with_ceiling(threads: usize, blocking_ceiling: Option<usize>) -> Self {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let threads = (0..threads)
            .map(|_| {
                let (executor, stopped) = (executor.clone(), stopped.clone());
                std::thread::spawn(move || {
                    // An error is what ends it: the channel is closed.
                    let _ = block_on(executor.run(stopped.recv()));
                })
            })
            .collect();
        Self(Arc::new(Inner {
            executor: RwLock::new(Some(executor)),
            stop,
            threads: Mutex::new(threads),
            zero: Instant::now(),
            clock: Arc::default(),
            held: Mutex::new(None),
            blocking_started: Counter::new(),
            blocking_running: Counter::new(),
            blocking_ceiling,
        }))
    }

    pub(crate) fn shared(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    /// Runs every task as far as it goes, on this thread.
    pub(crate) fn tick(&self) {
        let executor = self.0.executor.read().unwrap().clone();
        if let Some(executor) = executor {
            for _ in 0..100_000 {
                if !executor.try_tick() {
                    return;
                }
            }
            panic!("a busy loop: the tasks never rest");
        }
    }

    /// Ends the runtime: its tasks, and blocking work that has not begun, are dropped.
    pub(crate) fn end(&self) {
        self.0.stop.close();
        for thread in lock(&self.0.threads).drain(..) {
            thread.join().unwrap();
        }
        self.0.executor.write().unwrap().take();
        let held = lock(&self.0.held).take();
        drop(held);
    }

    /// From now on blocking work does not begin.
    pub(crate) fn hold_blocking(&self) {
        lock(&self.0.held).get_or_insert_default();
    }

    /// Blocking work that was held back begins.
    pub(crate) fn release_blocking(&self) {
        let held = lock(&self.0.held).take();
        for work in held.into_iter().flatten() {
            self.spawn_blocking(work);
        }
    }

    pub(crate) fn blocking_started(&self) -> &Counter {
        &self.0.blocking_started
    }

    pub(crate) fn blocking_running(&self) -> &Counter {
        &self.0.blocking_running
    }

    /// Every sleep that was asked for so far.
    pub(crate) fn sleeps(&self) -> Vec<Duration> {
        lock(&self.0.clock).asked.clone()
    }

    /// How many sleeps are neither over nor dropped.
    pub(crate) fn sleeping(&self) -> usize {
        lock(&self.0.clock).alive
    }

    pub(crate) fn advance(&self, duration: Duration) {
        let wakers = {
            let mut clock = lock(&self.0.clock);
            clock.now += duration;
            std::mem::take(&mut clock.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.close();
    }
}

impl Runtime for TestRuntime {
    fn name(&self) -> &'static str {
        "test"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let executor = self.0.executor.read().unwrap().clone();
        if let Some(executor) = executor {
            executor.spawn(task).detach();
        }
    }

    fn spawn_blocking(&self, work: Work) {
        if self.0.executor.read().unwrap().is_none() {
            return;
        }
        if let Some(held) = &mut *lock(&self.0.held) {
            held.push(work);
            return;
        }
        self.0.blocking_started.add(1);
        self.0.blocking_running.add(1);
        let running = self.0.blocking_running.clone();
        std::thread::spawn(move || {
            work();
            running.sub(1);
        });
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clock.clone();
        let until = {
            let mut clock = lock(&clock);
            clock.asked.push(duration);
            clock.alive += 1;
            clock.now.saturating_add(duration)
        };
        Box::pin(Sleep { clock, until })
    }

    fn now(&self) -> Instant {
        self.0.zero + lock(&self.0.clock).now
    }

    fn connect(
        &self,
        _: SocketAddr,
        _: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        Box::pin(std::future::ready(Err(no_sockets("test"))))
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        self.0.blocking_ceiling
    }
}

pub(crate) type Answer = Result<http::Response<Body>, Error>;
type Handler = dyn Fn(Request<Body>) -> BoxFuture<'static, Answer> + Send + Sync;

/// A client that is a function.
pub(crate) struct InMemory {
    handler: Box<Handler>,
    pub(crate) capabilities: Capabilities,
}

impl Fetch for InMemory {
    async fn fetch(&self, request: Request<Body>) -> Answer {
        (self.handler)(request).await
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

pub(crate) fn client<F>(handler: impl Fn(Request<Body>) -> F + Send + Sync + 'static) -> InMemory
where
    F: Future<Output = Answer> + Send + 'static,
{
    InMemory {
        handler: Box::new(move |request| Box::pin(handler(request))),
        capabilities: Capabilities::all("in memory 1.0"),
    }
}

pub(crate) fn builder(client: InMemory, runtime: &TestRuntime) -> SessionBuilder {
    let runtime = runtime.shared();
    Session::builder(move |_| Ok((client, runtime)))
}

pub(crate) fn session(client: InMemory, runtime: &TestRuntime) -> Session {
    builder(client, runtime).build().unwrap()
}

pub(crate) fn answer(body: impl Into<Body>) -> Answer {
    Ok(http::Response::new(body.into()))
}

struct Sleep {
    clock: Arc<Mutex<Clock>>,
    until: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut clock = lock(&self.clock);
        if clock.now >= self.until {
            return Poll::Ready(());
        }
        clock.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.clock).alive -= 1;
    }
}

/// A session over a client that answers what a function makes of the request.
pub(crate) fn answering<F>(answer: F) -> SessionBuilder
where
    F: Fn(Request<Body>) -> http::Response<Body> + Send + Sync + 'static,
{
    answering_on(&TestRuntime::new(0), answer)
}

pub(crate) fn answering_on<F>(runtime: &TestRuntime, answer: F) -> SessionBuilder
where
    F: Fn(Request<Body>) -> http::Response<Body> + Send + Sync + 'static,
{
    let client = client(move |request| std::future::ready(Ok(answer(request))));
    builder(client, runtime)
}
