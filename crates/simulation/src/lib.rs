//! A deterministic simulation of gathers under faults.
//!
//! A seed determines a [`Plan`]: servers with latency, bandwidth and random resets, a session with limits, rates and
//! retries, a few hundred requests whose servers fail in various ways, and disturbances such as partitions, resets and
//! jumps of the clock. [`run`] runs the plan with a real client (hyper or surf) on the virtual runtime, and [`check`]
//! compares what the servers and the callers saw with what the contract promises. The same seed always gives the same
//! run, so a failing seed can be replayed, and [`shrink`] reduces its plan to the part that fails.
//!
//! ```
//! use inflight_simulation::{Client, Plan, check, run};
//!
//! let plan = Plan::from_seed(7, Client::Hyper);
//! let report = run(&plan);
//! assert_eq!(check(&plan, &report), []);
//! ```

mod check;
mod client;
mod plan;
mod random;
mod report;
mod run;
mod server;
mod shrink;

pub use check::{Property, Violation, check};
pub use client::Client;
pub use plan::{Answer, Disturbance, Fault, Host, Plan, Rate, Request, SessionPlan};
pub use report::{Arrival, Exchange, Outcome, Report, Result as JobResult, Timer};
pub use run::run;
pub use shrink::shrink;
