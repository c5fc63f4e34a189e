use std::io;
use std::net::{SocketAddr, TcpStream};

use async_io::Async;
use smol_hyper::rt::FuturesIo;

use super::Dial;
use super::drained::Drained;

/// smol's sockets.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Dial for Smol {
    type Stream = Drained<FuturesIo<Async<TcpStream>>>;

    async fn dial(&self, address: SocketAddr, nodelay: bool) -> io::Result<Self::Stream> {
        let stream = Async::<TcpStream>::connect(address).await?;
        stream.get_ref().set_nodelay(nodelay)?;
        Ok(Drained::new(FuturesIo::new(stream)))
    }
}
