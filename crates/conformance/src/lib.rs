//! The contract of inflight as a test suite, for every runtime and client: the same fault causes the
//! same error, and a client declares what it does not support.
//!
//! A backend is a [`Subject`]. The suite is a list of [`Case`]s, each named after the property it
//! tests. If a case needs a capability that the client does not have, it is
//! [skipped](Outcome::Skipped) with the client's reason. Another case then checks that the missing
//! capability causes an error and never a wrong result.
//!
//! ```
//! use inflight_conformance::{Report, Subject, run};
//! use inflight_core::{BoxFuture, SessionBuilder};
//!
//! fn check(builder: fn() -> SessionBuilder, block_on: fn(BoxFuture<'static, ()>)) {
//!     let subject = Subject::new("my-runtime/my-client", builder, block_on);
//!     let verdicts = run(&subject, |_| true, |_| ());
//!
//!     let mut report = Report::new();
//!     report.add(subject.name(), verdicts);
//!     assert!(!report.has_failures(), "{report}");
//! }
//! ```
//!
//! Every case starts its own servers on loopback, and waits for events at these servers instead of
//! sleeping. A case that does not end within 20 s fails.
//!
//! The modules `case`, `subject`, `run` and `report` are the framework. `cases` has the suite, with one
//! file for each group and a list of cases at the top of each file. `check`, `context`, `servers` and
//! `test_server` are helpers for the cases. A case of the group `verdicts` is a [`Rule`], and `page`
//! writes all rules as a page of the book.

mod case;
mod cases;
mod check;
mod context;
mod http2;
#[cfg(feature = "cells")]
mod memory;
mod page;
mod report;
mod rule;
mod run;
mod servers;
mod subject;
mod test_server;

pub use case::Case;
pub use cases::cases;
pub use check::Failure;
#[cfg(feature = "cells")]
pub use memory::in_memory;
pub use page::Verdicts;
pub use report::Report;
pub use rule::{Deviation, DeviationEffect, Rule};
pub use run::{Outcome, Verdict, run};
pub use subject::Subject;
