//! The options that `get` and `gather` share.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use inflight::Cell;
use inflight::http::Method;
use inflight::http::header::{HeaderName, HeaderValue};

use super::parse::{
    PinnedAddress, parse_duration, parse_header, parse_method, parse_resolve, parse_value,
    parse_workers,
};
use crate::format::{Format, When};

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

    /// Send the credentials of the host from ~/.netrc, or from the file that $NETRC names, unless the URL,
    /// --user or a header has credentials
    #[arg(long)]
    pub(crate) netrc: bool,

    /// Send the cookies of FILE and those that responses set, and write all of them to FILE at the end
    ///
    /// FILE has the format of curl, wget and browser extensions (Netscape). It may be missing before the
    /// first run. If FILE is a pipe or a device, the program only reads it.
    #[arg(long, value_name = "FILE")]
    pub(crate) cookies: Option<PathBuf>,

    /// Read the defaults of options from FILE instead of inflight/config.toml in the user's configuration
    /// directory
    ///
    /// A key is the name of an option, such as `user-agent = "my-crawler/1.0"` or `retries = 3`. Keys in the
    /// table [get] or [gather] apply only to that command. An option on the command line replaces the value of the
    /// file. The file cannot set options of a single run, such as input, output, journal and continue. The command
    /// line cannot switch off a flag that the file sets to true.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The User-Agent header [default: the name and version of this program]
    #[arg(long, value_name = "TEXT", value_parser = parse_value)]
    pub(crate) user_agent: Option<HeaderValue>,

    /// The time limit for one request, such as 300ms, 5s or 2m; a number without a unit is in seconds.
    /// It covers everything from the start of the request to the end of the body, including retries. It
    /// does not include waits because of --per-host, --rate and --host-rate
    #[arg(long, value_name = "DUR", default_value = "5m", value_parser = parse_duration)]
    pub(crate) timeout: Duration,

    /// The time limit for the wait before a request may start, because of --per-host, --rate, --host-rate,
    /// or a Retry-After that another request to the host received [default: no limit]
    ///
    /// A URL that waits because of --per-host or --host-rate fails only when its turn comes. Without this
    /// option, a URL fails at once if its host requests a pause that is longer than --timeout.
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
    ///
    /// A failure is transient if there was no response, if the status is 408, 429, 502, 503 or 504, or if
    /// the body ended early. Each server has a budget for the retries of all requests, so that retries cannot
    /// overload a server that already fails. The budget has 10 retries at the start, and one more for each 5
    /// requests. When the budget is used up, the failure is final, and its message reports the reason.
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

    /// Connect to ADDR for HOST and PORT, without a DNS lookup of HOST; may be repeated
    #[arg(long, value_name = "HOST:PORT:ADDR", value_parser = parse_resolve)]
    pub(crate) resolve: Vec<PinnedAddress>,

    /// Use HTTP/1.1 only [default: HTTP/2 if the backend and the server support it over TLS]
    #[arg(long = "http1.1", conflicts_with = "http2")]
    pub(crate) http1: bool,

    /// Use HTTP/2 only, without negotiation, also for http URLs
    #[arg(long)]
    pub(crate) http2: bool,

    /// Accept any server certificate: anybody on the network can then read and change the traffic
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
