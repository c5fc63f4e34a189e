//! hyper as an inflight client, on every async runtime: the same engine everywhere, so that
//! what differs between two cells is the runtime alone.
//!
//! `inflight-net` makes the connections, from the runtime's sockets, and keeps them. Over HTTP/1 a
//! request drives its connection itself: there is no task and no channel between the two. Over HTTP/2
//! a connection is a task on the runtime, which its requests share.
//!
//! In reading order: `message` (requests as hyper sends them), `connection` (what the pool keeps),
//! `http1` and `http2` (one exchange), `interim` (a limit that hyper lacks), `body`, `error`, `rt`
//! (hyper's tasks and timers).

mod body;
mod connection;
mod error;
mod http1;
mod http2;
mod interim;
mod message;
mod rt;

use std::sync::Arc;

use http::header::HOST;
use inflight_core::{
    Body, BoxFuture, Capabilities, ClientOptions, Connections, Error, ErrorKind, Fetch,
    HttpVersions, NewConnection, Runtime, Trace,
};
use inflight_net::{Checkout, Connector, Key, Pool, Want, prepare};

use crate::body::Upload;
use crate::connection::Connection;
use crate::http1::Failure;

/// hyper over the sockets of any runtime.
pub struct Hyper {
    handshake: Arc<Handshake>,
    pool: Pool<Connection>,
    connections: Connections,
}

/// Makes connections that speak HTTP.
struct Handshake {
    runtime: Arc<dyn Runtime>,
    connector: Connector,
    versions: HttpVersions,
}

impl Hyper {
    /// A client whose sockets, tasks and timers come from `runtime`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] when a certificate among the options cannot be used;
    /// [`ErrorKind::Unsupported`] with a proxy and [`HttpVersions::Http2PriorKnowledge`], as proxies
    /// are spoken to in HTTP/1.1.
    pub fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        if options.versions == HttpVersions::Http2PriorKnowledge && !options.proxies.is_empty() {
            return Err(
                Error::new(ErrorKind::Unsupported).with_context("a proxy is spoken to in HTTP/1.1")
            );
        }
        Ok(Self {
            pool: Pool::new(runtime.clone(), options),
            handshake: Arc::new(Handshake {
                connector: Connector::new(runtime.clone(), options, true)?,
                runtime,
                versions: options.versions,
            }),
            connections: options.connections.clone(),
        })
    }

    /// Sends the request on a connection that is kept, or on a new one.
    async fn send(
        &self,
        mut request: http::Request<Upload>,
        trace: &Trace,
    ) -> Result<http::Response<Body>, Error> {
        let uri = request.uri().clone();
        let handshake = &self.handshake;
        let key = Key::new(&uri, handshake.connector.proxies())?;
        // HTTP/2 takes it out of the fields.
        let host = request.headers().get(HOST).cloned();
        let want = Want {
            // A body may be one that cannot be sent again.
            is_idempotent: request.method().is_idempotent() && request.body().is_empty(),
            must_be_new: request.extensions().get::<NewConnection>().is_some(),
            will_share: handshake.versions == HttpVersions::Http2PriorKnowledge,
        };
        loop {
            let connect = || handshake.clone().connect(uri.clone());
            let Checkout {
                connection,
                is_reused,
            } = self.pool.checkout(&key, want, connect).await?;
            match is_reused {
                true => self.connections.reused(trace),
                false => trace.connected(),
            }
            let failure = match connection {
                Connection::Http1(connection) => {
                    let home = http1::Home {
                        pool: self.pool.clone(),
                        key: key.clone(),
                    };
                    match http1::exchange(connection, home, request).await {
                        Ok(response) => return Ok(response),
                        Err(failure) => failure,
                    }
                }
                Connection::Http2(connection) => match connection.exchange(request).await {
                    Ok(response) => return Ok(response),
                    Err(failure) => failure,
                },
            };
            match failure {
                // A kept connection that is gone has handed the request back: it was not sent.
                Failure::NotSent(unsent, _) if is_reused => {
                    request = *unsent;
                    *request.uri_mut() = uri.clone();
                    if let Some(host) = &host {
                        request.headers_mut().insert(HOST, host.clone());
                    }
                }
                Failure::NotSent(_, error) => return Err(error),
                Failure::NotProcessed(error) => return Err(error.on_dead_connection()),
                Failure::Unanswered(error) if is_reused => return Err(error.on_dead_connection()),
                Failure::Unanswered(error) | Failure::Other(error) => return Err(error),
            }
        }
    }
}

impl Handshake {
    async fn connect(self: Arc<Self>, uri: http::Uri) -> Result<Connection, Error> {
        let stream = self.connector.connect(&uri).await?;
        if stream.is_http2() || self.versions == HttpVersions::Http2PriorKnowledge {
            return http2::handshake(&self.runtime, stream).await;
        }
        http1::handshake(stream).await
    }
}

impl Fetch for Hyper {
    fn fetch(
        &self,
        mut request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send {
        prepare(&mut request, &self.handshake.connector);
        let trace = Trace::of(&request);
        let request = request.map(Upload::new);
        async move { self.send(request, &trace).await }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all("hyper 1")
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        self.handshake.connector.ended()
    }
}
