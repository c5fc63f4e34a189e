//! Sends the requests of one benchmark, so that valgrind can count their instructions: `just instructions`.
//!
//! - `inflight-instructions --list` prints the names of the benchmarks.
//! - `inflight-instructions NAME REQUESTS` runs one benchmark with this number of requests.
//!
//! The client and the server run on one thread, and their sockets are in memory. With the library `repeatable.c`, each
//! run executes the same number of instructions. `.ci/instructions.py` compares these counts between two commits by the
//! name of the benchmark: if you change the work of a benchmark, change its name.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod benchmark;
mod server;

use std::process::ExitCode;

use benchmark::Benchmark;

const USAGE: &str = "usage: inflight-instructions --list, or inflight-instructions NAME REQUESTS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["--list"] => {
            print_names();
            Ok(())
        }
        [name, requests] => run(name, requests),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn print_names() {
    for benchmark in Benchmark::all() {
        println!("{benchmark}");
    }
}

fn run(name: &str, requests: &str) -> Result<(), String> {
    let found = Benchmark::all().find(|benchmark| benchmark.to_string() == name);
    let benchmark = found
        .ok_or_else(|| format!("no benchmark has the name {name}: --list prints the names"))?;
    let requests = requests.parse().map_err(|_| USAGE.to_owned())?;
    let result = benchmark.run(requests);
    result.map_err(|error| format!("{name}: {error}"))
}
