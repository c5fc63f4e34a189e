//! inflight over ureq, the blocking client.
