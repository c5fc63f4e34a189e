//! The URLs to gather: first the URLs of the command line, then the URLs of a file. The file is read while
//! requests are already being started.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;

use async_channel::{Receiver, Sender};
use futures_util::Stream;

use crate::exit::CliError;

/// The maximum number of lines that are read ahead. It is large enough to hide the latency of a disk.
/// There must be a limit, because a pipe may never end.
const MAX_READ_AHEAD: usize = 256;

/// The maximum length of a line, in bytes. The rest of a longer line is not kept in memory.
const MAX_LINE_LENGTH: usize = 64 * 1024;

/// A URL to fetch, or a text that is not a valid URL.
#[derive(Debug, Clone)]
pub(crate) struct InputUrl {
    pub(crate) text: String,
    /// Why the line cannot be a URL, if it is too long or not UTF-8.
    pub(crate) fault: Option<&'static str>,
    /// The line that contains the text. `None` for a text from the command line.
    pub(crate) location: Option<SourceLocation>,
}

/// The position of a line in a file.
#[derive(Debug, Clone)]
pub(crate) struct SourceLocation {
    line: u64,
    file: Arc<str>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, self.file)
    }
}

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
    /// The path of the file, if another thread can open it to count the URLs.
    countable_path: Option<PathBuf>,
    /// Whether this is a regular file. Reading a regular file always ends.
    is_regular_file: bool,
}

impl Input {
    /// Opens the file, if there is one, and starts to read it on another thread.
    pub(crate) fn open(arguments: Vec<String>, file: Option<&Path>) -> Result<Self, CliError> {
        Ok(Self {
            arguments: arguments.into_iter(),
            file: file.map(InputFile::open).transpose()?,
            is_truncated: false,
            error: None,
        })
    }

    /// Polls for the next URL.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<InputUrl>> {
        if let Some(text) = self.arguments.next() {
            return Poll::Ready(Some(InputUrl {
                text,
                fault: None,
                location: None,
            }));
        }
        let Some(file) = &mut self.file else {
            return Poll::Ready(None);
        };
        let next = ready!(file.receiver.as_mut().poll_next(cx));
        Poll::Ready(next.and_then(|url| url.map_err(|error| self.error = Some(error)).ok()))
    }

    /// Stops reading if the file is a pipe, which may never end. [`poll_next`](Self::poll_next) still
    /// returns the lines that were read from the pipe. If the file is a regular file, `poll_next` still
    /// returns all its lines.
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

    /// Calls `visit` with every URL, and returns their number. Returns `None` without a call if the file is a
    /// pipe or standard input, which can be read only once.
    pub(crate) fn visit(
        &self,
        mut visit: impl FnMut(usize, &InputUrl) -> Result<(), CliError>,
    ) -> Result<Option<usize>, CliError> {
        let arguments = self.arguments.as_slice().iter().map(|text| InputUrl {
            text: text.clone(),
            fault: None,
            location: None,
        });
        let file = match &self.file {
            None => None,
            Some(file) => match &file.countable_path {
                None => return Ok(None),
                Some(path) => File::open(path)
                    .ok()
                    .map(|open| UrlReader::new(open, file.name.clone())),
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

    /// Calls `callback` with the number of URLs. A thread counts the URLs of a file. If the file is a pipe
    /// or standard input, `callback` is not called.
    pub(crate) fn count(&self, callback: impl FnOnce(u64) + Send + 'static) {
        let arguments = self.arguments.len() as u64;
        let Some(file) = &self.file else {
            return callback(arguments);
        };
        let (Some(path), name) = (file.countable_path.clone(), file.name.clone()) else {
            return;
        };
        spawn("count", move || {
            let Ok(file) = File::open(path) else {
                return;
            };
            let urls = UrlReader::new(file, name);
            callback(arguments + urls.filter(Result::is_ok).count() as u64);
        });
    }
}

impl InputFile {
    fn open(path: &Path) -> Result<Self, CliError> {
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
        let reader = UrlReader::new(source, name.clone());
        spawn("input", move || send_urls(reader, &sender));
        Ok(Self {
            receiver: Box::pin(receiver),
            countable_path: (is_regular_file && path != Path::new("-")).then(|| path.to_owned()),
            name,
            is_regular_file,
        })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    // Panics, as `thread::spawn` does, if the system refuses a thread.
    let _detached = thread.expect("the system should be able to start a thread");
}

fn send_urls(reader: UrlReader<impl Read>, sender: &Sender<io::Result<InputUrl>>) {
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

/// An iterator over the URLs of a file. It skips blank lines and comments, and ends after the first
/// error.
struct UrlReader<R> {
    source: BufReader<R>,
    name: Arc<str>,
    line: u64,
    has_failed: bool,
}

impl<R: Read> UrlReader<R> {
    fn new(source: R, name: Arc<str>) -> Self {
        Self {
            source: BufReader::with_capacity(64 * 1024, source),
            name,
            line: 0,
            has_failed: false,
        }
    }

    /// Reads the next line. Returns the line and whether it is complete, or `None` at the end.
    fn read_line(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut line = Vec::new();
        let limit = MAX_LINE_LENGTH as u64;
        let read = (&mut self.source)
            .take(limit)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        let is_complete = read < MAX_LINE_LENGTH || line.last() == Some(&b'\n');
        if !is_complete {
            self.source.skip_until(b'\n')?;
        }
        Ok(Some((line, is_complete)))
    }
}

impl<R: Read> Iterator for UrlReader<R> {
    type Item = io::Result<InputUrl>;

    fn next(&mut self) -> Option<io::Result<InputUrl>> {
        while !self.has_failed {
            let (line, is_complete) = match self.read_line() {
                Ok(line) => line?,
                Err(error) => {
                    self.has_failed = true;
                    return Some(Err(error));
                }
            };
            self.line += 1;
            let fault = if !is_complete {
                Some("the line is too long")
            } else if std::str::from_utf8(&line).is_err() {
                Some("the line is not UTF-8")
            } else {
                None
            };
            let line = String::from_utf8_lossy(&line);
            // Some editors start a file with a byte order mark.
            let text = line.strip_prefix('\u{feff}').unwrap_or(&line).trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            return Some(Ok(InputUrl {
                text: text.to_owned(),
                fault,
                location: Some(SourceLocation {
                    line: self.line,
                    file: self.name.clone(),
                }),
            }));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(source: &[u8]) -> Vec<(u64, String)> {
        UrlReader::new(source, "test".into())
            .map(|url| url.unwrap())
            .map(|url| (url.location.unwrap().line, url.text))
            .collect()
    }

    #[test]
    fn blank_lines_and_comments_are_skipped_but_counted() {
        let source = b"\xef\xbb\xbfhttp://a/\r\n\n  # http://b/\n\t http://c/#part \nhttp://d/";
        let expected = [(1, "http://a/"), (4, "http://c/#part"), (5, "http://d/")];
        assert_eq!(urls(source), expected.map(|(n, text)| (n, text.to_owned())));
        assert!(urls(b"").is_empty());
    }

    #[test]
    fn lines_that_are_too_long_or_not_utf_8_have_a_fault() {
        let mut source = vec![b'x'; MAX_LINE_LENGTH * 3];
        source.extend_from_slice(b"\nhttp://a/\nhttp://\xff/\n");
        let faults: Vec<_> = UrlReader::new(&source[..], "test".into())
            .map(|url| url.unwrap())
            .map(|url| (url.text.len(), url.fault))
            .collect();
        let (long, good, bad) = (faults[0], faults[1], faults[2]);
        assert_eq!(long, (MAX_LINE_LENGTH, Some("the line is too long")));
        assert_eq!(good, ("http://a/".len(), None));
        assert_eq!(bad.1, Some("the line is not UTF-8"));
        assert_eq!(faults.len(), 3);
    }

    #[test]
    fn reading_ends_after_an_error() {
        struct FailingReader;
        impl Read for FailingReader {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let results: Vec<bool> = UrlReader::new(FailingReader, "test".into())
            .map(|r| r.is_ok())
            .collect();
        assert_eq!(results, [false]);
    }
}
