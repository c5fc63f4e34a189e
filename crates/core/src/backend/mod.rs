//! What a client and a runtime implement.

// In reading order.
pub(crate) mod cancel;
pub(crate) mod capabilities;
pub(crate) mod fetch;
pub(crate) mod offload;
pub(crate) mod runtime;
pub(crate) mod socket;
pub(crate) mod task;
