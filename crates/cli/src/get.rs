//! `inflight get`: one URL, its body to standard output or a file.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use futures_util::future::{Either, select};
use inflight::http::Method;
use inflight::http::header::{CONTENT_TYPE, HeaderValue};
use inflight::{BlockOn, Error, ErrorKind, RequestBuilder, Session};

use crate::args::{self, When};
use crate::exit::{Exit, Stop, complain};
use crate::incoming::{Incoming, Policy, Watch};
use crate::output::{Failure, Printer, Record, describe};
use crate::progress::{Progress, Unit};
use crate::save::Target;
use crate::session;
use crate::signal::Interrupt;

/// Where the response goes.
enum Sink {
    Stdout(io::Stdout),
    File(Target),
}

/// Why a transfer has not come to its end.
enum Broken {
    /// The exchange failed, or the file.
    Exchange(Error),
    /// Standard output did.
    Stdout(io::Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Exchange(error)
    }
}

pub(crate) fn run(args: args::Get) -> Result<Exit, Stop> {
    let data = args.data.as_deref().map(data).transpose()?;
    // Before there is a temporary file that an interrupt would leave behind.
    let interrupt = Interrupt::listen()?;
    let mut sink = match &args.output {
        Some(path) if path.as_os_str() != "-" => {
            let target = Target::create(path).map_err(|error| {
                Stop::usage(format_args!("cannot write {}: {error}", path.display()))
            })?;
            Sink::File(target)
        }
        _ => Sink::Stdout(io::stdout()),
    };
    let (backend, session) = session::start(&args.requests, data.is_some())?;

    let when = match (args.requests.progress, &sink) {
        // The body itself is the progress.
        (When::Auto, Sink::Stdout(stdout)) if stdout.is_terminal() => When::Never,
        (when, _) => when,
    };
    let progress = Progress::start(when, Unit::Bytes);
    let watch = Watch::start();
    let request = request(&session, &args, data);
    let policy = Policy::of(&args.requests);
    let ended = backend.block_on(async {
        let incoming = Incoming::open(request, policy, watch.clone());
        let transfer = std::pin::pin!(transfer(incoming, args.include, &mut sink, &progress));
        match select(transfer, std::pin::pin!(interrupt.wait())).await {
            Either::Left((ended, _)) => Some(ended),
            Either::Right(((), _)) => None,
        }
    });
    watch.end();
    progress.clear();

    let to_file = matches!(sink, Sink::File(_));
    let (ended, exit) = match ended {
        Some(Ok(())) => match complete(sink) {
            Ok(()) => (Ok(()), Exit::Success),
            Err(error) => (Err(error), Exit::Failed),
        },
        Some(Err(Broken::Stdout(error))) => return Err(Stop::stdout(&error)),
        Some(Err(Broken::Exchange(error))) => (Err(error), Exit::Failed),
        None => {
            let error = Error::new(ErrorKind::Cancelled).with_context("interrupted");
            (Err(error), Exit::Interrupted)
        }
    };
    let Some(format) = args.requests.format else {
        if let Err(error) = ended {
            complain(describe(&error));
        }
        return Ok(exit);
    };
    let ended = ended.map(|()| None).map_err(|error| Failure::from(&error));
    let record = Record::sent(0, &args.url, &watch.seen(), ended);
    if to_file {
        let mut printer = Printer::new(format, false, io::stdout());
        let printed = printer.begin().and_then(|()| printer.record(&record));
        printed.map_err(|error| Stop::stdout(&error))?;
    } else {
        let mut printer = Printer::new(format, false, io::stderr());
        // Where standard error is closed, nobody wants to know.
        let _ = printer.begin().and_then(|()| printer.record(&record));
    }
    Ok(exit)
}

/// What `-d` says to send.
enum Data {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// A file of a length is read while it is sent; a pipe is read at once, as it is there once and a
/// redirect may ask for it again.
fn data(data: &str) -> Result<Data, Stop> {
    let read = |mut source: Box<dyn Read>, name: &str| {
        let mut all = Vec::new();
        match source.read_to_end(&mut all) {
            Ok(_) => Ok(Data::Bytes(all)),
            Err(error) => Err(Stop::usage(format_args!("reading {name}: {error}"))),
        }
    };
    match data.strip_prefix('@') {
        None => Ok(Data::Bytes(data.into())),
        Some("-") => read(Box::new(io::stdin()), "standard input"),
        Some(path) => {
            let unreadable = |error| Stop::usage(format_args!("cannot read {path}: {error}"));
            let file = File::open(path).map_err(unreadable)?;
            if file.metadata().map_err(unreadable)?.is_file() {
                return Ok(Data::File(path.into()));
            }
            read(Box::new(file), path)
        }
    }
}

fn request(session: &Session, args: &args::Get, data: Option<Data>) -> RequestBuilder {
    let default = match data {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let method = args.method.clone().unwrap_or(default);
    let mut request = session.request(method, &args.url);
    for (name, value) in &args.headers {
        request = request.header(name.clone(), value.clone());
    }
    let Some(data) = data else {
        return request;
    };
    if !args.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request = request.header(CONTENT_TYPE, form);
    }
    match data {
        Data::Bytes(bytes) => request.body(bytes),
        Data::File(path) => request.file(path),
    }
}

/// Reads the response into the sink. The writes block: nothing else is in flight here that
/// they could hold up, and a reader that is slow slows the server.
async fn transfer(
    incoming: impl Future<Output = Result<Incoming, Error>>,
    include: bool,
    sink: &mut Sink,
    progress: &Progress,
) -> Result<(), Broken> {
    let mut incoming = incoming.await?;
    if let Some(length) = incoming.content_length() {
        progress.set_total(length);
    }
    if include {
        sink.write(&head(&incoming))?;
    }
    while let Some(chunk) = incoming.chunk().await? {
        sink.write(&chunk)?;
        progress.advance(chunk.len() as u64);
    }
    Ok(())
}

impl Sink {
    /// Writes at once: what has come is there to be read.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match self {
            Self::Stdout(stdout) => stdout
                .write_all(bytes)
                .and_then(|()| stdout.flush())
                .map_err(Broken::Stdout),
            Self::File(file) => file
                .write_all(bytes)
                .map_err(|error| Broken::Exchange(unwritten(error))),
        }
    }
}

fn complete(sink: Sink) -> Result<(), Error> {
    match sink {
        Sink::Stdout(_) => Ok(()),
        Sink::File(file) => file.finish().map_err(unwritten),
    }
}

fn unwritten(error: io::Error) -> Error {
    Error::new(ErrorKind::Io)
        .with_context("the output cannot be written")
        .with_source(error)
}

/// The response's head as HTTP/1.1 writes it, names in lower case.
fn head(incoming: &Incoming) -> Vec<u8> {
    let status = incoming.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let version = incoming.version();
    let mut head = format!("{version:?} {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in incoming.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
