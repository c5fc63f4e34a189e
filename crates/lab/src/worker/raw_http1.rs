//! Sends HTTP/1 requests over hyper's connections without a pool. The cost of these requests is the lower
//! bound for clients that use hyper.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use inflight::bytes::Bytes;
use inflight::http::{Request, Response, StatusCode};
use tokio::net::TcpStream;

use super::Failure;

/// A connection that has at most one request at a time. The task that sends the request also polls the
/// connection.
struct RawConnection {
    sender: SendRequest<Empty<Bytes>>,
    connection: Option<Connection<TokioIo<TcpStream>, Empty<Bytes>>>,
}

/// Idle connections. Each call of [`run`](Self::run) reuses those of the previous call.
#[derive(Clone, Default)]
pub(crate) struct RawConnections(Arc<Mutex<Vec<RawConnection>>>);

impl RawConnections {
    /// Sends `n` requests over `connections` connections, sequentially on each, and verifies the
    /// responses. Returns `n`.
    pub(crate) async fn run(
        &self,
        authority: &str,
        (connections, n): (usize, usize),
        request: impl Fn() -> Result<Request<Empty<Bytes>>, Failure>,
        verify: impl Fn(StatusCode, usize) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut idle = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        idle.retain(|connection| !connection.sender.is_closed());
        while idle.len() < connections {
            idle.push(RawConnection::open(authority).await?);
        }
        let (request, verify) = (&request, &verify);
        let sequences = idle
            .into_iter()
            .enumerate()
            .map(|(number, mut connection)| async move {
                let share = n / connections + usize::from(number < n % connections);
                for _ in 0..share {
                    let (status, length) = connection.exchange(request()?).await?;
                    verify(status, length)?;
                }
                Ok::<_, Failure>((connection, share))
            });
        let (idle, shares): (Vec<_>, Vec<_>) = try_join_all(sequences).await?.into_iter().unzip();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = idle;
        Ok(shares.into_iter().sum())
    }
}

impl RawConnection {
    async fn open(authority: &str) -> Result<Self, Failure> {
        let socket = TcpStream::connect(authority).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        Ok(Self {
            sender,
            connection: Some(connection),
        })
    }

    async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<(StatusCode, usize), Failure> {
        let connection = &mut self.connection;
        let response = self.sender.send_request(request);
        let response: Response<_> = drive(connection, response).await?;
        let status = response.status();
        let body = drive(connection, response.into_body().collect()).await?;
        // hyper accepts the next request only when the sender is ready again.
        drive(connection, self.sender.ready()).await?;
        Ok((status, body.to_bytes().len()))
    }
}

/// Completes a future that depends on the connection. Each poll first polls the connection.
async fn drive<T, F: Future<Output = T>>(
    connection: &mut Option<Connection<TokioIo<TcpStream>, Empty<Bytes>>>,
    future: F,
) -> T {
    let mut future = pin!(future);
    poll_fn(|cx: &mut Context<'_>| {
        if let Some(running) = connection
            && Pin::new(running).poll(cx).is_ready()
        {
            // A connection that has ended must not be polled again.
            *connection = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}
