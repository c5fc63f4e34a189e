//! The processes of a measurement on their own, without the program around: `origin` serves until
//! its input ends, `worker --experiment NAME --contender NAME --origin URL` does turns.
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
