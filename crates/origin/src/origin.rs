use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::listen::{BACKLOG, listen};
use crate::serve::{self, ConnectionOptions};
use crate::stats::{Recorder, Stats};
use crate::timer::Timer;
use crate::tls::Tls;

/// The options of an [`Origin`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The address to listen on. By default `127.0.0.1` and a free port.
    pub listen: SocketAddr,
    /// The number of worker threads, at least one. By default one, which serves thousands of delays at
    /// once and leaves the other cores to the client.
    pub workers: usize,
    /// How long a connection waits for the head of a request before the origin closes it. By default forever.
    pub idle_timeout: Option<Duration>,
    /// The certificate to serve `https` with. By default the origin serves plain `http`.
    pub tls: Option<Tls>,
    /// Whether to serve HTTP/2. With TLS, clients that offer HTTP/2 (ALPN) get it, and others get HTTP/1.1.
    /// Without TLS, nothing is negotiated, and every connection must use HTTP/2. By default only HTTP/1.1.
    pub http2: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            workers: 1,
            idle_timeout: None,
            tls: None,
            http2: false,
        }
    }
}

impl Options {
    /// Sets [`Options::listen`].
    #[must_use]
    pub fn with_listen(mut self, listen: SocketAddr) -> Options {
        self.listen = listen;
        self
    }

    /// Sets [`Options::workers`].
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Options {
        self.workers = workers;
        self
    }

    /// Sets [`Options::idle_timeout`].
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Options {
        self.idle_timeout = Some(idle_timeout);
        self
    }

    /// Sets [`Options::tls`].
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Options {
        self.tls = Some(tls);
        self
    }

    /// Sets [`Options::http2`].
    #[must_use]
    pub fn with_http2(mut self, http2: bool) -> Options {
        self.http2 = http2;
        self
    }
}

/// A running origin, with its own tokio runtime and threads.
///
/// Dropping it closes its connections and blocks until its threads have ended, which takes no longer
/// than their current poll.
pub struct Origin {
    addr: SocketAddr,
    scheme: &'static str,
    recorder: Arc<Recorder>,
    ended: Arc<EndSignal>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts an origin on a free port of `127.0.0.1`.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses the socket or a thread.
    pub fn start() -> io::Result<Origin> {
        Origin::bind(Options::default())
    }

    /// Starts an origin with these options.
    ///
    /// # Errors
    ///
    /// Fails when the address cannot be bound or the system refuses a thread.
    pub fn bind(options: Options) -> io::Result<Origin> {
        let listener = listen(options.listen, BACKLOG)?;
        let addr = listener.local_addr()?;
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let recorder = Recorder::new()?;
        let ended = Arc::new(EndSignal::default());
        let (stop, stopped) = oneshot::channel();
        let (report, started) = mpsc::channel();

        let thread = thread::Builder::new().name("origin".to_owned()).spawn({
            let recorder = recorder.clone();
            let end_guard = EndGuard(ended.clone());
            move || {
                let _end_guard = end_guard;
                run(listener, &options, recorder, stopped, &report);
            }
        })?;
        // The channel closes without a message only if the thread panicked.
        started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the origin's thread ended")))?;

        Ok(Origin {
            addr,
            scheme,
            recorder,
            ended,
            stop: Mutex::new(Some(stop)),
            thread: Some(thread),
        })
    }

    /// Returns the address that the origin listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `path`, which begins with a slash: `http://127.0.0.1:PORT/get`, or `https`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addr)
    }

    /// Returns the current counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.recorder.stats()
    }

    /// Resets the counts. Open connections and requests in flight stay counted as such, and the peak
    /// restarts from the requests in flight.
    pub fn reset_stats(&self) {
        self.recorder.reset();
    }

    /// Blocks until `condition` returns true, and returns the counts it was called with.
    ///
    /// `condition` is called after every change of the counts, except of the CPU time. It holds the
    /// origin's lock, so it should only compare, and it deadlocks if it calls methods of this origin.
    ///
    /// # Errors
    ///
    /// Returns the last counts when `timeout` passes first.
    pub fn wait_for(
        &self,
        timeout: Duration,
        condition: impl Fn(&Stats) -> bool,
    ) -> Result<Stats, Stats> {
        self.recorder.wait_for(timeout, condition)
    }

    /// Blocks until the origin has ended, because another thread called [`Origin::stop`].
    pub fn wait(&self) {
        let mut has_ended = self
            .ended
            .has_ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while !*has_ended {
            has_ended = self
                .ended
                .changed
                .wait(has_ended)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Stops the origin as dropping it does: closes its connections and blocks until its threads have ended.
    pub fn stop(&self) {
        // Dropping the sender signals the origin's thread.
        drop(
            self.stop
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.wait();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs the origin's main thread, which owns the runtime. Dropping a runtime blocks, which another
/// runtime would not allow on its threads; so the `Origin` can be dropped inside one.
fn run(
    listener: TcpListener,
    options: &Options,
    recorder: Arc<Recorder>,
    stopped: oneshot::Receiver<()>,
    report: &mpsc::Sender<io::Result<()>>,
) {
    recorder.threads.register();
    let started = runtime(options, &recorder).and_then(|runtime| {
        let timer = Timer::start({
            let recorder = recorder.clone();
            move || recorder.threads.register()
        })?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _in_runtime = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let connection_options = ConnectionOptions::new(options)?;
        // Spawned on the workers, so that a connection starts on the thread that accepts it.
        runtime.spawn(serve::accept(
            listener,
            connection_options,
            timer.clock(),
            recorder,
        ));
        Ok((runtime, timer))
    });
    match started {
        Ok((runtime, timer)) => {
            let _ = report.send(Ok(()));
            let _ = runtime.block_on(stopped);
            // The tasks must end before the timer that wakes them.
            drop(runtime);
            drop(timer);
        }
        Err(error) => {
            let _ = report.send(Err(error));
        }
    }
}

fn runtime(options: &Options, recorder: &Arc<Recorder>) -> io::Result<Runtime> {
    let recorder = recorder.clone();
    Builder::new_multi_thread()
        .worker_threads(options.workers.max(1))
        .thread_name("origin-worker")
        .on_thread_start(move || recorder.threads.register())
        .enable_io()
        .enable_time()
        .build()
}

#[derive(Default)]
struct EndSignal {
    has_ended: Mutex<bool>,
    changed: Condvar,
}

/// Signals the end of the origin when dropped, so that a panic signals it too.
struct EndGuard(Arc<EndSignal>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        *self
            .0
            .has_ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}
