//! Pooled connections, over HTTP/1 or HTTP/2.

use inflight_net::Pooled;

use crate::{http1, http2};

/// A connection in the pool.
pub(crate) enum Connection {
    Http1(Box<http1::Http1Connection>),
    Http2(http2::Http2Connection),
}

impl Pooled for Connection {
    fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(connection) => Some(Self::Http2(connection.clone())),
        }
    }

    fn has_room(&self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(connection) => connection.has_room(),
        }
    }

    fn is_open(&mut self, thoroughly: bool) -> bool {
        match self {
            Self::Http1(connection) => connection.is_open(thoroughly),
            Self::Http2(connection) => connection.is_open(),
        }
    }

    fn is_in_use(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(connection) => connection.is_in_use(),
        }
    }
}
