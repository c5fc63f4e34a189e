use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::listen::{BACKLOG, listen};
use crate::serve::{self, Speech};
use crate::stats::{Recorder, Stats};
use crate::timer::Timer;
use crate::tls::Tls;

/// How to start an [`Origin`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where to listen. By default `127.0.0.1` and a port of the system's choosing.
    pub listen: SocketAddr,
    /// Threads that serve; at least one. By default one, which holds thousands of delays and leaves the other cores
    /// to what is being measured.
    pub workers: usize,
    /// Closes a connection that waits longer than this for a request's head. By default never.
    pub idle_timeout: Option<Duration>,
    /// Serves `https`. By default plain `http`.
    pub tls: Option<Tls>,
    /// Speaks HTTP/2: with TLS to clients that offer it (ALPN), without TLS to nobody else, as
    /// nothing is negotiated there. By default HTTP/1.1 alone.
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

/// A running origin. It has a tokio runtime and threads of its own, and ends when dropped.
///
/// Dropping it cuts its connections and blocks until its threads have ended, which takes no longer than the poll
/// they are in.
pub struct Origin {
    addr: SocketAddr,
    scheme: &'static str,
    recorder: Arc<Recorder>,
    ended: Arc<Ended>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts an origin on a free port of `127.0.0.1`.
    ///
    /// # Errors
    ///
    /// The system's, when it gives no socket or no thread.
    pub fn start() -> io::Result<Origin> {
        Origin::bind(Options::default())
    }

    /// Starts an origin.
    ///
    /// # Errors
    ///
    /// The system's, when the address cannot be bound or there is no thread to be had.
    pub fn bind(options: Options) -> io::Result<Origin> {
        let listener = listen(options.listen, BACKLOG)?;
        let addr = listener.local_addr()?;
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let recorder = Recorder::new()?;
        let ended = Arc::new(Ended::default());
        let (stop, stopped) = oneshot::channel();
        let (report, started) = mpsc::channel();

        let thread = thread::Builder::new().name("origin".to_owned()).spawn({
            let recorder = recorder.clone();
            let ending = Ending(ended.clone());
            move || {
                let _ending = ending;
                run(listener, &options, recorder, stopped, &report);
            }
        })?;
        // The channel closes unused only when the thread panicked.
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

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of `path`, which begins with a slash: `http://127.0.0.1:PORT/get`, or `https`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addr)
    }

    /// The counts as they are now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.recorder.stats()
    }

    /// Starts the counts again. What is open or in flight stays counted as such, and the peak restarts from it.
    pub fn reset_stats(&self) {
        self.recorder.reset();
    }

    /// Blocks until `condition` holds, and returns the counts for which it did.
    ///
    /// It is asked again after every change of the counts, CPU time apart. The origin waits meanwhile: `condition` is
    /// to compare and no more, and would wait for itself if it called this origin's methods.
    ///
    /// # Errors
    ///
    /// The last counts, when `timeout` passed before.
    pub fn wait_for(
        &self,
        timeout: Duration,
        condition: impl Fn(&Stats) -> bool,
    ) -> Result<Stats, Stats> {
        self.recorder.wait_for(timeout, condition)
    }

    /// Blocks until the origin ends: when another thread calls [`Origin::stop`].
    pub fn wait(&self) {
        let mut over = self
            .ended
            .over
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while !*over {
            over = self
                .ended
                .changed
                .wait(over)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the origin as dropping it does: cuts its connections and blocks until its threads have ended.
    pub fn stop(&self) {
        // Dropping the sender is the signal.
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

/// The life of the origin's first thread: it owns the runtime, so that the runtime can be dropped, which blocks,
/// wherever the `Origin` is dropped, even inside another runtime.
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
        let speech = Speech::new(options)?;
        // A task of the workers, not of this thread: a connection then starts where it is accepted.
        runtime.spawn(serve::accept(listener, speech, timer.clock(), recorder));
        Ok((runtime, timer))
    });
    match started {
        Ok((runtime, timer)) => {
            let _ = report.send(Ok(()));
            let _ = runtime.block_on(stopped);
            // Its tasks end before what they sleep by.
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
struct Ended {
    over: Mutex<bool>,
    changed: Condvar,
}

/// Says that the origin has ended when dropped, so that a panic says it too.
struct Ending(Arc<Ended>);

impl Drop for Ending {
    fn drop(&mut self) {
        *self.0.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}
