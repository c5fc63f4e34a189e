//! Runs one of the processes of a measurement, until standard input ends. With the argument `origin`, it is
//! the test server. With `worker --experiment NAME --contender NAME --origin URL`, it measures a contender,
//! once for each line of input.
//!
//! The program has a counting allocator, for experiments that count allocations.
#![allow(clippy::print_stderr, reason = "a program")]

use std::alloc::System;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    inflight_lab::worker::set_allocation_counter(|| {
        let stats = ALLOCATOR.stats();
        (stats.allocations + stats.reallocations) as u64
    });
    match inflight_lab::process::main(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
