//! The contract of inflight as a test suite, for every runtime and client: the same fault gives
//! the same verdict, and what a client cannot do it says.
//!
//! A backend, wherever it is written, is a [`Subject`]; the suite is a list of [`Case`]s, each
//! named for the property it holds. A case that needs what the client says it cannot do is
//! [skipped](Outcome::Skipped) for the client's own reason; another case then checks that the
//! lack is an error and never a wrong answer.
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
//! Every case has servers of its own on loopback, and waits for what they see rather than for a
//! time to pass. One that does not end in 20 s has failed.
//!
//! To read: `case`, `subject`, `run` and `report` are the frame; `cases` is the suite, a file per
//! subject, each with its list at the top; `check`, `context`, `servers` and `staged` are what the
//! cases are written with. A case of the group `verdicts` is a [`Rule`], a row of a table; `page` writes
//! them all as a page of the book.

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
mod staged;
mod subject;

pub use case::Case;
pub use cases::cases;
pub use check::Failure;
#[cfg(feature = "cells")]
pub use memory::in_memory;
pub use page::Verdicts;
pub use report::Report;
pub use rule::{Deviation, Instead, Rule};
pub use run::{Outcome, Verdict, run};
pub use subject::Subject;
