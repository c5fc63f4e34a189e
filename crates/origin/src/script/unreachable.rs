use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::listen::listen;

/// An address on loopback on which connects hang, until this is dropped: to see a connect timeout at work.
///
/// It is a listener that accepts nothing and whose backlog is full. Linux drops the SYN of any further connect, and
/// the client repeats it, after a second at first, until it gives up. Connecting to an address that no one routes is
/// the usual way to such a hang, but needs a network, and not every network keeps silent.
pub struct Unaccepting {
    addr: SocketAddr,
    _listener: TcpListener,
    _backlog: Vec<TcpStream>,
}

impl Unaccepting {
    pub(super) fn start() -> io::Result<Unaccepting> {
        /// On loopback a connect that can succeed does so in microseconds.
        const HANGS: Duration = Duration::from_millis(250);
        /// A backlog of 0 holds one connection on Linux, and a few elsewhere.
        const ENOUGH: usize = 32;

        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), 0)?;
        let addr = listener.local_addr()?;
        let mut backlog = Vec::new();
        while backlog.len() < ENOUGH {
            match TcpStream::connect_timeout(&addr, HANGS) {
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
            "this system's backlog has no end",
        ))
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

/// An address on loopback that refuses connections: of a port that was free a moment ago.
///
/// Nothing keeps it free. A server that starts before it is used, in this process or another, may be given it; the
/// system hands out ports in an order that makes that unlikely.
///
/// # Errors
///
/// The system's, when it has no port to give.
pub fn refused() -> io::Result<SocketAddr> {
    // Bound and never listened on, so that it refuses from the start.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let addr = socket.local_addr()?.as_socket();
    addr.ok_or_else(|| io::Error::other("an address of another family"))
}
