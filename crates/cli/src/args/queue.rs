//! The options of `queue`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Subcommand;
use inflight_queue::QueueName;

use super::parse::parse_duration;
use super::{InputFormat, Limits, RequestArgs, SummaryFormat};
use crate::format::Format;
use crate::save::NameTemplate;

/// Fetch a list of URLs with many machines; NATS JetStream stores the list and the results
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nats-server --jetstream --store_dir data
  inflight queue create links
  inflight queue push links --input urls.txt --seal
  inflight queue work links --per-host 2 --retries 2
  inflight queue status links --watch
  inflight queue collect links --output results.jsonl
  inflight queue drop links

`work` can run on any number of machines. It fetches each URL at least once, and each URL has exactly one result.
One worker at a time fetches the URLs of a scheme, host and port, so --per-host and --host-rate apply to all workers
together. The other limits apply to each worker.

The server must be nats-server 2.11 or newer. If the first connection fails, a command exits with status 2. If the
connection is lost later, the command waits until the server is back.")]
pub(crate) struct Queue {
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    Create(Create),
    Push(Push),
    Work(Box<Work>),
    Collect(Collect),
    Status(Status),
    Drop(Drop),
}

/// The connection to the server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The URL of a server, such as nats://host:4222, tls://host or nats://name:password@host; repeat the option for
    /// the servers of a cluster
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    pub(crate) server: Vec<String>,

    /// A file with the credentials of a user (.creds: a JWT and a seed)
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,

    /// Trust the certificate authorities in FILE (PEM) for the connection to the server, in addition to those of the
    /// system
    #[arg(long, value_name = "FILE")]
    pub(crate) server_cacert: Option<PathBuf>,
}

/// Create a queue; if it exists with the same settings, do nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The name of the queue: 1 to 64 letters, digits, - and _
    #[arg(value_parser = QueueName::from_str)]
    pub(crate) name: QueueName,

    /// The number of partitions, which is the largest number of workers with something to do
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) partitions: NonZeroU32,

    /// The number of servers of a cluster that store each URL and each result
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) replicas: NonZeroUsize,

    /// The maximum size of the URLs that wait, in bytes; `push` waits while the queue is full [default: no limit]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes: Option<NonZeroU64>,

    /// How long a URL belongs to a worker that no longer responds, at least 2s; if a worker is killed, others take over
    /// its URLs after at most one and a half times this time
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    pub(crate) lease: Duration,

    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Add URLs to a queue
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A queue has one list of URLs. If the command is killed, run it again with the same list: it continues, and adds no
URL twice. The list may be longer than before. Keep it until all results are collected.

The program stores the headers and the body of an entry on the server, including credentials in them.")]
pub(crate) struct Push {
    /// The name of the queue
    #[arg(value_parser = QueueName::from_str)]
    pub(crate) name: QueueName,

    /// Read URLs from FILE; - is standard input. The formats are those of `gather --input`
    #[arg(long, value_name = "FILE|-")]
    pub(crate) input: PathBuf,

    /// The format of --input [default: by the extension of FILE (.jsonl, .ndjson, .csv), otherwise lines]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) input_format: Option<InputFormat>,

    /// Add no more URLs later, so that `work` and `collect` end when all URLs have a result
    #[arg(long)]
    pub(crate) seal: bool,

    /// Whether to show progress on standard error; auto shows it if standard error is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = crate::format::When::Auto)]
    pub(crate) progress: crate::format::When,

    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Fetch the URLs of a queue until all have a result
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight queue work links --server nats://queue.example:4222 --polite
  inflight queue work links --limit 200 --timeout 30s --retries 2 --store

If a URL still fails after all --retries, the failure may be transient, and the method is idempotent, the worker
returns the URL to the queue, for at least as long as Retry-After requires (at most 24h). At the last of --attempts,
the failure is the result. If a URL was started --attempts + 3 times and has no result, for example because it ends
its workers, no worker fetches it again. Its result has the error kind `lost`.

On the first Ctrl-C, SIGTERM or SIGHUP, the program starts no more requests, waits for those in flight, and returns
all other URLs to the queue. If a worker is killed, other workers fetch its URLs when its leases end.

The config file applies as for `inflight gather`.")]
pub(crate) struct Work {
    /// The name of the queue
    #[arg(value_parser = QueueName::from_str)]
    pub(crate) name: QueueName,

    #[command(flatten)]
    pub(crate) limits: Limits,

    /// How often to start a URL that fails for a reason that may be transient; the last failure is its result
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) attempts: NonZeroU64,

    /// How long requests in flight may take after the first signal
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_duration)]
    pub(crate) grace: Duration,

    /// Save each body in DIR on this machine, and list the files in DIR/manifest.jsonl; workers must not share DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// The names of the files in DIR, as in `gather --names` [default: {index}]
    #[arg(long, value_name = "TEMPLATE", requires = "output", value_parser = NameTemplate::from_str)]
    pub(crate) names: Option<NameTemplate>,

    /// Store each body on the server; `collect --bodies` reads them
    #[arg(long, conflicts_with = "output")]
    pub(crate) store: bool,

    /// Compute the SHA-256 digest of each body
    #[arg(long)]
    pub(crate) digest: bool,

    /// The format of the summary on standard error at the end
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = SummaryFormat::Table)]
    pub(crate) summary: SummaryFormat,

    #[command(flatten)]
    pub(crate) requests: RequestArgs,

    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Write each result of a queue once, in any order
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The results have the format of `inflight gather --format jsonl`. The command ends when all URLs of a sealed queue have
a result. If it is interrupted or killed, run it again with the same --output: it appends the missing results.
Without --output, the command can write results twice after a crash. If two of these commands run at the same time,
each result goes to one of them.

The exit status is 1 if a result is a failure.")]
pub(crate) struct Collect {
    /// The name of the queue
    #[arg(value_parser = QueueName::from_str)]
    pub(crate) name: QueueName,

    /// Append the results to FILE instead of writing them to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Also write the bodies that `work --store` has stored to files in DIR, named after the index of their URL
    #[arg(long, value_name = "DIR")]
    pub(crate) bodies: Option<PathBuf>,

    /// Collect all results again, including those that earlier commands have collected
    #[arg(long)]
    pub(crate) restart: bool,

    /// table writes a summary by status, kind of error and host at the end instead of the results
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Jsonl, conflicts_with = "output")]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Show the progress of a queue
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// The name of the queue
    #[arg(value_parser = QueueName::from_str)]
    pub(crate) name: QueueName,

    /// Show the status again each second, until all URLs of a sealed queue have a result
    #[arg(long)]
    pub(crate) watch: bool,

    /// The format [default: table on a terminal, otherwise jsonl]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Delete a queue with all its URLs, results and bodies
#[derive(Debug, clap::Args)]
pub(crate) struct Drop {
    /// The name of the queue
    #[arg(value_parser = QueueName::from_str)]
    pub(crate) name: QueueName,

    #[command(flatten)]
    pub(crate) connection: Connection,
}
