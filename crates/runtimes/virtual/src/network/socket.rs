//! The sockets of clients and servers, and the connect of a client.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use inflight_core::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::{EndId, NetworkState, runtime_ended};
use crate::shared::Shared;
use crate::timer::Timers;

/// The socket at one end of a connection. Dropping the socket closes the end.
pub(super) struct VirtualSocket {
    // Weak, so that a task that holds a socket does not keep its runtime alive.
    shared: Weak<Shared>,
    end: EndId,
}

impl VirtualSocket {
    pub(super) fn new(shared: Weak<Shared>, end: EndId) -> Self {
        Self { shared, end }
    }

    fn with<T>(
        &self,
        operation: impl FnOnce(&mut NetworkState, &mut Timers) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.shared.upgrade() {
            Some(shared) => shared.with_network(operation),
            None => Poll::Ready(Err(runtime_ended())),
        }
    }
}

impl AsyncRead for VirtualSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|network, timers| network.poll_read(self.end, buffer, Some(cx), timers))
    }
}

impl AsyncWrite for VirtualSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|network, timers| network.poll_write(self.end, bytes, cx, timers))
    }

    /// Does nothing, because a write sends its bytes immediately.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|network, timers| Poll::Ready(network.shut_down(self.end, timers)))
    }
}

impl Socket for VirtualSocket {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let read =
            self.with(|network, timers| network.poll_read(self.end, &mut buffer, None, timers));
        match read {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with_network(|network, timers| network.close(self.end, timers));
        }
    }
}

/// Connects to a listener. Dropping the future cancels the connect.
pub(crate) async fn connect(
    shared: Weak<Shared>,
    address: SocketAddr,
) -> io::Result<Box<dyn Socket>> {
    let end = shared
        .upgrade()
        .ok_or_else(runtime_ended)?
        .with_network(|network, timers| network.connect(address, timers));
    let socket = VirtualSocket::new(shared, end);
    poll_fn(|cx| socket.with(|network, timers| network.poll_connect(end, cx, timers))).await?;
    Ok(Box::new(socket))
}
