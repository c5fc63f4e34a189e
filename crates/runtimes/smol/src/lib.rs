//! inflight on smol.
