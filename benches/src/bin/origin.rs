//! The benchmarks' server: prints where it listens, then serves until it is ended.
#![allow(clippy::print_stdout, reason = "a program")]

use inflight_origin::{Options, Origin, raise_file_limit};

fn main() -> std::io::Result<()> {
    raise_file_limit()?;
    let origin = Origin::bind(Options::default())?;
    println!("listening on {}", origin.url(""));
    origin.wait();
    Ok(())
}
