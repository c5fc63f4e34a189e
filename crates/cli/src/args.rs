//! What the program can be asked for.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use inflight::Cell;
use inflight::http::Method;
use inflight::http::header::{HeaderName, HeaderValue};

/// The short names of backends, in the order in which one is chosen when none is asked for.
pub(crate) const BACKENDS: [&str; 4] = ["tokio", "smol", "async-std", "ureq"];

/// More threads than this help nobody, and a system may refuse to start them.
const MOST_WORKERS: usize = 1024;

const EXIT_STATUS: &str = "\
Exit status:
  0    everything succeeded, or the reader of the output closed it
  1    some request failed
  2    the command line makes no sense, or the work cannot begin
  130  interrupted with Ctrl-C";

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
    Origin(Origin),
    #[cfg(feature = "stalls")]
    Stalls(Stalls),
    Backends(Backends),
    #[cfg(feature = "lab")]
    Lab(crate::lab::args::Lab),
}

/// Fetch one URL and write its body to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight get http://127.0.0.1:8080/get
  inflight get -i -X DELETE http://127.0.0.1:8080/anything/7
  inflight get -H 'Content-Type: application/json' -d '{\"n\": 1}' http://127.0.0.1:8080/post
  inflight get --backend smol/hyper -o page.html http://127.0.0.1:8080/page/1
  inflight get --cacert company.pem https://intranet.example/
  inflight get --proxy http://me:secret@proxy.example:3128 https://example.com/

The body is written as it comes. With -o it goes to a temporary file beside FILE, which gets its
name when it is complete: there is never half a FILE. A pipe or a device is written directly.

Without --format only errors are reported, on standard error. With it, one record as `gather`
has them is written at the end: to standard output with -o, to standard error without.")]
pub(crate) struct Get {
    /// The URL to fetch
    pub(crate) url: String,

    /// The method [default: GET, or POST with -d]
    #[arg(short = 'X', long = "request", value_name = "METHOD", value_parser = method)]
    pub(crate) method: Option<Method>,

    /// A header to send, any number of times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,

    /// The body to send: this text, the bytes of @FILE, or standard input with @-
    ///
    /// Sent as application/x-www-form-urlencoded unless -H gives another Content-Type.
    #[arg(short, long, value_name = "DATA|@FILE", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,

    /// Write the response's head too, before its body
    #[arg(short, long)]
    pub(crate) include: bool,

    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) requests: Requests,
}

/// Fetch many URLs at once and report each as it finishes
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("source").required(true).multiple(true).args(["urls", "input"]))]
#[command(after_help = "\
Examples:
  inflight gather http://127.0.0.1:8080/page/1 http://127.0.0.1:8080/page/2
  inflight gather --input urls.txt --limit 50 --deadline 2m --output pages
  generate-urls | inflight gather --input - --digest --format jsonl | grep -v '\"error\":null'

The input has one URL a line; blank lines and lines that begin with # are skipped. It is read as
room comes up, so a pipe may go on for ever. A line that is no URL is one failed result.

JSON Lines, one object a URL:
  {\"index\":0,\"url\":\"http://...\",\"final_url\":\"http://...\",\"status\":200,\"version\":\"HTTP/1.1\",
   \"bytes\":12,\"elapsed_ms\":103.2,\"attempts\":1,\"redirects\":0,\"sha256\":null,\"error\":null}
On failure error is {\"kind\":\"timeout\",\"phase\":\"connect\",\"message\":\"...\"}; phase is null for other
kinds, and attempts is 0 for a URL that was never requested.

The first Ctrl-C stops starting requests, cancels those in flight, reports what is left as
cancelled and exits with status 130; the second ends at once, and may leave temporary files of
--output, whose names begin with a dot. When the reader of standard output
closes it, as `head` does, the program ends quietly with status 0.")]
pub(crate) struct Gather {
    /// The URLs to fetch, before those of --input
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Read URLs from FILE, one a line; - is standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) input: Option<PathBuf>,

    /// How many requests are in flight at once
    #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) limit: NonZeroUsize,

    /// How many of them are at one host: one scheme, host and port [default: no limit]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) per_host: Option<NonZeroUsize>,

    /// How many requests start in a second, such as 20/s [default: no limit]
    #[arg(long, value_name = "N/s", value_parser = rate, allow_negative_numbers = true)]
    pub(crate) rate: Option<NonZeroU32>,

    /// How long the whole batch may take; what is not done by then fails with kind deadline
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,

    /// Cancel everything else when one request fails
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Save each body in DIR, in a file named by its index: 000000, 000001, ...
    ///
    /// DIR is created if need be. A file appears when it is complete, and replaces one of the
    /// same name. A failed request leaves none.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// Compute the SHA-256 of each body
    #[arg(long)]
    pub(crate) digest: bool,

    /// Say at the end, on standard error, how late the event loop was and what stalled it
    #[arg(long)]
    pub(crate) probe: bool,

    #[command(flatten)]
    pub(crate) requests: Requests,
}

/// What `get` and `gather` have in common.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Requests")]
pub(crate) struct Requests {
    /// Who waits and who speaks HTTP: tokio, smol, async-std, ureq, or RUNTIME/CLIENT such as smol/hyper
    #[arg(long, value_name = "CELL", value_parser = Cell::from_str)]
    pub(crate) backend: Option<Cell>,

    /// Threads of the runtime [default: the runtime's own choice]
    #[arg(long, value_name = "N", value_parser = workers, allow_negative_numbers = true)]
    pub(crate) workers: Option<NonZeroUsize>,

    /// How long one request may take as a whole, such as 300ms, 5s or 2m [default: 5m]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// How long making a connection may take, the look-up of the name included [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) connect_timeout: Option<Duration>,

    /// The longest wait for the next bytes: for the head of a response, once a request without a
    /// body is made, and for each piece of its body
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) read_timeout: Option<Duration>,

    /// How often a request that failed in passing is sent again, if its method is idempotent
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: usize,

    /// How many redirects in a row are followed; 0 answers with the redirect itself
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) max_redirects: usize,

    /// Go through the proxy at URL, as http://user:password@host:port [default: what http_proxy,
    /// https_proxy and all_proxy name]. Hosts in NO_PROXY are reached without it
    #[arg(long, value_name = "URL", conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<String>,

    /// Go straight to each server, whatever the environment says
    #[arg(long)]
    pub(crate) no_proxy: bool,

    /// Trust the certificate authorities in FILE too (PEM), beside those that are built in
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Fail when a body, decoded, is longer than this [default: no limit, as bodies are not kept in memory]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_body: Option<u64>,

    /// Leave bodies in gzip, deflate, br and zstd as they come, and ask for none of these
    #[arg(long)]
    pub(crate) no_decompress: bool,

    /// Treat a status of 400 or above as a failure, and leave its body unread
    #[arg(long)]
    pub(crate) fail_status: bool,

    /// How results are written [gather's default: table on a terminal, jsonl elsewhere]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    /// Whether to show progress on standard error: auto is when that is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub(crate) progress: When,
}

/// Serve a local origin, shaped like httpbin, to try things on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight origin
  inflight origin --listen 127.0.0.1:8080 --workers 2

Prints `listening on http://ADDR` and serves until it is ended. `GET /` lists what it answers.")]
pub(crate) struct Origin {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// Threads that serve
    #[arg(long, value_name = "N", default_value = "1", value_parser = workers, allow_negative_numbers = true)]
    pub(crate) workers: NonZeroUsize,
}

/// Show live how late an event loop is while pages are fetched in ways that stall it and do not
#[cfg(feature = "stalls")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight stalls
  inflight stalls --runtime smol --workers 2 --delay 300ms --every 1s
  inflight stalls --url http://127.0.0.1:8080/delay/1

Keys: i fetches inside a task by a client that blocks (ureq), o by the same on the runtime's
blocking pool, a by an async client (hyper), n not at all; the arrows go from one to the next;
r forgets the counts; q, Esc and Ctrl-C end it. What was counted is then written in words.

Each column of the picture is the latest tick, in 50 ms, of a timer that should tick every 10 ms
on the same loop.")]
pub(crate) struct Stalls {
    /// Whose event loop is looked at [default: the first of these that is compiled in]
    #[arg(long, value_enum, value_name = "RUNTIME")]
    pub(crate) runtime: Option<EventLoop>,

    /// Threads of the runtime
    #[arg(long, value_name = "N", default_value = "1", value_parser = workers, allow_negative_numbers = true)]
    pub(crate) workers: NonZeroUsize,

    /// How long the page takes, on a server that is started for it
    #[arg(long, value_name = "DUR", default_value = "100ms", value_parser = delay)]
    pub(crate) delay: Duration,

    /// How often a page begins; soon after the one before when that took longer
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = duration)]
    pub(crate) every: Duration,

    /// Fetch this page instead
    #[arg(long, value_name = "URL", conflicts_with = "delay")]
    pub(crate) url: Option<String>,
}

/// A runtime with an event loop to look at.
#[cfg(feature = "stalls")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventLoop {
    Tokio,
    Smol,
    AsyncStd,
}

#[cfg(feature = "stalls")]
impl EventLoop {
    /// With the client that all three have.
    pub(crate) fn cell(self) -> Cell {
        let name = match self {
            Self::Tokio => "tokio/hyper",
            Self::Smol => "smol/hyper",
            Self::AsyncStd => "async-std/hyper",
        };
        match name.parse() {
            Ok(cell) => cell,
            Err(error) => unreachable!("{error}"),
        }
    }
}

/// Show the backends that are compiled in, and what each can do
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight backends
  inflight backends --format jsonl")]
pub(crate) struct Backends {
    /// How they are written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// One JSON object a line
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    let n: usize = text.parse().map_err(|error| format!("{error}"))?;
    NonZeroUsize::new(n).ok_or_else(|| "it must be at least 1".to_owned())
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text
        .strip_suffix("/s")
        .ok_or("a rate is written as a whole number and /s, such as 20/s")?;
    let n: u32 = number.parse().map_err(|error| format!("{error}"))?;
    NonZeroU32::new(n).ok_or_else(|| "it must be at least 1/s".to_owned())
}

fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let n = at_least_one(text)?;
    if n.get() > MOST_WORKERS {
        return Err(format!("it must be at most {MOST_WORKERS}"));
    }
    Ok(n)
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a duration is written 300ms, 5s or 2m"))?;
    if duration.is_zero() {
        return Err("it must be longer than zero".to_owned());
    }
    Ok(duration)
}

/// What the local server waits at most.
#[cfg(feature = "stalls")]
const MOST_DELAY: Duration = Duration::from_secs(30);

#[cfg(feature = "stalls")]
fn delay(text: &str) -> Result<Duration, String> {
    let delay = duration(text)?;
    if delay > MOST_DELAY {
        return Err(format!("it must be at most {MOST_DELAY:?}"));
    }
    Ok(delay)
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| "it is no HTTP method".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is written 'Name: value'")?;
    let invalid = |error: &dyn Display| format!("{error}");
    let name = HeaderName::from_str(name.trim()).map_err(|error| invalid(&error))?;
    let value =
        HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|error| invalid(&error))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit_and_are_not_zero() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "5", "0", "0s", "0ms", "-1s", "1.5", "s", "five"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(at_least_one("1").map(NonZeroUsize::get), Ok(1));
        for bad in ["", "0", "-1", "1.5", "x", "99999999999999999999999"] {
            assert!(at_least_one(bad).is_err(), "{bad:?}");
        }
        assert!(workers("1025").is_err());
    }

    #[test]
    fn a_rate_is_a_number_a_second() {
        assert_eq!(rate("20/s").map(NonZeroU32::get), Ok(20));
        for bad in ["", "20", "0/s", "-1/s", "1.5/s", "20/m", "/s", "20 /s"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_header_keeps_what_follows_the_first_colon() {
        let (name, value) = header("X-Time:  12:30 ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-time", &b"12:30"[..]));
        assert!(header("X-Empty:").is_ok_and(|(_, value)| value.is_empty()));
        for bad in ["no colon", ": no name", "a b: c", "X: a\nb"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
    }
}
