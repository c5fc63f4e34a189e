#![doc = include_str!("../README.md")]
//!
//! surf's pooled transport delivers the rest of a cancelled response to the next request. So
//! `inflight-net` opens the connections with the runtime's sockets, and pools them. async-h1, surf's
//! HTTP engine, encodes and decodes bodies. This crate writes and reads the heads, because surf's types
//! cannot hold every request, and async-h1 misreads some response heads, refuses others, or panics.
//!
//! In reading order: `message` (conversion to and from surf's types), `transport` (one exchange on one
//! connection), `upload` (writes the request), `wire` (reads the response for async-h1), `head`, `chunks`,
//! `body`, `error`.

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
use inflight_net::add_proxy_credentials;

use crate::transport::Transport;

const NO_HTTP2: &str = "async-h1 supports only HTTP/1.1";

/// A client that uses surf with the sockets of any runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{BlockOn, Runtime, Session};
/// use inflight_smol::Smol;
/// use inflight_surf::Surf;
///
/// # let origin = inflight_origin::Origin::start()?;
/// # let url = origin.url("/page/1");
/// let smol = Smol::global();
/// let runtime: Arc<dyn Runtime> = Arc::new(smol.clone());
/// let builder = Session::builder(|options| Ok((Surf::new(runtime.clone(), options)?, runtime)));
/// let session = builder.build()?;
/// let page = smol.block_on(session.get(url).text())?;
/// assert!(page.contains("Page 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Surf {
    client: surf::Client,
    transport: Transport,
}

impl Surf {
    /// Returns a client whose sockets and timers come from `runtime`.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Unsupported`] for [`HttpVersions::Http2PriorKnowledge`].
    /// - [`ErrorKind::Tls`] if a certificate among the options cannot be used.
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
        add_proxy_credentials(&mut request, self.transport.connector());
        let request = message::to_surf(request);
        let response = self.client.send(request).await.map_err(error::from_surf)?;
        message::from_surf(response)
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
