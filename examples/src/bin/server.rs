//! Runs the test server until you press Ctrl-C: `just run server`.
//!
//! The argument is an address to listen on, by default `127.0.0.1:8080`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::net::SocketAddr;
use std::thread;

use inflight_origin::{Options, Origin};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let argument = std::env::args().nth(1);
    let listen: SocketAddr = argument.as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let options = Options {
        listen,
        ..Options::default()
    };
    let origin =
        Origin::bind(options).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    println!("listening on http://{}", origin.addr());
    loop {
        thread::park();
    }
}
