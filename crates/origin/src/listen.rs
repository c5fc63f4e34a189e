use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections the kernel may hold for a server that has yet to accept them.
///
/// Enough for a burst of 5,000 connects. Linux caps it at `net.core.somaxconn` (4,096 by default): what is over
/// that is not refused, its SYN is dropped and sent again after a second.
pub(crate) const BACKLOG: i32 = 8192;

/// A listener with a backlog of our choosing, which `std` does not offer.
pub(crate) fn listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows the option would let two servers share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
