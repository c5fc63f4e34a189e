//! The interfaces of clients and runtimes.
//!
//! In reading order: `fetch` (what a client implements), `capabilities` (what a client can do), `runtime`,
//! `socket` (what a runtime opens), `descriptors`, `task`, `sent`, `cancel` and `offload` (blocking clients).

pub(crate) mod cancel;
pub(crate) mod capabilities;
pub(crate) mod descriptors;
pub(crate) mod fetch;
pub(crate) mod offload;
pub(crate) mod runtime;
pub(crate) mod sent;
pub(crate) mod socket;
pub(crate) mod task;
