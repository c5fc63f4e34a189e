//! inflight on async-std.
