//! `inflight origin`: runs a local test server.

use std::io::{self, Write};
use std::thread;

use inflight_origin::Options;

use crate::args;
use crate::exit::{CliError, ExitStatus};

/// Serves until the process is killed.
pub(crate) fn run(args: &args::Origin) -> Result<ExitStatus, CliError> {
    let options = Options {
        listen: args.listen,
        workers: args.workers.get(),
        ..Options::default()
    };
    let origin = inflight_origin::Origin::bind(options).map_err(|error| {
        CliError::usage(format_args!("cannot listen on {}: {error}", args.listen))
    })?;
    let mut stdout = io::stdout();
    // Ignores write errors: a parent process that knows the address may have closed the pipe.
    let _ = writeln!(stdout, "listening on http://{}", origin.addr());
    let _ = stdout.flush();
    loop {
        thread::park();
    }
}
