use std::io;
use std::net::SocketAddr;

use async_std::net::TcpStream;
use smol_hyper::rt::FuturesIo;

use super::Dial;
use super::drained::Drained;

/// async-std's sockets.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl Dial for AsyncStd {
    type Stream = Drained<FuturesIo<TcpStream>>;

    async fn dial(&self, address: SocketAddr, nodelay: bool) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(nodelay)?;
        Ok(Drained::new(FuturesIo::new(stream)))
    }
}
