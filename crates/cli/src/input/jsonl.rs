//! The input format with one JSON object per line.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use inflight::ErrorKind;
use inflight::bytes::Bytes;
use inflight::http::Method;
use inflight::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::entry::{InputFault, InputUrl, OwnSettings, SourceLocation, control_character_fault};
use super::lines;

/// The maximum length of a line, in bytes. A line may contain a request body.
const MAX_LENGTH: usize = 16 << 20;

/// The maximum length of an id, in bytes.
const MAX_ID_LENGTH: usize = 4096;

/// An entry of the input: the fields of a JSON object, or the columns of a CSV record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputEntry {
    pub(super) url: String,
    pub(super) method: Option<String>,
    pub(super) headers: Option<BTreeMap<String, HeaderValues>>,
    pub(super) body: Option<Box<RawValue>>,
    pub(super) output: Option<String>,
    pub(super) id: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum HeaderValues {
    One(String),
    Many(Vec<String>),
}

pub(super) fn read(
    source: impl Read,
    name: Arc<str>,
) -> impl Iterator<Item = io::Result<InputUrl>> {
    lines::entries(source, name, MAX_LENGTH, parse)
}

fn parse(text: &str, location: SourceLocation) -> InputUrl {
    let error = match serde_json::from_str::<InputEntry>(text) {
        Ok(entry) => return entry.into_url(location),
        Err(error) => error,
    };
    // If the line is JSON, the record of the entry shows its URL and its id.
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    InputUrl {
        text: field("url").unwrap_or_default().to_owned(),
        fault: Some(InputFault::new(ErrorKind::InvalidRequest, describe(&error))),
        location: Some(location),
        own: OwnSettings::of_id(field("id").map(str::to_owned)),
    }
}

/// Describes an error without the values of the line, because they may be credentials.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let is_about_a_name = ["unknown field", "missing field", "duplicate field"]
        .iter()
        .any(|start| text.starts_with(start));
    match is_about_a_name {
        true => format!("not an object of this format: {text}"),
        false => format!("not an object of this format (column {})", error.column()),
    }
}

impl InputEntry {
    pub(super) fn into_url(self, location: SourceLocation) -> InputUrl {
        let (own, invalid) = match self.settings() {
            Ok(own) => (own, None),
            Err(message) => {
                let own = OwnSettings {
                    id: self.id().unwrap_or_default(),
                    ..OwnSettings::default()
                };
                let fault = InputFault::new(ErrorKind::InvalidRequest, message);
                (own, Some(fault))
            }
        };
        // The lines of a journal have a limit, and a record contains the URL.
        let (text, too_long) = match self.url.len() > lines::MAX_LENGTH {
            false => (self.url, None),
            true => {
                let fault = InputFault::new(ErrorKind::InvalidUrl, "the URL is too long");
                (String::new(), Some(fault))
            }
        };
        InputUrl {
            fault: invalid
                .or(too_long)
                .or_else(|| control_character_fault(&text)),
            text,
            location: Some(location),
            own: (own != OwnSettings::default()).then(|| Box::new(own)),
        }
    }

    fn settings(&self) -> Result<OwnSettings, String> {
        let method = self.method.as_deref().map(|name| {
            Method::from_bytes(name.as_bytes()).map_err(|_| "the method is not valid".to_owned())
        });
        let mut own = OwnSettings {
            method: method.transpose()?,
            headers: self.headers()?,
            output: self.output.clone(),
            id: self.id()?,
            body: None,
        };
        if let Some(body) = &self.body {
            let text = body.get();
            let is_text = text.starts_with('"');
            own.body = Some(match is_text {
                true => Bytes::from(
                    serde_json::from_str::<String>(text).map_err(|error| describe(&error))?,
                ),
                false => Bytes::from(text.to_owned()),
            });
            let has_type = own.headers.iter().any(|(name, _)| name == CONTENT_TYPE);
            if !is_text && !has_type {
                let json = HeaderValue::from_static("application/json");
                own.headers.push((CONTENT_TYPE, json));
            }
        }
        Ok(own)
    }

    /// Returns the id. Returns a number as it is written.
    fn id(&self) -> Result<Option<String>, String> {
        let Some(id) = self.id.as_deref().map(RawValue::get) else {
            return Ok(None);
        };
        let id = match serde_json::from_str(id) {
            Ok(Value::String(text)) => text,
            Ok(Value::Number(_)) => id.to_owned(),
            _ => return Err("the id is neither a string nor a number".to_owned()),
        };
        if id.len() > MAX_ID_LENGTH {
            return Err("the id is too long".to_owned());
        }
        match id.chars().any(char::is_control) {
            true => Err("the id has a control character".to_owned()),
            false => Ok(Some(id)),
        }
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let mut headers = Vec::new();
        for (name, values) in self.headers.iter().flatten() {
            let parsed = HeaderName::try_from(name)
                .map_err(|_| format!("the header name {name:?} is not valid"))?;
            let values = match values {
                HeaderValues::One(value) => std::slice::from_ref(value),
                HeaderValues::Many(values) => values,
            };
            for value in values {
                let value = HeaderValue::try_from(value)
                    .map_err(|_| format!("the value of the header {name} is not valid"))?;
                headers.push((parsed.clone(), value));
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &str) -> InputUrl {
        let urls = read(text.as_bytes(), "test".into());
        urls.map(|url| url.unwrap()).next().unwrap()
    }

    #[test]
    fn an_object_has_a_url_and_may_have_its_own_settings() {
        let url = read_one(
            r#"{"url":"http://a/","method":"PUT","headers":{"X-A":["1","2"],"B":"3"},"body":"b","output":"f","id":7}"#,
        );
        assert_eq!((&*url.text, url.fault), ("http://a/", None));
        let own = url.own.unwrap();
        assert_eq!(own.method, Some(Method::PUT));
        let headers: Vec<_> = own
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        assert_eq!(headers, [("b", &b"3"[..]), ("x-a", b"1"), ("x-a", b"2")]);
        assert_eq!(own.body.as_deref(), Some(&b"b"[..]));
        assert_eq!(
            (own.output.as_deref(), own.id.as_deref()),
            (Some("f"), Some("7"))
        );
        assert!(read_one(r#"{"url":"http://a/"}"#).own.is_none());
    }

    #[test]
    fn a_body_that_is_not_a_string_is_sent_as_json_without_changes() {
        let own = read_one(r#"{"url":"http://a/","body":{"n": 1.50}}"#)
            .own
            .unwrap();
        assert_eq!(own.body.as_deref(), Some(&br#"{"n": 1.50}"#[..]));
        assert_eq!(own.headers[0].1, "application/json");
    }

    #[test]
    fn a_bad_line_has_a_fault_that_shows_no_values() {
        let long_url = format!("{{\"url\":\"http://a/{}\"}}", "x".repeat(lines::MAX_LENGTH));
        let long_id = format!(
            "{{\"url\":\"http://a/\",\"id\":\"{}\"}}",
            "x".repeat(MAX_ID_LENGTH + 1)
        );
        for (line, expected) in [
            ("http://a/", "not an object of this format (column 1)"),
            (
                "{\"url\":\"http://a/\",\"headers\":\"secret\"}",
                "not an object of this format (column",
            ),
            ("{\"urls\":\"secret\"}", "unknown field `urls`"),
            ("{\"method\":\"GET\"}", "missing field `url`"),
            (
                "{\"url\":\"http://a/\",\"method\":\"se cret\"}",
                "the method",
            ),
            (
                "{\"url\":\"http://a/\",\"headers\":{\"A\":\"secret\\n\"}}",
                "the header A is not",
            ),
            ("{\"url\":\"http://a/\\tb\"}", "a tab"),
            (&long_url, "the URL is too long"),
            (&long_id, "the id is too long"),
        ] {
            let fault = read_one(line).fault.unwrap();
            assert!(fault.message.contains(expected), "{line}: {fault:?}");
            assert!(!fault.message.contains("secret"), "{fault:?}");
        }
    }
}
