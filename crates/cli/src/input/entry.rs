//! The entries of an input. An entry is a URL with its own settings.

use std::fmt;
use std::sync::Arc;

use inflight::ErrorKind;
use inflight::bytes::Bytes;
use inflight::http::Method;
use inflight::http::header::{HeaderName, HeaderValue};

/// An entry of the input: a URL to fetch, or a text that is not a valid URL.
#[derive(Debug, Clone)]
pub(crate) struct InputUrl {
    pub(crate) text: String,
    /// Why the URL cannot be requested.
    pub(crate) fault: Option<InputFault>,
    /// The position of the entry in its file. `None` for an entry from the command line.
    pub(crate) location: Option<SourceLocation>,
    /// The settings for this URL alone.
    pub(crate) own: Option<Box<OwnSettings>>,
}

/// Why an entry of the input cannot be requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFault {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

/// The settings that an entry of the input specifies in addition to its URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct OwnSettings {
    pub(crate) method: Option<Method>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
    /// The name of the file in the directory of `--output`.
    pub(crate) output: Option<String>,
    pub(crate) id: Option<String>,
}

impl InputFault {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl OwnSettings {
    /// Returns settings that have only an id, for an entry that cannot be requested.
    pub(super) fn of_id(id: Option<String>) -> Option<Box<Self>> {
        let own = Self {
            id: Some(id?),
            ..Self::default()
        };
        Some(Box::new(own))
    }
}

impl InputUrl {
    /// Returns an entry that has only a URL.
    pub(crate) fn plain(text: String, location: Option<SourceLocation>) -> Self {
        Self {
            fault: control_character_fault(&text),
            text,
            location,
            own: None,
        }
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.own.as_ref()?.id.as_deref()
    }
}

/// Returns a fault if the text has a control character. A URL parser would remove a tab and join the text before
/// and after it.
pub(super) fn control_character_fault(text: &str) -> Option<InputFault> {
    let message = match text.chars().find(|c| c.is_control())? {
        '\t' => {
            "the URL has a tab: if a title follows the URL, keep only the first column, or use CSV"
        }
        _ => "the URL has a control character",
    };
    Some(InputFault::new(ErrorKind::InvalidUrl, message))
}

/// The position of an entry in a file: the number of its line or of its CSV record, from 1.
#[derive(Debug, Clone)]
pub(crate) struct SourceLocation {
    pub(super) unit: &'static str,
    pub(super) number: u64,
    pub(super) file: Arc<str>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.unit, self.number, self.file)
    }
}
