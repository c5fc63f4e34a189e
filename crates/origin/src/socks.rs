use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::listen::{BACKLOG, listen};
use crate::server_thread::ServerThread;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;

/// A SOCKS5 proxy (RFC 1928 and RFC 1929) on a free port of `127.0.0.1`.
///
/// The proxy opens tunnels for CONNECT and records every request. It connects to `127.0.0.1`, whatever the
/// requested name or address. A client can therefore reach servers that do not exist, but only through the
/// proxy.
///
/// Dropping the proxy closes its connections.
pub struct SocksProxy {
    addr: SocketAddr,
    state: Arc<SocksState>,
    _thread: ServerThread,
}

/// A request for a tunnel that a [`SocksProxy`] received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocksRequest {
    /// The name or the address of the server, as the client sent it.
    pub host: String,
    /// The port of the server.
    pub port: u16,
}

struct SocksState {
    credentials: Option<(String, String)>,
    requests: Mutex<Vec<SocksRequest>>,
}

impl SocksState {
    fn requests(&self) -> MutexGuard<'_, Vec<SocksRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocksProxy {
    /// Starts a proxy. If `credentials` (a user name and a password) are given, the proxy requires them.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses the socket or the thread.
    pub fn start(credentials: Option<(&str, &str)>) -> io::Result<SocksProxy> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), BACKLOG)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let state = Arc::new(SocksState {
            credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
            requests: Mutex::default(),
        });
        let thread = ServerThread::start_runtime("socks", accept(listener, state.clone()))?;
        Ok(SocksProxy {
            addr,
            state,
            _thread: thread,
        })
    }

    /// Returns the address that the proxy listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the requests received so far. There is one for each tunnel, and so for each connection to a
    /// server.
    #[must_use]
    pub fn requests(&self) -> Vec<SocksRequest> {
        self.state.requests().clone()
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<SocksState>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // An error only means that the connection ended early.
        tokio::spawn(serve(stream, state.clone()));
    }
}

async fn serve(mut client: TcpStream, state: Arc<SocksState>) -> io::Result<()> {
    if !authenticate(&mut client, &state).await? {
        return Ok(());
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let [VERSION, command, _, kind] = head else {
        return Ok(());
    };
    let host = match kind {
        1 => IpAddr::from(Ipv4Addr::from_bits(client.read_u32().await?)).to_string(),
        4 => IpAddr::from(Ipv6Addr::from_bits(client.read_u128().await?)).to_string(),
        3 => read_text(&mut client).await?,
        _ => return reply(&mut client, 8).await,
    };
    let port = client.read_u16().await?;
    state.requests().push(SocksRequest { host, port });
    if command != 1 {
        return reply(&mut client, 7).await;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return reply(&mut client, 5).await;
    };
    reply(&mut client, 0).await?;
    // When one end closes the tunnel, the other end is closed too.
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Returns whether the client may send a request.
async fn authenticate(client: &mut TcpStream, state: &SocksState) -> io::Result<bool> {
    if client.read_u8().await? != VERSION {
        return Ok(false);
    }
    let mut methods = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut methods).await?;
    let method = match state.credentials {
        None => NO_AUTHENTICATION,
        Some(_) => USER_AND_PASSWORD,
    };
    if !methods.contains(&method) {
        client.write_all(&[VERSION, NO_ACCEPTABLE_METHOD]).await?;
        return Ok(false);
    }
    client.write_all(&[VERSION, method]).await?;
    let Some((user, password)) = &state.credentials else {
        return Ok(true);
    };
    let version = client.read_u8().await?;
    let (sent_user, sent_password) = (read_text(client).await?, read_text(client).await?);
    let is_accepted = version == 1 && (&sent_user, &sent_password) == (user, password);
    client.write_all(&[1, u8::from(!is_accepted)]).await?;
    Ok(is_accepted)
}

/// Reads a text that follows its length.
async fn read_text(client: &mut TcpStream) -> io::Result<String> {
    let mut text = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut text).await?;
    String::from_utf8(text).map_err(io::Error::other)
}

async fn reply(client: &mut TcpStream, code: u8) -> io::Result<()> {
    let address = [1, 0, 0, 0, 0, 0, 0];
    client.write_all(&[VERSION, code, 0]).await?;
    client.write_all(&address).await
}
