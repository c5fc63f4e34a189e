//! Messages and their parts. Nothing here knows a client, a runtime or a session.

// In reading order.
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod charset;
pub(crate) mod decode;
pub(crate) mod head;
pub(crate) mod progress;
pub(crate) mod response;
pub(crate) mod target;
