//! The contract of inflight as a test suite, for every runtime and client.
