#![doc = include_str!("../README.md")]
//!
//! A backend is a [`TestedBackend`]. The suite is a list of [`Case`]s, each named after the property it
//! tests. If a case needs a capability that the client does not have, it is
//! [skipped](Outcome::Skipped) with the client's reason. For many capabilities, a second case runs
//! with every client. It passes if the result is correct or an error.
//!
//! Every case starts its own servers on loopback. Where possible, it waits for events at these
//! servers instead of sleeping. A case that does not end within 20 s fails.
//!
//! To report each case as a test, call [`TestedBackend::run`] from a test harness that takes a list of
//! tests, such as `libtest-mimic`.
//!
//! The modules `case`, `backend`, `run` and `report` are the framework. `cases` contains the suite,
//! with one file for each group. `cells` starts the cells of this workspace; a cell is a runtime
//! with a client, such as `smol/hyper`. `check`, `context`, `servers`, `test_server` and `http2`
//! are helpers for the cases. A case of the group `verdicts` is a [`Rule`], and `page` writes all
//! rules as a page of the book.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod case;
mod cases;
#[cfg(feature = "cells")]
mod cells;
mod check;
mod context;
mod http2;
mod page;
mod report;
mod rule;
mod run;
mod servers;
mod test_server;

pub use backend::TestedBackend;
pub use case::Case;
pub use cases::cases;
#[cfg(feature = "cells")]
pub use cells::{runs_core_cases, start_backend, virtual_backends};
pub use check::Failure;
pub use page::VerdictsPage;
pub use report::Report;
pub use rule::{Deviation, DeviationEffect, Rule};
pub use run::{CaseResult, Outcome, run};
