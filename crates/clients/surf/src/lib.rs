//! surf as an inflight client, over a transport of our own.
//!
//! surf's pooled transport hands the rest of a cancelled answer to the next request, so
//! `inflight-net` makes and keeps the connections, from the runtime's sockets. async-h1, surf's own
//! engine, encodes and decodes bodies. Heads are written and read without it: surf's types have no
//! room for some requests, and async-h1 misreads some responses' heads, refuses others and panics at
//! a few.
//!
//! Both surf and async-h1 are no longer maintained.
//!
//! In reading order: `message` (requests and responses in surf's types and back), `transport`
//! (one exchange on one connection), `upload` (the request as it is written), `wire` (the connection
//! as async-h1 reads it), `head`, `chunks`, `body`, `error`.

mod body;
mod chunks;
mod error;
mod head;
mod message;
mod transport;
mod upload;
mod wire;

use std::sync::Arc;

use inflight_core::{
    Body, BoxFuture, Capabilities, ClientOptions, Error, ErrorKind, Fetch, HttpVersions, Runtime,
    Support,
};
use inflight_net::prepare;

use crate::transport::Transport;

const NO_HTTP2: &str = "async-h1 speaks HTTP/1.1 alone";

/// surf over the sockets of any runtime.
pub struct Surf {
    client: surf::Client,
    transport: Transport,
}

impl Surf {
    /// A client whose sockets and timers come from `runtime`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] with [`HttpVersions::Http2PriorKnowledge`], and
    /// [`ErrorKind::Tls`] when a certificate among the options cannot be used.
    pub fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        if options.versions == HttpVersions::Http2PriorKnowledge {
            return Err(Error::new(ErrorKind::Unsupported).with_context(NO_HTTP2));
        }
        let transport = Transport::new(runtime, options)?;
        Ok(Self {
            client: surf::Client::with_http_client(transport.clone()),
            transport,
        })
    }
}

impl Fetch for Surf {
    async fn fetch(&self, mut request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        prepare(&mut request, self.transport.connector());
        let request = message::outgoing(request);
        let response = self.client.send(request).await.map_err(error::map)?;
        message::incoming(response)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("surf 2.3 over async-h1 2.3");
        capabilities.http2 = Support::No(NO_HTTP2);
        capabilities.http2_prior_knowledge = capabilities.http2;
        capabilities
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        self.transport.ended()
    }
}
