//! Sockets: the one thing that each runtime does in its own way.

#[cfg(feature = "async-std")]
mod async_std;
#[cfg(any(feature = "smol", feature = "async-std"))]
mod drained;
#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "tokio")]
mod tokio;

use std::io;
use std::net::SocketAddr;

#[cfg(feature = "async-std")]
pub use self::async_std::AsyncStd;
#[cfg(feature = "smol")]
pub use self::smol::Smol;
#[cfg(feature = "tokio")]
pub use self::tokio::Tokio;

/// Opens a runtime's sockets.
pub trait Dial: Clone + Send + Sync + 'static {
    /// A connected socket.
    type Stream: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static;

    /// Connects to one address. `nodelay` sets `TCP_NODELAY`.
    fn dial(
        &self,
        address: SocketAddr,
        nodelay: bool,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}
