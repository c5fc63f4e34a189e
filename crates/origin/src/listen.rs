use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// How many connections the kernel may hold until the server accepts them: enough for a burst of 5,000.
///
/// Linux caps this at `net.core.somaxconn` (4,096 by default). It does not refuse further connections
/// but drops their SYN, which the client resends after a second.
pub(crate) const BACKLOG: i32 = 8192;

/// Returns a listener with this backlog, which `std` cannot set.
pub(crate) fn listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows the option would let two servers share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
