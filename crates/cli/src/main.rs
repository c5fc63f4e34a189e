//! The `inflight` program: fetch one URL or many at once, on any backend.
//!
//! In reading order: `args` is what can be asked for; `get`, `gather`, `origin` and `backends`
//! are the commands, `stalls`, which draws on the terminal, and `lab`, the experiments; `session`
//! starts a backend as asked; `incoming` is one exchange as both `get` and `gather` see it;
//! `input` reads the URLs, `save` writes files, `output` the results and `progress` the bar;
//! `signal` is Ctrl-C; `exit` is how it all ends.

mod args;
mod backends;
mod exit;
mod gather;
mod get;
mod incoming;
mod input;
#[cfg(feature = "lab")]
mod lab;
mod origin;
mod output;
mod probe;
mod progress;
mod save;
mod session;
mod signal;
#[cfg(feature = "stalls")]
mod stalls;
mod versions;

use clap::Parser;

use crate::args::{Args, Command};

fn main() {
    let args = Args::parse();
    // A connection is a descriptor, and the usual limit of 1,024 is below what one machine can
    // keep in flight. Where the system refuses, the connects beyond it fail and say so.
    let _ = inflight_origin::raise_file_limit();
    let ended = match args.command {
        Command::Get(get) => get::run(get),
        Command::Gather(gather) => gather::run(gather),
        Command::Origin(origin) => origin::run(&origin),
        #[cfg(feature = "stalls")]
        Command::Stalls(stalls) => stalls::run(stalls),
        Command::Backends(backends) => backends::run(&backends),
        #[cfg(feature = "lab")]
        Command::Lab(lab) => lab::run(lab),
    };
    // Not by returning: that would wait for the runtime's blocking calls, and a name look-up
    // that hangs cannot be called off.
    std::process::exit(ended.unwrap_or_else(|stop| stop.report()) as i32)
}
