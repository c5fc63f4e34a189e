#![doc = include_str!("../README.md")]
//!
//! This crate has two servers:
//!
//! - [`Origin`] implements HTTP/1.1 correctly. It serves the paths of httpbin and some others; `GET
//!   /` lists them. It counts connections and requests, and measures how late its timers fire
//!   ([`Stats`]).
//! - [`script::ScriptedServer`] sends bytes and simulates faults that a correct server never
//!   produces: a reset in the middle of a header, a body shorter than its `Content-Length`, a
//!   connection that is never accepted.
//!
//! Both servers listen on loopback by default and stop when they are dropped. They run on their own
//! threads, so they can be used from any runtime or from none.
//!
//! To read the source, begin with `origin` (start and stop), then `serve` (a connection), `tls`,
//! `stats`, and `paths` (the handlers, one file per group).

mod cpu;
mod in_process;
mod limits;
mod listen;
mod origin;
mod paths;
pub mod payload;
mod proxy;
pub mod script;
mod serve;
mod server_thread;
mod socks;
mod stats;
mod timer;
pub mod tls;
#[cfg(unix)]
mod unix_relay;

pub use cpu::process_cpu_time;
pub use in_process::InProcessOrigin;
pub use limits::raise_file_limit;
pub use origin::{Options, Origin};
pub use proxy::{ForwardProxy, ProxyRequest};
pub use socks::{SocksProxy, SocksRequest};
pub use stats::{CpuScope, DelayStats, Stats};
pub use timer::Clock;
#[cfg(unix)]
pub use unix_relay::UnixRelay;
