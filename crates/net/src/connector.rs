//! The connector, which opens the connection for a URL.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, select};
use http::Uri;
use http::uri::Scheme;
use inflight_core::{
    BoxFuture, ClientOptions, ConnectOptions, Connections, Error, Phase, Proxies, Proxy, Resolver,
    Runtime, Socket, host_and_port,
};
use tokio_rustls::TlsConnector;

use crate::attempts::Attempts;
use crate::key;
use crate::stream::{MonitoredSocket, Stream};
use crate::tls::{Tls, handshake_error, server_name};

/// A connector, which opens a client's connections.
///
/// The connector looks up the host and connects to the address that answers first (RFC 8305), or connects to
/// [`ClientOptions::unix_socket`]. The connector then opens a tunnel if there is a SOCKS5 proxy, or an HTTP
/// proxy and the URL is `https`. For `https`, it then performs the TLS handshake.
///
/// [`ClientOptions::connect_timeout`] covers all of these steps. The
/// [`AddressGuard`](inflight_core::AddressGuard) checks each address before the connector connects to it.
pub struct Connector {
    runtime: Arc<dyn Runtime>,
    resolver: Resolver,
    timeout: Option<Duration>,
    options: ConnectOptions,
    tls: Tls,
    proxies: Proxies,
    unix_socket: Option<PathBuf>,
    connection_counts: Connections,
    // Each connection holds a clone of `alive`. The future of `ended` completes when the last clone is
    // dropped.
    alive: Sender<Infallible>,
    ended: Receiver<Infallible>,
}

impl Connector {
    /// Returns a connector that opens its sockets on `runtime`. If `http2` is `true` and the options
    /// allow HTTP/2, the connector offers it to servers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`](inflight_core::ErrorKind::Tls) if a certificate among the options cannot
    /// be used.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        options: &ClientOptions,
        http2: bool,
    ) -> Result<Self, Error> {
        let mut connect = ConnectOptions::default();
        connect.nodelay = options.nodelay;
        let (alive, ended) = async_channel::bounded(1);
        Ok(Self {
            runtime,
            resolver: Resolver::new(options),
            timeout: options.connect_timeout,
            options: connect,
            tls: Tls::new(options, http2)?,
            proxies: options.proxies.clone(),
            unix_socket: options.unix_socket.clone(),
            connection_counts: options.connections.clone(),
            alive,
            ended,
        })
    }

    /// Returns a future that completes when the connector is dropped and all of its connections are
    /// closed.
    pub fn ended(&self) -> BoxFuture<'static, ()> {
        let ended = self.ended.clone();
        Box::pin(async move {
            // The channel never carries a value. `recv` returns an error when the last sender is dropped.
            let _ = ended.recv().await;
        })
    }

    /// Returns the proxies that the connector uses.
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Returns the proxy that forwards requests to `uri`, if there is one (RFC 9112, section 3.2.2).
    pub fn forwarding(&self, uri: &Uri) -> Option<&Proxy> {
        key::forwarding(uri, &self.proxies)
    }

    /// Opens a new connection for requests to `uri`.
    ///
    /// # Errors
    ///
    /// - [`Resolve`](inflight_core::ErrorKind::Resolve) if the lookup fails.
    /// - [`Connect`](inflight_core::ErrorKind::Connect) if no address, or the Unix socket, accepts the
    ///   connection. The error lists every address that was tried and why it failed.
    /// - [`Proxy`](inflight_core::ErrorKind::Proxy) if the connection to the proxy or the tunnel fails.
    /// - [`Unsupported`](inflight_core::ErrorKind::Unsupported) if the environment sets an unsupported
    ///   proxy for `uri`, or if the runtime has no sockets of the kind.
    /// - [`Tls`](inflight_core::ErrorKind::Tls) if the handshake fails.
    /// - [`Timeout`](inflight_core::ErrorKind::Timeout) in
    ///   [`Phase::Connect`](inflight_core::Phase::Connect) if connecting takes longer than
    ///   the connect timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the attempt and closes its sockets.
    pub async fn connect(&self, uri: &Uri) -> Result<Stream, Error> {
        let proxy = self.proxies.of(uri)?;
        let (host, port) = match proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => host_and_port(uri)?,
        };
        let mut attempts = match &self.unix_socket {
            Some(path) => Attempts::to_unix_socket(path),
            None => Attempts::new(host, port),
        };
        let outcome = {
            let work = pin!(self.open(uri, (host, port), proxy, &mut attempts));
            match self.timeout {
                None => Some(work.await),
                Some(timeout) => match select(work, self.runtime.sleep(timeout)).await {
                    Either::Left((outcome, _)) => Some(outcome),
                    Either::Right(_) => None,
                },
            }
        };
        let outcome = match (outcome, self.timeout) {
            (Some(outcome), _) => outcome,
            (None, timeout) => Err(attempts.timeout_error(Phase::Connect, timeout)),
        };
        let stream = outcome?;
        self.connection_counts.record_opened();
        Ok(stream)
    }

    async fn open(
        &self,
        uri: &Uri,
        (host, port): (&str, u16),
        proxy: Option<&Proxy>,
        attempts: &mut Attempts,
    ) -> Result<Stream, Error> {
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let (server, server_port) = host_and_port(uri)?;
        let server_address = match proxy {
            Some(proxy) if !proxy.resolves_names() => {
                let found = self.resolver.lookup(&*self.runtime, server, server_port);
                found.await?.into_iter().next()
            }
            _ => None,
        };
        let socket = self.open_socket((host, port), attempts).await;
        let mut socket = MonitoredSocket::new(socket.map_err(|error| match proxy {
            Some(proxy) => proxy.connection_error(error),
            None => error,
        })?);
        let tunnel = proxy.filter(|proxy| is_https || proxy.is_socks());
        if let Some(proxy) = tunnel {
            crate::tunnel::open(proxy, &mut socket, uri, server_address).await?;
        }
        if !is_https {
            let is_forwarded = proxy.is_some() && tunnel.is_none();
            return Ok(Stream::plain(socket, is_forwarded, self.alive.clone()));
        }
        let stream = TlsConnector::from(self.tls.config()?)
            .connect(server_name(server)?, socket)
            .await
            .map_err(handshake_error)?;
        Ok(Stream::tls(stream, self.alive.clone()))
    }

    /// Opens a socket to the Unix socket of the options, if it is set, or to this host.
    async fn open_socket(
        &self,
        (host, port): (&str, u16),
        attempts: &mut Attempts,
    ) -> Result<Box<dyn Socket>, Error> {
        let runtime = &*self.runtime;
        match &self.unix_socket {
            Some(path) => attempts.connect_unix(runtime, path).await,
            None => {
                let addresses = self.resolver.lookup(runtime, host, port).await?;
                attempts.connect(runtime, addresses, self.options).await
            }
        }
    }
}
