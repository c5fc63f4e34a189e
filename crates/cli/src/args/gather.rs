//! The options of `gather`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, ValueEnum};

use super::parse::parse_duration;
use super::{Limits, RequestArgs};
use crate::save::NameTemplate;

/// Fetch many URLs at once and report the result of each URL as soon as it is known
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("source").required(true).multiple(true).args(["urls", "input"]))]
#[command(after_help = "\
Examples:
  inflight gather http://127.0.0.1:8080/page/1 http://127.0.0.1:8080/page/2
  inflight gather --input urls.txt --limit 50 --deadline 2m --output pages
  inflight gather --input urls.txt --rate 20 --timeout 10
  inflight gather --input urls.txt --journal journal.jsonl --retries 3
  inflight gather --input urls.txt --polite --output pages --names '{host}/{path}.{ext}'
  inflight gather --input urls.txt -H 'Authorization: Bearer secret' --user-agent 'my-crawler/1.0'
  generate-urls | inflight gather --input - --digest --format jsonl | grep -v '\"error\":null'

By default, the input has one URL per line. The program skips blank lines and lines that start with #. It
reads the input as requests finish, so the input can be a pipe that never ends. It reports a line that is not a
URL as a failure. With --input-format jsonl, each line is an object with url and, if needed, method, headers,
body, output (the name of the file in the directory of --output) and id:
  {\"url\":\"http://...\",\"headers\":{\"Accept\":\"text/html\"},\"output\":\"a/1.html\",\"id\":\"row 1\"}

With --format jsonl, each result is one line with a JSON object:
  {\"index\":0,\"url\":\"http://...\",\"final_url\":\"http://...\",\"status\":200,\"version\":\"HTTP/1.1\",
   \"bytes\":12,\"elapsed_ms\":103.2,\"attempts\":1,\"redirects\":0,\"sha256\":null,
   \"queued_ms\":0.1,\"file\":null,\"id\":null,\"error\":null}
queued_ms is the time until the request may start, and elapsed_ms is the time from then to the end.
For a failed request, error is {\"kind\":\"timeout\",\"phase\":\"connect\",\"message\":\"...\"}. phase is null
unless kind is timeout. attempts is 0 for a URL that was never requested. file is the path in the
directory of --output. A failed request leaves no file.

On the first Ctrl-C, SIGTERM or SIGHUP, the program starts no more requests, cancels the requests in
flight, reports all unfinished URLs as cancelled, and exits with status 130. On a second Ctrl-C or SIGTERM,
it exits immediately and can leave temporary files in the directory of --output. Their names start with a
dot, and the next run deletes them. If the reader of standard output closes the pipe, as `head` does, the
program exits with status 0 and no message.")]
pub(crate) struct Gather {
    /// The URLs to fetch, before the URLs of --input
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Read URLs from FILE; - is standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) input: Option<PathBuf>,

    /// The format of --input [default: by the extension of FILE (.jsonl, .ndjson, .csv), otherwise lines]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "input")]
    pub(crate) input_format: Option<InputFormat>,

    #[command(flatten)]
    pub(crate) limits: Limits,

    /// The time limit for all requests together; requests that have not finished by then fail with
    /// kind deadline
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) deadline: Option<Duration>,

    /// Append each result to FILE, as with --format jsonl, and skip the URLs that FILE lists as finished
    ///
    /// Run the same command again to continue after an interruption. The input must have the same URLs in the
    /// same order, and more may follow. The program fetches URLs again that were cancelled or exceeded the
    /// --deadline. With --retry-failed, it also fetches failed URLs again.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,

    /// Fetch the URLs again that have an error or a status of 400 or above in the journal
    #[arg(long, requires = "journal")]
    pub(crate) retry_failed: bool,

    /// Cancel all other requests when one request fails
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Fetch equal URLs once, and report the result for each of them
    ///
    /// Two URLs are equal if they differ at most in their fragment, and if their method, headers, body and output
    /// are the same. The program keeps the results of all URLs in memory.
    #[arg(long)]
    pub(crate) dedup: bool,

    /// Save each body in DIR, and list the files in DIR/manifest.jsonl
    ///
    /// The program creates DIR if it does not exist. A file gets its name when it is complete. If a file with
    /// this name exists, the new file gets a number. If a run with --journal or --continue fetches a URL again, it
    /// replaces the earlier file of this URL. A failed request leaves no file. Without --fail-status, the program
    /// also saves the page of a status such as 404.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// The names of the files in DIR, with the fields {index}, {host}, {path}, {basename}, {id} and {ext}
    /// [default: {index}]
    ///
    /// {index} is the number of the URL in the input, from 000000. {host} includes the port. {path} is the path
    /// of the URL without its query. {basename} is the last segment of the path, or the word index if the segment
    /// is empty. {id} is the id in the input; without an id, it is the same as {index}. {ext} is the extension for
    /// the Content-Type of the response, without a dot. If the type has no known extension, {ext} is the extension
    /// of the path, or bin. If the template has {ext}, then {path} and {basename} have no extension. Characters
    /// that some file systems refuse become _. Names that are taken, and names that differ only in case, get a
    /// number.
    #[arg(long, value_name = "TEMPLATE", requires = "output", value_parser = NameTemplate::from_str)]
    pub(crate) names: Option<NameTemplate>,

    /// Keep unfinished bodies in DIR/.inflight-INDEX.part, and request the rest of those that an earlier run
    /// left
    ///
    /// Without this option, the program deletes the unfinished bodies of earlier runs.
    ///
    /// The program skips the URLs that --journal or, without it, DIR/manifest.jsonl lists as finished. As with
    /// `get --continue`, the server must identify the version of the body, the program does not decode bodies, and
    /// a status other than 200 is a failure.
    #[arg(
        long = "continue",
        requires = "output",
        conflicts_with_all = ["method", "data", "max_body"]
    )]
    pub(crate) resume: bool,

    /// Compute the SHA-256 digest of each body
    #[arg(long)]
    pub(crate) digest: bool,

    /// At the end, report on standard error how late the event loop was and what stalled it
    #[arg(long)]
    pub(crate) probe: bool,

    /// The format of the summary on standard error at the end
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = SummaryFormat::Table)]
    pub(crate) summary: SummaryFormat,

    #[command(flatten)]
    pub(crate) requests: RequestArgs,
}

/// The format of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SummaryFormat {
    /// Counts, times and the slowest hosts
    Table,
    /// One JSON object
    Json,
    /// No summary
    None,
}

/// The format of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// One URL per line
    Lines,
    /// One JSON object per line: {"url", "method", "headers", "body", "output", "id"}
    Jsonl,
    /// CSV with a header; the column url is required, and the other columns have the names of jsonl
    Csv,
}

impl InputFormat {
    pub(crate) fn of_extension(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            Some("jsonl" | "ndjson") => Self::Jsonl,
            Some("csv") => Self::Csv,
            _ => Self::Lines,
        }
    }
}
