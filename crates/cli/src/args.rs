//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use inflight::Cell;
use inflight::http::Method;
use inflight::http::header::{HeaderName, HeaderValue};

/// The maximum that `--workers` accepts. The system may refuse to start more threads.
const MAX_WORKERS: usize = 1024;

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
  inflight get -C -o book.pdf --retries 5 --timeout 2h http://127.0.0.1:8080/range/1000000
  inflight get --cacert company.pem https://intranet.example/
  inflight get --proxy http://me:secret@proxy.example:3128 https://example.com/
  inflight get --unix-socket /var/run/docker.sock http://localhost/version

The body is written as it arrives. With -o, the body is written to a temporary file in the directory
of FILE. When the body is complete, the temporary file is renamed to FILE. If FILE is a pipe or a
device, the body is written to FILE directly.

With -C, the program keeps the bytes that have arrived in FILE.part, even if it is killed. The server
must identify the version of the body with a strong ETag or an old Last-Modified. The next run with -C
requests the rest if the server still has this version. Otherwise it starts over. With --retries, the
same run continues a transfer that is cut off. The body is not decoded, and a status other than 200 is a
failure.

Without --format, only errors are reported, on standard error. With --format, one record in the format
of `inflight gather` is written at the end: to standard output with -o, otherwise to standard error.")]
pub(crate) struct Get {
    /// The URL to fetch
    pub(crate) url: String,

    /// Write the status line and the headers of the response before its body
    #[arg(short, long)]
    pub(crate) include: bool,

    /// Write the output to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Continue an earlier download to FILE that ended early
    #[arg(
        short = 'C',
        long = "continue",
        requires = "output",
        conflicts_with_all = ["method", "data", "include", "max_body"]
    )]
    pub(crate) resume: bool,

    #[command(flatten)]
    pub(crate) requests: RequestArgs,
}

/// Fetch many URLs at once and report the result of each URL as soon as it is known
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("source").required(true).multiple(true).args(["urls", "input"]))]
#[command(after_help = "\
Examples:
  inflight gather http://127.0.0.1:8080/page/1 http://127.0.0.1:8080/page/2
  inflight gather --input urls.txt --limit 50 --deadline 2m --output pages
  inflight gather --input urls.txt --rate 20 --timeout 10
  inflight gather --input urls.txt --journal journal.jsonl --retries 3
  inflight gather --input urls.txt --per-host 6 --host-rate 5
  inflight gather --input urls.txt -H 'Authorization: Bearer secret' --user-agent 'my-crawler/1.0'
  generate-urls | inflight gather --input - --digest --format jsonl | grep -v '\"error\":null'

The input has one URL per line. Blank lines and lines that start with # are skipped. The input is
read as requests finish, so it can be a pipe that never ends. A line that is not a URL is reported as
one failed result.

With --format jsonl, each result is one line with a JSON object:
  {\"index\":0,\"url\":\"http://...\",\"final_url\":\"http://...\",\"status\":200,\"version\":\"HTTP/1.1\",
   \"bytes\":12,\"elapsed_ms\":103.2,\"attempts\":1,\"redirects\":0,\"sha256\":null,
   \"queued_ms\":0.1,\"error\":null}
elapsed_ms counts from the moment at which the request may start. queued_ms is the wait before.
For a failed request, error is {\"kind\":\"timeout\",\"phase\":\"connect\",\"message\":\"...\"}. phase is null
unless kind is timeout. attempts is 0 for a URL that was never requested.

On the first Ctrl-C, SIGTERM or SIGHUP, the program starts no more requests, cancels the requests in
flight, reports all unfinished URLs as cancelled, and exits with status 130. On a second Ctrl-C or SIGTERM,
it exits immediately and can leave temporary files in the directory of --output; their names start with a
dot. If the reader of standard output closes the pipe, as `head` does, the program exits with status 0 and
no message.")]
pub(crate) struct Gather {
    /// The URLs to fetch, before the URLs of --input
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Read URLs from FILE, one per line; - is standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) input: Option<PathBuf>,

    /// The maximum number of requests in flight at once
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_count, allow_negative_numbers = true)]
    pub(crate) limit: NonZeroUsize,

    /// The maximum number of requests in flight to one scheme, host and port [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub(crate) per_host: Option<NonZeroUsize>,

    /// The maximum number of requests that start per second, such as 20 or 20/s [default: no limit]
    #[arg(long, value_name = "N[/s]", value_parser = parse_rate, allow_negative_numbers = true)]
    pub(crate) rate: Option<NonZeroU32>,

    /// The maximum number of requests to one scheme, host and port that start per second [default: no limit]
    #[arg(long, value_name = "N[/s]", value_parser = parse_rate, allow_negative_numbers = true)]
    pub(crate) host_rate: Option<NonZeroU32>,

    /// How many URLs may wait because of --per-host and --host-rate while URLs of other hosts start
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_count, allow_negative_numbers = true)]
    pub(crate) look_ahead: NonZeroUsize,

    /// The time limit for all requests together; requests that have not finished by then fail with
    /// kind deadline
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) deadline: Option<Duration>,

    /// Append each result to FILE, as with --format jsonl, and skip the URLs that FILE says are finished
    ///
    /// Run the same command again to continue after an interruption. URLs that were cancelled or that
    /// exceeded the --deadline are fetched again, and with --retry-failed all failed ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,

    /// Fetch the URLs again that have failed according to the journal
    #[arg(long, requires = "journal")]
    pub(crate) retry_failed: bool,

    /// Cancel all other requests when one request fails
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Save each body in DIR, in a file named by its index: 000000, 000001, ...
    ///
    /// DIR is created if it does not exist. A file gets its name when it is complete. It then replaces
    /// an existing file of that name. A failed request leaves no file.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// Compute the SHA-256 digest of each body
    #[arg(long)]
    pub(crate) digest: bool,

    /// At the end, report on standard error how late the event loop was and what stalled it
    #[arg(long)]
    pub(crate) probe: bool,

    #[command(flatten)]
    pub(crate) requests: RequestArgs,
}

/// Show what a journal of `inflight gather --journal` contains
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight report journal.jsonl
  inflight report journal.jsonl --failed --format urls > failed.txt
  inflight report journal.jsonl --failed --format jsonl

If a URL was fetched several times, only its last result counts. The table shows the results by status and
by kind of error, the times, and the hosts with the slowest responses.")]
pub(crate) struct JournalReport {
    /// The journal
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Show only the URLs that failed
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

/// The options that `get` and `gather` share.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Requests")]
pub(crate) struct RequestArgs {
    /// The backend: tokio, smol, async-std, ureq, or a runtime and a client such as smol/hyper
    /// [default: the first of these names that is compiled in]
    #[arg(long, value_name = "BACKEND", value_parser = Cell::from_str)]
    pub(crate) backend: Option<Cell>,

    /// The number of threads of the runtime [default: chosen by the runtime]
    #[arg(long, value_name = "N", value_parser = parse_workers, allow_negative_numbers = true)]
    pub(crate) workers: Option<NonZeroUsize>,

    /// The request method [default: GET, or POST with -d]
    #[arg(short = 'X', long = "request", value_name = "METHOD", value_parser = parse_method)]
    pub(crate) method: Option<Method>,

    /// A request header; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,

    /// The body of each request: this text, the contents of @FILE, or standard input with @-
    ///
    /// The Content-Type is application/x-www-form-urlencoded unless -H sets it.
    #[arg(short, long, value_name = "DATA|@FILE", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,

    /// Send these credentials with each request (basic authentication), unless -H sets Authorization
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    pub(crate) user: Option<String>,

    /// The User-Agent header [default: the name and version of this program]
    #[arg(long, value_name = "TEXT", value_parser = parse_value)]
    pub(crate) user_agent: Option<HeaderValue>,

    /// The time limit for one request, such as 300ms, 5s or 2m; a number without a unit is in seconds.
    /// It covers everything from the start of the request to the end of the body, including retries. It
    /// does not include waits because of --per-host, --rate and --host-rate
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = parse_duration)]
    pub(crate) timeout: Duration,

    /// The time limit for the wait before a request may start, because of --per-host, --rate, --host-rate,
    /// or a Retry-After that another request to the host got [default: no limit]
    ///
    /// A URL that waits because of --per-host or --host-rate fails when its turn comes. Without this
    /// option, a URL fails at once if its host asks for a pause that is longer than --timeout.
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) queue_timeout: Option<Duration>,

    /// The time limit for opening a connection, including the DNS lookup
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    pub(crate) connect_timeout: Duration,

    /// The time limit for each chunk of the response body and, if the request has no body, for the head
    /// of the response [default: no limit]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) read_timeout: Option<Duration>,

    /// The maximum number of retries of a request after transient failures; only requests with an
    /// idempotent method are retried
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: usize,

    /// The maximum number of redirects to follow; 0 returns the redirect response itself
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) max_redirects: usize,

    /// Use the proxy at URL, such as http://user:password@host:port or socks5h://host:port, except for the
    /// hosts in NO_PROXY [default: the proxies of http_proxy, https_proxy and all_proxy]
    ///
    /// With socks5://, the program looks up the names of servers. With socks5h://, the proxy looks them up.
    #[arg(long, value_name = "URL", conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<String>,

    /// Use no proxy, even if environment variables name one
    #[arg(long)]
    pub(crate) no_proxy: bool,

    /// Open every connection to the Unix socket at PATH, without a proxy and without a DNS lookup; the URL
    /// still sets the scheme, the Host header and the path
    #[arg(long, value_name = "PATH", conflicts_with = "proxy")]
    pub(crate) unix_socket: Option<PathBuf>,

    /// Connect to ADDR for HOST and PORT instead of looking HOST up; may be repeated
    #[arg(long, value_name = "HOST:PORT:ADDR", value_parser = parse_resolve)]
    pub(crate) resolve: Vec<PinnedAddress>,

    /// Use HTTP/1.1 only [default: HTTP/2 if the backend and the server support it over TLS]
    #[arg(long = "http1.1", conflicts_with = "http2")]
    pub(crate) http1: bool,

    /// Use HTTP/2 only, without negotiation, also for URLs with http
    #[arg(long)]
    pub(crate) http2: bool,

    /// Accept any certificate of a server: anybody on the network can then read and change the traffic
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Trust the certificate authorities in FILE (PEM) in addition to the built-in ones
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Fail a request whose decoded body is longer than BYTES [default: no limit, because bodies are
    /// not kept in memory]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_body: Option<u64>,

    /// Send no Accept-Encoding header, and do not decode compressed bodies (gzip, deflate, br, zstd)
    #[arg(long)]
    pub(crate) no_decompress: bool,

    /// Treat a status of 400 or above as a failure, and do not read the body
    #[arg(long)]
    pub(crate) fail_status: bool,

    /// The format of results [default for gather: table on a terminal, otherwise jsonl]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    /// Whether to show progress on standard error; auto shows it if standard error is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub(crate) progress: When,
}

/// Run a local test server with endpoints like those of httpbin
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  inflight origin
  inflight origin --listen 127.0.0.1:8080 --workers 2

Prints `listening on http://ADDR` and serves until it is killed. `GET /` lists the endpoints.")]
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
delay occurs, the scale grows, and it keeps its new size until a reset.")]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// One JSON object per line
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// The addresses of `--resolve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PinnedAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) address: IpAddr,
}

/// Parses `HOST:PORT:ADDR`. An IPv6 address may be in brackets.
fn parse_resolve(text: &str) -> Result<PinnedAddress, String> {
    let parse = || {
        let (host, rest) = text.split_once(':')?;
        let (port, address) = rest.split_once(':')?;
        let address = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'))
            .unwrap_or(address);
        Some(PinnedAddress {
            host: host.to_ascii_lowercase(),
            port: port.parse().ok()?,
            address: address.parse().ok()?,
        })
    };
    let pinned = parse().filter(|pinned| !pinned.host.is_empty());
    pinned.ok_or_else(|| "write HOST:PORT:ADDR, such as example.com:443:127.0.0.1".to_owned())
}

fn parse_value(text: &str) -> Result<HeaderValue, String> {
    text.parse()
        .map_err(|_| "a header value has no control characters".to_owned())
}

fn parse_count(text: &str) -> Result<NonZeroUsize, String> {
    let n: usize = text.parse().map_err(|error| format!("{error}"))?;
    NonZeroUsize::new(n).ok_or_else(|| "must be at least 1".to_owned())
}

/// Parses a number of requests per second, such as `20` or `20/s`.
fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let n: u32 = number
        .parse()
        .map_err(|error| format!("{error}; write a rate as 20 or 20/s"))?;
    NonZeroU32::new(n).ok_or_else(|| "must be at least 1/s".to_owned())
}

fn parse_workers(text: &str) -> Result<NonZeroUsize, String> {
    let n = parse_count(text)?;
    if n.get() > MAX_WORKERS {
        return Err(format!("must be at most {MAX_WORKERS}"));
    }
    Ok(n)
}

/// Parses a number of seconds, such as `5` or `0.5`, or a duration with units, such as `1m 30s`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let duration = match is_number {
        true => seconds(text).ok_or_else(|| "not a number of seconds".to_owned()),
        false => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    let duration =
        duration.map_err(|error| format!("{error}; write a duration as 5, 300ms, 5s or 2m"))?;
    if duration.is_zero() {
        return Err("must be longer than zero".to_owned());
    }
    Ok(duration)
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// The longest delay that `--delay` accepts. It is shorter than the time limit for a page.
#[cfg(feature = "stalls")]
const MAX_DELAY: Duration = Duration::from_secs(30);

#[cfg(feature = "stalls")]
fn parse_delay(text: &str) -> Result<Duration, String> {
    let delay = parse_duration(text)?;
    if delay > MAX_DELAY {
        return Err(format!("must be at most {MAX_DELAY:?}"));
    }
    Ok(delay)
}

fn parse_method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| "not a valid HTTP method".to_owned())
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write a header as 'Name: value'")?;
    let name = HeaderName::from_str(name.trim()).map_err(|error| error.to_string())?;
    let value =
        HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|error| error.to_string())?;
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
    fn a_duration_is_a_number_of_seconds_or_has_units_and_must_not_be_zero() {
        assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in [
            "",
            "0",
            "0.0",
            "0s",
            "0ms",
            "-1",
            "-1s",
            "1.2.3",
            ".",
            "s",
            "5 5",
            "1e3",
            "inf",
            "five",
            "99999999999999999999",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(parse_count("1").map(NonZeroUsize::get), Ok(1));
        for bad in ["", "0", "-1", "1.5", "x", "99999999999999999999999"] {
            assert!(parse_count(bad).is_err(), "{bad:?}");
        }
        assert!(parse_workers("1025").is_err());
    }

    #[test]
    fn a_rate_is_a_whole_number_per_second() {
        assert_eq!(parse_rate("20/s").map(NonZeroU32::get), Ok(20));
        assert_eq!(parse_rate("20").map(NonZeroU32::get), Ok(20));
        for bad in [
            "", "0", "0/s", "-1", "-1/s", "1.5/s", "20/m", "/s", "20 /s", "20/s/s",
        ] {
            assert!(parse_rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_of_a_host_may_be_ipv6() {
        let parsed = parse_resolve("Pages.test:8080:127.0.0.1").unwrap();
        assert_eq!((&*parsed.host, parsed.port), ("pages.test", 8080));
        assert!(parsed.address.is_loopback());
        for text in ["a:80:::1", "a:80:[::1]"] {
            assert!(parse_resolve(text).unwrap().address.is_loopback(), "{text}");
        }
        for bad in [
            "",
            "a",
            "a:80",
            "a:80:b",
            ":80:127.0.0.1",
            "a:x:127.0.0.1",
            "a:80:",
        ] {
            assert!(parse_resolve(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_header_value_may_contain_a_colon() {
        let (name, value) = parse_header("X-Time:  12:30 ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-time", &b"12:30"[..]));
        assert!(parse_header("X-Empty:").is_ok_and(|(_, value)| value.is_empty()));
        for bad in ["no colon", ": no name", "a b: c", "X: a\nb"] {
            assert!(parse_header(bad).is_err(), "{bad:?}");
        }
    }
}
