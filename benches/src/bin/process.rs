//! The processes of a measurement, for criterion: cargo tells a benchmark where the binaries of its
//! own package are.
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
