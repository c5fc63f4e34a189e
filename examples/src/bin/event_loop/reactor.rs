//! The reactor: it sleeps until something happens, and wakes the tasks that wait for it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use polling::{Event, Poller};

use crate::executor::lock;

// ANCHOR: state
/// Knows which task waits for what.
pub(crate) struct Reactor {
    /// The wakers of the tasks that wait for a time. The map is sorted, so the earliest deadline comes first.
    timers: Mutex<BTreeMap<(Instant, usize), Waker>>,
    /// For each socket, the wakers of the tasks that wait until they can read and write.
    sockets: Mutex<HashMap<usize, [Option<Waker>; 2]>>,
    /// Asks the operating system which sockets are ready.
    poller: Poller,
    is_asleep: AtomicBool,
    next_key: AtomicUsize,
}
// ANCHOR_END: state

/// What a task wants to do with a socket.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            timers: Mutex::default(),
            sockets: Mutex::default(),
            poller: Poller::new()?,
            is_asleep: AtomicBool::new(false),
            next_key: AtomicUsize::new(0),
        })
    }

    fn new_key(&self) -> usize {
        self.next_key.fetch_add(1, Ordering::SeqCst)
    }

    // ANCHOR: wait
    /// Sleeps until a socket is ready, a deadline has passed, or another thread interrupts the sleep. Then wakes the tasks
    /// that waited for it. Does not sleep if a task is ready.
    pub(crate) fn wait(&self, is_task_ready: impl FnOnce() -> bool) {
        // First announces the sleep. A task that becomes ready after the next line interrupts it.
        self.is_asleep.store(true, Ordering::SeqCst);
        let limit = match is_task_ready() {
            true => Some(Duration::ZERO),
            false => self.time_to_first_deadline(),
        };
        let mut events = Vec::new();
        if let Err(error) = self.poller.wait(&mut events, limit)
            // A signal may interrupt the sleep.
            && error.kind() != io::ErrorKind::Interrupted
        {
            panic!("the system cannot watch the sockets: {error}");
        }
        self.is_asleep.store(false, Ordering::SeqCst);
        for event in events {
            let wakers = lock(&self.sockets).remove(&event.key);
            wakers.into_iter().flatten().flatten().for_each(Waker::wake);
        }
        while let Some(waker) = self.take_due_timer() {
            waker.wake();
        }
    }
    // ANCHOR_END: wait

    /// Ends the sleep. Without this, the loop would notice only after its sleep that a task is ready.
    pub(crate) fn interrupt(&self) {
        if self.is_asleep.load(Ordering::SeqCst) {
            self.poller.notify().expect("a sleep can be interrupted");
        }
    }

    /// Returns `None` if there is no timer.
    fn time_to_first_deadline(&self) -> Option<Duration> {
        let timers = lock(&self.timers);
        let (deadline, _) = timers.keys().next()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    fn take_due_timer(&self) -> Option<Waker> {
        let mut timers = lock(&self.timers);
        let first = timers.first_entry()?;
        let (deadline, _) = *first.key();
        (deadline <= Instant::now()).then(|| first.remove())
    }

    /// Watches a socket. Returns its key.
    pub(crate) fn watch(&self, stream: &TcpStream) -> io::Result<usize> {
        let key = self.new_key();
        self.poller.add(stream, Event::none(key))?;
        Ok(key)
    }

    /// Stops watching a socket.
    pub(crate) fn unwatch(&self, stream: &TcpStream, key: usize) -> io::Result<()> {
        lock(&self.sockets).remove(&key);
        self.poller.delete(stream)
    }

    // ANCHOR: wake_when_ready
    /// Wakes the task once, when it can read from the socket or write to it.
    pub(crate) fn wake_when_ready(
        &self,
        (stream, key): (&TcpStream, usize),
        direction: Direction,
        waker: &Waker,
    ) -> io::Result<()> {
        let mut sockets = lock(&self.sockets);
        let wakers = sockets.entry(key).or_default();
        wakers[direction as usize] = Some(waker.clone());
        let mut interest = Event::none(key);
        interest.readable = wakers[Direction::Read as usize].is_some();
        interest.writable = wakers[Direction::Write as usize].is_some();
        self.poller.modify(stream, interest)
    }
    // ANCHOR_END: wake_when_ready
}

// ANCHOR: sleep
/// A future that waits for a time.
pub(crate) struct Sleep {
    reactor: Arc<Reactor>,
    deadline: Instant,
    key: usize,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        lock(&self.reactor.timers).insert((self.deadline, self.key), waker);
        self.reactor.interrupt();
        Poll::Pending
    }
}
// ANCHOR_END: sleep

impl Sleep {
    pub(crate) fn until(reactor: Arc<Reactor>, deadline: Instant) -> Self {
        let key = reactor.new_key();
        Self {
            reactor,
            deadline,
            key,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.reactor.timers).remove(&(self.deadline, self.key));
    }
}
