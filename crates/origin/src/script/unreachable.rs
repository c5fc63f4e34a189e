use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::listen::listen;

/// An address on loopback to which connects hang until this is dropped, to test connect timeouts.
///
/// It is a listener that accepts nothing and whose backlog is full. Linux drops the SYN of any further
/// connect, and the client resends it, first after a second, until the client times out. The usual way
/// to such a hang is an address that is not routed. But this needs a network, and some networks send an
/// error.
pub struct Unaccepting {
    addr: SocketAddr,
    _listener: TcpListener,
    _backlog: Vec<TcpStream>,
}

impl Unaccepting {
    pub(super) fn start() -> io::Result<Unaccepting> {
        /// A connect that takes this long hangs: on loopback, a successful one takes microseconds.
        const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
        /// A backlog of 0 holds one connection on Linux, and a few elsewhere.
        const MAX_BACKLOG: usize = 32;

        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), 0)?;
        let addr = listener.local_addr()?;
        let mut backlog = Vec::new();
        while backlog.len() < MAX_BACKLOG {
            match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
                Ok(stream) => backlog.push(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Ok(Unaccepting {
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

/// Returns an address on loopback that refuses connections, with a port that was free a moment ago.
///
/// The port is not reserved. A server that starts before the address is used may get the same port. This
/// is unlikely, because of the order in which systems assign ports.
///
/// # Errors
///
/// Fails when the system has no free port.
pub fn refused() -> io::Result<SocketAddr> {
    // A socket that is bound and does not listen refuses connections.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let addr = socket.local_addr()?.as_socket();
    addr.ok_or_else(|| io::Error::other("the address has an unexpected family"))
}
