//! What the requests of a run have in common: the method, the headers and the body.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use inflight::bytes::Bytes;
use inflight::http::Method;
use inflight::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use inflight::{RequestBuilder, Session};

use crate::args::RequestArgs;
use crate::exit::CliError;

/// The method, the headers and the body of each request.
#[derive(Clone)]
pub(crate) struct RequestSettings {
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    user: Option<String>,
    data: Option<Data>,
}

impl RequestSettings {
    /// Reads the body, if it comes from standard input or a pipe.
    pub(crate) fn from_args(args: &RequestArgs) -> Result<Self, CliError> {
        let data = args.data.as_deref().map(read_data).transpose()?;
        let default = match data {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let mut headers = args.headers.clone();
        if data.is_some() && !headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.push((CONTENT_TYPE, form));
        }
        Ok(Self {
            method: args.method.clone().unwrap_or(default),
            headers,
            user: args.user.clone(),
            data,
        })
    }

    /// Returns the limit for the head of a response. There is none for a request with a body, because it would
    /// include the time that sending the body takes.
    pub(crate) fn head_timeout(&self, args: &RequestArgs) -> Option<Duration> {
        args.read_timeout.filter(|_| self.data.is_none())
    }

    pub(crate) fn request(&self, session: &Session, url: &str) -> RequestBuilder {
        let mut request = session.request(self.method.clone(), url);
        let has_own = self.headers.iter().any(|(name, _)| name == AUTHORIZATION);
        if let Some(user) = self.user.as_ref().filter(|_| !has_own) {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            request = request.basic_auth(name, password);
        }
        for (name, value) in &self.headers {
            request = request.header(name.clone(), value.clone());
        }
        match &self.data {
            Some(Data::Bytes(bytes)) => request.body(bytes.clone()),
            Some(Data::File(path)) => request.file(path),
            None => request,
        }
    }
}

/// The request body that `-d` specifies.
#[derive(Clone)]
enum Data {
    Bytes(Bytes),
    File(PathBuf),
}

/// Parses the value of `-d`.
///
/// Reads standard input and pipes into memory, because they can be read only once and a redirect may
/// resend the body. Does not read a regular file, which is read while the request is sent.
fn read_data(data: &str) -> Result<Data, CliError> {
    let read = |mut source: Box<dyn Read>, name: &str| {
        let mut all = Vec::new();
        match source.read_to_end(&mut all) {
            Ok(_) => Ok(Data::Bytes(all.into())),
            Err(error) => Err(CliError::usage(format_args!("reading {name}: {error}"))),
        }
    };
    match data.strip_prefix('@') {
        None => Ok(Data::Bytes(data.to_owned().into())),
        Some("-") => read(Box::new(io::stdin()), "standard input"),
        Some(path) => {
            let read_error = |error| CliError::usage(format_args!("cannot read {path}: {error}"));
            let file = File::open(path).map_err(read_error)?;
            if file.metadata().map_err(read_error)?.is_file() {
                return Ok(Data::File(path.into()));
            }
            read(Box::new(file), path)
        }
    }
}
