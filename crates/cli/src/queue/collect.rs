//! `inflight queue collect`: writes the results.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures_lite::future::or;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use inflight_queue::{Bodies, CollectFrom, Collector, ResultBatch, ResultLine};
use serde::Deserialize;

use super::connect::{failed, file_error, open, start_error};
use crate::args;
use crate::exit::{CliError, ExitStatus, print_output};
use crate::format::Format;
use crate::line_file::{LineFile, for_each_line};
use crate::report::ReportedRecord;
use crate::signal::Interrupt;
use crate::summary::Summary;

/// How many bodies are read at the same time. Each of them waits for the server and for the disk.
const MAX_BODIES_AT_ONCE: usize = 32;

/// The fields of a result for its body.
#[derive(Deserialize)]
struct BodyOnly {
    file: Option<String>,
}

pub(super) async fn run(args: args::Collect) -> Result<ExitStatus, CliError> {
    let mut output = Output::open(&args)?;
    let queue = open(&args.connection, &args.name).await?;
    let interrupt = Interrupt::listen()?;
    let bodies = match &args.bodies {
        Some(directory) => {
            fs::create_dir_all(directory).map_err(|error| {
                CliError::usage(format_args!(
                    "cannot write to {}: {error}",
                    directory.display()
                ))
            })?;
            Some((
                queue.bodies().await.map_err(start_error)?,
                directory.as_path(),
            ))
        }
        None => None,
    };
    let from = match (args.format, args.restart) {
        // A summary leaves the results for another command.
        (Format::Table, _) => CollectFrom::Copy,
        (Format::Jsonl, true) => CollectFrom::Start,
        (Format::Jsonl, false) => CollectFrom::Unread,
    };
    let mut collector = queue.collector(from).await.map_err(start_error)?;
    loop {
        let interrupted = async {
            interrupt.wait().await;
            None
        };
        let next = async { Some(next_batch(&mut collector).await) };
        let Some(batch) = or(interrupted, next).await else {
            output.end()?;
            return Ok(ExitStatus::Interrupted);
        };
        let Some(batch) = batch? else { break };
        if let Some((bodies, directory)) = &bodies {
            let saving = stream::iter(&batch.results)
                .map(|result| save_body(bodies, directory, result))
                .buffer_unordered(MAX_BODIES_AT_ONCE);
            let saving = async { Some(saving.try_collect::<()>().await) };
            let interrupted = async {
                interrupt.wait().await;
                None
            };
            let Some(saved) = or(interrupted, saving).await else {
                output.end()?;
                return Ok(ExitStatus::Interrupted);
            };
            saved?;
        }
        for result in &batch.results {
            output.add(result)?;
        }
        output.sync()?;
        batch.acknowledge().await.map_err(failed)?;
    }
    output.end()?;
    Ok(match output.has_failure {
        true => ExitStatus::Failed,
        false => ExitStatus::Success,
    })
}

/// Returns the next results, or `None` at the end.
async fn next_batch(collector: &mut Collector) -> Result<Option<ResultBatch>, CliError> {
    collector.next().await.map_err(failed)
}

/// Writes the body of a result to a file with the name of its index.
async fn save_body(bodies: &Bodies, directory: &Path, result: &ResultLine) -> Result<(), CliError> {
    let line: BodyOnly = serde_json::from_slice(&result.payload).map_err(CliError::failed)?;
    let Some(name) = line.file else { return Ok(()) };
    let path = directory.join(format!("{:06}", result.index));
    // An incomplete body must not have the name of a complete one.
    let part = directory.join(format!(".inflight-{}.part", result.index));
    bodies.read(&name, &part).await.map_err(failed)?;
    fs::rename(&part, &path).map_err(|error| file_error("writing", &path, &error))
}

/// Where the results go.
struct Output {
    kind: OutputKind,
    /// The results that were written. The server can deliver a result twice.
    written: HashSet<u64>,
    has_failure: bool,
}

enum OutputKind {
    Stdout(Vec<u8>),
    Summary(Box<Summary>),
    File { lines: LineFile, path: PathBuf },
}

impl Output {
    fn open(args: &args::Collect) -> Result<Self, CliError> {
        let (mut written, mut has_failure) = (HashSet::new(), false);
        let kind = match &args.output {
            None if args.format == Format::Table => OutputKind::Summary(Box::default()),
            None => OutputKind::Stdout(Vec::new()),
            Some(path) => {
                let error = |error: io::Error| {
                    CliError::usage(format_args!("cannot open {}: {error}", path.display()))
                };
                let Some(mut lines) = LineFile::open(path).map_err(error)? else {
                    return Err(CliError::usage(format_args!(
                        "another command is writing to {}: wait for its end, or use another file",
                        path.display()
                    )));
                };
                let mut len = 0;
                for_each_line(lines.file(), path, |record: ReportedRecord, line_len| {
                    written.insert(record.index as u64);
                    has_failure |= record.error.is_some();
                    len += line_len as u64;
                })?;
                lines.truncate(len).map_err(error)?;
                OutputKind::File {
                    lines,
                    path: path.clone(),
                }
            }
        };
        Ok(Self {
            kind,
            written,
            has_failure,
        })
    }

    fn add(&mut self, result: &ResultLine) -> Result<(), CliError> {
        if !self.written.insert(result.index) {
            return Ok(());
        }
        let record: ReportedRecord = serde_json::from_slice(&result.payload).map_err(|error| {
            CliError::failed(format_args!(
                "the result {} is not from this version of inflight: {error}",
                result.index
            ))
        })?;
        self.has_failure |= record.error.is_some();
        match &mut self.kind {
            OutputKind::Summary(summary) => summary.add(&record.result()),
            OutputKind::Stdout(buffer) => buffer.extend_from_slice(&result.payload),
            OutputKind::File { lines, .. } => {
                lines.append(&result.payload);
            }
        }
        Ok(())
    }

    /// Writes the results that were added, so that not even a power failure loses them.
    fn sync(&mut self) -> Result<(), CliError> {
        match &mut self.kind {
            OutputKind::Summary(_) => Ok(()),
            OutputKind::Stdout(buffer) => {
                let text = String::from_utf8_lossy(buffer).into_owned();
                buffer.clear();
                print_output(&text)
            }
            OutputKind::File { lines, path, .. } => lines
                .flush()
                .and_then(|()| lines.file().sync_data())
                .map_err(|error| file_error("writing", path, &error)),
        }
    }

    fn end(&mut self) -> Result<(), CliError> {
        match &self.kind {
            OutputKind::Summary(summary) => print_output(&summary.table(None)),
            _ => Ok(()),
        }
    }
}
