use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::Dial;

/// tokio's sockets. The handle is entered while connecting, so that it may happen under any
/// executor; an open socket finds its reactor by itself.
#[derive(Clone, Debug)]
pub struct Tokio(pub Handle);

impl Dial for Tokio {
    type Stream = TokioIo<TcpStream>;

    async fn dial(&self, address: SocketAddr, nodelay: bool) -> io::Result<Self::Stream> {
        let mut connecting = pin!(TcpStream::connect(address));
        let stream = poll_fn(|cx| {
            let _inside = self.0.enter();
            connecting.as_mut().poll(cx)
        })
        .await?;
        stream.set_nodelay(nodelay)?;
        Ok(TokioIo::new(stream))
    }
}
