//! How results are written.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use inflight::url::Url;
use inflight::{Error, ErrorKind};
use serde::Serialize;

use crate::args::Format;
use crate::incoming::Seen;

/// The result of one URL, as JSON Lines have it.
#[derive(Debug, Serialize)]
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
    pub(crate) error: Option<Failure>,
}

/// Why a URL has no result.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) phase: Option<&'static str>,
    pub(crate) message: String,
}

impl Record {
    /// A URL that was never requested.
    pub(crate) fn unsent(index: usize, text: &str, error: Failure) -> Self {
        Self {
            index,
            url: presentable(text),
            final_url: None,
            status: None,
            version: None,
            bytes: 0,
            elapsed_ms: 0.0,
            attempts: 0,
            redirects: 0,
            sha256: None,
            error: Some(error),
        }
    }

    /// A URL that was requested, and how that ended: with the body's digest, where one was
    /// wanted, or a failure.
    pub(crate) fn sent(
        index: usize,
        text: &str,
        seen: &Seen,
        ended: Result<Option<String>, Failure>,
    ) -> Self {
        let (sha256, error) = match ended {
            Ok(sha256) => (sha256, None),
            Err(error) => (None, Some(error)),
        };
        Self {
            index,
            url: presentable(text),
            final_url: seen.url.as_ref().map(without_credentials),
            status: seen.status.map(|status| status.as_u16()),
            version: seen.version.map(|version| format!("{version:?}")),
            bytes: seen.bytes,
            elapsed_ms: seen.elapsed().as_micros() as f64 / 1000.0,
            attempts: seen.attempts,
            redirects: seen.redirects,
            sha256,
            error,
        }
    }
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind: kind.as_str(),
            phase: None,
            message: message.into(),
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let message = describe(error);
        // The record names the URL itself.
        let url = error.url().map(|url| format!(" [{url}]"));
        let message = match url {
            Some(url) => message.replacen(&url, "", 1),
            None => message,
        };
        Self {
            kind: error.kind().as_str(),
            phase: error.phase().map(|phase| phase.as_str()),
            message,
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        // Many libraries print their causes too.
        if !text.contains(&told) {
            let _ = write!(text, ": {told}");
        }
        next = cause.source();
    }
    text
}

/// The text of a URL as it was given, or without the credentials in it.
fn presentable(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if has_credentials(&url) => without_credentials(&url),
        Ok(_) => text.to_owned(),
        // What cannot be taken apart may have a password anywhere before an @.
        Err(_) => match text.rsplit_once('@') {
            Some((_, rest)) => format!("...@{rest}"),
            None => text.to_owned(),
        },
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only on URLs that cannot have credentials in the first place.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Writes records in a format, each in one piece: whoever stops reading, or stops us, finds no
/// half of one.
pub(crate) struct Printer<W> {
    format: Format,
    digests: bool,
    to: W,
}

impl Printer<io::Stdout> {
    /// To standard output, in the format that suits it unless one was asked for.
    pub(crate) fn stdout(format: Option<Format>, digests: bool) -> Self {
        let to = io::stdout();
        let suitable = if to.is_terminal() {
            Format::Table
        } else {
            Format::Jsonl
        };
        Self::new(format.unwrap_or(suitable), digests, to)
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.to.is_terminal()
    }
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(format: Format, digests: bool, to: W) -> Self {
        Self {
            format,
            digests,
            to,
        }
    }

    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// The line before the first record, if the format has one.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        if !self.is_table() {
            return Ok(());
        }
        let row = row(
            "INDEX",
            "STATUS",
            "BYTES",
            "TIME",
            self.digests.then_some("SHA-256"),
        );
        self.put(format!("{row}URL\n"))
    }

    pub(crate) fn record(&mut self, record: &Record) -> io::Result<()> {
        match self.format {
            Format::Jsonl => self.put(line(record)?),
            Format::Table => {
                let status = record.status.map(|status| status.to_string());
                let mut line = row(
                    &record.index.to_string(),
                    status.as_deref().unwrap_or("-"),
                    &record.bytes.to_string(),
                    &format!("{:.1}ms", record.elapsed_ms),
                    self.digests
                        .then(|| record.sha256.as_deref().unwrap_or("-")),
                );
                push_visible(&mut line, &record.url);
                if let Some(Failure { kind, message, .. }) = &record.error {
                    let _ = write!(line, "  {kind}: ");
                    push_visible(&mut line, message);
                }
                line.push('\n');
                self.put(line)
            }
        }
    }

    fn put(&mut self, line: String) -> io::Result<()> {
        self.to.write_all(line.as_bytes())?;
        self.to.flush()
    }
}

/// A value as a line of JSON.
pub(crate) fn line(value: &impl Serialize) -> io::Result<String> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
}

/// The columns of fixed width. What is wider pushes the rest aside.
fn row(index: &str, status: &str, bytes: &str, time: &str, digest: Option<&str>) -> String {
    let mut row = format!("{index:>7}  {status:>6}  {bytes:>10}  {time:>10}  ");
    if let Some(digest) = digest {
        let _ = write!(row, "{digest:<64}  ");
    }
    row
}

/// Text from outside must not move the cursor, or end the line.
fn push_visible(line: &mut String, text: &str) {
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
    fn a_url_is_shown_as_it_was_given_but_for_its_credentials() {
        for (given, shown) in [
            ("http://host", "http://host"),
            ("http://me:secret@host/a?b#c", "http://host/a?b#c"),
            ("http://me:secret@[::1/a", "...@[::1/a"),
            ("not a url", "not a url"),
        ] {
            assert_eq!(presentable(given), shown);
        }
    }

    #[test]
    fn a_failure_leaves_the_url_to_its_record() {
        let url = Url::parse("http://host/").unwrap();
        let error = Error::new(ErrorKind::Connect)
            .with_context("127.0.0.1:1")
            .with_source(io::Error::from(io::ErrorKind::ConnectionRefused))
            .with_url(&url);
        let failure = Failure::from(&error);
        assert_eq!((failure.kind, failure.phase), ("connect", None));
        assert_eq!(
            failure.message,
            "could not connect: 127.0.0.1:1: connection refused"
        );
    }

    #[test]
    fn a_table_has_one_line_a_record_whatever_is_in_it() {
        let failure = Failure::new(ErrorKind::InvalidUrl, "no\n\u{1b}[2J");
        let record = Record::unsent(3, "x\ry", failure);
        let mut printer = Printer::new(Format::Table, true, Vec::new());
        printer.begin().unwrap();
        printer.record(&record).unwrap();
        let table = String::from_utf8(printer.to).unwrap();
        assert_eq!(table.lines().count(), 2);
        assert!(table.ends_with("x\\ry  invalid_url: no\\n\\u{1b}[2J\n"));
        let columns: Vec<_> = table.lines().map(|line| line.len()).collect();
        assert!(columns[0] < columns[1]);
    }
}
