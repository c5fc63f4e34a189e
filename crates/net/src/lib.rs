#![doc = include_str!("../README.md")]
//!
//! A runtime opens sockets ([`Runtime::connect`](inflight_core::Runtime::connect)). This crate turns
//! sockets into connections, and a client sends HTTP over the connections. Therefore, no client
//! depends on a particular runtime.
//!
//! In reading order:
//!
//! - [`Connector`]: looks up a name, connects (RFC 8305), opens a tunnel through a proxy, and
//!   performs the TLS handshake.
//! - [`Stream`]: a connection, with or without TLS, and its [`Monitor`].
//! - [`Pool`]: idle connections, and the requests that wait for one.
//! - [`tls`]: a rustls configuration from the core's options. Clients with their own transport also
//!   use it.
//! - [`addresses`] and [`Attempts`]: the order in which a host's addresses are tried, and the
//!   result of each attempt.
//! - [`descriptors`]: the limit on open files.
//! - [`unix`]: when a connect to a Unix socket is tried again.
//! - `hickory`, behind a feature: a resolver that queries the name servers directly.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod addresses;
mod attempts;
mod connector;
pub mod descriptors;
#[cfg(feature = "hickory")]
pub mod hickory;
mod interim;
mod key;
mod message;
#[cfg(all(test, inflight_loom))]
mod models;
mod pool;
mod socks;
mod stream;
mod sync;
pub mod tls;
mod tunnel;
pub mod unix;

pub use attempts::Attempts;
pub use connector::Connector;
pub use interim::InterimCounter;
pub use key::Key;
pub use message::{add_proxy_credentials, convert_to_http1, host_field};
pub use pool::{Checkout, Pool, Pooled, Requirements};
pub use stream::{Monitor, Stream};
pub use tunnel::TunnelHandshake;
