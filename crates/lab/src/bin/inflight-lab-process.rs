//! The processes of a measurement on their own, without the program around: `origin` serves until
//! its input ends, `worker --experiment NAME --contender NAME --origin URL` does turns.
#![allow(clippy::print_stderr, reason = "a program")]

use std::io::{stdin, stdout};
use std::process::ExitCode;

use inflight_lab::process::serve_origin;
use inflight_lab::worker::{Failure, Setup, serve};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("origin") => Ok(serve_origin(stdin().lock(), stdout().lock())?),
        Some("worker") => serve(&Setup::from_args(args)?, stdin().lock(), stdout().lock()),
        _ => Err("either `origin` or `worker`".into()),
    }
}
