//! `inflight origin`: a server to try things on.

use std::io::{self, Write};

use inflight_origin::Options;

use crate::args;
use crate::exit::{Exit, Stop};

/// Serves until the process is ended from outside.
pub(crate) fn run(args: &args::Origin) -> Result<Exit, Stop> {
    let options = Options::default()
        .with_listen(args.listen)
        .with_workers(args.workers.get());
    let origin = inflight_origin::Origin::bind(options)
        .map_err(|error| Stop::usage(format_args!("cannot listen on {}: {error}", args.listen)))?;
    let mut stdout = io::stdout();
    // Whoever started us may have closed the pipe, knowing the address already.
    let _ = writeln!(stdout, "listening on http://{}", origin.addr());
    let _ = stdout.flush();
    origin.wait();
    Err(Stop::failed("the origin has ended by itself"))
}
