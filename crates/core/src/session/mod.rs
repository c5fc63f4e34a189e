//! Requests with a policy, on any runtime and any client.

// In reading order.
pub(crate) mod builder;
#[cfg(feature = "cookies")]
pub(crate) mod cookies;
mod exchange;
mod fair_semaphore;
pub(crate) mod in_flight;
mod limited_body;
mod limits;
mod redirect;
pub(crate) mod request;
mod resend;
pub(crate) mod retry;
#[allow(
    clippy::module_inception,
    reason = "it contains the type that the folder is named after"
)]
pub(crate) mod session;
mod state;
mod template;
mod timer;
