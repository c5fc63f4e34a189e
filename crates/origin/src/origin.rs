use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::listen::{BACKLOG, listen};
use crate::serve::{self, ConnectionOptions};
use crate::server_thread::ServerThread;
use crate::stats::{Recorder, Stats};
use crate::timer::Timer;
use crate::tls::Tls;

/// The options of an [`Origin`].
///
/// ```
/// use inflight_origin::{Options, Origin};
///
/// let options = Options {
///     workers: 2,
///     ..Options::default()
/// };
/// let origin = Origin::bind(options)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on. By default `127.0.0.1` and a free port.
    pub listen: SocketAddr,
    /// The number of worker threads: at least one, and one by default. One thread serves thousands
    /// of delays at once and leaves the other cores to the client.
    pub workers: usize,
    /// How long a connection waits for the head of a request before the origin closes it. By default forever.
    pub idle_timeout: Option<Duration>,
    /// The certificate to serve `https` with. By default the origin serves plain `http`.
    pub tls: Option<Tls>,
    /// Whether to serve HTTP/2. With TLS, a connection uses HTTP/2 if the client offers it by ALPN,
    /// and HTTP/1.1 otherwise. Without TLS there is no negotiation, and every connection must use
    /// HTTP/2. By default the origin serves only HTTP/1.1.
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

/// A running origin, with its own tokio runtime and threads.
///
/// Dropping the origin closes its connections and blocks until its threads have ended. Each thread
/// ends after its current poll.
pub struct Origin {
    addr: SocketAddr,
    scheme: &'static str,
    recorder: Arc<Recorder>,
    _thread: ServerThread,
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
        let (report, started) = mpsc::channel();
        let thread = ServerThread::start("origin", {
            let recorder = recorder.clone();
            move |stopped| run(listener, &options, recorder, stopped, &report)
        })?;
        // The channel closes without a message only if the thread panicked.
        started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the origin's thread ended")))?;

        Ok(Origin {
            addr,
            scheme,
            recorder,
            _thread: thread,
        })
    }

    /// Returns the address that the origin listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `path`, for example `http://127.0.0.1:PORT/get`. `path` begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addr)
    }

    /// Returns the current counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.recorder.stats()
    }

    /// Resets the counts. The numbers of open connections and of requests in flight do not change,
    /// and the peak becomes the number of requests in flight.
    pub fn reset_stats(&self) {
        self.recorder.reset();
    }

    /// Blocks until `condition` returns true for the counts, and returns these counts.
    ///
    /// The origin calls `condition` after every change of the counts; a change of the CPU time
    /// alone does not cause a call. The origin's lock is held during the call. `condition` should
    /// therefore only compare values. A call of a method of this origin inside `condition` deadlocks.
    ///
    /// # Errors
    ///
    /// Returns the last counts if `timeout` passes before `condition` returns true.
    pub fn wait_for(
        &self,
        timeout: Duration,
        condition: impl Fn(&Stats) -> bool,
    ) -> Result<Stats, Stats> {
        self.recorder.wait_for(timeout, condition)
    }
}

/// Runs the origin's main thread, which owns the runtime. Dropping a runtime blocks, and tokio
/// panics if this happens on a thread of another runtime. Because this thread drops the runtime, an
/// `Origin` can be dropped inside an async function.
fn run(
    listener: TcpListener,
    options: &Options,
    recorder: Arc<Recorder>,
    stopped: oneshot::Receiver<()>,
    report: &mpsc::Sender<io::Result<()>>,
) {
    recorder.threads.register();
    let started = build_runtime(options, &recorder).and_then(|runtime| {
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
        // A worker runs the acceptor, so that a connection starts on the thread that accepts it.
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

fn build_runtime(options: &Options, recorder: &Arc<Recorder>) -> io::Result<Runtime> {
    let recorder = recorder.clone();
    Builder::new_multi_thread()
        .worker_threads(options.workers.max(1))
        .thread_name("origin-worker")
        .on_thread_start(move || recorder.threads.register())
        .enable_io()
        .enable_time()
        .build()
}
