//! Prints results as a table or as JSON Lines.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Seek, SeekFrom, Write};
use std::time::Duration;

use inflight::url::Url;
use inflight::{Error, ErrorKind};
use serde::Serialize;

use crate::exchange::ExchangeStats;
use crate::format::Format;
use crate::line_file::write_all;
use crate::summary::UrlResult;

/// The result of one URL. `--format jsonl` prints it as a JSON object.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Record {
    pub(crate) index: usize,
    pub(crate) url: String,
    pub(crate) final_url: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) version: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) elapsed_ms: f64,
    pub(crate) attempts: u32,
    pub(crate) redirects: u32,
    pub(crate) sha256: Option<String>,
    pub(crate) queued_ms: f64,
    /// The path in the directory of `--output`.
    pub(crate) file: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) error: Option<Failure>,
}

/// What a successful job returns.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// The digest of the body, with `--digest`.
    pub(crate) sha256: Option<String>,
    /// The path of the body in the directory, with `--output`.
    pub(crate) file: Option<String>,
}

/// Why a URL failed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) phase: Option<&'static str>,
    pub(crate) message: String,
    /// Whether the same request may succeed later.
    #[serde(skip)]
    #[cfg_attr(not(feature = "queue"), expect(dead_code, reason = "for queues"))]
    pub(crate) is_transient: bool,
}

impl Record {
    /// Returns the record of a URL that was never requested.
    pub(crate) fn unsent(index: usize, text: &str, error: Failure) -> Self {
        Self {
            index,
            url: redacted(text),
            error: Some(error),
            ..Self::default()
        }
    }

    /// Returns the record of a URL that was requested.
    pub(crate) fn sent(
        index: usize,
        text: &str,
        stats: &ExchangeStats,
        result: Result<Fetched, Failure>,
    ) -> Self {
        let (fetched, error) = match result {
            Ok(fetched) => (fetched, None),
            Err(error) => (Fetched::default(), Some(error)),
        };
        Self {
            index,
            url: redacted(text),
            final_url: stats.url.as_ref().map(without_credentials),
            status: stats.status.map(|status| status.as_u16()),
            version: stats.version.map(|version| format!("{version:?}")),
            bytes: stats.bytes,
            elapsed_ms: millis(stats.elapsed()),
            queued_ms: millis(stats.queued()),
            attempts: stats.attempts,
            redirects: stats.redirects,
            sha256: fetched.sha256,
            file: fetched.file,
            id: None,
            error,
        }
    }

    pub(crate) fn with_url(mut self, text: &str) -> Self {
        self.url = redacted(text);
        self
    }

    pub(crate) fn with_id(mut self, id: Option<&str>) -> Self {
        self.id = id.map(str::to_owned);
        self
    }
}

impl<'a> From<&'a Record> for UrlResult<'a> {
    fn from(record: &'a Record) -> Self {
        let error = record.error.as_ref();
        Self {
            url: &record.url,
            status: record.status,
            bytes: record.bytes,
            elapsed_ms: record.elapsed_ms,
            queued_ms: record.queued_ms,
            attempts: record.attempts,
            error: error.map(|failure| (failure.kind, failure.phase)),
        }
    }
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind: kind.as_str(),
            phase: None,
            message: message.into(),
            is_transient: false,
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        // Removes the URL from the message, because the record has it in the field `url`. Only the alternate
        // form contains the whole URL.
        let message = format!("{error:#}");
        let message = match error.url() {
            Some(url) => message.replacen(&format!(" [{url}]"), "", 1),
            None => message,
        };
        Self {
            kind: error.kind().as_str(),
            phase: error.phase().map(|phase| phase.as_str()),
            message: with_causes(message, error),
            is_transient: error.is_transient(),
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// Formats an error and its causes as one line.
pub(crate) fn describe(error: &(dyn StdError + 'static)) -> String {
    with_causes(error.to_string(), error)
}

/// Appends the causes of an error to its message.
fn with_causes(mut text: String, error: &(dyn StdError + 'static)) -> String {
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        // The errors of many libraries already include the messages of their causes.
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        next = cause.source();
    }
    text
}

/// Returns the text of a URL without its credentials.
pub(crate) fn redacted(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            without_credentials(&url)
        }
        // A text without `//`, such as `name:password@host`, may be a URL without its scheme.
        Ok(url) if !url.cannot_be_a_base() => text.to_owned(),
        // A text that cannot be parsed may have a password anywhere before an @.
        _ => match text.rsplit_once('@') {
            Some((_, rest)) => format!("...@{rest}"),
            None => text.to_owned(),
        },
    }
}

/// Returns the scheme, host and port of a URL.
pub(crate) fn host_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // Both calls fail only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Writes records as a table or as JSON Lines. Each record is one write, so that an interrupt leaves no
/// partial record.
pub(crate) struct Printer<W> {
    format: Format,
    with_digests: bool,
    writer: W,
}

impl Printer<WholeLines> {
    /// Returns a printer for standard output. The default format is a table on a terminal and JSON
    /// Lines otherwise.
    pub(crate) fn stdout(format: Option<Format>, with_digests: bool) -> Self {
        let default = if io::stdout().is_terminal() {
            Format::Table
        } else {
            Format::Jsonl
        };
        Self::new(
            format.unwrap_or(default),
            with_digests,
            WholeLines::stdout(),
        )
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.writer.stdout.is_terminal()
    }
}

/// Standard output. If it is a regular file, a write that fails leaves no part of its bytes in the file.
pub(crate) struct WholeLines {
    stdout: io::Stdout,
    file: Option<File>,
}

impl WholeLines {
    fn stdout() -> Self {
        let file = stdout_file().ok();
        let is_regular = |file: &File| file.metadata().is_ok_and(|metadata| metadata.is_file());
        Self {
            stdout: io::stdout(),
            file: file.filter(is_regular),
        }
    }
}

#[cfg(unix)]
fn stdout_file() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

#[cfg(not(unix))]
fn stdout_file() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Write for WholeLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return self.stdout.write(bytes);
        };
        match write_all(file, bytes) {
            (written, Ok(())) => Ok(written),
            (written, Err(error)) => Err(take_back(file, written, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &self.file {
            Some(_) => Ok(()),
            None => self.stdout.flush(),
        }
    }
}

/// Removes the last `written` bytes of a file, unless another process has appended to it. Returns `error`.
fn take_back(file: &mut File, written: usize, error: io::Error) -> io::Error {
    let mut remove = || -> io::Result<()> {
        let end = file.stream_position()?;
        if file.metadata()?.len() == end {
            let start = end.saturating_sub(written as u64);
            file.set_len(start)?;
            file.seek(SeekFrom::Start(start))?;
        }
        Ok(())
    };
    // The first error is the one to report.
    let _ = remove();
    error
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(format: Format, with_digests: bool, writer: W) -> Self {
        Self {
            format,
            with_digests,
            writer,
        }
    }

    fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Writes the header line, if the format is a table.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        if !self.is_table() {
            return Ok(());
        }
        let row = format_row(
            "INDEX",
            "STATUS",
            "BYTES",
            "TIME",
            self.with_digests.then_some("SHA-256"),
        );
        self.write_line(format!("{row}URL\n"))
    }

    /// Writes a record.
    pub(crate) fn record(&mut self, record: &Record) -> io::Result<()> {
        match self.format {
            Format::Jsonl => self.write_line(json_line(record)?),
            Format::Table => self.row(record),
        }
    }

    /// Writes a record whose line of JSON is known.
    pub(crate) fn record_with_line(&mut self, record: &Record, line: String) -> io::Result<()> {
        match self.format {
            Format::Jsonl => self.write_line(line),
            Format::Table => self.row(record),
        }
    }

    fn row(&mut self, record: &Record) -> io::Result<()> {
        let status = record.status.map(|status| status.to_string());
        let mut line = format_row(
            &record.index.to_string(),
            status.as_deref().unwrap_or("-"),
            &record.bytes.to_string(),
            &format!("{:.1}ms", record.elapsed_ms),
            self.with_digests
                .then(|| record.sha256.as_deref().unwrap_or("-")),
        );
        push_escaped(&mut line, &record.url);
        if let Some(Failure { kind, message, .. }) = &record.error {
            let _ = write!(line, "  {kind}: ");
            push_escaped(&mut line, message);
        }
        line.push('\n');
        self.write_line(line)
    }

    fn write_line(&mut self, line: String) -> io::Result<()> {
        self.writer.write_all(line.as_bytes())?;
        self.writer.flush()
    }
}

/// Formats a value as a line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<String> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
}

/// Formats the columns before the URL, which have fixed widths. A wider value shifts the rest of the row.
fn format_row(index: &str, status: &str, bytes: &str, time: &str, digest: Option<&str>) -> String {
    let mut row = format!("{index:>7}  {status:>6}  {bytes:>10}  {time:>10}  ");
    if let Some(digest) = digest {
        let _ = write!(row, "{digest:<64}  ");
    }
    row
}

/// Returns the text with its control characters escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::new();
    push_escaped(&mut line, text);
    line
}

/// Appends `text` with its control characters escaped, so that a server's text cannot move the
/// cursor or end the line.
fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_unchanged_except_for_its_credentials() {
        for (text, expected) in [
            ("http://host", "http://host"),
            ("http://me:secret@host/a?b#c", "http://host/a?b#c"),
            ("http://me:secret@[::1/a", "...@[::1/a"),
            ("me:secret@host/a", "...@host/a"),
            ("mailto:me", "mailto:me"),
            ("not a url", "not a url"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn the_message_of_a_failure_does_not_repeat_the_url() {
        for url in ["http://host/", "http://host/a?b=c#d"] {
            let error = Error::new(ErrorKind::Connect)
                .with_context("127.0.0.1:1")
                .with_source(io::Error::from(io::ErrorKind::ConnectionRefused))
                .with_url(&Url::parse(url).unwrap());
            let failure = Failure::from(&error);
            assert_eq!((failure.kind, failure.phase), ("connect", None));
            assert_eq!(
                failure.message,
                "could not connect: 127.0.0.1:1: connection refused"
            );
        }
    }

    #[test]
    fn a_table_has_one_line_for_each_record() {
        let failure = Failure::new(ErrorKind::InvalidUrl, "no\n\u{1b}[2J");
        let record = Record::unsent(3, "x\ry", failure);
        let mut printer = Printer::new(Format::Table, true, Vec::new());
        printer.begin().unwrap();
        printer.record(&record).unwrap();
        let table = String::from_utf8(printer.writer).unwrap();
        assert_eq!(table.lines().count(), 2);
        assert!(table.ends_with("x\\ry  invalid_url: no\\n\\u{1b}[2J\n"));
        let columns: Vec<_> = table.lines().map(|line| line.len()).collect();
        assert!(columns[0] < columns[1]);
    }
}
