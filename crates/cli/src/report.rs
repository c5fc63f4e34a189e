//! `inflight report`: shows what a journal contains.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use inflight::url::Url;
use serde::Deserialize;

use crate::args;
use crate::args::ReportFormat;
use crate::exit::{CliError, ExitStatus, print_output};
use crate::journal::for_each_line;
use crate::output::printable;

/// How many hosts the table shows.
const MAX_HOSTS: usize = 10;

/// The fields of a record that the report uses.
#[derive(Deserialize)]
struct ReportedRecord {
    index: usize,
    url: String,
    status: Option<u16>,
    bytes: u64,
    elapsed_ms: f64,
    #[serde(default)]
    queued_ms: f64,
    error: Option<ReportedError>,
}

#[derive(Deserialize)]
struct ReportedError {
    kind: String,
    phase: Option<String>,
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
        if args.failed && line.error.is_none() {
            continue;
        }
        let written = match args.format {
            ReportFormat::Table => {
                summary.add(&line);
                Ok(())
            }
            ReportFormat::Urls => writeln!(stdout, "{}", printable(&line.url)),
            ReportFormat::Jsonl => stdout.write_all(&text),
        };
        written.map_err(|error| CliError::stdout(&error))?;
    }
    stdout.flush().map_err(|error| CliError::stdout(&error))?;
    drop(stdout);
    if args.format == ReportFormat::Table {
        print_output(&summary.table())?;
    }
    Ok(ExitStatus::Success)
}

fn read_line(file: &mut File, location: LineLocation, text: &mut Vec<u8>) -> io::Result<()> {
    file.seek(SeekFrom::Start(location.offset))?;
    text.resize(location.len, 0);
    file.read_exact(text)
}

/// Counts and times of records.
#[derive(Default)]
struct Summary {
    failed: usize,
    /// The number of records by their result: the class of the status, or the kind and phase of the error.
    results: BTreeMap<String, usize>,
    bytes: u64,
    elapsed: Vec<f64>,
    queued: Vec<f64>,
    hosts: BTreeMap<String, HostSummary>,
}

#[derive(Default)]
struct HostSummary {
    failed: usize,
    elapsed: Vec<f64>,
}

impl Summary {
    fn add(&mut self, line: &ReportedRecord) {
        let result = match (&line.error, line.status) {
            (Some(error), Some(status)) if error.kind == "status" => format!("status {status}"),
            (Some(error), _) => match &error.phase {
                Some(phase) => format!("{} ({phase})", error.kind),
                None => error.kind.clone(),
            },
            (None, Some(status)) => format!("status {}xx", status / 100),
            (None, None) => "no status".to_owned(),
        };
        *self.results.entry(result).or_default() += 1;
        self.failed += usize::from(line.error.is_some());
        self.bytes = self.bytes.saturating_add(line.bytes);
        self.elapsed.push(line.elapsed_ms);
        self.queued.push(line.queued_ms);
        let host = Url::parse(&line.url).map(|url| url.origin().ascii_serialization());
        let host = host.unwrap_or_else(|_| "no valid URL".to_owned());
        let host = self.hosts.entry(host).or_default();
        host.failed += usize::from(line.error.is_some());
        host.elapsed.push(line.elapsed_ms);
    }

    fn table(&mut self) -> String {
        let (total, failed) = (self.elapsed.len(), self.failed);
        let mut text = format!("{total} URLs: {} ok, {failed} failed\n\n", total - failed);
        let mut results: Vec<_> = self.results.iter().collect();
        results.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (result, count) in results {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{count:>10}  {}", printable(result));
        }
        let _ = writeln!(text, "\nbytes    {}", self.bytes);
        let _ = writeln!(text, "elapsed  {}", Quantiles::of(&mut self.elapsed).text());
        let _ = writeln!(text, "queued   {}", Quantiles::of(&mut self.queued).text());
        let mut hosts: Vec<_> = self
            .hosts
            .iter_mut()
            .map(|(host, summary)| (host, summary.failed, Quantiles::of(&mut summary.elapsed)))
            .collect();
        hosts.sort_by(|(_, _, a), (_, _, b)| b.p95.total_cmp(&a.p95));
        let _ = writeln!(
            text,
            "\n{:>10} {:>8} {:>10} {:>10}  slowest hosts",
            "urls", "failed", "p50 ms", "p95 ms"
        );
        for (host, failed, times) in hosts.iter().take(MAX_HOSTS) {
            let Quantiles {
                count, p50, p95, ..
            } = times;
            let _ = writeln!(
                text,
                "{count:>10} {failed:>8} {p50:>10.1} {p95:>10.1}  {host}"
            );
        }
        if hosts.len() > MAX_HOSTS {
            let _ = writeln!(text, "and {} more hosts", hosts.len() - MAX_HOSTS);
        }
        text
    }
}

/// Quantiles of times, in milliseconds.
struct Quantiles {
    count: usize,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

impl Quantiles {
    fn of(times: &mut [f64]) -> Self {
        times.sort_unstable_by(f64::total_cmp);
        // The smallest time that is at least as long as this share of all times.
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            times.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self {
            count: times.len(),
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }

    fn text(&self) -> String {
        let Self {
            p50, p95, p99, max, ..
        } = self;
        format!("p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_occurred() {
        let mut times: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let quantiles = Quantiles::of(&mut times);
        assert_eq!(
            (quantiles.p50, quantiles.p95, quantiles.p99, quantiles.max),
            (50.0, 95.0, 99.0, 100.0)
        );
        assert_eq!(Quantiles::of(&mut [7.0]).p50, 7.0);
        assert_eq!(Quantiles::of(&mut []).max, 0.0);
    }
}
