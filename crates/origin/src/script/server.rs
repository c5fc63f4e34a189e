use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::play::play;
use super::{RecordedRequest, Script, UnacceptingAddress};
use crate::listen::{BACKLOG, listen};

/// A server on a free port of `127.0.0.1` that runs a [`Script`] on each connection. Each
/// connection has its own thread.
///
/// Dropping the server closes its connections and blocks until its threads have ended.
pub struct ScriptedServer {
    addr: SocketAddr,
    shared: Arc<SharedState>,
    acceptor: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// Starts a server. For each connection, the server calls `script` with the connection's index,
    /// counted from 0. The call runs on the connection's thread.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses the socket or the thread.
    pub fn start(
        script: impl Fn(usize) -> Script + Send + Sync + 'static,
    ) -> io::Result<ScriptedServer> {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), BACKLOG)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(SharedState::default());
        let acceptor = thread::Builder::new().name("scripted".to_owned()).spawn({
            let shared = shared.clone();
            let script: ScriptFactory = Arc::new(script);
            move || accept(&listener, &script, &shared)
        })?;
        Ok(ScriptedServer {
            addr,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Starts a server that runs the same script on every connection.
    ///
    /// # Errors
    ///
    /// Fails as [`ScriptedServer::start`] does.
    pub fn with_script(script: Script) -> io::Result<ScriptedServer> {
        ScriptedServer::start(move |_| script.clone())
    }

    /// Returns a loopback address where connects hang.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses the socket. Fails with `Unsupported` if connects do not hang on
    /// this system.
    pub fn unaccepting_address() -> io::Result<UnacceptingAddress> {
        UnacceptingAddress::start()
    }

    /// Returns the address that the server listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Returns the requests read so far, in the order in which the server recorded them.
    /// [`Step::ReadHead`](super::Step::ReadHead) records a request when its head is complete.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.lock().requests.clone()
    }

    /// Returns how many connections the server has accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// Waits until `n` requests have been read. Returns false if `timeout` passes first.
    #[must_use]
    pub fn wait_for_requests(&self, n: usize, timeout: Duration) -> bool {
        let reached = |state: &ServerState| (state.requests.len() >= n).then_some(());
        self.shared.wait_for(timeout, reached).is_some()
    }

    /// Waits until `n` connections have been accepted. Returns false if `timeout` passes first.
    #[must_use]
    pub fn wait_for_connections(&self, n: usize, timeout: Duration) -> bool {
        let reached = |state: &ServerState| (state.connections.len() >= n).then_some(());
        self.shared.wait_for(timeout, reached).is_some()
    }

    /// Waits until the peer has closed or reset a connection. `connection` is the connection's index,
    /// counted from 0.
    ///
    /// Returns the time from this call to the close, or zero if the peer closed the connection before
    /// the call. Returns `None` if `timeout` passes first.
    ///
    /// The server detects a close in a step that reads, such as [`Step::Hang`](super::Step::Hang)
    /// and [`Step::AwaitClose`](super::Step::AwaitClose), or in a step that fails to write. The
    /// server does not detect a close during a pause or after the script has ended. A peer that
    /// closes only its sending half counts as closed, because the server cannot see the difference.
    #[must_use]
    pub fn wait_for_close(&self, connection: usize, timeout: Duration) -> Option<Duration> {
        let start = Instant::now();
        let closed = |state: &ServerState| state.connections.get(connection)?.peer_closed;
        let at = self.shared.wait_for(timeout, closed)?;
        Some(at.saturating_duration_since(start))
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.shared.stop();
        // Wakes the acceptor, which then stops.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

type ScriptFactory = Arc<dyn Fn(usize) -> Script + Send + Sync>;

fn accept(listener: &TcpListener, script: &ScriptFactory, shared: &Arc<SharedState>) {
    let mut players: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // No file descriptor is left. Accepting again at once would spin until a connection ends.
            if shared.sleep(Duration::from_millis(10)) {
                break;
            }
            continue;
        };
        let stream = Arc::new(stream);
        let Some(connection) = shared.admit(&stream) else {
            break;
        };
        // Without this, a write may wait until the peer has acknowledged the previous one.
        let _ = stream.set_nodelay(true);
        players.retain(|player| !player.is_finished());
        let player = thread::Builder::new()
            .name(format!("script-{connection}"))
            .spawn({
                let (script, shared) = (script.clone(), shared.clone());
                move || play(script(connection), stream, connection, &shared)
            });
        // If the thread cannot start, the connection is closed at once.
        players.extend(player);
    }
    for player in players {
        let _ = player.join();
    }
}

/// The state that the server's threads share, and a condition variable for its changes.
#[derive(Default)]
pub(super) struct SharedState {
    state: Mutex<ServerState>,
    changed: Condvar,
}

#[derive(Default)]
struct ServerState {
    stopping: bool,
    requests: Vec<RecordedRequest>,
    connections: Vec<ScriptedConnection>,
}

struct ScriptedConnection {
    /// Used to shut down the stream. A strong reference would keep the connection open after its
    /// script has ended.
    stream: Weak<TcpStream>,
    peer_closed: Option<Instant>,
}

impl SharedState {
    fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut ServerState) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn wait_for<T>(
        &self,
        timeout: Duration,
        value: impl Fn(&ServerState) -> Option<T>,
    ) -> Option<T> {
        let mut found = None;
        let is_missing = |state: &mut ServerState| {
            found = value(state);
            found.is_none()
        };
        drop(
            self.changed
                .wait_timeout_while(self.lock(), timeout, is_missing),
        );
        found
    }

    /// Sleeps for `time`, or until the server stops. Returns true if the server stops first.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        self.wait_for(time, |state| state.stopping.then_some(()))
            .is_some()
    }

    /// Registers a connection and returns its index, or `None` if the server is stopping.
    fn admit(&self, stream: &Arc<TcpStream>) -> Option<usize> {
        self.change(|state| {
            if state.stopping {
                return None;
            }
            state.connections.push(ScriptedConnection {
                stream: Arc::downgrade(stream),
                peer_closed: None,
            });
            Some(state.connections.len() - 1)
        })
    }

    /// Records a request and returns its index.
    pub(super) fn record(&self, request: RecordedRequest) -> usize {
        self.change(|state| {
            state.requests.push(request);
            state.requests.len() - 1
        })
    }

    pub(super) fn add_body(&self, index: usize, body: Bytes) {
        self.change(|state| state.requests[index].body = body);
    }

    pub(super) fn record_close(&self, connection: usize) {
        let now = Instant::now();
        self.change(|state| {
            // When the server stops, it closes the connections itself.
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
                    // Fails if the peer has already closed the connection.
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        });
    }
}
