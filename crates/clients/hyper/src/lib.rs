//! inflight over hyper, on any async runtime.
