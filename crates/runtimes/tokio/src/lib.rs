//! inflight on tokio.
