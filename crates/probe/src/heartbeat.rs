//! A heartbeat on a runtime, and how late its ticks are.

use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use inflight_core::prometheus::MetricText;
use inflight_core::{ConnectOptions, Error, ErrorKind, Runtime, Socket, Task};
use tokio::io::{AsyncRead, ReadBuf};

use crate::prometheus::add_histogram;
use crate::site::{histogram, nanos as in_nanos, record};
use crate::slot::{self, EndTime, WatchedThread, between, lock, nanos};
#[cfg(feature = "tokio-hooks")]
use crate::tokio_workers::TokioWorkers;

/// A heartbeat that ticks on a runtime and on a plain thread at fixed times, and measures how late
/// each tick is. It stops when it is dropped.
///
/// The thread is the control. If its ticks are late too, the machine is slow, and not the event loop.
///
/// One task makes the ticks on the runtime. The runtime's timer wakes this task. On a runtime with
/// several threads, any of them may run the task, and the ticks show how long it waits for one of them.
/// A heartbeat from [`with_socket`](Self::with_socket) has a second task, which wakes when a socket is
/// readable.
///
/// For an example, see [`with_socket`](Self::with_socket). To detect stalls with a heartbeat, see
/// [`ProbeBuilder::heartbeat`](crate::ProbeBuilder::heartbeat).
#[derive(Debug)]
pub struct Heartbeat {
    runtime: Arc<TickStats>,
    socket: Option<Arc<TickStats>>,
    control: Arc<TickStats>,
    // Dropping the tasks cancels them, and dropping the sender ends the control thread.
    _tasks: Vec<Task<()>>,
    _stop: std::sync::mpsc::Sender<()>,
}

/// How late the ticks of a [`Heartbeat`] were, in nanoseconds.
///
/// For an example, see [`Heartbeat::with_socket`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Lateness {
    /// Ticks on the runtime, woken by its timer.
    pub runtime: Histogram<u64>,
    /// Ticks on the runtime, woken by a socket. `None` without [`Heartbeat::with_socket`].
    pub socket: Option<Histogram<u64>>,
    /// Ticks on a thread that does nothing else.
    pub control: Histogram<u64>,
}

impl Heartbeat {
    /// Starts a heartbeat that ticks on this runtime with the period `every`. A period of less than a
    /// millisecond counts as a millisecond.
    ///
    /// For a custom runtime, implement [`inflight_core::Runtime`]. The heartbeat uses its `spawn` and
    /// `sleep`, and with [`with_socket`](Self::with_socket) also its `connect`.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoRuntime`] when the system refuses the control thread.
    pub fn start(on: Arc<dyn Runtime>, every: Duration) -> Result<Self, Error> {
        Self::start_with(on, every, None)
    }

    /// Starts a heartbeat with a second task whose ticks arrive through a socket: a thread writes to
    /// one end of a loopback connection, and the task reads from the other.
    ///
    /// These ticks are late when the runtime polls its sockets late, even if its timers fire in time.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use inflight_core::{BlockOn, Runtime};
    /// use inflight_probe::Heartbeat;
    /// use inflight_smol::Smol;
    /// # use std::num::NonZeroUsize;
    ///
    /// let smol = Smol::new(NonZeroUsize::MIN)?;
    /// let on = Arc::new(smol.clone());
    /// let heartbeat = smol.block_on(Heartbeat::with_socket(on, Duration::from_millis(5)))?;
    /// while heartbeat.lateness().socket.unwrap().is_empty() {
    ///     smol.block_on(smol.sleep(Duration::from_millis(5)));
    /// }
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`start`](Self::start) does, and with [`ErrorKind::Io`] when the runtime opens no
    /// sockets or the system refuses the connection.
    pub async fn with_socket(on: Arc<dyn Runtime>, every: Duration) -> Result<Self, Error> {
        let sockets = pair(&*on).await.map_err(|error| {
            Error::new(ErrorKind::Io)
                .with_context("the heartbeat's socket could not be opened")
                .with_source(error)
        })?;
        Self::start_with(on, every, Some(sockets))
    }

    fn start_with(
        on: Arc<dyn Runtime>,
        every: Duration,
        sockets: Option<(TcpStream, Box<dyn Socket>)>,
    ) -> Result<Self, Error> {
        let every = in_nanos(every.max(Duration::from_millis(1)));
        let mut tasks = Vec::new();
        // The control thread sends a byte for each of its ticks to the socket, so the ticks of both are
        // due at the same times.
        let first = nanos().saturating_add(every);
        let mut ticker = Ticker::new(every, first);
        let control = ticker.stats.clone();
        let (write, socket) = match sockets {
            None => (None, None),
            Some((write, read)) => {
                let ticker = Ticker::new(every, first);
                let stats = ticker.stats.clone();
                tasks.push(Task::spawn(&*on, ticker.read(read)));
                (Some(write), Some(stats))
            }
        };

        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        thread::Builder::new()
            .name("inflight-probe-control".to_owned())
            .spawn(move || {
                use std::sync::mpsc::RecvTimeoutError::Timeout;
                let mut unsent = 0;
                while stopped.recv_timeout(ticker.until_next()) == Err(Timeout) {
                    unsent += ticker.tick(nanos());
                    if let Some(write) = &write {
                        unsent -= send(write, unsent);
                    }
                }
            })
            .map_err(|error| {
                Error::new(ErrorKind::NoRuntime)
                    .with_context("the heartbeat's control thread could not start")
                    .with_source(error)
            })?;

        let mut ticker = Ticker::new(every, nanos().saturating_add(every));
        let runtime = ticker.stats.clone();
        let timer = on.clone();
        tasks.push(Task::spawn(&*on, async move {
            loop {
                ticker.stats.record_thread();
                timer.sleep(ticker.until_next()).await;
                // On a runtime that has ended, `sleep` completes immediately, so this loop would never yield.
                if timer.check_running().is_err() {
                    return;
                }
                ticker.tick(nanos());
            }
        }));
        Ok(Self {
            runtime,
            socket,
            control,
            _tasks: tasks,
            _stop: stop,
        })
    }

    /// Sets the workers of the runtime that this heartbeat ticks on. If a tick is late,
    /// [`LoopDelay::threads`](crate::LoopDelay::threads) then contains the workers that are not parked, even
    /// if they have never run a tick.
    ///
    /// For an example, see [`TokioWorkers`].
    #[cfg(feature = "tokio-hooks")]
    #[must_use]
    pub fn workers(self, workers: &TokioWorkers) -> Self {
        *lock(&self.runtime.workers) = Some(workers.clone());
        self
    }

    /// Returns how late the ticks were so far.
    ///
    /// If several ticks become due during a stall, each of them counts with its own lateness. One long
    /// stall therefore counts as many late ticks.
    pub fn lateness(&self) -> Lateness {
        Lateness {
            runtime: self.runtime.lateness(),
            socket: self.socket.as_ref().map(|stats| stats.lateness()),
            control: self.control.lateness(),
        }
    }

    /// Returns by how much the runtime's next tick is already late, or zero when no tick is due.
    ///
    /// This shows a stall while it lasts. [`lateness`](Self::lateness) includes a stall once it is over.
    pub fn overdue(&self) -> Duration {
        between(self.runtime.due(), nanos())
    }

    /// Returns the ticks of the runtime, for a watchdog to check.
    pub(crate) fn ticks(&self) -> &Arc<TickStats> {
        &self.runtime
    }
}

impl Lateness {
    /// Returns the lateness as a histogram in seconds, in Prometheus' text format. The label `on` is
    /// `timer`, `socket`, or `thread` for the control thread.
    pub fn prometheus(&self) -> String {
        let mut text = MetricText::histogram(
            "inflight_probe_lateness_seconds",
            "How late the ticks of a heartbeat were.",
        );
        add_histogram(&mut text, "on=\"timer\"", &self.runtime);
        if let Some(socket) = &self.socket {
            add_histogram(&mut text, "on=\"socket\"", socket);
        }
        add_histogram(&mut text, "on=\"thread\"", &self.control);
        text.finish()
    }
}

/// Returns the two ends of a TCP connection: a non-blocking stream to write to, and a socket of the
/// runtime to read from. Every system has TCP.
async fn pair(runtime: &dyn Runtime) -> io::Result<(TcpStream, Box<dyn Socket>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let read = runtime
        .connect(listener.local_addr()?, ConnectOptions::default())
        .await?;
    let (write, _) = listener.accept()?;
    // A tick is one byte, which must leave at once and not together with the next.
    write.set_nodelay(true)?;
    write.set_nonblocking(true)?;
    Ok((write, read))
}

/// Writes one byte for each tick and returns how many bytes were written. The caller sends the rest
/// at the next tick, so no tick is lost.
fn send(mut to: &TcpStream, ticks: usize) -> usize {
    let bytes = [0; 4096];
    to.write(&bytes[..ticks.min(bytes.len())]).unwrap_or(0)
}

/// The part of a [`Ticker`] that [`Heartbeat`] and the watchdog read.
#[derive(Debug)]
pub(crate) struct TickStats {
    /// The end of a late tick, if a watchdog watches it. The start of the tick is the time at which it
    /// was due.
    pub(crate) end: EndTime,
    due: AtomicU64,
    late: Mutex<Histogram<u64>>,
    /// The threads that have run the ticks, the last one first.
    threads: Mutex<Vec<WatchedThread>>,
    #[cfg(feature = "tokio-hooks")]
    workers: Mutex<Option<TokioWorkers>>,
}

impl TickStats {
    fn lateness(&self) -> Histogram<u64> {
        lock(&self.late).clone()
    }

    /// Returns when the next tick is due, or `u64::MAX` if the task has ended.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }

    /// Returns the threads that have run the ticks, and the workers of the runtime if they are known.
    pub(crate) fn threads(&self) -> Vec<WatchedThread> {
        let threads = lock(&self.threads).clone();
        #[cfg(feature = "tokio-hooks")]
        let threads = self.add_workers(threads);
        threads
    }

    #[cfg(feature = "tokio-hooks")]
    fn add_workers(&self, mut threads: Vec<WatchedThread>) -> Vec<WatchedThread> {
        let workers = lock(&self.workers).as_ref().map(TokioWorkers::threads);
        for worker in workers.into_iter().flatten() {
            if !threads
                .iter()
                .any(|known| Arc::ptr_eq(&known.slot, &worker.slot))
            {
                threads.push(worker);
            }
        }
        threads
    }

    /// Records that the ticks run on this thread.
    fn record_thread(&self) {
        let Some(slot) = slot::current() else { return };
        let address = (&raw const slot).addr();
        let mut threads = lock(&self.threads);
        threads.retain(|known| known.slot.is_running() && !Arc::ptr_eq(&known.slot, &slot));
        threads.insert(0, WatchedThread { slot, address });
    }
}

/// A schedule of ticks, and how late each was.
struct Ticker {
    every: u64,
    due: u64,
    stats: Arc<TickStats>,
}

impl Ticker {
    fn new(every: u64, due: u64) -> Self {
        Self {
            every,
            due,
            stats: Arc::new(TickStats {
                end: EndTime::default(),
                due: AtomicU64::new(due),
                late: Mutex::new(histogram()),
                threads: Mutex::new(Vec::new()),
                #[cfg(feature = "tokio-hooks")]
                workers: Mutex::new(None),
            }),
        }
    }

    fn until_next(&self) -> Duration {
        between(nanos(), self.due)
    }

    /// Records the tick that was due and those that have become due since. Returns how many ticks it has
    /// recorded.
    fn tick(&mut self, now: u64) -> usize {
        let missed = now.saturating_sub(self.due) / self.every;
        let ticks = usize::try_from(missed + 1).unwrap_or(usize::MAX);
        self.record_ticks(now, ticks);
        ticks
    }

    fn record_ticks(&mut self, now: u64, ticks: usize) {
        self.stats.end.finish(self.due);
        let mut late = lock(&self.stats.late);
        for _ in 0..ticks {
            record(&mut late, now.saturating_sub(self.due));
            self.due = self.due.saturating_add(self.every);
        }
        self.stats.due.store(self.due, Ordering::Release);
    }

    /// Ticks once for each byte that arrives.
    async fn read(mut self, mut socket: Box<dyn Socket>) {
        let mut bytes = [0; 4096];
        loop {
            let mut ticks = ReadBuf::new(&mut bytes);
            match poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut ticks)).await {
                Ok(()) if ticks.filled().is_empty() => return,
                Ok(()) => self.record_ticks(nanos(), ticks.filled().len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Without the socket there are no more ticks.
                Err(_) => return,
            }
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // There are no more ticks, so none is late.
        self.stats.due.store(u64::MAX, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_count_as_late() {
        let mut ticker = Ticker::new(10, 100);
        assert_eq!(ticker.tick(100), 1);
        assert_eq!(ticker.due, 110);
        // The ticks that were due at 110, 120 and 130 are late by 25, 15 and 5.
        assert_eq!(ticker.tick(135), 3);
        assert_eq!(ticker.due, 140);
        let late = ticker.stats.lateness();
        assert_eq!(late.len(), 4);
        assert_eq!((late.min(), late.max()), (0, 25));
        assert_eq!(late.count_at(15), 1);
        assert_eq!(late.count_at(5), 1);
    }
}
