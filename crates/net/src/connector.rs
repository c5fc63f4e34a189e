//! From a URL to a connection.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, select};
use http::Uri;
use http::uri::Scheme;
use inflight_core::{
    BoxFuture, ClientOptions, ConnectOptions, Connections, Error, Phase, Proxies, Proxy, Resolver,
    Runtime, host_and_port,
};
use tokio_rustls::TlsConnector;

use crate::attempts::Attempts;
use crate::key;
use crate::stream::{MonitoredSocket, Stream};
use crate::tls::{Tls, handshake_error, server_name};

/// Makes a client's connections: looks the host up, connects to whichever of its addresses answers
/// first (RFC 8305), asks a proxy for a tunnel where one is wanted, and secures the stream for
/// `https`.
///
/// All of it happens within [`ClientOptions::connect_timeout`]. Each address is shown to the
/// [`AddressGuard`](inflight_core::AddressGuard) before it is connected to.
pub struct Connector {
    runtime: Arc<dyn Runtime>,
    resolver: Resolver,
    timeout: Option<Duration>,
    options: ConnectOptions,
    tls: Tls,
    proxies: Proxies,
    connections: Connections,
    // Each connection holds a clone: `ended` completes when the last of them is dropped.
    alive: Sender<Infallible>,
    ended: Receiver<Infallible>,
}

impl Connector {
    /// A connector whose sockets are `runtime`'s. `http2` says whether the client speaks HTTP/2 where
    /// the options and the server wants it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`](inflight_core::ErrorKind::Tls) when a certificate among the options cannot
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
            connections: options.connections.clone(),
            alive,
            ended,
        })
    }

    /// Completes when the connector is dropped and all of its connections are closed.
    pub fn ended(&self) -> BoxFuture<'static, ()> {
        let ended = self.ended.clone();
        Box::pin(async move {
            // Nothing is ever sent: `recv` returns an error when the last sender is dropped.
            let _ = ended.recv().await;
        })
    }

    /// The proxies that it connects through.
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// The proxy that a request to `uri` is sent to whole, if there is one.
    pub fn forwarding(&self, uri: &Uri) -> Option<&Proxy> {
        key::forwarding(uri, &self.proxies)
    }

    /// A new connection for requests to `uri`.
    ///
    /// # Errors
    ///
    /// [`Resolve`](inflight_core::ErrorKind::Resolve) and
    /// [`Connect`](inflight_core::ErrorKind::Connect), which names every address that was tried and
    /// why it failed; [`Proxy`](inflight_core::ErrorKind::Proxy),
    /// [`Tls`](inflight_core::ErrorKind::Tls); [`Timeout`](inflight_core::ErrorKind::Timeout) in
    /// [`Phase::Connect`](inflight_core::Phase::Connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up and closes its sockets.
    pub async fn connect(&self, uri: &Uri) -> Result<Stream, Error> {
        let proxy = self.proxies.of(uri);
        let (host, port) = match proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => host_and_port(uri)?,
        };
        let mut attempts = Attempts::new(host, port);
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
            (None, timeout) => Err(attempts.timed_out(Phase::Connect, timeout)),
        };
        let stream = outcome.map_err(|error| match proxy {
            Some(proxy) => proxy.failed(error),
            None => error,
        })?;
        self.connections.opened();
        Ok(stream)
    }

    async fn open(
        &self,
        uri: &Uri,
        (host, port): (&str, u16),
        proxy: Option<&Proxy>,
        attempts: &mut Attempts,
    ) -> Result<Stream, Error> {
        let addresses = self.resolver.lookup(&*self.runtime, host, port).await?;
        let socket = attempts
            .connect(&*self.runtime, addresses, self.options)
            .await?;
        let mut socket = MonitoredSocket::new(socket);
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Stream::plain(socket, proxy.is_some(), self.alive.clone()));
        }
        if let Some(proxy) = proxy {
            crate::tunnel::open(proxy, &mut socket, uri).await?;
        }
        let (server, _) = host_and_port(uri)?;
        let secured = TlsConnector::from(self.tls.config()?)
            .connect(server_name(server)?, socket)
            .await
            .map_err(handshake_error)?;
        Ok(Stream::secured(secured, self.alive.clone()))
    }
}
