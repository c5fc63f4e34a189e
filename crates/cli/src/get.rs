//! `inflight get`: fetches one URL and writes the body to standard output or a file.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};

use futures_util::future::{Either, select};
use inflight::download::{ChunkOrRestart, PartialFile};
use inflight::{BlockOn, Error, ErrorKind, RequestBuilder};

use crate::args;
use crate::exchange::{ResponseOptions, ResponseReader, SharedStats};
use crate::exit::{CliError, ExitStatus, print_error};
use crate::format::When;
use crate::output::{Failure, Fetched, Printer, Record, describe};
use crate::progress::{Progress, Unit};
use crate::request::RequestSettings;
use crate::save::{OpenFiles, ResponseOutput, file_name};
use crate::session;
use crate::signal::Interrupt;

/// Why a transfer ended early.
enum TransferError {
    Exchange(Error),
    Output(io::Error),
    Interrupted,
}

impl From<Error> for TransferError {
    fn from(error: Error) -> Self {
        Self::Exchange(error)
    }
}

pub(crate) fn run(args: args::Get) -> Result<ExitStatus, CliError> {
    let settings = RequestSettings::from_args(&args.requests)?;
    // The signal handler must be installed before the temporary file exists. Otherwise, a signal could
    // leave the file behind.
    let interrupt = Interrupt::listen()?;
    let path = match args.remote_name {
        true => Some(remote_name(&args)?),
        false => args.output.clone(),
    };
    let mut output = ResponseOutput::open(path.as_deref()).map_err(|error| {
        let path = path.as_deref().unwrap_or(Path::new("-")).display();
        CliError::usage(format_args!("cannot write {path}: {error}"))
    })?;
    if args.resume && output.path().is_none() {
        return Err(CliError::usage(
            "--continue needs the name of a regular file: -o FILE",
        ));
    }
    let head_timeout = settings.head_timeout(&args.requests);
    let client = session::start(&args.requests, |builder| builder.head_timeout(head_timeout))?;
    let session = &client.session;

    let when = match (args.requests.progress, &output) {
        // The body on the terminal already shows the progress.
        (When::Auto, ResponseOutput::Stdout(stdout)) if stdout.is_terminal() => When::Never,
        (when, _) => when,
    };
    let progress = Progress::start(when, Unit::Bytes);
    let stats = SharedStats::start();
    let request = settings.request(session, &args.url, None);
    let options = ResponseOptions::from_args(&args.requests);
    let result = client.backend.block_on(async {
        let (open_files, completion) = OpenFiles::new();
        let transfer: Pin<Box<dyn Future<Output = _>>> = match output.path() {
            Some(path) if args.resume => {
                // The partial file remains, so nothing must be deleted before the exit.
                drop(open_files);
                Box::pin(resume(request, path, &stats, &progress))
            }
            _ => {
                let reader = ResponseReader::open(request, options, stats.clone());
                let file = output.partial_file(session.runtime(), open_files);
                let include = args.include;
                Box::pin(transfer(reader, include, &mut output, file, &progress))
            }
        };
        let result = match select(transfer, pin!(interrupt.wait())).await {
            Either::Left((result, _)) => result,
            Either::Right(((), transfer)) => {
                drop(transfer);
                Err(TransferError::Interrupted)
            }
        };
        completion.wait().await;
        result
    });
    stats.finish();
    progress.clear();
    let saved = client.save_cookies();

    let to_stdout = matches!(output, ResponseOutput::Stdout(_));
    let (result, status) = match result {
        Ok(()) => (Ok(()), ExitStatus::Success),
        Err(TransferError::Exchange(error)) => (Err(error), ExitStatus::Failed),
        Err(TransferError::Output(error)) if to_stdout => return Err(CliError::stdout(&error)),
        Err(TransferError::Output(error)) => {
            let failed = Error::new(ErrorKind::Io).with_context("the output cannot be written");
            (Err(failed.with_source(error)), ExitStatus::Failed)
        }
        Err(TransferError::Interrupted) => {
            let cancelled = Error::new(ErrorKind::Cancelled).with_context("interrupted");
            (Err(cancelled), ExitStatus::Interrupted)
        }
    };
    let Some(format) = args.requests.format else {
        if let Err(error) = result {
            print_error(describe(&error));
        }
        return saved.map(|()| status);
    };
    let result = result.map(|()| Fetched::default());
    let result = result.map_err(|error| Failure::from(&error));
    let record = Record::sent(0, &args.url, &stats.snapshot(), result);
    let print = |writer: &mut dyn Write| {
        let mut printer = Printer::new(format, false, writer);
        printer.begin().and_then(|()| printer.record(&record))
    };
    if to_stdout {
        // Ignores write errors, because there is no other place to report them.
        let _ = print(&mut io::stderr());
    } else {
        print(&mut io::stdout()).map_err(|error| CliError::stdout(&error))?;
    }
    saved.map(|()| status)
}

/// Returns the name of `--remote-name`.
fn remote_name(args: &args::Get) -> Result<PathBuf, CliError> {
    let name = file_name(&args.url).ok_or_else(|| {
        CliError::usage("the URL has no name at the end of its path: choose one with -o FILE")
    })?;
    match Path::new(&name).exists() && !args.resume {
        true => Err(CliError::usage(format_args!(
            "{name} exists: replace it with -o {name}, or continue it with -C"
        ))),
        false => Ok(name.into()),
    }
}

/// Writes the response to the output.
///
/// Writes to standard output and to devices block the thread. No other request is in flight, so they delay
/// no other transfer. A blocked write delays the reaction to the first signal. If the output is read slowly,
/// the response is also read slowly.
async fn transfer(
    reader: impl Future<Output = Result<ResponseReader, Error>>,
    include: bool,
    output: &mut ResponseOutput,
    mut file: Option<PartialFile>,
    progress: &Progress,
) -> Result<(), TransferError> {
    let mut reader = reader.await?;
    if let Some(length) = reader.content_length() {
        progress.set_total(length);
    }
    if include {
        write(output, &mut file, &format_head(&reader)).await?;
    }
    let Some(mut file) = file else {
        while let Some(chunk) = reader.chunk().await? {
            write(output, &mut None, &chunk).await?;
            progress.advance(chunk.len() as u64);
        }
        return Ok(());
    };
    while let Some(part) = reader.chunk_or_restart().await? {
        match part {
            ChunkOrRestart::Chunk(chunk) => {
                file.write(&chunk).await?;
                progress.advance(chunk.len() as u64);
            }
            ChunkOrRestart::Restart => {
                file.restart().await?;
                if include {
                    file.write(&format_head(&reader)).await?;
                }
                progress.set_position(0);
            }
        }
    }
    Ok(file.finish().await?)
}

/// Downloads to a file, and continues an earlier download. An interrupt leaves the partial file for the next
/// call.
async fn resume(
    request: RequestBuilder,
    path: &Path,
    stats: &SharedStats,
    progress: &Progress,
) -> Result<(), TransferError> {
    let (counted, bar) = (stats.clone(), progress.clone());
    let request = stats.observe_download(request).on_progress(move |so_far| {
        counted.set_bytes(so_far.bytes);
        if let Some(total) = so_far.total {
            bar.set_total(total);
        }
        bar.set_position(so_far.bytes);
    });
    stats.finish_download(request.resume_to(path).await?);
    Ok(())
}

async fn write(
    output: &mut ResponseOutput,
    file: &mut Option<PartialFile>,
    bytes: &[u8],
) -> Result<(), TransferError> {
    match file {
        Some(file) => Ok(file.write(bytes).await?),
        None => output.write(bytes).map_err(TransferError::Output),
    }
}

/// Formats the head of the response in the syntax of HTTP/1.1, with header names in lower case.
fn format_head(reader: &ResponseReader) -> Vec<u8> {
    let status = reader.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let version = reader.version();
    let mut head = format!("{version:?} {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in reader.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
