use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::play::play;
use super::{Recorded, Script, Unaccepting};
use crate::listen::{BACKLOG, listen};

/// A server on a free port of `127.0.0.1` that plays a [`Script`] on each connection, in a thread of its own.
///
/// It ends when dropped: connections are cut, and dropping blocks until the threads have ended.
pub struct Scripted {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Starts a server. `script` is asked for the script of each connection, counted from 0, on its thread.
    ///
    /// # Errors
    ///
    /// The system's, when it gives no socket or no thread.
    pub fn start(script: impl Fn(usize) -> Script + Send + Sync + 'static) -> io::Result<Scripted> {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), BACKLOG)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let acceptor = thread::Builder::new().name("scripted".to_owned()).spawn({
            let shared = shared.clone();
            move || accept(&listener, &Arc::new(script), &shared)
        })?;
        Ok(Scripted {
            addr,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Starts a server that plays the same script on every connection.
    ///
    /// # Errors
    ///
    /// As [`Scripted::start`].
    pub fn same(script: Script) -> io::Result<Scripted> {
        Scripted::start(move |_| script.clone())
    }

    /// An address on which a connect neither succeeds nor fails.
    ///
    /// # Errors
    ///
    /// The system's, when it gives no socket; `Unsupported` where such an address cannot be made.
    pub fn unaccepting() -> io::Result<Unaccepting> {
        Unaccepting::start()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The requests read so far, in the order they were complete, or for [`Step::ReadHead`](super::Step::ReadHead)
    /// their heads were.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().requests.clone()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// Waits until `n` requests have been read, and says whether they have.
    #[must_use]
    pub fn wait_for_requests(&self, n: usize, timeout: Duration) -> bool {
        let reached = |state: &State| (state.requests.len() >= n).then_some(());
        self.shared.wait_for(timeout, reached).is_some()
    }

    /// Waits until `n` connections have been accepted, and says whether they have.
    #[must_use]
    pub fn wait_for_connections(&self, n: usize, timeout: Duration) -> bool {
        let reached = |state: &State| (state.connections.len() >= n).then_some(());
        self.shared.wait_for(timeout, reached).is_some()
    }

    /// Waits until the peer of a connection, counted from 0, has closed or reset it. Returns how long after this
    /// call that was, zero if before, or `None` when `timeout` passed.
    ///
    /// It is noticed by a step that reads, as [`Step::Hang`](super::Step::Hang) and
    /// [`Step::AwaitClose`](super::Step::AwaitClose) do, or by one that fails to write; not in a pause, nor after
    /// the script has ended. The end of the peer's stream counts as closing: TCP does not tell them apart.
    #[must_use]
    pub fn wait_for_close(&self, connection: usize, timeout: Duration) -> Option<Duration> {
        let start = Instant::now();
        let closed = |state: &State| state.connections.get(connection)?.peer_closed;
        let at = self.shared.wait_for(timeout, closed)?;
        Some(at.saturating_duration_since(start))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stop();
        // Wakes the acceptor, which finds that it is to stop.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

type Scripts = Arc<dyn Fn(usize) -> Script + Send + Sync>;

fn accept(
    listener: &TcpListener,
    scripts: &Arc<impl Fn(usize) -> Script + Send + Sync + 'static>,
    shared: &Arc<Shared>,
) {
    let mut players: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors: trying at once would spin until a connection ends.
            if shared.sleep(Duration::from_millis(10)) {
                break;
            }
            continue;
        };
        let stream = Arc::new(stream);
        let Some(connection) = shared.admit(&stream) else {
            break;
        };
        // A script's bytes are to leave as it says, not when the peer has acknowledged the last ones.
        let _ = stream.set_nodelay(true);
        players.retain(|player| !player.is_finished());
        let player = thread::Builder::new()
            .name(format!("script-{connection}"))
            .spawn({
                let (scripts, shared): (Scripts, _) = (scripts.clone(), shared.clone());
                move || play(scripts(connection), stream, connection, &shared)
            });
        // Without a thread the connection is closed at once.
        players.extend(player);
    }
    for player in players {
        let _ = player.join();
    }
}

/// What the server's threads share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    requests: Vec<Recorded>,
    connections: Vec<Connection>,
}

struct Connection {
    /// To cut it with. Weak, for it is open as long as anyone holds it.
    stream: Weak<TcpStream>,
    peer_closed: Option<Instant>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn wait_for<T>(&self, timeout: Duration, value: impl Fn(&State) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(value) = value(&state) {
                return Some(value);
            }
            let left = timeout.checked_sub(start.elapsed())?;
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Sleeps, and says whether it was woken because the server stops.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        self.wait_for(time, |state| state.stopping.then_some(()))
            .is_some()
    }

    /// Gives a connection its number, unless the server stops.
    fn admit(&self, stream: &Arc<TcpStream>) -> Option<usize> {
        self.change(|state| {
            if state.stopping {
                return None;
            }
            state.connections.push(Connection {
                stream: Arc::downgrade(stream),
                peer_closed: None,
            });
            Some(state.connections.len() - 1)
        })
    }

    /// Returns its place.
    pub(super) fn record(&self, request: Recorded) -> usize {
        self.change(|state| {
            state.requests.push(request);
            state.requests.len() - 1
        })
    }

    pub(super) fn add_body(&self, place: usize, body: Bytes) {
        self.change(|state| state.requests[place].body = body);
    }

    pub(super) fn peer_closed(&self, connection: usize) {
        let now = Instant::now();
        self.change(|state| {
            // A server that stops cuts its connections itself.
            if !state.stopping {
                state.connections[connection].peer_closed = Some(now);
            }
        });
    }

    fn stop(&self) {
        self.change(|state| {
            state.stopping = true;
            for connection in &state.connections {
                if let Some(stream) = connection.stream.upgrade() {
                    // Fails when the peer was quicker.
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        });
    }
}
