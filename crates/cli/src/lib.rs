//! The inflight program: fetch many URLs at once, on any backend.
