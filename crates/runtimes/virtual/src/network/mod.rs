//! An in-memory network in virtual time.
//!
//! The network is a discrete-event simulation. Each segment, connect and close is a packet with a time
//! of arrival, and each packet is a timer of the runtime. The module `state` applies the packets that
//! arrive.

mod link;
mod listener;
mod socket;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Virtual;

pub use link::LinkOptions;
pub use listener::Listener;
pub(crate) use socket::connect;
pub(crate) use state::{NetworkState, Packet};

impl Virtual {
    /// Listens at `address` for connections that this runtime's
    /// [`connect`](inflight_core::Runtime::connect) opens. Port 0 selects a free port.
    ///
    /// A connect reaches only a listener with exactly the same IP address and port, so a listener at the
    /// unspecified address (`0.0.0.0`) receives no connects to other addresses. Any number of
    /// connections can wait to be accepted.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if there is a listener at the address, or if the port is 0
    /// and no port is free.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use inflight_core::{BlockOn, ConnectOptions, Runtime, Task};
    /// use inflight_virtual::{LinkOptions, Virtual};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = Virtual::new();
    /// let link = LinkOptions::new().latency(Duration::from_millis(20));
    /// runtime.network().set_default_link(link);
    ///
    /// let listener = runtime.listen("192.0.2.1:80".parse()?)?;
    /// let address = listener.local_addr();
    /// let server = Task::spawn(&runtime, async move {
    ///     let (mut socket, _peer) = listener.accept().await?;
    ///     let mut request = [0; 4];
    ///     socket.read_exact(&mut request).await?;
    ///     assert_eq!(&request, b"ping");
    ///     socket.write_all(b"pong").await
    /// });
    ///
    /// runtime.block_on(async {
    ///     let mut socket = runtime.connect(address, ConnectOptions::default()).await?;
    ///     socket.write_all(b"ping").await?;
    ///     let mut response = String::new();
    ///     socket.read_to_string(&mut response).await?;
    ///     assert_eq!(response, "pong");
    ///     server.await.unwrap()
    /// })?;
    /// // One round trip to connect, one for the request and its response.
    /// assert_eq!(runtime.elapsed(), Duration::from_millis(80));
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        let address = self.0.with_network(|network, _| network.listen(address))?;
        Ok(Listener::new(Arc::downgrade(&self.0), address))
    }

    /// Returns the runtime's network, to set link properties and to inject faults.
    pub fn network(&self) -> Network {
        Network(self.clone())
    }
}

/// A handle that sets the properties of a runtime's network and injects faults. Clones refer to the same
/// network.
///
/// The argument `address` of a method is the address of a server. The methods that inject faults also accept
/// the address of a client, which [`Listener::accept`] returns. They then affect only the connection of
/// that client.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::{BlockOn, ConnectOptions, Runtime, Task};
/// use inflight_virtual::Virtual;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = Virtual::new();
/// let server = "192.0.2.1:80".parse().unwrap();
/// let _listener = runtime.listen(server)?;
/// let network = runtime.network();
/// network.partition(server);
///
/// let connect = Task::spawn(&runtime, runtime.connect(server, ConnectOptions::default()));
/// runtime.block_on(async {
///     runtime.sleep(Duration::from_secs(60)).await;
///     network.heal(server);
///     connect.await.unwrap()
/// })?;
/// assert_eq!(runtime.elapsed(), Duration::from_secs(60));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Network(Virtual);

impl Network {
    /// Sets the properties of the link to the server at `address`.
    ///
    /// The properties apply to connects that start afterwards, including connects that are refused.
    pub fn set_link(&self, address: SocketAddr, options: LinkOptions) {
        self.with(|network| network.links.insert(address, options));
    }

    /// Sets the properties of the links to all addresses for which [`set_link`](Self::set_link) was not
    /// called.
    ///
    /// The properties apply to connects that start afterwards.
    pub fn set_default_link(&self, options: LinkOptions) {
        self.with(|network| network.default_link = options);
    }

    /// Holds all packets from and to `address` until [`heal`](Self::heal).
    ///
    /// The sockets are not notified. The network holds connects, bytes and ends of stream, including those
    /// that are already on the way. Without `heal`, connects to the address never complete.
    pub fn partition(&self, address: SocketAddr) {
        self.with(|network| network.partitions.addresses.insert(address));
    }

    /// Holds all packets of all addresses until [`heal_all`](Self::heal_all).
    pub fn partition_all(&self) {
        self.with(|network| network.partitions.is_everywhere = true);
    }

    /// Ends the partition of `address`. The held packets arrive immediately, in their original order.
    ///
    /// A partition of all addresses remains in effect.
    pub fn heal(&self, address: SocketAddr) {
        let shared = &self.0.0;
        shared.with_network(|network, timers| network.heal(address, timers));
    }

    /// Ends all partitions, including partitions of single addresses. The held packets arrive immediately,
    /// in their original order.
    pub fn heal_all(&self) {
        self.0.0.with_network(NetworkState::heal_all);
    }

    /// Resets all connections of `address` immediately, even during a partition.
    ///
    /// Reads and writes of both sockets then fail with
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset), and unread bytes are lost. Connects that
    /// have not completed are not affected.
    pub fn reset(&self, address: SocketAddr) {
        let shared = &self.0.0;
        shared.with_network(|network, timers| network.reset(Some(address), timers));
    }

    /// Resets all connections of all addresses, as [`reset`](Self::reset) does.
    pub fn reset_all(&self) {
        let shared = &self.0.0;
        shared.with_network(|network, timers| network.reset(None, timers));
    }

    fn with<T>(&self, change: impl FnOnce(&mut NetworkState) -> T) {
        self.0.0.with_network(|network, _| change(network));
    }
}
