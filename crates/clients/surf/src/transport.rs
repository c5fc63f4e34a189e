//! The transport that replaces surf's own: one exchange on one connection.

use std::fmt;
use std::sync::{Arc, PoisonError};

use async_h1::client::decode;
use http::header::CONNECTION;
use http::{Method, Uri};
use http_client::{HttpClient, Request, Response, async_trait};
use inflight_core::{
    BoxFuture, ClientOptions, Connections, Error, ErrorKind, NewConnection, Runtime, Trace,
};
use inflight_net::{
    Checkout, Connector, Key, Pool, Requirements, Stream, convert_to_http1, host_field,
};

use crate::message::RequestHead;
use crate::upload::Upload;
use crate::wire::{CheckIn, H1Stream, HeadSlot};

/// A transport for surf. Clones share the connector and the pool.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Inner>);

struct Inner {
    connector: Connector,
    pool: Pool<Stream>,
    connection_counts: Connections,
}

impl Transport {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        Ok(Self(Arc::new(Inner {
            connector: Connector::new(runtime.clone(), options, false)?,
            pool: Pool::new(runtime, options),
            connection_counts: options.connections.clone(),
        })))
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.0.connector
    }

    pub(crate) fn ended(&self) -> BoxFuture<'static, ()> {
        self.0.connector.ended()
    }

    async fn connection(
        &self,
        uri: &Uri,
        requirements: Requirements,
        trace: &Trace,
    ) -> Result<(Checkout<Stream>, CheckIn), Error> {
        let inner = &*self.0;
        let key = Key::new(uri, inner.connector.proxies())?;
        let connect = || {
            let (this, uri) = (self.0.clone(), uri.clone());
            async move { this.connector.connect(&uri).await }
        };
        let checkout = inner.pool.checkout(&key, requirements, connect).await?;
        match checkout.is_reused {
            true => inner.connection_counts.record_reused(trace),
            false => trace.report_new_connection(),
        }
        let pool = inner.pool.clone();
        Ok((checkout, CheckIn { pool, key }))
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send(&self, mut request: Request) -> Result<Response, surf::Error> {
        // surf requires a status for every error. The session does not use the status.
        let to_surf = |error: Error| surf::Error::new(500, error);
        let head = request.ext_mut().remove::<RequestHead>();
        let RequestHead(head) = head.ok_or_else(|| to_surf(Error::new(ErrorKind::InvalidUrl)))?;
        let mut head = http::Request::from_parts(head, ());
        let extensions = head.extensions();
        let requirements = Requirements {
            // A body may be a stream that cannot be resent.
            can_resend: head.method().is_idempotent() && request.is_empty() == Some(true),
            must_be_new: extensions.get::<NewConnection>().is_some(),
            will_share: false,
        };
        let trace = Trace::of(&head);
        let connection = self.connection(head.uri(), requirements, &trace).await;
        let (checkout, check_in) = connection.map_err(to_surf)?;
        let connection = checkout.connection;
        let host = host_field(head.uri());
        convert_to_http1(&mut head, connection.is_forwarded(), host);
        let is_head_request = head.method() == Method::HEAD;
        // After CONNECT, the connection belongs to the tunnel.
        let may_reuse =
            head.method() != Method::CONNECT && !head.headers().contains_key(CONNECTION);
        // `async_h1::connect` reads nothing before it has written the whole request. This would deadlock with
        // a server that responds before it has read the request. `H1Stream` reads and writes at the same
        // time.
        let upload = Upload::new(&head, request);
        let slot = HeadSlot::default();
        let check_in = may_reuse.then_some(check_in);
        let stream = H1Stream::new(
            connection,
            checkout.is_reused,
            check_in,
            upload,
            is_head_request,
            slot.clone(),
        );
        let mut response = decode(stream).await?;
        let head = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(head) = head {
            response.ext_mut().insert(head);
        }
        Ok(response)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
