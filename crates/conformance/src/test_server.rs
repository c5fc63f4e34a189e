//! A server that a case controls step by step. Unlike a scripted server of `inflight_origin`, it can
//! wait for an event between two bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::context::EVENT_TIMEOUT;
use crate::servers::ok_response;

/// A server on loopback that calls a closure for each connection, on a new thread. Dropping the
/// server stops the thread that accepts connections. The other threads end with their connections.
pub(crate) struct TestServer {
    addr: SocketAddr,
    stopping: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl TestServer {
    /// Starts a server that calls `serve` for each connection. An error of `serve` ends only that
    /// connection.
    pub(crate) fn start(
        serve: impl Fn(TestConnection) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let server = Self {
            addr: listener.local_addr()?,
            stopping: Arc::default(),
            connections: Arc::default(),
        };
        let (stopping, connections) = (server.stopping.clone(), server.connections.clone());
        let serve = Arc::new(serve);
        thread::Builder::new()
            .name("test-server".to_owned())
            .spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let conn = TestConnection {
                        stream,
                        index: connections.fetch_add(1, Ordering::SeqCst),
                        unread: Vec::new(),
                    };
                    let serve = serve.clone();
                    // If the thread cannot start, the connection is closed at once.
                    let _ = thread::Builder::new().spawn(move || {
                        let _ = serve(conn);
                    });
                }
            })?;
        Ok(server)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn https_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// Returns how many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Starts a server that sends no response before it has received `n` requests. Returns the server,
/// and the rendezvous at which its threads wait.
pub(crate) fn rendezvous_server(n: usize) -> io::Result<(TestServer, Arc<Rendezvous>)> {
    let rendezvous = Arc::new(Rendezvous::default());
    let arrivals = rendezvous.clone();
    let server = TestServer::start(move |mut conn| {
        loop {
            conn.read_head()?;
            arrivals.wait_for_arrivals(n)?;
            conn.answer("done")?;
        }
    })?;
    Ok((server, rendezvous))
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts connections, which then stops.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
    }
}

/// One connection of a [`TestServer`].
pub(crate) struct TestConnection {
    pub(crate) stream: TcpStream,
    /// The index of the connection, counted from 0.
    pub(crate) index: usize,
    unread: Vec<u8>,
}

impl TestConnection {
    /// Reads the head of a request and returns its target.
    pub(crate) fn read_head(&mut self) -> io::Result<String> {
        let head = self.read_until(b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        Ok(target.to_owned())
    }

    /// Reads and returns the bytes up to and including `end`.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => self.unread.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// Reads and discards bytes until the peer closes or resets the connection.
    pub(crate) fn read_to_close(&mut self) {
        let mut buffer = [0; 16 * 1024];
        while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a complete response.
    pub(crate) fn answer(&mut self, body: &str) -> io::Result<()> {
        self.send(ok_response(body))
    }

    /// Sends up to `total` bytes, and returns how many were sent before a write blocked for `stall`.
    pub(crate) fn send_until_stalled(
        &mut self,
        total: usize,
        stall: Duration,
    ) -> io::Result<usize> {
        let buffer = [b'.'; 64 * 1024];
        self.stream.set_write_timeout(Some(stall))?;
        let mut sent = 0;
        while sent < total {
            let len = buffer.len().min(total - sent);
            match self.stream.write(&buffer[..len]) {
                Ok(n) => sent += n,
                // `WouldBlock` on Unix, `TimedOut` on Windows.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Ends the connection with a reset. The peer may lose bytes that it has not read yet.
    pub(crate) fn reset(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

/// A point where server threads wait for each other. It counts the threads that wait at once.
#[derive(Default)]
pub(crate) struct Rendezvous {
    counts: Mutex<Arrivals>,
    changed: Condvar,
}

#[derive(Default)]
struct Arrivals {
    /// The number of threads that have arrived since the start.
    arrived: usize,
    /// The number of threads that wait now.
    present: usize,
    /// The highest value of `present` since the start.
    peak: usize,
}

impl Rendezvous {
    /// Waits until `n` threads have arrived since the start. Threads that arrive later do not wait.
    /// Fails if fewer than `n` threads arrive within [`EVENT_TIMEOUT`].
    pub(crate) fn wait_for_arrivals(&self, n: usize) -> io::Result<()> {
        let mut counts = self.lock();
        counts.arrived += 1;
        counts.present += 1;
        counts.peak = counts.peak.max(counts.present);
        self.changed.notify_all();
        let (mut counts, waited) = self
            .changed
            .wait_timeout_while(counts, EVENT_TIMEOUT, |counts| counts.arrived < n)
            .unwrap_or_else(PoisonError::into_inner);
        counts.present -= 1;
        if waited.timed_out() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Returns the highest number of threads that waited at once.
    pub(crate) fn peak(&self) -> usize {
        self.lock().peak
    }

    /// Returns how many threads have arrived.
    pub(crate) fn arrived(&self) -> usize {
        self.lock().arrived
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arrivals> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
