//! surf as an inflight client, over a transport of our own.
//!
//! surf's pooled transport hands the rest of a cancelled answer to the next request, so the
//! connections are kept here: one is used again when the whole of its exchange is over. The core
//! looks names up, and async-h1, surf's own engine, encodes the request and decodes the body. The
//! response's head is read before async-h1 sees it, which misreads some heads, refuses others and
//! panics at a few.
//!
//! Both surf and async-h1 are no longer maintained.
//!
//! In reading order: `message` (requests and responses in surf's types and back), `transport`
//! (one exchange on one connection), `pool` (the connections in between), `wire` (the socket as async-h1 reads it), `head`, `chunks`,
//! `body`, `error`.

mod body;
mod chunks;
mod error;
mod head;
mod message;
mod pool;
mod transport;
mod wire;

use std::sync::Arc;

use inflight_core::{
    Body, Capabilities, ClientOptions, Error, ErrorKind, Fetch, HttpVersions, Runtime, Support,
};

use crate::transport::Transport;

const NO_HTTP2: &str = "async-h1 speaks HTTP/1.1 alone";

/// surf, with connections that are kept.
///
/// Its sockets belong to async-io's reactor, which works under any executor.
pub struct Surf {
    client: surf::Client,
}

impl Surf {
    /// A client that looks names up and times its connects on `runtime`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] with [`HttpVersions::Http2PriorKnowledge`].
    pub fn new(runtime: Arc<dyn Runtime>, options: &ClientOptions) -> Result<Self, Error> {
        if options.versions == HttpVersions::Http2PriorKnowledge {
            return Err(Error::new(ErrorKind::Unsupported).with_context(NO_HTTP2));
        }
        let transport = Transport::new(runtime, options);
        Ok(Self {
            client: surf::Client::with_http_client(transport),
        })
    }
}

impl Fetch for Surf {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let request = message::outgoing(request)?;
        let response = self.client.send(request).await.map_err(error::map)?;
        message::incoming(response)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("surf 2.3 over async-h1 2.3")
            .without_tls("surf's TLS is of 2020 and is not built in");
        capabilities.http2 = Support::No(NO_HTTP2);
        capabilities.http2_prior_knowledge = capabilities.http2;
        capabilities.proxies = Support::No("surf has no proxies");
        capabilities.proxied_whole = capabilities.proxies;
        capabilities.proxy_faults = capabilities.proxies;
        capabilities.opaque_request_headers = Support::No("surf sends header values in ASCII only");
        capabilities.extension_methods = Support::No("surf's methods are a fixed list");
        capabilities
    }
}
