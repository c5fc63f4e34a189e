//! The input format CSV, with a header.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use csv::{Position, Reader, ReaderBuilder, StringRecord, Trim};
use inflight::ErrorKind;
use serde_json::value::to_raw_value;

use super::entry::{InputFault, InputUrl, OwnSettings, SourceLocation};
use super::jsonl::InputEntry;

/// The indices of the columns that the program reads.
struct Columns {
    url: usize,
    method: Option<usize>,
    headers: Option<usize>,
    body: Option<usize>,
    output: Option<usize>,
    id: Option<usize>,
}

/// The maximum length of a record, in bytes.
const MAX_LENGTH: usize = 16 << 20;

/// Reads records. Ends after an error of the source, and after the error for a header without a column `url`.
pub(super) fn read(
    source: impl Read,
    name: Arc<str>,
) -> impl Iterator<Item = io::Result<InputUrl>> {
    let bytes_since_record = Arc::new(AtomicUsize::new(0));
    let source = LimitedSource {
        source,
        bytes_since_record: bytes_since_record.clone(),
        quotes: 0,
    };
    let mut builder = ReaderBuilder::new();
    let mut reader = Some(
        builder
            .trim(Trim::Headers)
            .flexible(true)
            .from_reader(source),
    );
    let mut columns = None;
    std::iter::from_fn(move || {
        bytes_since_record.store(0, Ordering::Relaxed);
        let next = read_record(reader.as_mut()?, &mut columns, &name);
        if matches!(next, Some(Err(_))) {
            reader = None;
        }
        next
    })
}

/// A source that fails if a record is too long. It also fails at its end if a quote is not closed, because such a
/// quote makes the rest of the file one record.
struct LimitedSource<R> {
    source: R,
    bytes_since_record: Arc<AtomicUsize>,
    quotes: usize,
}

impl<R: Read> Read for LimitedSource<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.quotes += buffer[..read].iter().filter(|byte| **byte == b'"').count();
        if read == 0 && self.quotes % 2 == 1 {
            self.quotes = 0;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the number of quotes is odd: one is not closed, and the lines after it are not read",
            ));
        }
        match self.bytes_since_record.fetch_add(read, Ordering::Relaxed) > MAX_LENGTH {
            true => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a record is too long: a quote may not be closed",
            )),
            false => Ok(read),
        }
    }
}

fn read_record(
    reader: &mut Reader<impl Read>,
    columns: &mut Option<Columns>,
    name: &Arc<str>,
) -> Option<io::Result<InputUrl>> {
    let columns = match columns {
        Some(columns) => columns,
        None => match reader
            .headers()
            .map_err(io::Error::from)
            .and_then(Columns::of)
        {
            Ok(found) => columns.insert(found?),
            Err(error) => return Some(Err(error)),
        },
    };
    let mut record = StringRecord::new();
    let location = |position: Option<&Position>| SourceLocation {
        unit: "record",
        number: position.map_or(0, Position::record),
        file: name.clone(),
    };
    match reader.read_record(&mut record) {
        Ok(false) => None,
        Ok(true) => {
            let len = reader.headers().map_or(0, StringRecord::len);
            Some(Ok(columns.parse(&record, len, location(record.position()))))
        }
        Err(error) if error.is_io_error() => Some(Err(error.into())),
        // The reader can continue with the next record.
        Err(error) => Some(Ok(fault(location(error.position()), describe(&error)))),
    }
}

/// Describes an error without the contents of the record, because they may be credentials.
fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the record is not UTF-8".to_owned(),
        _ => "the record cannot be parsed".to_owned(),
    }
}

fn fault(location: SourceLocation, message: String) -> InputUrl {
    InputUrl {
        text: String::new(),
        fault: Some(InputFault::new(ErrorKind::InvalidRequest, message)),
        location: Some(location),
        own: None,
    }
}

impl Columns {
    /// Finds the columns in a header. Returns `None` if the file is empty.
    fn of(header: &StringRecord) -> io::Result<Option<Self>> {
        if header.is_empty() {
            return Ok(None);
        }
        let column = |name: &str| {
            header
                .iter()
                .position(|column| column.eq_ignore_ascii_case(name))
        };
        let url = column("url").ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the first line has no column `url`",
            )
        })?;
        Ok(Some(Self {
            url,
            method: column("method"),
            headers: column("headers"),
            body: column("body"),
            output: column("output"),
            id: column("id"),
        }))
    }

    /// Parses a record. `len` is the number of columns in the header.
    fn parse(&self, record: &StringRecord, len: usize, location: SourceLocation) -> InputUrl {
        let field = |column: Option<usize>| {
            let text = record.get(column?)?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let trimmed = |column| field(column).map(|text| text.trim().to_owned());
        let invalid = |message: String| InputUrl {
            text: trimmed(Some(self.url)).unwrap_or_default(),
            own: OwnSettings::of_id(field(self.id)),
            ..fault(location.clone(), message)
        };
        if record.len() != len {
            let fields = record.len();
            return invalid(format!(
                "the record has {fields} fields, and the header has {len}"
            ));
        }
        // The UTF-16 decoder replaces invalid text with this character.
        if record.iter().any(|field| field.contains('\u{fffd}')) {
            return invalid("the record has an undecodable character".to_owned());
        }
        let parse = || -> Result<InputEntry, serde_json::Error> {
            let headers = field(self.headers).map(|json| serde_json::from_str(&json));
            let body = field(self.body).map(|text| to_raw_value(&text));
            Ok(InputEntry {
                url: trimmed(Some(self.url)).unwrap_or_default(),
                method: trimmed(self.method),
                headers: headers.transpose()?,
                body: body.transpose()?,
                output: field(self.output),
                id: field(self.id).map(|id| to_raw_value(&id)).transpose()?,
            })
        };
        match parse() {
            Ok(entry) => entry.into_url(location.clone()),
            Err(_) => invalid("the column `headers` is not a JSON object of strings".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Vec<InputUrl> {
        let source = io::Cursor::new(text.to_owned());
        read(source, "test".into())
            .map(|url| url.unwrap())
            .collect()
    }

    #[test]
    fn columns_may_have_any_order_and_other_columns_are_ignored() {
        let urls = read_all(
            "title,ID,url,headers,body\r\n\"a, b\",7,http://a/,\"{\"\"X\"\":\"\"1\"\"}\",n=1\r\n,,http://b/,,\n",
        );
        let own = urls[0].own.as_ref().unwrap();
        assert_eq!(
            (&*urls[0].text, own.id.as_deref()),
            ("http://a/", Some("7"))
        );
        assert_eq!(
            (own.headers.len(), own.body.as_deref()),
            (1, Some(&b"n=1"[..]))
        );
        assert_eq!(urls[1].text, "http://b/");
        assert!(urls[1].own.is_none());
        assert_eq!(
            urls[1].location.as_ref().unwrap().to_string(),
            "record 2 of test"
        );
    }

    #[test]
    fn a_bad_record_is_a_fault_and_the_next_one_is_read() {
        let urls = read_all("url,headers\nhttp://a/,1,2\nhttp://b/,secret\nhttp://c/,\n");
        assert!(urls[0].fault.as_ref().unwrap().message.contains("3 fields"));
        assert_eq!(urls[0].text, "http://a/");
        let message = &urls[1].fault.as_ref().unwrap().message;
        assert!(message.contains("headers") && !message.contains("secret"));
        assert_eq!((urls[2].fault.as_ref(), urls.len()), (None, 3));
    }

    #[test]
    fn a_quote_that_is_not_closed_does_not_fill_the_memory() {
        let endless = io::repeat(b'x');
        let source = io::Cursor::new("url\n\"http://a/").chain(endless);
        let mut urls = read(source, "test".into());
        assert!(
            urls.next()
                .unwrap()
                .unwrap_err()
                .to_string()
                .contains("quote")
        );
        assert!(urls.next().is_none());
    }

    #[test]
    fn a_quote_that_is_not_closed_is_an_error_at_the_end() {
        let source = io::Cursor::new("url,id\nhttp://a/,1\nhttp://b/,\"2\nhttp://c/,3\n");
        let urls: Vec<_> = read(source, "test".into()).collect();
        assert!(urls[0].is_ok());
        let last = urls.last().unwrap().as_ref().unwrap_err();
        assert!(last.to_string().contains("quotes"), "{last}");
    }

    #[test]
    fn the_header_must_have_a_column_for_the_url() {
        let mut urls = read(io::Cursor::new("link\nhttp://a/\n"), "test".into());
        assert!(urls.next().unwrap().is_err());
        assert!(urls.next().is_none());
        assert!(read_all("").is_empty());
    }
}
