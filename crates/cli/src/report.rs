//! `inflight report`: shows what a journal contains.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use serde::Deserialize;

use crate::args;
use crate::args::ReportFormat;
use crate::exit::{CliError, ExitStatus, print_output};
use crate::line_file::for_each_line;
use crate::output::printable;
use crate::summary::{Summary, UrlResult};

/// The fields of a record that a summary uses.
#[derive(Deserialize)]
pub(crate) struct ReportedRecord {
    pub(crate) index: usize,
    url: String,
    status: Option<u16>,
    bytes: u64,
    attempts: u32,
    elapsed_ms: f64,
    #[serde(default)]
    queued_ms: f64,
    pub(crate) error: Option<ReportedError>,
}

#[derive(Deserialize)]
pub(crate) struct ReportedError {
    kind: String,
    phase: Option<String>,
}

impl ReportedRecord {
    pub(crate) fn result(&self) -> UrlResult<'_> {
        let error = self.error.as_ref();
        UrlResult {
            url: &self.url,
            status: self.status,
            bytes: self.bytes,
            elapsed_ms: self.elapsed_ms,
            queued_ms: self.queued_ms,
            attempts: self.attempts,
            error: error.map(|error| (&*error.kind, error.phase.as_deref())),
        }
    }
}

/// Where a line is in the journal.
#[derive(Clone, Copy)]
struct LineLocation {
    offset: u64,
    len: usize,
}

pub(crate) fn run(args: &args::JournalReport) -> Result<ExitStatus, CliError> {
    let name = args.file.display();
    let reading = |error: io::Error| CliError::usage(format_args!("cannot read {name}: {error}"));
    let mut file = File::open(&args.file).map_err(reading)?;
    if !file.metadata().map_err(reading)?.is_file() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(reading(error));
    }
    // A later record of an index replaces the earlier ones.
    let (mut locations, mut offset) = (BTreeMap::new(), 0);
    for_each_line(&file, &args.file, |line: ReportedRecord, len| {
        locations.insert(line.index, LineLocation { offset, len });
        offset += len as u64;
    })?;
    let mut summary = Summary::default();
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let mut text = Vec::new();
    for location in locations.values() {
        read_line(&mut file, *location, &mut text).map_err(reading)?;
        let line: ReportedRecord =
            serde_json::from_slice(&text).map_err(|error| reading(error.into()))?;
        let result = line.result();
        if args.failed && !result.is_failure() {
            continue;
        }
        let written = match args.format {
            ReportFormat::Table => {
                summary.add(&result);
                Ok(())
            }
            // An entry of the input that could not be read has no URL.
            ReportFormat::Urls if line.url.is_empty() => Ok(()),
            ReportFormat::Urls => writeln!(stdout, "{}", printable(&line.url)),
            ReportFormat::Jsonl => stdout.write_all(&text),
        };
        written.map_err(|error| CliError::stdout(&error))?;
    }
    stdout.flush().map_err(|error| CliError::stdout(&error))?;
    drop(stdout);
    if args.format == ReportFormat::Table {
        print_output(&summary.table(None))?;
    }
    Ok(ExitStatus::Success)
}

fn read_line(file: &mut File, location: LineLocation, text: &mut Vec<u8>) -> io::Result<()> {
    file.seek(SeekFrom::Start(location.offset))?;
    text.resize(location.len, 0);
    file.read_exact(text)
}
