use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_io::Async;
use hyper::rt::{Read, ReadBufCursor, Write};
use smol_hyper::rt::FuturesIo;

use super::Dial;

/// smol's sockets.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Dial for Smol {
    type Stream = Socket;

    async fn dial(&self, address: SocketAddr, nodelay: bool) -> io::Result<Self::Stream> {
        let stream = Async::<TcpStream>::connect(address).await?;
        stream.get_ref().set_nodelay(nodelay)?;
        Ok(Socket {
            stream: FuturesIo::new(stream),
            is_drained: false,
        })
    }
}

/// A socket that remembers that there was nothing more to read.
///
/// hyper looks for more each time its task is woken, some five times for a request, and each time
/// async-io would ask the system, and the buffer be made ready.
pub struct Socket {
    stream: FuturesIo<Async<TcpStream>>,
    is_drained: bool,
}

impl Socket {
    fn stream(&mut self) -> Pin<&mut FuturesIo<Async<TcpStream>>> {
        Pin::new(&mut self.stream)
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_drained {
            ready!(self.stream.get_ref().poll_readable(cx))?;
        }
        let read = self.stream().poll_read(cx, buffer);
        self.is_drained = read.is_pending();
        read
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }
}
