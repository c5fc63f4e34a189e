//! Tests with a real nats-server.
#![allow(clippy::print_stderr, reason = "reports a missing server")]

mod jobs;
mod servers;
mod support;
