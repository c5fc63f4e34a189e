//! Runs the origin (the test server) or a worker (the process that is measured) for the benchmark `lab`. The
//! binary is in this package because cargo sets `CARGO_BIN_EXE_…` only for binaries of the same package.
#![allow(clippy::print_stderr, reason = "a program")]

use std::process::ExitCode;

fn main() -> ExitCode {
    match inflight_lab::process::main(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
