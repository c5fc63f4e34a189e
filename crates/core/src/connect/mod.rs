//! The options, addresses and proxies with which a client connects.

// In reading order.
pub(crate) mod guard;
pub(crate) mod lookups;
pub(crate) mod options;
pub(crate) mod proxy;
pub(crate) mod resolve;
pub(crate) mod resolver;
pub(crate) mod tls;
