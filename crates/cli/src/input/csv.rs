//! The input format CSV, with a header.

use std::io::{self, Read};
use std::sync::Arc;

use csv::{Position, Reader, ReaderBuilder, StringRecord, Trim};
use inflight::ErrorKind;
use serde_json::value::to_raw_value;

use super::entry::{InputFault, InputUrl, SourceLocation};
use super::jsonl::{Id, InputEntry};

/// The numbers of the columns that have a meaning.
struct Columns {
    url: usize,
    method: Option<usize>,
    headers: Option<usize>,
    body: Option<usize>,
    output: Option<usize>,
    id: Option<usize>,
}

/// Reads records. Ends after an error of the source, or if the header has no column `url`.
pub(super) fn read(
    source: impl Read,
    name: Arc<str>,
) -> impl Iterator<Item = io::Result<InputUrl>> {
    let mut builder = ReaderBuilder::new();
    let mut reader = Some(builder.trim(Trim::All).from_reader(source));
    let mut columns = None;
    std::iter::from_fn(move || {
        let next = read_record(reader.as_mut()?, &mut columns, &name);
        if matches!(next, Some(Err(_))) {
            reader = None;
        }
        next
    })
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
        Ok(true) => Some(Ok(columns.parse(&record, location(record.position())))),
        Err(error) if error.is_io_error() => Some(Err(error.into())),
        // The next record can be read.
        Err(error) => Some(Ok(fault(location(error.position()), describe(&error)))),
    }
}

/// Describes an error without the contents of the record.
fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("the record has {len} fields, and the header has {expected_len}"),
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
    /// Returns `None` if the file is empty.
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

    fn parse(&self, record: &StringRecord, location: SourceLocation) -> InputUrl {
        let field = |column: Option<usize>| {
            let text = record.get(column?)?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let parse = || -> Result<InputEntry, serde_json::Error> {
            let headers = field(self.headers).map(|json| serde_json::from_str(&json));
            let body = field(self.body).map(|text| to_raw_value(&text));
            Ok(InputEntry {
                url: field(Some(self.url)).unwrap_or_default(),
                method: field(self.method),
                headers: headers.transpose()?,
                body: body.transpose()?,
                output: field(self.output),
                id: field(self.id).map(Id::Text),
            })
        };
        match parse() {
            Ok(entry) => entry.into_url(location),
            Err(_) => fault(
                location,
                "the column `headers` is not a JSON object of strings".to_owned(),
            ),
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
        let message = &urls[1].fault.as_ref().unwrap().message;
        assert!(message.contains("headers") && !message.contains("secret"));
        assert_eq!((urls[2].fault.as_ref(), urls.len()), (None, 3));
    }

    #[test]
    fn the_header_must_have_a_column_for_the_url() {
        let mut urls = read(io::Cursor::new("link\nhttp://a/\n"), "test".into());
        assert!(urls.next().unwrap().is_err());
        assert!(urls.next().is_none());
        assert!(read_all("").is_empty());
    }
}
