//! Runs a process of a measurement. `origin` serves until its input ends, and
//! `worker --experiment NAME --contender NAME --origin URL` measures one contender.
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
