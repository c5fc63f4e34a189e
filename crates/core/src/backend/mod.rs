//! The interfaces of clients and runtimes.

// In reading order.
pub(crate) mod cancel;
pub(crate) mod capabilities;
pub(crate) mod fetch;
pub(crate) mod offload;
pub(crate) mod runtime;
pub(crate) mod socket;
pub(crate) mod task;
