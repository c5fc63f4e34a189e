#![doc = include_str!("../README.md")]
//!
//! The HTTP engine is the same on every runtime, so two sessions with hyper differ only in the runtime.
//!
//! `inflight-net` opens the connections with the runtime's sockets, and pools them. Over HTTP/1, the future
//! of a request drives the connection, and then the body of the response does. A task drives the connection
//! only if the exchange must continue without them, for example to finish an upload. Over HTTP/2, a task on
//! the runtime drives the connection, and several requests share it.
//!
//! In reading order: `message` (moves a request's `Host` field to the authority, for HTTP/2), `connection`
//! (the pooled connection), `http1` and `http2` (one exchange), `http1_stream` (the stream that hyper reads and
//! writes), `body`, `error`, `rt` (tasks and timers for hyper).

mod body;
mod connection;
mod error;
mod http1;
mod http1_stream;
mod http2;
mod message;
mod rt;

use std::sync::Arc;

use inflight_core::{
    Body, BoxFuture, Capabilities, ClientOptions, Connections, Error, ErrorKind, Fetch,
    HttpVersions, NewConnection, Runtime, Trace,
};
use inflight_net::{
    Checkout, Connector, Key, Pool, Requirements, add_proxy_credentials, host_field,
};

use crate::body::Upload;
use crate::connection::Connection;

/// A client that uses hyper with the sockets of any runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{BlockOn, Runtime, Session};
/// use inflight_hyper::Hyper;
/// use inflight_tokio::Tokio;
///
/// # let origin = inflight_origin::Origin::start()?;
/// # let url = origin.url("/page/1");
/// let tokio = Tokio::new(None)?;
/// let runtime: Arc<dyn Runtime> = Arc::new(tokio.clone());
/// let builder = Session::builder(|options| Ok((Hyper::new(runtime.clone(), options)?, runtime)));
/// let session = builder.build()?;
/// let page = tokio.block_on(session.get(url).text())?;
/// assert!(page.contains("Page 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Hyper {
    http_connector: Arc<HttpConnector>,
    pool: Pool<Connection>,
    connection_counts: Connections,
}

/// A connector that also performs the HTTP handshake on a new connection.
struct HttpConnector {
    runtime: Arc<dyn Runtime>,
    connector: Connector,
    versions: HttpVersions,
}

impl Hyper {
    /// Returns a client whose sockets, tasks and timers come from `runtime`.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Tls`] if a certificate among the options cannot be used.
    /// - [`ErrorKind::Unsupported`] for [`HttpVersions::Http2PriorKnowledge`] with a proxy, because the
    ///   client speaks only HTTP/1.1 to the proxy itself.
    pub fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        if options.versions == HttpVersions::Http2PriorKnowledge && !options.proxies.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported)
                .with_context("HTTP/2 with prior knowledge does not work through a proxy"));
        }
        Ok(Self {
            pool: Pool::new(runtime.clone(), options),
            http_connector: Arc::new(HttpConnector {
                connector: Connector::new(runtime.clone(), options, true)?,
                runtime,
                versions: options.versions,
            }),
            connection_counts: options.connections.clone(),
        })
    }

    /// Sends the request on a pooled connection or a new one.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn reserves space for the request twice"
    )]
    fn send(
        &self,
        request: http::Request<Upload>,
        trace: Trace,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send {
        async move {
            let http_connector = &self.http_connector;
            let key = Key::new(request.uri(), http_connector.connector.proxies())?;
            let requirements = Requirements {
                // A body may be a stream that cannot be resent.
                can_resend: request.method().is_idempotent() && request.body().is_empty(),
                must_be_new: request.extensions().get::<NewConnection>().is_some(),
                will_share: http_connector.versions == HttpVersions::Http2PriorKnowledge,
            };
            let connect = || http_connector.clone().connect(request.uri().clone());
            let Checkout {
                connection,
                is_reused,
            } = self.pool.checkout(&key, requirements, connect).await?;
            match is_reused {
                true => self.connection_counts.record_reused(&trace),
                false => trace.report_new_connection(),
            }
            match connection {
                Connection::Http1(connection) => {
                    let pool = self.pool.clone();
                    let check_in = http1::CheckIn { pool, key };
                    http1::exchange(connection, is_reused, check_in, request).await
                }
                // Boxed, so that the future of a request over HTTP/1 stays small.
                Connection::Http2(connection) => {
                    Box::pin(connection.exchange(is_reused, request)).await
                }
            }
        }
    }
}

impl HttpConnector {
    async fn connect(self: Arc<Self>, uri: http::Uri) -> Result<Connection, Error> {
        let stream = self.connector.connect(&uri).await?;
        if stream.is_http2() || self.versions == HttpVersions::Http2PriorKnowledge {
            let connection = http2::handshake(&self.runtime, stream).await;
            return connection.map(Connection::Http2);
        }
        http1::handshake(stream, host_field(&uri)).await
    }
}

impl Fetch for Hyper {
    fn fetch(
        &self,
        mut request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send {
        add_proxy_credentials(&mut request, &self.http_connector.connector);
        let trace = Trace::of(&request);
        self.send(request.map(Upload::new), trace)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all("hyper 1")
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        self.http_connector.connector.ended()
    }
}
