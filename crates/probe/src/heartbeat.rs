//! A heart that beats on a runtime, and how late it is.

use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use inflight_core::{ConnectOptions, Error, ErrorKind, Runtime, Socket, Task};
use tokio::io::{AsyncRead, ReadBuf};

use crate::prometheus::Prometheus;
use crate::site::{histogram, nanos as in_nanos, record};
use crate::slot::{between, lock, nanos};

/// Ticks on a runtime at absolute times, and beside it on a plain thread, and measures how late
/// each tick is. It ends when it is dropped.
///
/// The thread is the control: where both are late, the machine is, and not the event loop.
///
/// The runtime's ticks are one task: where a runtime has several threads, they show how late a
/// task is that any of them may run. It wakes by the runtime's timer; with
/// [`with_socket`](Self::with_socket) there is a second that wakes when a socket can be read.
#[derive(Debug)]
pub struct Heartbeat {
    runtime: Arc<Pulse>,
    socket: Option<Arc<Pulse>>,
    control: Arc<Pulse>,
    // Cancelled on drop; the thread ends with the sender.
    _tasks: Vec<Task<()>>,
    _stop: std::sync::mpsc::Sender<()>,
}

/// How late ticks were, in nanoseconds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Lateness {
    /// On the runtime, by its timer.
    pub runtime: Histogram<u64>,
    /// On the runtime, through a socket, where the heart was given one.
    pub socket: Option<Histogram<u64>>,
    /// On a thread that does nothing else.
    pub control: Histogram<u64>,
}

impl Heartbeat {
    /// Starts to tick on this runtime, as often as said, at most once in a millisecond. A runtime
    /// of one's own needs an [`inflight_core::Runtime`], of which this uses `spawn` and `sleep`, and
    /// [`with_socket`](Self::with_socket) also `connect`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] when the system refuses the control's thread.
    pub fn start(on: Arc<dyn Runtime>, every: Duration) -> Result<Self, Error> {
        Self::begin(on, every, None)
    }

    /// The same with a second task whose ticks come through a socket: a thread writes to one end
    /// of a connection of this machine with itself, and the task reads the other. It is late when
    /// the runtime looks late after its sockets, which timers that fire in time do not show.
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
    /// let heart = smol.block_on(Heartbeat::with_socket(on, Duration::from_millis(5)))?;
    /// while heart.lateness().socket.unwrap().is_empty() {
    ///     smol.block_on(smol.sleep(Duration::from_millis(5)));
    /// }
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and [`ErrorKind::Io`] when the runtime opens no sockets or the
    /// system refuses the connection.
    pub async fn with_socket(on: Arc<dyn Runtime>, every: Duration) -> Result<Self, Error> {
        let sockets = pair(&*on).await.map_err(|error| {
            Error::new(ErrorKind::Io)
                .with_context("the heartbeat's socket could not be opened")
                .with_source(error)
        })?;
        Self::begin(on, every, Some(sockets))
    }

    fn begin(
        on: Arc<dyn Runtime>,
        every: Duration,
        sockets: Option<(TcpStream, Box<dyn Socket>)>,
    ) -> Result<Self, Error> {
        let every = in_nanos(every.max(Duration::from_millis(1)));
        let mut tasks = Vec::new();
        // Those of the socket are due when those of the control are, which sends them.
        let first = nanos().saturating_add(every);
        let mut beat = Beat::new(every, first);
        let control = beat.pulse.clone();
        let (write, socket) = match sockets {
            None => (None, None),
            Some((write, read)) => {
                let beat = Beat::new(every, first);
                let pulse = beat.pulse.clone();
                tasks.push(Task::spawn(&*on, beat.read(read)));
                (Some(write), Some(pulse))
            }
        };

        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        thread::Builder::new()
            .name("inflight-probe-control".to_owned())
            .spawn(move || {
                use std::sync::mpsc::RecvTimeoutError::Timeout;
                let mut owed = 0;
                while stopped.recv_timeout(beat.until_next()) == Err(Timeout) {
                    owed += beat.tick();
                    if let Some(write) = &write {
                        owed -= send(write, owed);
                    }
                }
            })
            .map_err(|error| {
                Error::new(ErrorKind::NoRuntime)
                    .with_context("the heartbeat's control thread could not start")
                    .with_source(error)
            })?;

        let mut beat = Beat::new(every, nanos().saturating_add(every));
        let runtime = beat.pulse.clone();
        let timer = on.clone();
        tasks.push(Task::spawn(&*on, async move {
            loop {
                timer.sleep(beat.until_next()).await;
                beat.tick();
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

    /// How late the ticks were so far. A tick that was missed counts as one that was late by the
    /// time that it was missed for, so that one long stall is not one late tick among many.
    pub fn lateness(&self) -> Lateness {
        Lateness {
            runtime: self.runtime.late(),
            socket: self.socket.as_ref().map(|pulse| pulse.late()),
            control: self.control.late(),
        }
    }

    /// By how much the runtime's next tick is late already: what a stall that lasts has come to,
    /// which [`lateness`](Self::lateness) has when it is over. Zero when no tick is due.
    pub fn overdue(&self) -> Duration {
        between(self.runtime.due.load(Ordering::Relaxed), nanos())
    }
}

impl Lateness {
    /// The counts in Prometheus' text format: a histogram in seconds, with `on` telling the ticks
    /// by the `timer`, the `socket` and the control `thread` apart.
    pub fn prometheus(&self) -> String {
        let mut text = Prometheus::new(
            "inflight_probe_lateness_seconds",
            "How late the ticks of a heartbeat were.",
        );
        text.histogram("on=\"timer\"", &self.runtime);
        if let Some(socket) = &self.socket {
            text.histogram("on=\"socket\"", socket);
        }
        text.histogram("on=\"thread\"", &self.control);
        text.finish()
    }
}

/// Two ends of a connection: one that does not block, and one of the runtime's. TCP, as it is there
/// on every system.
async fn pair(runtime: &dyn Runtime) -> io::Result<(TcpStream, Box<dyn Socket>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let read = runtime
        .connect(listener.local_addr()?, ConnectOptions::default())
        .await?;
    let (write, _) = listener.accept()?;
    // A tick is one byte: it is to go at once, and not with the next.
    write.set_nodelay(true)?;
    write.set_nonblocking(true)?;
    Ok((write, read))
}

/// A byte for each tick; answers how many went. What does not fit is for the next time: ticks are
/// counted, so none is lost for being sent late.
fn send(mut to: &TcpStream, ticks: usize) -> usize {
    let bytes = [0; 4096];
    to.write(&bytes[..ticks.min(bytes.len())]).unwrap_or(0)
}

/// What is known of ticks from outside.
#[derive(Debug)]
struct Pulse {
    due: AtomicU64,
    late: Mutex<Histogram<u64>>,
}

impl Pulse {
    fn late(&self) -> Histogram<u64> {
        lock(&self.late).clone()
    }
}

/// The times of the ticks.
struct Beat {
    every: u64,
    due: u64,
    pulse: Arc<Pulse>,
}

impl Beat {
    fn new(every: u64, due: u64) -> Self {
        Self {
            every,
            due,
            pulse: Arc::new(Pulse {
                due: AtomicU64::new(due),
                late: Mutex::new(histogram()),
            }),
        }
    }

    fn until_next(&self) -> Duration {
        between(nanos(), self.due)
    }

    /// This tick, and those that were due meanwhile, which would have been late by what was left.
    /// Answers how many.
    fn tick(&mut self) -> usize {
        self.tick_at(nanos())
    }

    fn tick_at(&mut self, now: u64) -> usize {
        let missed = now.saturating_sub(self.due) / self.every;
        let ticks = usize::try_from(missed + 1).unwrap_or(usize::MAX);
        self.ticks_at(now, ticks);
        ticks
    }

    fn ticks_at(&mut self, now: u64, ticks: usize) {
        let mut late = lock(&self.pulse.late);
        for _ in 0..ticks {
            record(&mut late, now.saturating_sub(self.due));
            self.due = self.due.saturating_add(self.every);
        }
        self.pulse.due.store(self.due, Ordering::Relaxed);
    }

    /// Ticks with each byte that comes.
    async fn read(mut self, mut socket: Box<dyn Socket>) {
        let mut bytes = [0; 4096];
        loop {
            let mut ticks = ReadBuf::new(&mut bytes);
            match poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut ticks)).await {
                Ok(()) if ticks.filled().is_empty() => return,
                Ok(()) => self.ticks_at(nanos(), ticks.filled().len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Without a socket there are no more ticks, as without a runtime.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_count_as_late_ones() {
        let mut beat = Beat::new(10, 100);
        assert_eq!(beat.tick_at(100), 1);
        assert_eq!(beat.due, 110);
        // Those of 110, 120 and 130 are late by 25, 15 and 5.
        assert_eq!(beat.tick_at(135), 3);
        assert_eq!(beat.due, 140);
        let late = beat.pulse.late();
        assert_eq!(late.len(), 4);
        assert_eq!((late.min(), late.max()), (0, 25));
        assert_eq!(late.count_at(15), 1);
        assert_eq!(late.count_at(5), 1);
    }
}
