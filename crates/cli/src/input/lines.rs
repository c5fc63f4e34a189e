//! The input format with one URL per line.

use std::io::{self, Read};
use std::sync::Arc;

use inflight::ErrorKind;

use super::entry::{InputFault, InputUrl, SourceLocation};
use super::text::Lines;

/// The maximum length of a line, in bytes.
pub(super) const MAX_LENGTH: usize = 64 * 1024;

/// Reads URLs. Skips blank lines and lines that start with `#`.
pub(super) fn read(
    source: impl Read,
    name: Arc<str>,
) -> impl Iterator<Item = io::Result<InputUrl>> {
    entries(source, name, MAX_LENGTH, |text, location| {
        InputUrl::plain(text.to_owned(), Some(location))
    })
}

/// Calls `parse` with each line that is not blank and does not start with `#`. Ends after the first error.
pub(super) fn entries(
    source: impl Read,
    name: Arc<str>,
    max_length: usize,
    parse: impl Fn(&str, SourceLocation) -> InputUrl,
) -> impl Iterator<Item = io::Result<InputUrl>> {
    let mut lines = Some(Lines::new(source, max_length));
    std::iter::from_fn(move || {
        loop {
            let line = match lines.as_mut()?.next_line() {
                Ok(line) => line?,
                Err(error) => {
                    lines = None;
                    return Some(Err(error));
                }
            };
            let location = SourceLocation {
                unit: "line",
                number: line.number,
                file: name.clone(),
            };
            match line.text.as_deref().map(str::trim) {
                Ok(text) if text.is_empty() || text.starts_with('#') => {}
                Ok(text) => return Some(Ok(parse(text, location))),
                Err(fault) => {
                    return Some(Ok(InputUrl {
                        text: String::new(),
                        fault: Some(InputFault::new(ErrorKind::InvalidUrl, *fault)),
                        location: Some(location),
                        own: None,
                    }));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(source: &[u8]) -> Vec<(u64, String)> {
        read(source, "test".into())
            .map(|url| url.unwrap())
            .map(|url| (url.location.unwrap().number, url.text))
            .collect()
    }

    #[test]
    fn blank_lines_and_comments_are_skipped_but_counted() {
        let source = b"http://a/\r\n\n  # http://b/\n\t http://c/#part \nhttp://d/";
        let expected = [(1, "http://a/"), (4, "http://c/#part"), (5, "http://d/")];
        assert_eq!(urls(source), expected.map(|(n, text)| (n, text.to_owned())));
        assert!(urls(b"").is_empty());
    }

    #[test]
    fn a_title_after_a_tab_is_a_fault() {
        let url = read(&b"http://a/\tA title"[..], "test".into())
            .next()
            .unwrap();
        let fault = url.unwrap().fault.unwrap();
        assert_eq!(fault.kind, ErrorKind::InvalidUrl);
        assert!(fault.message.contains("tab"));
    }

    #[test]
    fn reading_ends_after_an_error() {
        struct FailingReader;
        impl Read for FailingReader {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let results: Vec<bool> = read(FailingReader, "test".into())
            .map(|r| r.is_ok())
            .collect();
        assert_eq!(results, [false]);
    }
}
