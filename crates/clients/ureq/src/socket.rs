//! Sockets that another thread can shut: what makes a blocking call cancellable.
//!
//! ureq chooses the connection of a request by itself, out of its pool or anew. So each socket
//! is wrapped, and when a call blocks on one, it is the call of this thread that is at work: its
//! [`Cancel`] is kept in a thread-local for the time of the call.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use inflight_core::{Cancel, CancelGuard, ClientOptions, Connections, Trace, connect_error};
use inflight_net::tls::Tls;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, ShutdownHandle, TcpConnector,
    Transport, time,
};
use ureq::{BodyReader, Timeout};

use crate::secure::Secured;

thread_local! {
    static CURRENT: RefCell<Option<Call>> = const { RefCell::new(None) };
    static LOOK_UP: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static CONNECTED: Cell<bool> = const { Cell::new(false) };
    static TUNNELLED: Cell<bool> = const { Cell::new(false) };
    static USED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// A call of ureq's in this thread.
struct Call {
    cancel: Cancel,
    trace: Option<Trace>,
}

/// Lets the connection of this thread's last request carry no other.
pub(crate) fn retire() {
    if let Some(retired) = USED.take() {
        retired.store(true, Ordering::Relaxed);
    }
}

/// Tells the connect that follows in this thread how long its name's look-up took: the limit on
/// connecting is for both together, while ureq gives it to the connect alone.
pub(crate) fn looked_up_in(time: Duration) {
    LOOK_UP.set(time);
}

/// What is left of a limit on connecting.
fn without(timeout: NextTimeout, spent: Duration) -> NextTimeout {
    match timeout.after {
        time::Duration::Exact(after) if timeout.reason == Timeout::Connect => NextTimeout {
            after: time::Duration::Exact(after.saturating_sub(spent)),
            ..timeout
        },
        _ => timeout,
    }
}

/// Runs a call of ureq's that `cancel` can end from another thread. `trace` is told when it
/// connects.
pub(crate) fn cancelled_by<T>(
    cancel: &Cancel,
    trace: Option<&Trace>,
    call: impl FnOnce() -> T,
) -> T {
    struct Restore(Option<Call>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let this = Call {
        cancel: cancel.clone(),
        trace: trace.cloned(),
    };
    let _restore = Restore(CURRENT.replace(Some(this)));
    CONNECTED.set(false);
    TUNNELLED.set(false);
    call()
}

/// Whether this thread's call made a connection, or was to. Otherwise it had a kept one.
pub(crate) fn has_connected() -> bool {
    CONNECTED.get()
}

/// Whether this thread's call was given a tunnel by a proxy.
pub(crate) fn has_tunnel() -> bool {
    TUNNELLED.get()
}

/// The `Cancel` of this thread's call.
pub(crate) fn current() -> Cancel {
    CURRENT.with_borrow(|call| {
        let cancel = call.as_ref().map(|call| call.cancel.clone());
        cancel.unwrap_or_default()
    })
}

/// ureq's own TCP connector, its sockets remembered, and secured where the URL wants it.
#[derive(Debug)]
pub(crate) struct Sockets {
    tcp: TcpConnector,
    tls: Tls,
    connections: Connections,
}

impl Sockets {
    pub(crate) fn new(tls: Tls, options: &ClientOptions) -> Self {
        Self {
            tcp: TcpConnector::default(),
            tls,
            connections: options.connections.clone(),
        }
    }

    /// A connection is there.
    fn opened(&self) {
        self.connections.opened();
        CURRENT.with_borrow(|call| {
            if let Some(trace) = call.as_ref().and_then(|call| call.trace.as_ref()) {
                trace.connected();
            }
        });
    }

    /// TLS over it, where the URL wants it.
    fn secured(
        &self,
        socket: Socket,
        details: &ConnectionDetails<'_>,
        timeout: NextTimeout,
    ) -> Result<Either<Socket, Secured>, ureq::Error> {
        Ok(match details.needs_tls() {
            true => Either::B(Secured::new(socket, &self.tls, details, timeout)?),
            false => Either::A(socket),
        })
    }
}

impl<In: Transport> Connector<In> for Sockets {
    type Out = Either<Socket, Secured>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(tunnel) = chained {
            TUNNELLED.set(true);
            // The socket beneath it, which is one of ours, hears of cancelling and of its end.
            let socket = Socket {
                transport: Box::new(tunnel),
                handle: None,
                retired: Arc::default(),
            };
            return self.secured(socket, details, details.timeout).map(Some);
        }
        let (started, timeout) = (Instant::now(), without(details.timeout, LOOK_UP.take()));
        CONNECTED.set(true);
        let handle = Arc::new(Mutex::new(None));
        let (kept, register) = (handle.clone(), details.register_shutdown.clone());
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: Arc::new(move |socket: Weak<dyn ShutdownHandle>| {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.clone());
                register(socket)
            }),
        };
        let connected = self
            .tcp
            .connect(&details, None::<()>)
            .map_err(|error| match error {
                ureq::Error::Io(error) => ureq::Error::Other(
                    connect_error(details.addrs[details.addrs.len() - 1], error).into(),
                ),
                other => other,
            })?;
        let handle = handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(transport) = connected else {
            return Ok(None);
        };
        let socket = Socket {
            transport: Box::new(transport),
            handle,
            retired: Arc::default(),
        };
        let left = without(timeout, started.elapsed());
        let connection = self.secured(socket, &details, left)?;
        self.opened();
        Ok(Some(connection))
    }
}

pub(crate) struct Socket {
    transport: Box<dyn Transport>,
    handle: Option<Weak<dyn ShutdownHandle>>,
    /// Whether ureq's pool is told that it is closed.
    retired: Arc<AtomicBool>,
}

impl Socket {
    /// While the guard lives, the current call's `Cancel` shuts this socket.
    fn guard(&self) -> Option<CancelGuard> {
        let handle = self.handle.clone()?;
        CURRENT.with_borrow(|call| {
            Some(call.as_ref()?.cancel.on_cancel(move || {
                if let Some(socket) = handle.upgrade() {
                    socket.shutdown();
                }
            }))
        })
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let _guard = self.guard();
        USED.set(Some(self.retired.clone()));
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let _guard = self.guard();
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        !self.retired.load(Ordering::Relaxed) && self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transport.fmt(f)
    }
}

/// A response's body, each read under the exchange's `Cancel`.
pub(crate) struct CancellableRead {
    // `None` once the exchange was cancelled: the connection is dropped, not pooled.
    body: Option<BodyReader<'static>>,
    cancel: Cancel,
}

impl CancellableRead {
    pub(crate) fn new(body: BodyReader<'static>, cancel: Cancel) -> Self {
        Self {
            body: Some(body),
            cancel,
        }
    }
}

impl Read for CancellableRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(body) = &mut self.body else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let result = cancelled_by(&self.cancel, None, || body.read(buffer));
        if self.cancel.is_cancelled() {
            self.body = None;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        result.map_err(|error| match error.downcast::<ureq::Error>() {
            Ok(error) => crate::error::map(error).into(),
            Err(error) => error,
        })
    }
}
