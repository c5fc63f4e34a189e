//! Tests of the built program against a local server.
#![cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]

mod backends;
mod completions;
mod config;
mod credentials;
#[cfg(target_os = "linux")]
mod descriptors;
mod files;
mod formats;
mod gather;
mod get;
mod input;
mod interrupt;
mod journal;
#[cfg(feature = "lab")]
mod lab;
#[cfg(feature = "lab")]
mod lab_report;
mod man;
mod origin;
mod output;
mod policy;
mod program;
mod proxy;
#[cfg(all(unix, feature = "queue"))]
mod queue;
mod readme;
mod requests;
mod resume;
mod robots;
mod tls;
#[cfg(unix)]
mod unix_socket;
mod usage;
