//! The clients that can be simulated, and a wrapper that records their exchanges.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use inflight_core::{
    AnyClient, Body, Capabilities, Error, Fetch, Runtime, Session, SessionBuilder,
};
use inflight_hyper::Hyper;
use inflight_surf::Surf;
use inflight_virtual::Virtual;

use crate::report::{Exchange, Log};

/// A client whose connections come from the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// hyper, over HTTP/1.1.
    Hyper,
    /// surf.
    Surf,
}

impl Client {
    /// All clients.
    pub const ALL: [Self; 2] = [Self::Hyper, Self::Surf];

    /// Returns the name of the client's cell, such as `virtual/hyper`.
    pub fn cell(self) -> &'static str {
        match self {
            Self::Hyper => "virtual/hyper",
            Self::Surf => "virtual/surf",
        }
    }

    /// Returns the builder of a session with this client.
    pub(crate) fn builder(self, runtime: &Virtual) -> SessionBuilder {
        let runtime: Arc<dyn Runtime> = Arc::new(runtime.clone());
        match self {
            Self::Hyper => {
                Session::builder(|options| Ok((Hyper::new(runtime.clone(), options)?, runtime)))
            }
            Self::Surf => {
                Session::builder(|options| Ok((Surf::new(runtime.clone(), options)?, runtime)))
            }
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cell())
    }
}

/// A client that records the start and the end of each exchange.
pub(crate) struct RecordingClient {
    pub(crate) client: AnyClient,
    pub(crate) log: Log,
}

impl Fetch for RecordingClient {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let exchange = OpenExchange::start(&self.log, request.uri());
        let response = self.client.fetch(request).await?;
        Ok(response.map(|body| {
            let mut body = RecordedBody { body, exchange };
            body.end_if_complete();
            Body::wrap(body)
        }))
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }
}

/// An exchange that has not ended. Dropping it records the end.
struct OpenExchange {
    log: Log,
    index: usize,
    has_ended: bool,
}

impl OpenExchange {
    fn start(log: &Log, uri: &http::Uri) -> Self {
        let start = log.now();
        let exchange = Exchange {
            host: uri.host().unwrap_or_default().to_owned(),
            start,
            end: None,
        };
        Self {
            index: log.change(|report| {
                report.exchanges.push(exchange);
                report.exchanges.len() - 1
            }),
            log: log.clone(),
            has_ended: false,
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let now = self.log.now();
            self.log
                .change(|report| report.exchanges[self.index].end = Some(now));
        }
    }
}

impl Drop for OpenExchange {
    fn drop(&mut self) {
        self.end();
    }
}

/// A body that ends its exchange when it is complete.
struct RecordedBody {
    body: Body,
    exchange: OpenExchange,
}

impl RecordedBody {
    // The session releases the permit as soon as it knows that no more bytes follow.
    fn end_if_complete(&mut self) {
        if http_body::Body::is_end_stream(&self.body) {
            self.exchange.end();
        }
    }
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        match frame {
            Poll::Ready(None | Some(Err(_))) => this.exchange.end(),
            _ => this.end_if_complete(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
