//! Makes the event loop a runtime of inflight: it opens sockets, and starts tasks, timers and blocking work.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use inflight::backend::{BoxFuture, ConnectOptions, Runtime, Socket};
use rustix::io::Errno;
use socket2::{Domain, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::executor::EventLoop;
use crate::reactor::{Direction, Reactor, Sleep};

/// Longer sleeps end after this time, because the clock cannot represent every deadline.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

// ANCHOR: runtime
impl Runtime for EventLoop {
    fn name(&self) -> &'static str {
        "event_loop"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.start_task(Some(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        thread::spawn(work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let deadline = Instant::now() + duration.min(CENTURY);
        Box::pin(Sleep::until(self.reactor().clone(), deadline))
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let reactor = self.reactor().clone();
        Box::pin(async move {
            let stream = start_connect(address)?;
            stream.set_nodelay(options.nodelay)?;
            let socket = LoopSocket::new(reactor, stream)?;
            poll_fn(|cx| socket.poll_io(Direction::Write, cx, check_connected)).await?;
            Ok::<Box<dyn Socket>, _>(Box::new(socket))
        })
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        None
    }
}
// ANCHOR_END: runtime

/// Starts to connect, and does not wait for the server.
fn start_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(socket.into()),
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    // Unix returns the first one, and Windows the second one.
    error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
        || error.kind() == io::ErrorKind::WouldBlock
}

/// Fails with `WouldBlock` while the connection is not established.
fn check_connected(stream: &TcpStream) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        result => result.map(drop),
    }
}

/// A socket whose tasks the event loop wakes.
struct LoopSocket {
    stream: TcpStream,
    key: usize,
    reactor: Arc<Reactor>,
}

impl LoopSocket {
    fn new(reactor: Arc<Reactor>, stream: TcpStream) -> io::Result<Self> {
        let key = reactor.watch(&stream)?;
        Ok(Self {
            stream,
            key,
            reactor,
        })
    }

    // ANCHOR: poll_io
    /// Tries an operation. If it would have to wait, asks for a wake-up, and returns `Pending`.
    fn poll_io<T>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        operation: impl FnOnce(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match operation(&self.stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let socket = (&self.stream, self.key);
                self.reactor
                    .wake_when_ready(socket, direction, cx.waker())?;
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }
    // ANCHOR_END: poll_io
}

impl AsyncRead for LoopSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = |mut stream: &TcpStream| stream.read(buffer.initialize_unfilled());
        let length = ready!(self.poll_io(Direction::Read, cx, read))?;
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LoopSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(Direction::Write, cx, |mut stream| stream.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

impl Socket for LoopSocket {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Drop for LoopSocket {
    fn drop(&mut self) {
        // The system forgets a closed socket in any case.
        let _ = self.reactor.unwatch(&self.stream, self.key);
    }
}
