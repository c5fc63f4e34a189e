//! The listener of a server.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Weak;
use std::task::{Context, Poll};

use inflight_core::Socket;

use super::socket::VirtualSocket;
use super::state::runtime_ended;
use crate::shared::Shared;

/// A listener that accepts connections at one address of a runtime's network.
///
/// [`Virtual::listen`](crate::Virtual::listen) creates a listener. Dropping the listener frees the
/// address, refuses later connects, and resets the connections that were not accepted yet.
///
/// For an example, see [`Virtual::listen`](crate::Virtual::listen).
#[derive(Debug)]
pub struct Listener {
    // Weak, so that a server's task does not keep its runtime alive.
    shared: Weak<Shared>,
    address: SocketAddr,
}

impl Listener {
    pub(super) fn new(shared: Weak<Shared>, address: SocketAddr) -> Self {
        Self { shared, address }
    }

    /// Returns the address of the listener, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next connection. Returns its socket and the client's address.
    ///
    /// As in TCP, the server can accept a connection one and a half round trips after the start of
    /// the connect. The client's connect completes half a round trip earlier.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) if the runtime has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection. Several tasks may accept
    /// at the same time.
    pub async fn accept(&self) -> io::Result<(Box<dyn Socket>, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Socket>, SocketAddr)>> {
        let Some(shared) = self.shared.upgrade() else {
            return Poll::Ready(Err(runtime_ended()));
        };
        let accepted = shared.with_network(|network, _| network.poll_accept(self.address, cx));
        accepted.map(|(end, peer)| {
            let socket = VirtualSocket::new(self.shared.clone(), end);
            Ok((Box::new(socket) as Box<dyn Socket>, peer))
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let address = self.address;
            shared.with_network(|network, timers| network.stop_listening(address, timers));
        }
    }
}
