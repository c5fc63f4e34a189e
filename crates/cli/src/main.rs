//! The `inflight` program: fetches one URL or many URLs at once, on any backend.
//!
//! `args` defines the command line, and `config` reads defaults from a file. Each command has a module: `get`,
//! `gather`, `report`, `queue`, `origin`, `backends`, `stalls`, `lab`, `completions` and `man`.
//!
//! `session` starts a backend with the options of the command line. `request` builds a request, and `exchange`
//! sends it and reads the response, for both `get` and `gather`. `cookies` reads and writes the cookie file, and
//! `robots` checks URLs against robots.txt. `input` reads URLs, `journal` reads and writes the records of several
//! runs, `save` writes files, `line_file` appends lines to a file, `output` prints results, `summary` counts them,
//! and `progress` draws the progress bar. `probe` measures the event loop, `signal` handles signals, `exit` defines
//! the exit status, and `versions` contains the versions of runtimes and clients.

mod args;
mod backends;
mod completions;
mod config;
mod cookies;
mod exchange;
mod exit;
mod format;
mod gather;
mod get;
mod input;
mod journal;
#[cfg(feature = "lab")]
mod lab;
mod line_file;
mod man;
mod origin;
mod output;
mod probe;
mod progress;
#[cfg(feature = "queue")]
mod queue;
mod report;
mod request;
mod robots;
mod save;
mod session;
mod signal;
#[cfg(feature = "stalls")]
mod stalls;
mod summary;
mod versions;

use crate::args::{Args, Command};
use crate::exit::{CliError, ExitStatus};

fn main() {
    signal::report_file_size_limit();
    let result = config::parse_args().and_then(run);
    // Does not wait for blocking calls on other threads. A name lookup that hangs cannot be cancelled.
    std::process::exit(result.unwrap_or_else(|error| error.report()) as i32)
}

fn run(args: Args) -> Result<ExitStatus, CliError> {
    // Each connection needs a file descriptor. The usual limit of 1,024 descriptors is below the
    // number of connections that one machine can handle. If the system refuses a higher limit,
    // connects that exceed the limit fail with an error.
    let _ = inflight_origin::raise_file_limit();
    match args.command {
        Command::Get(get) => get::run(get),
        Command::Gather(gather) => gather::run(gather),
        Command::Report(report) => report::run(&report),
        #[cfg(feature = "queue")]
        Command::Queue(queue) => queue::run(queue.command),
        Command::Origin(origin) => origin::run(&origin),
        #[cfg(feature = "stalls")]
        Command::Stalls(stalls) => stalls::run(stalls),
        Command::Backends(backends) => backends::run(&backends),
        #[cfg(feature = "lab")]
        Command::Lab(lab) => lab::run(lab),
        Command::Completions(completions) => completions::run(&completions),
        Command::Man(man) => man::run(&man),
    }
}
