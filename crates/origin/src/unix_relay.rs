use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;

use crate::server_thread::ServerThread;

/// A Unix socket in front of a server. It copies the bytes of each connection to a new connection to the
/// server, and back.
///
/// Dropping the relay closes its connections.
pub struct UnixRelay {
    connections: Arc<AtomicUsize>,
    _thread: ServerThread,
}

impl UnixRelay {
    /// Listens at `path`, at which no file may exist, for connections to the server at `server`.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses the socket or the thread.
    pub fn bind(path: impl AsRef<Path>, server: SocketAddr) -> io::Result<UnixRelay> {
        UnixRelay::accept_from(UnixListener::bind(path)?, server)
    }

    /// Accepts the connections of `listener`.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses the thread.
    pub fn accept_from(listener: UnixListener, server: SocketAddr) -> io::Result<UnixRelay> {
        listener.set_nonblocking(true)?;
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = accept(listener, server, connections.clone());
        let thread = ServerThread::start_runtime("unix-relay", accepting)?;
        Ok(UnixRelay {
            connections,
            _thread: thread,
        })
    }

    /// Returns how many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: UnixListener,
    server: SocketAddr,
    connections: Arc<AtomicUsize>,
) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        let (mut client, _) = listener.accept().await?;
        connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            // If the server refuses the connection, dropping `client` closes it.
            let mut server = TcpStream::connect(server).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}
