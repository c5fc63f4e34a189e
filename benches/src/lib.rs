//! Benchmarks of inflight.
