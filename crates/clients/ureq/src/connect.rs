//! Connecting to a host that has several addresses (RFC 8305), or to a Unix socket.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use inflight_core::{Cancel, CancelGuard, Error, ErrorKind};
use inflight_net::addresses::ATTEMPT_DELAY;
use inflight_net::{Attempts, descriptors, unix};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The longest time that one `poll` waits, or `None` for no limit. On Linux, shutting down a connecting
/// socket wakes the thread that polls the socket. On other systems, a cancelled call ends only when the poll
/// times out.
const MAX_POLL: Option<Duration> = if cfg!(any(target_os = "linux", target_os = "android")) {
    None
} else {
    Some(Duration::from_millis(50))
};

/// An attempt to connect that is in progress. Dropping the attempt closes its socket.
struct Attempt {
    index: usize,
    stream: Arc<TcpStream>,
    _guard: CancelGuard,
}

/// Returns a non-blocking socket to the address that answers first, or `None` if the deadline passes
/// first. The next attempt starts [`ATTEMPT_DELAY`] after the start of the previous attempt, or as soon as
/// an attempt fails.
///
/// Another thread can end the call with `cancel`.
pub(crate) fn connect(
    attempts: &mut Attempts,
    addresses: &[SocketAddr],
    nodelay: bool,
    deadline: Option<Instant>,
    cancel: &Cancel,
) -> Result<Option<Arc<TcpStream>>, Error> {
    let mut waiting = addresses;
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
            && let Some((address, others)) = waiting.split_first()
        {
            waiting = others;
            let index = attempts.start(*address);
            match start_connect(*address) {
                Ok(stream) => {
                    running.push(Attempt::new(index, stream, cancel));
                    next_start = now + ATTEMPT_DELAY;
                }
                Err(error) => record_failure(attempts, index, error, &mut waiting),
            }
            continue;
        }
        if running.is_empty() {
            return Err(attempts.all_failed_error());
        }
        let pending_start = (!waiting.is_empty()).then_some(next_start);
        let until = deadline.into_iter().chain(pending_start).min();
        let Some((position, outcome)) = wait(&running, until)? else {
            continue;
        };
        let attempt = running.swap_remove(position);
        // A cancelled attempt looks like a failed one.
        if cancel.is_cancelled() {
            continue;
        }
        let prepared = outcome.and_then(|()| match nodelay {
            true => attempt.stream.set_nodelay(true),
            false => Ok(()),
        });
        match prepared {
            Ok(()) => {
                attempts.record_connected(attempt.index);
                return Ok(Some(attempt.stream));
            }
            Err(error) => {
                record_failure(attempts, attempt.index, error, &mut waiting);
                next_start = now;
            }
        }
    }
}

/// Returns a non-blocking socket that is connected to the Unix socket at `path`, or `None` if the deadline
/// passes first. If the listener's queue is full, tries again later.
///
/// Another thread can end the call with `cancel`.
pub(crate) fn connect_unix(
    attempts: &mut Attempts,
    path: &Path,
    deadline: Option<Instant>,
    cancel: &Cancel,
) -> Result<Option<Arc<TcpStream>>, Error> {
    let index = attempts.start(path);
    for delay in unix::retry_delays() {
        if cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled));
        }
        let error = match open_unix(path) {
            Ok(stream) => {
                attempts.record_connected(index);
                return Ok(Some(Arc::new(stream)));
            }
            Err(error) => error,
        };
        let is_final = !unix::is_queue_full(&error);
        attempts.record_failure(index, error);
        if is_final {
            break;
        }
        let now = Instant::now();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        thread::sleep(left.map_or(delay, |left| left.min(delay)));
    }
    Err(attempts.all_failed_error())
}

fn open_unix(path: &Path) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A Unix socket is connected at once or not at all.
    socket.connect(&SockAddr::unix(path)?)?;
    // All methods of `TcpStream` that this crate calls from here on work for every kind of stream socket.
    Ok(socket.into())
}

/// Records a failed attempt. If no file descriptor is left, also empties `waiting`, because attempts to the
/// other addresses would fail too.
fn record_failure(
    attempts: &mut Attempts,
    index: usize,
    error: io::Error,
    waiting: &mut &[SocketAddr],
) {
    if descriptors::are_exhausted(&error) {
        *waiting = &[];
    }
    attempts.record_failure(index, error);
}

impl Attempt {
    fn new(index: usize, stream: TcpStream, cancel: &Cancel) -> Self {
        let stream = Arc::new(stream);
        let cancelled = stream.clone();
        Self {
            index,
            stream,
            _guard: cancel.on_cancel(move || {
                // Fails if the connect has already failed.
                let _ = cancelled.shutdown(Shutdown::Both);
            }),
        }
    }
}

/// Returns a socket that is connecting or connected.
fn start_connect(address: SocketAddr) -> io::Result<TcpStream> {
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

/// Waits until a socket is ready. Returns `false` if the time or [`MAX_POLL`] has passed or a signal has
/// arrived.
pub(crate) fn wait_until_ready(
    sockets: &mut [PollFd<'_>],
    time: Option<Duration>,
) -> io::Result<bool> {
    let time = time.into_iter().chain(MAX_POLL).min();
    // Waits without a limit if the time is too long for the system.
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(sockets, time.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until an attempt ends. Returns its position and outcome, or `None` if no attempt has ended yet.
fn wait(
    running: &[Attempt],
    until: Option<Instant>,
) -> Result<Option<(usize, io::Result<()>)>, Error> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let mut sockets: Vec<_> = running
        .iter()
        .map(|attempt| PollFd::new(&attempt.stream, PollFlags::OUT))
        .collect();
    let is_ready = wait_until_ready(&mut sockets, left);
    if !is_ready.map_err(|error| Error::new(ErrorKind::Io).with_source(error))? {
        return Ok(None);
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
