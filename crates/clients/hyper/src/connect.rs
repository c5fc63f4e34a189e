//! Connections for the pool: core looks the name up and keeps the time, the runtime's
//! [`Dial`] opens the socket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use inflight_core::{BoxFuture, ClientOptions, Error, ErrorKind, Resolver, Runtime};
use pin_project_lite::pin_project;

use crate::dial::Dial;
use crate::reused;

/// Shared, as the pool clones its connector for each request.
pub(crate) struct Connector<D>(Arc<Inner<D>>);

struct Inner<D> {
    dial: D,
    runtime: Arc<dyn Runtime>,
    resolver: Resolver,
    timeout: Option<Duration>,
    nodelay: bool,
}

impl<D: Dial> Connector<D> {
    pub(crate) fn new(dial: D, runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Self {
        Self(Arc::new(Inner {
            dial,
            runtime,
            resolver: Resolver::new(options),
            timeout: options.connect_timeout,
            nodelay: options.nodelay,
        }))
    }
}

impl<D> Clone for Connector<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: Dial> Inner<D> {
    async fn connect(self: Arc<Self>, uri: Uri) -> Result<Stream<D::Stream>, Error> {
        let host = uri
            .host()
            .ok_or_else(|| Error::new(ErrorKind::InvalidUrl).with_context("no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let dial = |address| self.dial.dial(address, self.nodelay);
        let stream = self
            .resolver
            .connect(&*self.runtime, (host, port), self.timeout, dial)
            .await?;
        Ok(Stream { stream })
    }
}

impl<D: Dial> tower_service::Service<Uri> for Connector<D> {
    type Response = Stream<D::Stream>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        reused::connects();
        Box::pin(self.0.clone().connect(uri))
    }
}

pin_project! {
    /// A socket of any runtime, as the pool wants it.
    pub struct Stream<S> {
        #[pin]
        stream: S,
    }
}

impl<S> Connection for Stream<S> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<S: Read> Read for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.project().stream.poll_read(cx, buffer)
    }
}

impl<S: Write> Write for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.project().stream.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.project().stream.poll_write_vectored(cx, slices)
    }
}
