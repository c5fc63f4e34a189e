//! One exchange on one connection: what surf is given in the place of its own transport.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_h1::client::{Encoder, decode};
use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use http_client::http_types::Method;
use http_client::http_types::headers::CONNECTION;
use http_client::http_types::url::Position;
use http_client::{HttpClient, Request, Response, async_trait};
use inflight_core::{ClientOptions, Connections, Error, ErrorKind, Resolver, Runtime, Trace};

use crate::pool::{Pool, Socket};
use crate::wire::{Slot, Wire};

pub(crate) struct Transport {
    runtime: Arc<dyn Runtime>,
    resolver: Resolver,
    connect_timeout: Option<Duration>,
    nodelay: bool,
    connections: Connections,
    pool: Arc<Pool>,
}

impl Transport {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Self {
        Self {
            pool: Pool::new(runtime.clone(), options),
            runtime,
            resolver: Resolver::new(options),
            connect_timeout: options.connect_timeout,
            nodelay: options.nodelay,
            connections: options.connections.clone(),
        }
    }

    async fn connect(&self, request: &Request) -> Result<Socket, Error> {
        let url = request.url();
        let host = url
            .host_str()
            .ok_or_else(|| Error::new(ErrorKind::InvalidUrl).with_context("no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let dial = async |address: SocketAddr| {
            let stream = Async::<TcpStream>::connect(address).await?;
            stream.get_ref().set_nodelay(self.nodelay)?;
            Ok(stream)
        };
        let socket = self
            .resolver
            .connect(&*self.runtime, (host, port), self.connect_timeout, dial)
            .await?;
        self.connections.opened();
        Ok(Arc::new(socket))
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send(&self, request: Request) -> Result<Response, surf::Error> {
        let host = &request.url()[Position::BeforeHost..Position::AfterPort];
        let lease = match self.pool.lease(host, self.connect(&request)).await {
            Ok(lease) => lease,
            // surf wants a status for every error; nobody looks at it.
            Err(error) => return Err(surf::Error::new(500, error)),
        };
        if let Some(trace) = request.ext().get::<Trace>() {
            match lease.is_kept {
                true => self.connections.reused(trace),
                false => trace.connected(),
            }
        }
        // `async_h1::connect` reads nothing before all is written. A server that answers while it
        // reads would then wait for us as we wait for it, so the wire does both at once.
        let to_head = request.method() == Method::Head;
        // After a CONNECT the connection is the tunnel's.
        let may_stay = request.method() != Method::Connect && request.header(CONNECTION).is_none();
        let upload = write(request, lease.socket.clone());
        let slot = Slot::default();
        let wire = Wire::new(lease, upload, to_head, may_stay, slot.clone());
        let mut response = decode(wire).await?;
        let head = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(head) = head {
            response.ext_mut().insert(head);
        }
        Ok(response)
    }
}

/// Writes the request as async-h1 encodes it.
async fn write(request: Request, socket: Socket) -> io::Result<()> {
    let mut socket = &*socket;
    let announced = matches!(request.method(), Method::Post | Method::Put | Method::Patch);
    if request.is_empty() != Some(true) || announced {
        return io::copy(Encoder::new(request), socket).await.map(drop);
    }
    // async-h1 announces an empty body where no body is expected (RFC 9110, section 8.6).
    let mut head = String::new();
    Encoder::new(request).read_to_string(&mut head).await?;
    let head = head.replacen("\r\ncontent-length: 0\r\n", "\r\n", 1);
    socket.write_all(head.as_bytes()).await
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
