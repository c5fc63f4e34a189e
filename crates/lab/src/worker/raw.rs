//! hyper's connections without a pool: what a request costs at least.

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

/// A connection that one request at a time uses and drives.
struct Lane {
    sender: SendRequest<Empty<Bytes>>,
    connection: Option<Connection<TokioIo<TcpStream>, Empty<Bytes>>>,
}

/// The lanes, kept from batch to batch.
#[derive(Clone, Default)]
pub(crate) struct Lanes(Arc<Mutex<Vec<Lane>>>);

impl Lanes {
    /// Makes `n` requests, on each of `lanes` connections one after the other, and verifies the
    /// responses. The number that is returned is `n`.
    pub(crate) async fn run(
        &self,
        authority: &str,
        (lanes, n): (usize, usize),
        request: impl Fn() -> Result<Request<Empty<Bytes>>, Failure>,
        verify: impl Fn(StatusCode, usize) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut kept = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        kept.retain(|lane| !lane.sender.is_closed());
        while kept.len() < lanes {
            kept.push(Lane::open(authority).await?);
        }
        let (request, verify) = (&request, &verify);
        let works = kept
            .into_iter()
            .enumerate()
            .map(|(number, mut lane)| async move {
                let share = n / lanes + usize::from(number < n % lanes);
                for _ in 0..share {
                    let (status, length) = lane.exchange(request()?).await?;
                    verify(status, length)?;
                }
                Ok::<_, Failure>((lane, share))
            });
        let (kept, shares): (Vec<_>, Vec<_>) = try_join_all(works).await?.into_iter().unzip();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(shares.into_iter().sum())
    }
}

impl Lane {
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
        let response: Response<_> = driven(connection, response).await?;
        let status = response.status();
        let body = driven(connection, response.into_body().collect()).await?;
        // The next request may be written once hyper is ready again.
        driven(connection, self.sender.ready()).await?;
        Ok((status, body.to_bytes().len()))
    }
}

/// Polls the connection before the future that waits for it.
async fn driven<T, F: Future<Output = T>>(
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
