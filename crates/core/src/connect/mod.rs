//! How a client connects: its options, the addresses of hosts, proxies and TLS.
//!
//! In reading order: `options`, `resolve` (the interface of name lookup), `lookups` (lookups that requests
//! share), `resolver` (lookups for a client), `guard` (allowed addresses), `proxy` and `tls`.

pub(crate) mod guard;
pub(crate) mod lookups;
pub(crate) mod options;
pub(crate) mod proxy;
pub(crate) mod resolve;
pub(crate) mod resolver;
pub(crate) mod tls;
