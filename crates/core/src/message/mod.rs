//! Messages and their parts. This module depends on no client, runtime or session.

// In reading order.
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod charset;
pub(crate) mod decode;
pub(crate) mod head;
pub(crate) mod progress;
pub(crate) mod response;
pub(crate) mod target;
