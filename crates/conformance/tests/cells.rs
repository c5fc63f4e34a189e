//! Runs the suite on every cell (a runtime with a client), with one test for each cell and case.
//!
//! The arguments are those of a test binary: `cargo test --test cells -- smol/hyper::policy`.

use std::env;
use std::process::ExitCode;

use inflight::Cell;
use inflight_conformance::{
    Case, Outcome, TestedBackend, cases, runs_core_cases, start_backend, virtual_backends,
};
use libtest_mimic::{Arguments, Completion, Trial};

/// How many cases run at once by default. Cases wait most of the time.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // libtest-mimic does not read `RUST_TEST_THREADS`, which the standard test harness reads.
    let threads_from_env = || env::var("RUST_TEST_THREADS").ok()?.parse().ok();
    arguments.test_threads = arguments
        .test_threads
        .or_else(threads_from_env)
        .or(Some(AT_ONCE));

    let mut trials = Vec::new();
    for cell in Cell::ALL {
        let backend = start_backend(cell).unwrap();
        let runs = |case: &&Case| !case.tests_core || runs_core_cases(cell);
        trials.extend(
            cases()
                .iter()
                .filter(runs)
                .map(|case| trial(&backend, case)),
        );
    }
    for backend in virtual_backends().unwrap() {
        let in_memory = cases().iter().filter(|case| case.in_memory);
        trials.extend(in_memory.map(|case| trial(&backend, case)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

// ANCHOR: trial
fn trial(backend: &TestedBackend, case: &'static Case) -> Trial {
    let name = format!("{}::{case}", backend.name());
    let backend = backend.clone();
    Trial::ignorable_test(name, move || match backend.run(case).outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Failed(why) => Err(format!("{why}\npromised: {}", case.promise).into()),
    })
}
// ANCHOR_END: trial
