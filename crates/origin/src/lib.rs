//! A local HTTP server.
