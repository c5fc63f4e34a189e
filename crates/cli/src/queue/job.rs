//! A job of a queue as JSON: an entry of the input with its own settings.

use inflight::ErrorKind;
use inflight::bytes::Bytes;
use inflight::http::Method;
use inflight::http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::gather::run;
use crate::input::{InputFault, InputUrl, OwnSettings};

/// An entry of the input. All its values were text in the input.
#[derive(Serialize, Deserialize)]
struct JobLine {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Why the entry cannot be requested. Its result says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<JobFault>,
}

#[derive(Serialize, Deserialize)]
struct JobFault {
    is_url_invalid: bool,
    message: String,
}

/// Returns the JSON of a job.
pub(super) fn encode(url: &InputUrl) -> serde_json::Result<Bytes> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let own = url.own.as_deref();
    let headers = own.map_or(&[][..], |own| &own.headers);
    let fault = url.fault.as_ref().map(|fault| JobFault {
        is_url_invalid: fault.kind == ErrorKind::InvalidUrl,
        message: match &url.location {
            Some(location) => format!("{location}: {}", fault.message),
            None => fault.message.clone(),
        },
    });
    let line = JobLine {
        url: url.text.clone(),
        method: own.and_then(|own| Some(own.method.as_ref()?.to_string())),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect(),
        body: own.and_then(|own| Some(text(own.body.as_ref()?))),
        output: own.and_then(|own| own.output.clone()),
        id: own.and_then(|own| own.id.clone()),
        fault,
    };
    serde_json::to_vec(&line).map(Bytes::from)
}

/// Returns the job of a JSON text. A text that is not a job returns a job with a fault.
pub(super) fn decode(json: &[u8]) -> InputUrl {
    let decoded = serde_json::from_slice(json).map_err(|error| error.to_string());
    decoded
        .and_then(JobLine::into_url)
        .unwrap_or_else(|message| InputUrl {
            text: String::new(),
            fault: Some(InputFault::new(
                ErrorKind::InvalidRequest,
                format!("not a job of this version of inflight: {message}"),
            )),
            location: None,
            own: None,
        })
}

impl JobLine {
    fn into_url(self) -> Result<InputUrl, String> {
        let method = self.method.map(|method| method.parse::<Method>());
        let headers = self.headers.into_iter().map(|(name, value)| {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            Ok::<_, String>((name, value))
        });
        let own = OwnSettings {
            method: method.transpose().map_err(|error| error.to_string())?,
            headers: headers.collect::<Result<_, _>>()?,
            body: self.body.map(Bytes::from),
            output: self.output,
            id: self.id,
        };
        let fault = self.fault.map(|fault| {
            let kind = match fault.is_url_invalid {
                true => ErrorKind::InvalidUrl,
                false => ErrorKind::InvalidRequest,
            };
            InputFault::new(kind, fault.message)
        });
        Ok(InputUrl {
            text: self.url,
            fault,
            location: None,
            own: (own != OwnSettings::default()).then(|| Box::new(own)),
        })
    }
}

/// Returns the scheme, host and port of a job, which decide its partition. All invalid URLs have one partition.
pub(super) fn host(url: &InputUrl) -> String {
    run::host(&url.text).map_or_else(String::new, |host| host.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_all_settings() {
        let own = OwnSettings {
            method: Some(Method::PUT),
            headers: vec![
                (
                    HeaderName::from_static("x-a"),
                    HeaderValue::try_from("é").unwrap(),
                ),
                (
                    HeaderName::from_static("x-a"),
                    HeaderValue::from_static("2"),
                ),
            ],
            body: Some(Bytes::from_static(b"b")),
            output: Some("a/b".to_owned()),
            id: Some("7".to_owned()),
        };
        let url = InputUrl {
            own: Some(Box::new(own.clone())),
            ..InputUrl::plain("http://a/".to_owned(), None)
        };
        let decoded = decode(&encode(&url).unwrap());
        assert_eq!((decoded.text, decoded.fault), (url.text, None));
        assert_eq!(decoded.own, Some(Box::new(own)));
    }

    #[test]
    fn a_job_without_settings_is_only_its_url() {
        let url = InputUrl::plain("http://a/".to_owned(), None);
        assert_eq!(encode(&url).unwrap(), r#"{"url":"http://a/"}"#);
    }

    #[test]
    fn a_fault_stays_a_fault() {
        let url = InputUrl::plain("http://a/\tb".to_owned(), None);
        let fault = decode(&encode(&url).unwrap()).fault.unwrap();
        assert_eq!(Some(fault), url.fault);
        let fault = decode(b"{}").fault.unwrap();
        assert!(fault.message.contains("missing field `url`"), "{fault:?}");
    }
}
