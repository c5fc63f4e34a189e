//! The command line.

mod gather;
mod limits;
mod parse;
#[cfg(feature = "queue")]
mod queue;
mod requests;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
#[cfg(feature = "stalls")]
use std::time::Duration;

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::format::Format;
pub(crate) use gather::{Gather, InputFormat, SummaryFormat};
pub(crate) use limits::Limits;
pub(crate) use parse::{HostInterval, PinnedAddress};
#[cfg(feature = "queue")]
pub(crate) use queue::{
    Collect, Connection, Create, Drop, Push, Queue, QueueCommand, Status, Work,
};
pub(crate) use requests::RequestArgs;

use parse::parse_workers;
#[cfg(feature = "stalls")]
use parse::{parse_delay, parse_duration};

const EXIT_STATUS: &str = "\
Exit status:
  0    everything succeeded, or the reader of the output closed the pipe
  1    a request failed
  2    the command line is invalid, or the command could not start
  130  interrupted with Ctrl-C, SIGTERM or SIGHUP";

/// Fetch many URLs at once, on any asynchronous runtime
#[derive(Debug, Parser)]
#[command(name = "inflight", version, after_help = EXIT_STATUS)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(Get),
    Gather(Gather),
    Report(JournalReport),
    #[cfg(feature = "queue")]
    Queue(Queue),
    Origin(Origin),
    #[cfg(feature = "stalls")]
    Stalls(Stalls),
    Backends(Backends),
    #[cfg(feature = "lab")]
    Lab(crate::lab::args::Lab),
    Completions(Completions),
    Man(Man),
}

/// Fetch one URL and write its body to standard output
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("file").args(["output", "remote_name"]))]
#[command(after_help = "\
Examples:
  inflight get http://127.0.0.1:8080/get
  inflight get -i -X DELETE http://127.0.0.1:8080/anything/7
  inflight get -H 'Content-Type: application/json' -d '{\"n\": 1}' http://127.0.0.1:8080/post
  inflight get --backend smol/hyper -o page.html http://127.0.0.1:8080/page/1
  inflight get -O http://127.0.0.1:8080/files/book.pdf
  inflight get -C -o book.pdf --retries 5 --timeout 2h http://127.0.0.1:8080/range/1000000
  inflight get --cacert company.pem https://intranet.example/
  inflight get --proxy http://me:secret@proxy.example:3128 https://example.com/
  inflight get --unix-socket /var/run/docker.sock http://localhost/version

The program writes the body as it arrives. With -o, it writes the body to a temporary file in the directory
of FILE, and renames this file to FILE when the body is complete. If FILE is a pipe or a device, the program
writes the body to FILE directly.

With -C, the program keeps the bytes that have arrived in FILE.part, even if it is killed. The server
must identify the version of the body with a strong ETag, or with a Last-Modified that is at least a minute
before its Date. The next run with -C requests the rest if the server still has this version. Otherwise it
starts over. With --retries, the same run continues a transfer that is cut off. The program does not decode
the body. A status other than 200 is a failure.

Without --format, the program reports only errors, on standard error. With --format, it prints one record in
the format of `inflight gather` at the end: to standard output with -o, otherwise to standard error.")]
pub(crate) struct Get {
    /// The URL to fetch
    pub(crate) url: String,

    /// Write the status line and the headers of the response before its body
    #[arg(short, long)]
    pub(crate) include: bool,

    /// Write the output to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write the output to a file in the current directory, named after the last segment of the URL's path
    ///
    /// If the file exists, the command fails, except with --continue.
    #[arg(short = 'O', long, conflicts_with = "output")]
    pub(crate) remote_name: bool,

    /// Continue an earlier download to FILE that ended early
    #[arg(
        short = 'C',
        long = "continue",
        requires = "file",
        conflicts_with_all = ["method", "data", "include", "max_body"]
    )]
    pub(crate) resume: bool,

    #[command(flatten)]
    pub(crate) requests: RequestArgs,
}

/// Show the results in a journal of `inflight gather --journal`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight report journal.jsonl
  inflight report journal.jsonl --failed --format urls > failed.txt
  inflight report journal.jsonl --failed --format jsonl

If a URL was fetched several times, only its last result counts. The table shows the results by status
class and by kind of error, the times, and the slowest hosts.")]
pub(crate) struct JournalReport {
    /// The journal
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Show only the URLs with an error or with a status of 400 or above
    #[arg(long)]
    pub(crate) failed: bool,

    /// The format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Counts and times
    Table,
    /// One URL per line, without credentials
    Urls,
    /// The records, one JSON object per line
    Jsonl,
}

/// Run a local test server with endpoints like those of httpbin
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight origin
  inflight origin --listen 127.0.0.1:8080 --workers 2

The command prints `listening on http://ADDR` and serves requests until it is killed. `GET /` lists the
endpoints.")]
pub(crate) struct Origin {
    /// The address to listen on; with port 0, the system chooses a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// The number of threads that serve requests
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_workers, allow_negative_numbers = true)]
    pub(crate) workers: NonZeroUsize,
}

/// Show a live chart of how late an event loop is while blocking and async clients fetch pages
#[cfg(feature = "stalls")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight stalls
  inflight stalls --runtime smol --workers 2 --delay 300ms --every 1s
  inflight stalls --url http://127.0.0.1:8080/delay/1

Keys:
  i             fetch with a blocking client (ureq) inside a task
  o             fetch with the same client on the runtime's blocking pool
  a             fetch with an async client (hyper)
  n             fetch nothing
  arrows, Tab   select the next or previous of these modes
  r             reset the counts and the chart
  q, Esc        quit, and print the counts
  Ctrl-C        the same, with exit status 130; SIGTERM and SIGHUP have the same effect

A timer on the event loop is set to tick every 10 ms. Each column of the chart covers 50 ms. The height
of a column shows the largest delay of a tick in these 50 ms. The title shows the scale. If a larger
delay occurs, the scale grows, and keeps its new size until a reset.")]
pub(crate) struct Stalls {
    /// The runtime of the event loop [default: the first of these that is compiled in]
    #[arg(long, value_name = "RUNTIME", value_parser = ["tokio", "smol", "async-std"])]
    pub(crate) runtime: Option<String>,

    /// The number of threads of the runtime
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_workers, allow_negative_numbers = true)]
    pub(crate) workers: NonZeroUsize,

    /// How long the built-in server waits before it sends the page
    #[arg(long, value_name = "DUR", default_value = "100ms", value_parser = parse_delay)]
    pub(crate) delay: Duration,

    /// The interval at which pages are fetched; if a page takes longer, the next one follows shortly after
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = parse_duration)]
    pub(crate) every: Duration,

    /// Fetch this URL instead of a page of the built-in server
    #[arg(long, value_name = "URL", conflicts_with = "delay")]
    pub(crate) url: Option<String>,
}

/// Show the backends that are compiled in and the capabilities of each
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight backends
  inflight backends --format jsonl")]
pub(crate) struct Backends {
    /// The output format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// Print a script that completes commands and options in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight completions bash > ~/.local/share/bash-completion/completions/inflight
  inflight completions zsh > \"${fpath[1]}/_inflight\"
  inflight completions fish > ~/.config/fish/completions/inflight.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Print a manual page, or write all manual pages to a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight man | man -l -
  inflight man gather | man -l -
  inflight man --output ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The command that the page describes, such as `gather`, or `lab run` [default: the whole program]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,

    /// Write the page of each command to DIR, which must exist
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) output: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
