//! inflight over surf.
