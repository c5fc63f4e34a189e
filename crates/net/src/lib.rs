//! From an address to a byte stream: what inflight's clients have in common beneath HTTP.
//!
//! A runtime opens sockets ([`Runtime::connect`](inflight_core::Runtime::connect)), this crate turns
//! them into connections, and a client speaks HTTP over those. No client names a runtime.
//!
//! In reading order:
//!
//! - [`Connector`]: looks a name up, connects as RFC 8305 says, asks a proxy for a tunnel, and
//!   secures the stream.
//! - [`Stream`]: a connection, with or without TLS, and what is known of it.
//! - [`Pool`]: idle connections, and the requests that wait for one.
//! - [`tls`]: rustls configured from the core's options. Clients with a transport of their own use it
//!   too.
//! - [`addresses`] and [`Attempts`]: the order in which a host's addresses are tried, and the
//!   result of each attempt.
//! - [`descriptors`]: how many files the process may have open.
//! - `hickory`, behind a feature: a resolver that asks the name servers itself.

pub mod addresses;
mod attempts;
mod connector;
pub mod descriptors;
#[cfg(feature = "hickory")]
pub mod hickory;
mod key;
mod message;
mod pool;
mod stream;
pub mod tls;
mod tunnel;

pub use attempts::Attempts;
pub use connector::Connector;
pub use key::Key;
pub use message::{for_http1, host_field, prepare};
pub use pool::{Checkout, Pool, Pooled, Requirements};
pub use stream::{Monitor, Stream};
