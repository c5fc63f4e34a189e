//! The URLs to gather: first the URLs of the command line, then the URLs of a file. A thread reads the file while
//! requests are already in flight.

mod csv;
mod entry;
mod jsonl;
mod lines;
mod text;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;

use async_channel::{Receiver, Sender};
use futures_util::Stream;

use crate::args::InputFormat;
use crate::exit::CliError;
#[cfg(feature = "queue")]
pub(crate) use entry::InputFault;
pub(crate) use entry::{InputUrl, OwnSettings};

/// The maximum number of URLs that are read ahead. It is large enough to hide the latency of a disk.
/// There must be a limit, because a pipe may never end.
const MAX_READ_AHEAD: usize = 256;

/// The URLs of the command line and then those of the file, in order. A separate thread reads the file,
/// so that an idle pipe does not block requests.
pub(crate) struct Input {
    arguments: std::vec::IntoIter<String>,
    file: Option<InputFile>,
    is_truncated: bool,
    error: Option<io::Error>,
}

/// A file from which a thread reads URLs.
struct InputFile {
    receiver: Pin<Box<Receiver<io::Result<InputUrl>>>>,
    name: Arc<str>,
    format: InputFormat,
    /// The path of the file, if another thread can open it to count the URLs.
    countable_path: Option<PathBuf>,
    /// Whether this is a regular file. Reading a regular file always ends.
    is_regular_file: bool,
}

impl Input {
    /// Opens the file, if there is one, and starts to read it on another thread.
    pub(crate) fn open(
        arguments: Vec<String>,
        file: Option<&Path>,
        format: Option<InputFormat>,
    ) -> Result<Self, CliError> {
        let file = file.map(|path| InputFile::open(path, format));
        Ok(Self {
            arguments: arguments.into_iter(),
            file: file.transpose()?,
            is_truncated: false,
            error: None,
        })
    }

    /// Polls for the next URL.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<InputUrl>> {
        if let Some(text) = self.arguments.next() {
            return Poll::Ready(Some(InputUrl::plain(text, None)));
        }
        let Some(file) = &mut self.file else {
            return Poll::Ready(None);
        };
        let next = ready!(file.receiver.as_mut().poll_next(cx));
        Poll::Ready(next.and_then(|url| url.map_err(|error| self.error = Some(error)).ok()))
    }

    /// Stops reading if the file is a pipe, which may never end. [`poll_next`](Self::poll_next) still
    /// returns the URLs that were read from the pipe. If the file is a regular file, `poll_next` still
    /// returns all its URLs.
    pub(crate) fn stop(&mut self) {
        if let Some(file) = &self.file
            && !file.is_regular_file
        {
            // The channel is also closed when the thread reaches the end of the file.
            self.is_truncated = !file.receiver.is_closed();
            file.receiver.close();
        }
    }

    /// Returns whether [`stop`](Self::stop) was called before the whole file was read.
    pub(crate) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Returns why the input could not be read to its end, if reading failed.
    pub(crate) fn failure(&self) -> Option<String> {
        let (file, error) = (self.file.as_ref()?, self.error.as_ref()?);
        Some(format!("reading {}: {error}", file.name))
    }

    /// Calls `visit` with every URL, and returns the number of URLs. If the file is a pipe or standard input, which
    /// can be read only once, returns `None` without calling `visit`.
    pub(crate) fn visit(
        &self,
        mut visit: impl FnMut(usize, &InputUrl) -> Result<(), CliError>,
    ) -> Result<Option<usize>, CliError> {
        let arguments = self.arguments.as_slice().iter();
        let arguments = arguments.map(|text| InputUrl::plain(text.clone(), None));
        let file = match &self.file {
            None => None,
            Some(file) => match &file.countable_path {
                None => return Ok(None),
                Some(path) => File::open(path)
                    .ok()
                    .map(|open| read_urls(open, file.format, file.name.clone())),
            },
        };
        let lines = file.into_iter().flatten().map_while(Result::ok);
        let mut count = 0;
        for url in arguments.chain(lines) {
            visit(count, &url)?;
            count += 1;
        }
        Ok(Some(count))
    }

    /// Calls `callback` with the number of URLs. Counts the URLs of a file on another thread. If the file is a
    /// pipe or standard input, does not call `callback`.
    pub(crate) fn count(&self, callback: impl FnOnce(u64) + Send + 'static) {
        let arguments = self.arguments.len() as u64;
        let Some(file) = &self.file else {
            return callback(arguments);
        };
        let Some(path) = file.countable_path.clone() else {
            return;
        };
        let (format, name) = (file.format, file.name.clone());
        spawn("count", move || {
            let Ok(file) = File::open(path) else {
                return;
            };
            let urls = read_urls(file, format, name);
            callback(arguments + urls.filter(Result::is_ok).count() as u64);
        });
    }
}

impl InputFile {
    fn open(path: &Path, format: Option<InputFormat>) -> Result<Self, CliError> {
        let format = format.unwrap_or_else(|| InputFormat::of_extension(path));
        let (name, source, metadata): (Arc<str>, Box<dyn Read + Send>, _);
        if path == Path::new("-") {
            name = "standard input".into();
            metadata = stdin_metadata().ok();
            source = Box::new(io::stdin());
        } else {
            name = path.display().to_string().into();
            let file = File::open(path)
                .map_err(|error| CliError::usage(format_args!("cannot read {name}: {error}")))?;
            metadata = file.metadata().ok();
            source = Box::new(file);
        }
        if metadata.as_ref().is_some_and(Metadata::is_dir) {
            return Err(CliError::usage(format_args!(
                "cannot read {name}: it is a directory"
            )));
        }
        let is_regular_file = metadata.is_some_and(|metadata| metadata.is_file());
        let (sender, receiver) = async_channel::bounded(MAX_READ_AHEAD);
        let reader = read_urls(source, format, name.clone());
        spawn("input", move || send_urls(reader, &sender));
        Ok(Self {
            receiver: Box::pin(receiver),
            countable_path: (is_regular_file && path != Path::new("-")).then(|| path.to_owned()),
            name,
            format,
            is_regular_file,
        })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    // Panics if the system cannot start a thread, as `thread::spawn` does.
    let _detached = thread.expect("the system should be able to start a thread");
}

fn send_urls(reader: UrlReader, sender: &Sender<io::Result<InputUrl>>) {
    for url in reader {
        if sender.send_blocking(url).is_err() {
            return;
        }
    }
}

#[cfg(unix)]
fn stdin_metadata() -> io::Result<Metadata> {
    use std::os::fd::AsFd;
    File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()
}

#[cfg(not(unix))]
fn stdin_metadata() -> io::Result<Metadata> {
    Err(io::ErrorKind::Unsupported.into())
}

/// An iterator over the URLs of a file. It ends after the first error.
type UrlReader = Box<dyn Iterator<Item = io::Result<InputUrl>> + Send>;

/// Reads URLs. Text in UTF-16 must start with a byte order mark. All other text is UTF-8.
fn read_urls(source: impl Read + Send + 'static, format: InputFormat, name: Arc<str>) -> UrlReader {
    let source = text::decode(source);
    match format {
        InputFormat::Lines => Box::new(lines::read(source, name)),
        InputFormat::Jsonl => Box::new(jsonl::read(source, name)),
        InputFormat::Csv => Box::new(csv::read(source, name)),
    }
}
