//! Helpers for the tests. [`TestRuntime`] is a runtime whose clock, tasks and blocking pool the test
//! controls. Tasks wait for a [`Signal`] until the test opens it. A test waits for events with an
//! [`EventListener`].

// Each test file is a separate crate, and none of them uses every helper.
#![allow(dead_code)]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    Socket, no_sockets, runtime_ended,
};

/// The time that a test waits for an event before it fails. A passing test never waits this long.
pub(crate) const EVENT_TIMEOUT: Duration = Duration::from_secs(if cfg!(miri) { 600 } else { 10 });

/// Returns how often a test repeats its rounds. Miri runs few of them, because it is much slower.
pub(crate) const fn rounds(rounds: u32) -> u32 {
    if cfg!(miri) {
        rounds.div_ceil(100)
    } else {
        rounds
    }
}

/// Runs a future to completion. Panics if the future does not complete within [`EVENT_TIMEOUT`].
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    // Miri cannot run the timer's system calls, and detects a deadlock without them.
    if cfg!(miri) {
        return block_on(future);
    }
    block_on(or(future, async {
        async_io::Timer::after(EVENT_TIMEOUT).await;
        panic!("the future did not complete in time");
    }))
}

/// Runs a closure on a new thread. Panics if the closure does not return within [`EVENT_TIMEOUT`].
pub(crate) fn without_deadlock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        // The receiver is dropped only if the test has already failed.
        let _ = sender.send(work());
    });
    match result.recv_timeout(EVENT_TIMEOUT) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the thread did not return in time"),
        Err(mpsc::RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the wake-ups of a waker.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        let waker = Waker::from(wakes.clone());
        (wakes, waker)
    }

    /// Returns the number of wake-ups since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future until it is ready or no longer wakes itself.
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

/// A signal that the test opens. Tasks wait until the signal is open.
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

    /// Waits until the signal is open. The future panics if it is polled after completion.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + Sync + Unpin + use<> {
        let signal = self.clone();
        let mut completed = false;
        poll_fn(move |cx| {
            assert!(!completed, "polled after completion");
            let mut state = lock(&signal.0);
            if state.open {
                completed = true;
                return Poll::Ready(());
            }
            state.wakers.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// Sends an id to an [`EventListener`] when the notifier is dropped.
pub(crate) struct DropNotifier(usize, mpsc::Sender<usize>);

/// Sends ids to an [`EventListener`] and creates [`DropNotifier`]s, on any thread.
#[derive(Clone)]
pub(crate) struct EventSender(mpsc::Sender<usize>);

impl EventSender {
    pub(crate) fn send(&self, id: usize) {
        // The listener may already be dropped at the end of the test.
        let _ = self.0.send(id);
    }

    pub(crate) fn notifier(&self, id: usize) -> DropNotifier {
        DropNotifier(id, self.0.clone())
    }
}

/// Receives the ids that its [`EventSender`]s and [`DropNotifier`]s send.
pub(crate) struct EventListener(mpsc::Sender<usize>, mpsc::Receiver<usize>);

impl EventListener {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self(sender, receiver)
    }

    pub(crate) fn notifier(&self, id: usize) -> DropNotifier {
        DropNotifier(id, self.0.clone())
    }

    pub(crate) fn sender(&self) -> EventSender {
        EventSender(self.0.clone())
    }

    /// Waits until `count` ids have arrived, and returns these ids in ascending order.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<usize> {
        let next = |_| {
            self.1
                .recv_timeout(EVENT_TIMEOUT)
                .expect("an event should arrive in time")
        };
        let mut ids: Vec<_> = (0..count).map(next).collect();
        ids.sort_unstable();
        ids
    }

    /// Returns the ids that have arrived since the last call, in ascending order. Does not wait.
    pub(crate) fn received(&self) -> Vec<usize> {
        let mut ids: Vec<_> = self.1.try_iter().collect();
        ids.sort_unstable();
        ids
    }
}

impl Drop for DropNotifier {
    fn drop(&mut self) {
        // The listener may already be dropped at the end of the test.
        let _ = self.1.send(self.0);
    }
}

/// A count that one thread changes and another thread waits for.
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

    /// Blocks this thread until the count is `expected`.
    pub(crate) fn wait_for(&self, expected: usize) {
        let waited = self
            .0
            .1
            .wait_timeout_while(lock(&self.0.0), EVENT_TIMEOUT, |count| *count != expected)
            .unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*waited.0, expected, "the count was not reached in time");
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A runtime with a fixed number of threads. Without threads, [`tick`](Self::tick) runs the tasks.
/// Only [`advance`](Self::advance) moves the clock. Each blocking call gets a new thread.
#[derive(Clone)]
pub(crate) struct TestRuntime(Arc<Inner>);

struct Inner {
    executor: RwLock<Option<Arc<Executor<'static>>>>,
    // Closing the channel ends the threads.
    stop: async_channel::Sender<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    zero: Instant,
    clock: Arc<Mutex<Clock>>,
    held: Mutex<Option<Vec<Work>>>,
    blocking_started: Counter,
    blocking_running: Counter,
    blocking_ceiling: Option<usize>,
    is_outside: AtomicBool,
}

#[derive(Default)]
struct Clock {
    now: Duration,
    // The durations of all sleeps so far.
    sleeps: Vec<Duration>,
    // The number of sleeps that have not been dropped.
    active: usize,
    wakers: Vec<Waker>,
    // Whether the runtime has shut down. Every sleep then completes at once.
    has_ended: bool,
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
                    // `recv` returns an error when the channel is closed.
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
            is_outside: AtomicBool::new(false),
        }))
    }

    pub(crate) fn shared(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    /// Runs all tasks on this thread until none of them is ready.
    pub(crate) fn tick(&self) {
        let executor = self.0.executor.read().unwrap().clone();
        if let Some(executor) = executor {
            for _ in 0..100_000 {
                if !executor.try_tick() {
                    return;
                }
            }
            panic!("a busy loop: the tasks never stop waking themselves");
        }
    }

    /// Shuts down the runtime. Drops its tasks and the blocking work that has not started.
    pub(crate) fn shut_down(&self) {
        self.0.stop.close();
        for thread in lock(&self.0.threads).drain(..) {
            thread.join().unwrap();
        }
        self.0.executor.write().unwrap().take();
        let held = lock(&self.0.held).take();
        drop(held);
        self.change_clock(|clock| clock.has_ended = true);
    }

    /// Makes `is_entered` return `false`, as if all callers were outside this runtime from now on.
    pub(crate) fn leave(&self) {
        self.0.is_outside.store(true, Ordering::SeqCst);
    }

    /// Holds back new blocking work until [`release_blocking`](Self::release_blocking).
    pub(crate) fn hold_blocking(&self) {
        lock(&self.0.held).get_or_insert_default();
    }

    /// Starts the blocking work that was held back.
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

    /// Returns the durations of all sleeps so far.
    pub(crate) fn sleeps(&self) -> Vec<Duration> {
        lock(&self.0.clock).sleeps.clone()
    }

    /// Returns the number of sleeps that have not been dropped.
    pub(crate) fn active_sleeps(&self) -> usize {
        lock(&self.0.clock).active
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.change_clock(|clock| clock.now += duration);
    }

    fn change_clock(&self, change: impl FnOnce(&mut Clock)) {
        let wakers = {
            let mut clock = lock(&self.0.clock);
            change(&mut clock);
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
            clock.sleeps.push(duration);
            clock.active += 1;
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

    fn check_running(&self) -> Result<(), Error> {
        match lock(&self.0.clock).has_ended {
            true => Err(runtime_ended("test")),
            false => Ok(()),
        }
    }

    fn is_entered(&self) -> bool {
        !self.0.is_outside.load(Ordering::SeqCst)
    }
}

pub(crate) type FetchResult = Result<http::Response<Body>, Error>;
type Handler = dyn Fn(Request<Body>) -> BoxFuture<'static, FetchResult> + Send + Sync;

/// A client that calls a function for each request.
pub(crate) struct FunctionClient {
    handler: Box<Handler>,
    pub(crate) capabilities: Capabilities,
}

impl Fetch for FunctionClient {
    async fn fetch(&self, request: Request<Body>) -> FetchResult {
        (self.handler)(request).await
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

pub(crate) fn client<F>(
    handler: impl Fn(Request<Body>) -> F + Send + Sync + 'static,
) -> FunctionClient
where
    F: Future<Output = FetchResult> + Send + 'static,
{
    FunctionClient {
        handler: Box::new(move |request| Box::pin(handler(request))),
        capabilities: Capabilities::all("function 1.0"),
    }
}

pub(crate) fn builder(client: FunctionClient, runtime: &TestRuntime) -> SessionBuilder {
    let runtime = runtime.shared();
    Session::builder(move |_| Ok((client, runtime)))
}

pub(crate) fn session(client: FunctionClient, runtime: &TestRuntime) -> Session {
    builder(client, runtime).build().unwrap()
}

pub(crate) fn respond(body: impl Into<Body>) -> FetchResult {
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
        if clock.now >= self.until || clock.has_ended {
            return Poll::Ready(());
        }
        clock.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.clock).active -= 1;
    }
}

/// Returns the builder of a session whose client calls `respond` for each request.
pub(crate) fn responding<F>(respond: F) -> SessionBuilder
where
    F: Fn(Request<Body>) -> http::Response<Body> + Send + Sync + 'static,
{
    responding_on(&TestRuntime::new(0), respond)
}

pub(crate) fn responding_on<F>(runtime: &TestRuntime, respond: F) -> SessionBuilder
where
    F: Fn(Request<Body>) -> http::Response<Body> + Send + Sync + 'static,
{
    let client = client(move |request| std::future::ready(Ok(respond(request))));
    builder(client, runtime)
}
