//! The URLs to gather: those of the command line, then those of a file, read as room comes up.

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

use crate::exit::Stop;

/// How many lines are read ahead: enough to hide a disk, few enough for an endless pipe.
const READ_AHEAD: usize = 256;

/// A longer line is no URL, and is not kept in memory.
const LONGEST_LINE: usize = 64 * 1024;

/// A URL to fetch, or text that was to be one.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) text: String,
    /// Why the text is no URL, where it is plain from the file.
    pub(crate) fault: Option<&'static str>,
    /// Where it was read, if not on the command line.
    pub(crate) place: Option<Place>,
}

impl Entry {
    fn argument(text: String) -> Self {
        Self {
            text,
            fault: None,
            place: None,
        }
    }
}

/// A line of a file.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    line: u64,
    file: Arc<str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, self.file)
    }
}

/// All URLs, one after another. Reading a file happens on a thread of its own: a pipe that has
/// nothing to say yet stops no request.
pub(crate) struct Input {
    arguments: std::vec::IntoIter<String>,
    file: Option<Lines>,
    cut_off: bool,
    error: Option<io::Error>,
}

struct Lines {
    receiver: Pin<Box<Receiver<io::Result<Entry>>>>,
    name: Arc<str>,
    /// The path, for counting, when it is a regular file.
    countable: Option<PathBuf>,
    /// Whether it is known to end without anybody's doing.
    finite: bool,
}

impl Input {
    /// Opens the file, if there is one, and starts to read it.
    pub(crate) fn open(arguments: Vec<String>, file: Option<&Path>) -> Result<Self, Stop> {
        Ok(Self {
            arguments: arguments.into_iter(),
            file: file.map(Lines::open).transpose()?,
            cut_off: false,
            error: None,
        })
    }

    /// The next URL, when there is one.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Entry>> {
        if let Some(text) = self.arguments.next() {
            return Poll::Ready(Some(Entry::argument(text)));
        }
        let Some(file) = &mut self.file else {
            return Poll::Ready(None);
        };
        let next = ready!(file.receiver.as_mut().poll_next(cx));
        Poll::Ready(next.and_then(|entry| entry.map_err(|error| self.error = Some(error)).ok()))
    }

    /// Nothing is to be started any more: what is still given are the rest of a regular file;
    /// of a pipe, which may never end, the lines that have been read already.
    pub(crate) fn stop(&mut self) {
        if let Some(file) = &self.file
            && !file.finite
        {
            // The reader closes it too, at the end.
            self.cut_off = !file.receiver.is_closed();
            file.receiver.close();
        }
    }

    /// Whether [`stop`](Self::stop) came before the end, with lines that nobody has seen.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.cut_off
    }

    /// Why the input could not be read to its end, if it could not.
    pub(crate) fn failure(&self) -> Option<String> {
        let (file, error) = (self.file.as_ref()?, self.error.as_ref()?);
        Some(format!("reading {}: {error}", file.name))
    }

    /// Tells how many URLs there are, if that can be known: at once, or from a thread that
    /// goes through the file ahead of everybody.
    pub(crate) fn count(&self, tell: impl FnOnce(u64) + Send + 'static) {
        let arguments = self.arguments.len() as u64;
        let Some(file) = &self.file else {
            return tell(arguments);
        };
        let (Some(path), name) = (file.countable.clone(), file.name.clone()) else {
            return;
        };
        spawn("count", move || {
            let Ok(file) = File::open(path) else {
                return;
            };
            let lines = Reader::new(file, name);
            tell(arguments + lines.filter(Result::is_ok).count() as u64);
        });
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Stop> {
        let (name, source, metadata): (Arc<str>, Box<dyn Read + Send>, _);
        if path == Path::new("-") {
            name = "standard input".into();
            metadata = stdin_metadata().ok();
            source = Box::new(io::stdin());
        } else {
            name = path.display().to_string().into();
            let file = File::open(path)
                .map_err(|error| Stop::usage(format_args!("cannot read {name}: {error}")))?;
            metadata = file.metadata().ok();
            source = Box::new(file);
        }
        if metadata.as_ref().is_some_and(Metadata::is_dir) {
            return Err(Stop::usage(format_args!(
                "cannot read {name}: it is a directory"
            )));
        }
        let finite = metadata.is_some_and(|metadata| metadata.is_file());
        let (sender, receiver) = async_channel::bounded(READ_AHEAD);
        let reader = Reader::new(source, name.clone());
        spawn("input", move || send(reader, &sender));
        Ok(Self {
            receiver: Box::pin(receiver),
            countable: (finite && path != Path::new("-")).then(|| path.to_owned()),
            name,
            finite,
        })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    // As `thread::spawn` has it: a process that cannot have one more thread is lost.
    let _detached = thread.expect("the system has a thread to spare");
}

fn send(reader: Reader<impl Read>, sender: &Sender<io::Result<Entry>>) {
    for entry in reader {
        if sender.send_blocking(entry).is_err() {
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

/// The entries of a file, without its comments. Ends after the first error.
struct Reader<R> {
    source: BufReader<R>,
    name: Arc<str>,
    line: u64,
    broken: bool,
}

impl<R: Read> Reader<R> {
    fn new(source: R, name: Arc<str>) -> Self {
        Self {
            source: BufReader::with_capacity(64 * 1024, source),
            name,
            line: 0,
            broken: false,
        }
    }

    /// The next line and whether it is whole; `None` at the end.
    fn line(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut line = Vec::new();
        let most = LONGEST_LINE as u64;
        let read = (&mut self.source).take(most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        let whole = read < LONGEST_LINE || line.last() == Some(&b'\n');
        if !whole {
            self.source.skip_until(b'\n')?;
        }
        Ok(Some((line, whole)))
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        while !self.broken {
            let (line, whole) = match self.line() {
                Ok(line) => line?,
                Err(error) => {
                    self.broken = true;
                    return Some(Err(error));
                }
            };
            self.line += 1;
            let fault = if !whole {
                Some("the line is too long")
            } else if std::str::from_utf8(&line).is_err() {
                Some("the line is not UTF-8")
            } else {
                None
            };
            let line = String::from_utf8_lossy(&line);
            // Some editors begin a file with a byte order mark.
            let text = line.strip_prefix('\u{feff}').unwrap_or(&line).trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            return Some(Ok(Entry {
                text: text.to_owned(),
                fault,
                place: Some(Place {
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

    fn entries(source: &[u8]) -> Vec<(u64, String)> {
        Reader::new(source, "test".into())
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.place.unwrap().line, entry.text))
            .collect()
    }

    #[test]
    fn blank_lines_and_comments_are_skipped_but_counted() {
        let source = b"\xef\xbb\xbfhttp://a/\r\n\n  # http://b/\n\t http://c/#part \nhttp://d/";
        let expected = [(1, "http://a/"), (4, "http://c/#part"), (5, "http://d/")];
        assert_eq!(
            entries(source),
            expected.map(|(n, text)| (n, text.to_owned()))
        );
        assert!(entries(b"").is_empty());
    }

    #[test]
    fn what_is_too_long_or_no_text_is_an_entry_with_a_fault() {
        let mut source = vec![b'x'; LONGEST_LINE * 3];
        source.extend_from_slice(b"\nhttp://a/\nhttp://\xff/\n");
        let faults: Vec<_> = Reader::new(&source[..], "test".into())
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.text.len(), entry.fault))
            .collect();
        let (long, good, bad) = (faults[0], faults[1], faults[2]);
        assert_eq!(long, (LONGEST_LINE, Some("the line is too long")));
        assert_eq!(good, ("http://a/".len(), None));
        assert_eq!(bad.1, Some("the line is not UTF-8"));
        assert_eq!(faults.len(), 3);
    }

    #[test]
    fn reading_ends_after_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let results: Vec<bool> = Reader::new(Broken, "test".into())
            .map(|r| r.is_ok())
            .collect();
        assert_eq!(results, [false]);
    }
}
