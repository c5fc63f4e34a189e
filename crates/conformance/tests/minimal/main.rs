//! A complete backend of another project: a runtime and a client. The suite certifies it.
//!
//! This target needs none of the backends of this workspace:
//! `cargo test -p inflight-conformance --no-default-features --test minimal`.

mod chunks;
mod client;
mod head;
mod runtime;

use std::process::ExitCode;
use std::sync::Arc;

use futures_lite::future::block_on;
use inflight_conformance::{Case, Outcome, TestedBackend, cases};
use inflight_core::{Offload, Runtime, Session, SessionBuilder};
use libtest_mimic::{Arguments, Completion, Trial};

use crate::client::MinimalClient;
use crate::runtime::ThreadPerTask;

// ANCHOR: builder
/// Returns a builder for a session on this backend. This is the API of the backend's crate.
fn builder() -> SessionBuilder {
    Session::builder(|options| {
        let runtime: Arc<dyn Runtime> = Arc::new(ThreadPerTask);
        let client = Offload::new(MinimalClient::new(options)?, runtime.clone());
        Ok((client, runtime))
    })
}
// ANCHOR_END: builder

// ANCHOR: main
fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Cases wait most of the time.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let backend = TestedBackend::new("thread-per-task/minimal", builder, |future| {
        block_on(future)
    });
    let trials = cases().iter().map(|case| trial(&backend, case)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns the test of one case.
fn trial(backend: &TestedBackend, case: &'static Case) -> Trial {
    let backend = backend.clone();
    Trial::ignorable_test(case.to_string(), move || match backend.run(case).outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Failed(why) => Err(format!("{why}\npromised: {}", case.promise).into()),
    })
}
// ANCHOR_END: main
