//! HTTP messages and their parts. This module depends on no client, runtime or session.
//!
//! In reading order: `target` (the URL of a request), `auth` (its credentials), `body`, `progress`
//! (reports how much of a body has been transferred), `response`, `header`, `framing` (where a body ends, and
//! how large a head may be), `decode` (content codings) and `charset`.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod charset;
pub(crate) mod decode;
pub(crate) mod framing;
pub(crate) mod header;
pub(crate) mod progress;
pub(crate) mod response;
pub(crate) mod target;
