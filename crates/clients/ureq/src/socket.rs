//! ureq's transport over a TCP socket, and the connector that opens the socket.
//!
//! While a call reads from or writes to a socket, another thread can shut down the socket with the call's
//! [`Cancel`](inflight_core::Cancel).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inflight_core::{
    Cancel, CancelGuard, ClientOptions, Connections, Error, Phase, Proxy, Resolver, host_and_port,
};
use inflight_net::tls::Tls;
use inflight_net::{Attempts, TunnelHandshake};
use rustix::event::{PollFd, PollFlags};
use ureq::http::Uri;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport, time,
};
use ureq::{BodyReader, Timeout};

use crate::buffers::TransportBuffers;
use crate::call;
use crate::connect::{connect, connect_unix, wait_until_ready};
use crate::error::to_ureq_error;
use crate::secure::TlsTransport;

/// A connector that opens sockets and performs the TLS handshake for `https`.
#[derive(Debug)]
pub(crate) struct SocketConnector {
    timeout: Option<Duration>,
    tls: Tls,
    resolver: Resolver,
    unix_socket: Option<PathBuf>,
    connection_counts: Connections,
}

impl SocketConnector {
    pub(crate) fn new(tls: Tls, resolver: Resolver, options: &ClientOptions) -> Self {
        Self {
            timeout: options.connect_timeout,
            tls,
            resolver,
            unix_socket: options.unix_socket.clone(),
            connection_counts: options.connections.clone(),
        }
    }

    /// Opens a socket to the Unix socket of the options, if it is set, or to the call's server. If the call
    /// has a proxy, opens a socket to the proxy and a tunnel to the server. Also returns the attempts, for the
    /// error of a later timeout.
    fn open(
        &self,
        details: &ConnectionDetails<'_>,
        deadline: Option<Instant>,
    ) -> Result<(Socket, Attempts), Error> {
        let proxy = call::proxy();
        let (host, port) = match &proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => host_and_port(details.uri)?,
        };
        let cancel = call::cancel();
        let server_address = match &proxy {
            Some(proxy) => self.server_address(proxy, details.uri, deadline, &cancel)?,
            None => None,
        };
        let (mut attempts, mut stream);
        match &self.unix_socket {
            Some(path) => {
                attempts = Attempts::to_unix_socket(path);
                stream = connect_unix(&mut attempts, path, deadline, &cancel)?;
            }
            None => {
                let (addresses, nodelay) = (&details.addrs, details.config.no_delay());
                attempts = Attempts::new(host, port);
                let connected = connect(&mut attempts, addresses, nodelay, deadline, &cancel);
                stream = connected.map_err(call::via_proxy)?;
            }
        }
        if let (Some(connected), Some(proxy)) = (&stream, &proxy) {
            let handshake = TunnelHandshake::new(proxy, details.uri, server_address)?;
            if !open_tunnel(connected, handshake, deadline)? {
                stream = None;
            }
        }
        match stream {
            Some(stream) => Ok((Socket::new(stream, details), attempts)),
            None => Err(self.timeout_error(&attempts, details.timeout.reason)),
        }
    }

    /// Returns the address of the server of `uri` if the client must look it up for the proxy.
    fn server_address(
        &self,
        proxy: &Proxy,
        uri: &Uri,
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Option<SocketAddr>, Error> {
        if proxy.resolves_names() {
            return Ok(None);
        }
        let (host, port) = host_and_port(uri)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let found = self.resolver.lookup_blocking(host, port, left, cancel)?;
        Ok(found.into_iter().next())
    }

    fn timeout_error(&self, attempts: &Attempts, reason: Timeout) -> Error {
        match reason {
            Timeout::Connect => attempts.timeout_error(Phase::Connect, self.timeout),
            _ => attempts.timeout_error(Phase::Total, None),
        }
    }
}

impl Connector<()> for SocketConnector {
    type Out = Either<Socket, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let deadline = deadline(details);
        call::record_connect();
        let (socket, attempts) = self.open(details, deadline).map_err(to_ureq_error)?;
        let connection = match details.needs_tls() {
            true => {
                let timeout = timeout(details, deadline);
                let secured = TlsTransport::new(socket, &self.tls, details, timeout);
                Either::B(secured.map_err(|error| match error {
                    ureq::Error::Timeout(reason) => {
                        to_ureq_error(self.timeout_error(&attempts, reason))
                    }
                    error => error,
                })?)
            }
            false => Either::A(socket),
        };
        self.connection_counts.record_opened();
        call::report_connection();
        Ok(Some(connection))
    }
}

/// Opens a tunnel. `stream` is a connection to the proxy. Returns `false` if the deadline passes.
fn open_tunnel(
    stream: &Arc<TcpStream>,
    mut handshake: TunnelHandshake<'_>,
    deadline: Option<Instant>,
) -> Result<bool, Error> {
    let _guard = shut_down_on_cancel(stream);
    let mut stream = &**stream;
    let is_set = stream.set_nonblocking(false);
    is_set.map_err(|error| handshake.io_error(error))?;
    let mut byte = [0];
    loop {
        let sent = stream.write_all(&handshake.take_output());
        sent.map_err(|error| handshake.io_error(error))?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let is_set = stream.set_read_timeout(left);
        match is_set.and_then(|()| stream.read_exact(&mut byte)) {
            Ok(()) if handshake.receive(byte[0])? => {
                let is_set = stream.set_nonblocking(true);
                is_set.map_err(|error| handshake.io_error(error))?;
                return Ok(true);
            }
            Ok(()) => {}
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(handshake.io_error(error)),
        }
    }
}

/// Lets the `Cancel` of the current call shut down the socket while the returned guard exists.
fn shut_down_on_cancel(stream: &Arc<TcpStream>) -> CancelGuard {
    let stream = stream.clone();
    call::on_cancel(move || {
        // Fails if the socket is already shut down.
        let _ = stream.shutdown(Shutdown::Both);
    })
}

/// Returns the time by which the connection must be open. The connect timeout includes the name lookup, but
/// ureq starts the timeout after the lookup.
fn deadline(details: &ConnectionDetails<'_>) -> Option<Instant> {
    let (time::Instant::Exact(now), time::Duration::Exact(after)) =
        (details.now, details.timeout.after)
    else {
        return None;
    };
    let lookup_started =
        call::lookup_started().filter(|_| details.timeout.reason == Timeout::Connect);
    let start = lookup_started.map_or(now, |started| started.min(now));
    start.checked_add(after)
}

/// Returns the remaining time for the connection.
fn timeout(details: &ConnectionDetails<'_>, deadline: Option<Instant>) -> NextTimeout {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    NextTimeout {
        after: left.map_or(time::Duration::NotHappening, time::Duration::Exact),
        ..details.timeout
    }
}

/// A connected socket.
pub(crate) struct Socket {
    // Non-blocking, and shared with the call's `Cancel`.
    stream: Arc<TcpStream>,
    buffers: TransportBuffers,
    /// Whether the bytes are encrypted.
    is_tls: bool,
    /// Whether the server has ended its side of the connection.
    has_ended: bool,
    /// Whether the server has reset the connection. The system reports a reset once, and then a regular end.
    is_reset: bool,
    /// If `true`, `is_open` returns `false`, so ureq's pool drops the connection.
    retired: Arc<AtomicBool>,
}

impl Socket {
    fn new(stream: Arc<TcpStream>, details: &ConnectionDetails<'_>) -> Self {
        Self {
            stream,
            buffers: TransportBuffers::new(details),
            is_tls: details.needs_tls(),
            has_ended: false,
            is_reset: false,
            retired: Arc::default(),
        }
    }

    /// Returns `true` if the server has neither closed the connection nor sent unsolicited bytes.
    fn is_quiet(&self) -> bool {
        let read = (&*self.stream).read(&mut [0]);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits until the server accepts more bytes of the request. Reads what the server sends meanwhile,
    /// because the system discards unread bytes if the connection is reset. Stops the upload if the server
    /// refuses the request.
    fn wait_for_space_or_response(&mut self, wait: &Wait) -> Result<(), ureq::Error> {
        let can_read = !self.has_ended && !self.buffers.input_append_buf().is_empty();
        let events = match can_read {
            true => PollFlags::OUT | PollFlags::IN,
            false => PollFlags::OUT,
        };
        let ready = wait.until(&self.stream, events)?;
        if can_read && ready.contains(PollFlags::IN) {
            match self.read_available() {
                Ok(amount) => self.has_ended = amount == Some(0),
                // The connection was reset. The response may already be in the buffer.
                Err(ureq::Error::Io(_)) => self.stop_upload(),
                Err(error) => return Err(error),
            }
            // With TLS, the bytes are not decrypted yet.
            if call::is_refused() {
                self.stop_upload();
            }
        }
        Ok(())
    }

    /// Appends bytes that have arrived to the input. Returns their number, which is 0 at the end of the
    /// connection, or `None` if no bytes have arrived.
    fn read_available(&mut self) -> Result<Option<usize>, ureq::Error> {
        let buffer = self.buffers.input_append_buf();
        match (&*self.stream).read(buffer) {
            Ok(amount) => {
                if !self.is_tls {
                    call::inspect(&buffer[..amount]).map_err(to_ureq_error)?;
                }
                self.buffers.input_appended(amount);
                match amount {
                    0 if self.is_reset => call::record_abnormal_end(),
                    0 => {}
                    _ => call::set_has_read(true),
                }
                Ok(Some(amount))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => {
                self.record_reset(&error);
                call::record_abnormal_end();
                Err(error.into())
            }
        }
    }

    fn record_reset(&mut self, error: &io::Error) {
        self.is_reset |= error.kind() == io::ErrorKind::ConnectionReset;
    }

    /// Stops the upload. ureq then reads the response, and the connection is not reused.
    fn stop_upload(&self) {
        call::stop_upload();
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let _guard = shut_down_on_cancel(&self.stream);
        call::set_retired_flag(&self.retired);
        let wait = Wait::new(timeout.for_write())?;
        let mut written = 0;
        while written < amount && !call::is_upload_stopped() {
            let output = &self.buffers.output()[written..amount];
            match (&*self.stream).write(output) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(n) => {
                    written += n;
                    call::record_write();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for_space_or_response(&wait)?;
                }
                // The server may have responded before it closed the connection. If it has not, the next
                // read fails.
                Err(error) => {
                    self.record_reset(&error);
                    self.stop_upload();
                }
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let _guard = shut_down_on_cancel(&self.stream);
        let wait = Wait::new(timeout.for_read())?;
        loop {
            wait.until(&self.stream, PollFlags::IN)?;
            self.buffers.free_input()?;
            if let Some(amount) = self.read_available()? {
                return Ok(amount > 0);
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // ureq calls this method for pooled connections to the call's host, on the call's thread.
        !call::must_be_new() && !self.retired.load(Ordering::Relaxed) && self.is_quiet()
    }
}

/// A limit on the time of a read or a write.
struct Wait {
    timeout: NextTimeout,
    started: Instant,
}

impl Wait {
    /// Fails if no time is left.
    fn new(timeout: NextTimeout) -> Result<Self, ureq::Error> {
        let wait = Self {
            timeout,
            started: Instant::now(),
        };
        wait.time_left().map(|_| wait)
    }

    /// Returns the remaining time, or `None` if there is no limit. Fails if no time is left.
    fn time_left(&self) -> Result<Option<Duration>, ureq::Error> {
        let time::Duration::Exact(time) = self.timeout.after else {
            return Ok(None);
        };
        let left = time.saturating_sub(self.started.elapsed());
        match left.is_zero() {
            true => Err(ureq::Error::Timeout(self.timeout.reason)),
            false => Ok(Some(left)),
        }
    }

    /// Waits until the socket is ready for one of these events, and returns the events for which it is
    /// ready. They are empty if the wait ended early.
    fn until(&self, stream: &TcpStream, events: PollFlags) -> Result<PollFlags, ureq::Error> {
        let mut sockets = [PollFd::new(stream, events)];
        wait_until_ready(&mut sockets, self.time_left()?)?;
        Ok(sockets[0].revents())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("peer", &self.stream.peer_addr().ok())
            .finish_non_exhaustive()
    }
}

/// A response's body. Each read is a call, which another thread can end with the exchange's `Cancel`.
pub(crate) struct CancellableRead {
    // `None` after a cancel, so that the connection is dropped and not pooled.
    body: Option<BodyReader<'static>>,
    cancel: Cancel,
    /// Whether the connection was reset or ended without TLS's `close_notify`. ureq treats both as the end
    /// of a body without a length (RFC 9112, sections 8 and 9.8).
    has_abnormal_end: bool,
}

impl CancellableRead {
    pub(crate) fn new(body: BodyReader<'static>, cancel: Cancel) -> Self {
        Self {
            body: Some(body),
            cancel,
            has_abnormal_end: false,
        }
    }
}

impl Read for CancellableRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(body) = &mut self.body else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let (result, has_abnormal_end) = call::run(&self.cancel, None, || {
            let result = body.read(buffer);
            (result, call::has_abnormal_end())
        });
        self.has_abnormal_end |= has_abnormal_end;
        if self.cancel.is_cancelled() {
            self.body = None;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.has_abnormal_end && matches!(result, Ok(0)) && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        result.map_err(|error| match error.downcast::<ureq::Error>() {
            Ok(error) => crate::error::from_ureq(error).into(),
            Err(error) => error,
        })
    }
}
