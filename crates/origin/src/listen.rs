use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// How many connections the kernel queues until the server accepts them. This is enough for a burst
/// of 5,000.
///
/// Linux caps this at `net.core.somaxconn` (4,096 by default). If the queue is full, Linux drops
/// the SYN of a new connection, and the client resends the SYN after a second.
pub(crate) const BACKLOG: i32 = 8192;

/// Returns a listener with this backlog. `TcpListener::bind` of `std` sets a fixed backlog.
pub(crate) fn listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows, this option would let two servers share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
