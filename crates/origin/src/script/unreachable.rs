use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::listen::listen;

/// A loopback address for tests of connect timeouts. Connects to it hang until this value is dropped.
///
/// Connects hang because the backlog of the listener is full and no thread accepts connections.
/// Linux drops the SYN of each new connect. The client's system resends the SYN, first after a
/// second, until the client times out. Tests often use an address without a route instead. Such an
/// address needs a network, and some networks respond with an error.
pub struct UnacceptingAddress {
    addr: SocketAddr,
    _listener: TcpListener,
    _backlog: Vec<TcpStream>,
}

impl UnacceptingAddress {
    pub(super) fn start() -> io::Result<UnacceptingAddress> {
        /// A connect that takes this long is assumed to hang. On loopback, a successful connect
        /// takes microseconds.
        const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
        /// A backlog of 0 holds one connection on Linux, and a few on other systems.
        const MAX_BACKLOG: usize = 32;

        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), 0)?;
        let addr = listener.local_addr()?;
        let mut backlog = Vec::new();
        while backlog.len() < MAX_BACKLOG {
            match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
                Ok(stream) => backlog.push(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Ok(UnacceptingAddress {
                        addr,
                        _listener: listener,
                        _backlog: backlog,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "the backlog of this system does not fill up",
        ))
    }

    /// Returns the address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

/// Returns a loopback address that refuses connections, because no socket listens on its port.
///
/// The port is not reserved, so a server that starts later may get the same port. Systems assign ports
/// in an order that makes this unlikely.
///
/// # Errors
///
/// Fails when the system has no free port.
pub fn refused_address() -> io::Result<SocketAddr> {
    // The socket binds a free port but does not listen, so the system refuses connections to the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let addr = socket.local_addr()?.as_socket();
    addr.ok_or_else(|| io::Error::other("the address has an unexpected family"))
}
