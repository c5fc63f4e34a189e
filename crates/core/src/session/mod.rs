//! Sessions, which send requests with timeouts, limits, redirects, retries and cookies, on any runtime
//! and with any client.
//!
//! In reading order: `session` (the handle that programs hold), `builder`, `state` (shared by the clones of a
//! session), `request` (the request builder), `send` (one request from start to end), `exchange` (up to the head of
//! the response), `template` (the
//! request of each attempt), `policy` (the settings of a request), `redirect`, `resend`, `retry`, `resume` (the
//! requests of a download), `limits` (permits), `hosts` (their limits), `fair_semaphore`, `timer`, `limited_body` (the body of a
//! response), `body_retry` (its retries), `in_flight` (the registry of requests) and `cookies`.

mod body_retry;
pub(crate) mod builder;
#[cfg(feature = "cookies")]
pub(crate) mod cookies;
mod exchange;
pub(crate) mod fair_semaphore;
mod hosts;
pub(crate) mod in_flight;
mod limited_body;
mod limits;
mod policy;
mod redirect;
pub(crate) mod request;
mod resend;
mod resume;
pub(crate) mod retry;
mod send;
#[allow(
    clippy::module_inception,
    reason = "the module contains the type `Session`, and the folder all modules of sessions"
)]
pub(crate) mod session;
mod state;
mod template;
mod timer;
