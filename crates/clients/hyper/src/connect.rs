//! Connections for the pool: core looks the name up and keeps the time, the runtime's
//! [`Dial`] opens the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use inflight_core::{
    BoxFuture, ClientOptions, Connections, Error, Proxies, Resolver, Runtime, host_and_port,
};
use inflight_tls::{Tls, handshake_error, server_name};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::dial::Dial;
use crate::kept::{self, Kept, Nothing};
use crate::tunnel;

/// Shared, as the pool clones its connector for each request.
pub(crate) struct Connector<D>(Arc<Inner<D>>);

struct Inner<D> {
    dial: D,
    runtime: Arc<dyn Runtime>,
    resolver: Resolver,
    timeout: Option<Duration>,
    nodelay: bool,
    tls: Tls,
    proxies: Proxies,
    connections: Connections,
    // Dropped with the client and its last connection: then `ended` hears of it.
    alive: Sender<Nothing>,
    ended: Receiver<Nothing>,
}

impl<D: Dial> Connector<D> {
    pub(crate) fn new(
        dial: D,
        runtime: Arc<dyn Runtime>,
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        let (alive, ended) = async_channel::bounded(1);
        Ok(Self(Arc::new(Inner {
            dial,
            runtime,
            resolver: Resolver::new(options),
            timeout: options.connect_timeout,
            nodelay: options.nodelay,
            tls: Tls::new(options, true)?,
            proxies: options.proxies.clone(),
            connections: options.connections.clone(),
            alive,
            ended,
        })))
    }

    /// Completes when the client and its connections are gone.
    pub(crate) fn ended(&self) -> BoxFuture<'static, ()> {
        let ended = self.0.ended.clone();
        Box::pin(async move {
            // An error is the news: nobody is left who could send.
            let _ = ended.recv().await;
        })
    }
}

impl<D> Clone for Connector<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: Dial> Inner<D> {
    async fn connect(self: Arc<Self>, uri: Uri) -> Result<Kept<Stream<D::Stream>>, Error> {
        let target = host_and_port(&uri)?;
        let proxy = self.proxies.of(&uri);
        let to = proxy.map_or(target, |proxy| (proxy.host(), proxy.port()));
        let dial = |address| self.dial.dial(address, self.nodelay);
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let secure = async |stream| {
            if !https {
                return Ok(Stream::Plain(stream));
            }
            let stream = match proxy {
                Some(proxy) => tunnel::through(proxy, stream, uri.clone()).await?,
                None => stream,
            };
            self.secure(target.0, stream).await
        };
        let stream = self
            .resolver
            .connect_then(&*self.runtime, to, self.timeout, dial, secure)
            .await
            .map_err(|error| match proxy {
                Some(proxy) => proxy.failed(error),
                None => error,
            })?;
        self.connections.opened();
        let is_forwarded = proxy.is_some() && !https;
        Ok(Kept::new(stream, is_forwarded, self.alive.clone()))
    }

    async fn secure(&self, host: &str, stream: D::Stream) -> Result<Stream<D::Stream>, Error> {
        let connector = TlsConnector::from(self.tls.config()?);
        let stream = connector
            .connect(server_name(host)?, TokioIo::new(stream))
            .await
            .map_err(handshake_error)?;
        Ok(Stream::Secured(Box::new(TokioIo::new(stream))))
    }
}

impl<D: Dial> tower_service::Service<Uri> for Connector<D> {
    type Response = Kept<Stream<D::Stream>>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        kept::asked();
        Box::pin(self.0.clone().connect(uri))
    }
}

/// A socket of any runtime, as the pool wants it.
pub(crate) enum Stream<S> {
    /// As it was opened.
    Plain(S),
    /// Under TLS.
    Secured(Box<Secured<S>>),
}

/// tokio-rustls knows tokio's traits alone. They are traits and no more: no runtime is needed.
type Secured<S> = TokioIo<TlsStream<TokioIo<S>>>;

impl<S: Read + Write + Unpin> Connection for Stream<S> {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self {
            Self::Secured(stream) if stream.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                connected.negotiated_h2()
            }
            _ => connected,
        }
    }
}

/// What either stream does.
macro_rules! either {
    ($either:expr, $stream:ident => $call:expr) => {
        match $either {
            Stream::Plain($stream) => $call,
            Stream::Secured($stream) => $call,
        }
    };
}

impl<S: Read + Write + Unpin> Read for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl<S: Read + Write + Unpin> Write for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }
}
