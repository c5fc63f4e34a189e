//! Connecting to a host that has several addresses (RFC 8305).

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use inflight_core::{Cancel, CancelGuard, Error, ErrorKind, Phase, connect_error};
use inflight_net::addresses::ATTEMPT_DELAY;
use inflight_net::descriptors;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// How long one wait lasts at most. Shutting a socket that is still connecting wakes whoever polls
/// it on Linux only; elsewhere a cancelled call is noticed after this time.
const WAIT: Option<Duration> = if cfg!(any(target_os = "linux", target_os = "android")) {
    None
} else {
    Some(Duration::from_millis(50))
};

/// The addresses that were tried, in order, and how each attempt ended.
pub(crate) struct Attempts<'a> {
    host: &'a str,
    port: u16,
    tried: Vec<(SocketAddr, Option<io::Error>)>,
}

/// An attempt that has not ended yet. Dropping it closes its socket.
struct Attempt {
    index: usize,
    stream: Arc<TcpStream>,
    _guard: CancelGuard,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(host: &'a str, port: u16) -> Self {
        Self {
            host,
            port,
            tried: Vec::new(),
        }
    }

    /// Connects to the first of the addresses that answers. The next attempt starts
    /// [`ATTEMPT_DELAY`] after the last one, or as soon as one fails. Returns `None` when the
    /// deadline passes first.
    ///
    /// `cancel` ends the wait from another thread.
    pub(crate) fn connect(
        &mut self,
        addresses: &[SocketAddr],
        nodelay: bool,
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Option<Arc<TcpStream>>, Error> {
        let mut waiting = addresses.iter().copied();
        let mut running = Vec::new();
        let mut next_start = Instant::now();
        loop {
            let now = Instant::now();
            if cancel.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled));
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(None);
            }
            if now >= next_start
                && let Some(address) = waiting.next()
            {
                if let Some(attempt) = self.start(address, cancel)? {
                    running.push(attempt);
                    next_start = now + ATTEMPT_DELAY;
                }
                continue;
            }
            if running.is_empty() {
                return Err(self.all_failed());
            }
            let next_start_counts = (waiting.len() > 0).then_some(next_start);
            let until = deadline.into_iter().chain(next_start_counts).min();
            let Some((position, outcome)) = wait(&running, until)? else {
                continue;
            };
            let attempt = running.swap_remove(position);
            // A cancelled attempt looks like one that failed.
            if cancel.is_cancelled() {
                continue;
            }
            match outcome.and_then(|()| prepare(&attempt.stream, nodelay)) {
                Ok(()) => return Ok(Some(attempt.stream)),
                Err(error) => {
                    self.failed(attempt.index, error)?;
                    next_start = now;
                }
            }
        }
    }

    /// Starts an attempt. Returns `None` if it fails at once.
    fn start(&mut self, address: SocketAddr, cancel: &Cancel) -> Result<Option<Attempt>, Error> {
        let index = self.tried.len();
        self.tried.push((address, None));
        let stream = match begin(address) {
            Ok(stream) => Arc::new(stream),
            Err(error) => {
                self.failed(index, error)?;
                return Ok(None);
            }
        };
        let cancelled = stream.clone();
        Ok(Some(Attempt {
            index,
            stream,
            _guard: cancel.on_cancel(move || {
                // It fails if the socket has already failed to connect.
                let _ = cancelled.shutdown(Shutdown::Both);
            }),
        }))
    }

    /// Records a failed attempt, or returns the error if no other address can help.
    fn failed(&mut self, index: usize, error: io::Error) -> Result<(), Error> {
        if descriptors::are_exhausted(&error) {
            return Err(descriptors::exhausted(self.host, self.port, error));
        }
        self.tried[index].1 = Some(error);
        Ok(())
    }

    /// The error if every address has failed.
    fn all_failed(&mut self) -> Error {
        let Some((address, Some(last))) = self.tried.pop() else {
            return Error::new(ErrorKind::Resolve)
                .with_context(format!("{} has no address", self.host));
        };
        if self.tried.is_empty() {
            return connect_error(address, last);
        }
        self.tried
            .push((address, Some(io::Error::from(last.kind()))));
        Error::new(ErrorKind::Connect)
            .with_context(format!(
                "no connection to {}:{} (tried {})",
                self.host,
                self.port,
                self.list()
            ))
            .with_source(last)
    }

    /// The error if the limit of `phase` has passed. `limit` is that limit, if it is known.
    pub(crate) fn timed_out(&self, phase: Phase, limit: Option<Duration>) -> Error {
        let limit = limit.map_or_else(
            || " before the request's deadline".to_owned(),
            |limit| format!(" in {limit:?}"),
        );
        let tried = match self.tried.is_empty() {
            true => String::new(),
            false => format!(" (tried {})", self.list()),
        };
        Error::timeout(phase).with_context(format!(
            "no connection to {}:{}{limit}{tried}",
            self.host, self.port
        ))
    }

    fn list(&self) -> String {
        let ended = self.tried.iter().map(|(address, error)| match error {
            None => format!("{address}: no answer"),
            Some(error) => format!("{address}: {error}"),
        });
        ended.collect::<Vec<_>>().join("; ")
    }
}

/// A socket that is connecting, or already connected.
fn begin(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        // Windows reports `WouldBlock`, other systems `EINPROGRESS`.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Makes a connected socket ready for blocking reads and writes.
fn prepare(stream: &TcpStream, nodelay: bool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    if nodelay {
        stream.set_nodelay(true)?;
    }
    Ok(())
}

/// Waits for the first attempt to end. Returns its position and outcome, or `None` if there is
/// none: when `until` or [`WAIT`] has passed, or after a signal.
fn wait(
    running: &[Attempt],
    until: Option<Instant>,
) -> Result<Option<(usize, io::Result<()>)>, Error> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = left.into_iter().chain(WAIT).min();
    // A time too long for the system is no limit.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut sockets: Vec<_> = running
        .iter()
        .map(|attempt| PollFd::new(&attempt.stream, PollFlags::OUT))
        .collect();
    match poll(&mut sockets, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(None),
        Err(error) => return Err(Error::new(ErrorKind::Io).with_source(io::Error::from(error))),
    }
    let ended = sockets
        .iter()
        .position(|socket| !socket.revents().is_empty());
    Ok(ended.map(|position| {
        let failed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        let has_failed = sockets[position].revents().intersects(failed);
        let outcome = match running[position].stream.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) if has_failed => Err(io::ErrorKind::NotConnected.into()),
            Ok(None) => Ok(()),
        };
        (position, outcome)
    }))
}
