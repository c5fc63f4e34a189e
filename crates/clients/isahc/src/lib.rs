//! inflight over isahc (libcurl).
