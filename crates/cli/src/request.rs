//! What the requests of a run have in common: the method, the headers and the body.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use inflight::bytes::Bytes;
use inflight::http::Method;
use inflight::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use inflight::url::Url;
use inflight::{RequestBuilder, Session};
use netrc::Netrc;

use crate::args::RequestArgs;
use crate::exit::CliError;
use crate::input::OwnSettings;

/// The type of a body, unless a header sets it.
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The method, the headers and the body of each request.
pub(crate) struct RequestSettings {
    method: Option<Method>,
    default_method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    user: Option<String>,
    netrc: Option<Netrc>,
    data: Option<Data>,
}

impl RequestSettings {
    /// Reads the body, if it comes from standard input or a pipe.
    pub(crate) fn from_args(args: &RequestArgs) -> Result<Self, CliError> {
        let data = args.data.as_deref().map(read_data).transpose()?;
        Ok(Self {
            method: args.method.clone(),
            default_method: match data {
                Some(_) => Method::POST,
                None => Method::GET,
            },
            headers: args.headers.clone(),
            user: args.user.clone(),
            netrc: args.netrc.then(read_netrc).transpose()?,
            data,
        })
    }

    /// Returns the User-Agent that a header sets.
    pub(crate) fn user_agent(&self) -> Option<HeaderValue> {
        let found = self.headers.iter().find(|(name, _)| name == USER_AGENT);
        found.map(|(_, value)| value.clone())
    }

    /// Returns the limit for the head of a response. There is none for a request with a body, because it would
    /// include the time that sending the body takes.
    pub(crate) fn head_timeout(&self, args: &RequestArgs) -> Option<Duration> {
        args.read_timeout.filter(|_| self.data.is_none())
    }

    /// Returns the method of the request to a URL.
    pub(crate) fn method<'a>(&'a self, own: Option<&'a OwnSettings>) -> &'a Method {
        let default = match own.is_some_and(|own| own.body.is_some()) {
            true => &Method::POST,
            false => &self.default_method,
        };
        let method = own.and_then(|own| own.method.as_ref());
        method.or(self.method.as_ref()).unwrap_or(default)
    }

    /// Returns the request to a URL. The settings of the URL replace those of the command line.
    pub(crate) fn request(
        &self,
        session: &Session,
        url: &str,
        own: Option<&OwnSettings>,
    ) -> RequestBuilder {
        let own_body = own.and_then(|own| own.body.clone());
        let mut request = session.request(self.method(own).clone(), url);

        let own_headers = own.map_or(&[][..], |own| &own.headers);
        let replaced = |name: &HeaderName| own_headers.iter().any(|(own, _)| own == name);
        let common = self.headers.iter().filter(|(name, _)| !replaced(name));
        let headers: Vec<_> = common.chain(own_headers).collect();
        let has = |wanted: HeaderName| headers.iter().any(|(name, _)| *name == wanted);
        let credentials = || self.credentials(url);
        if let Some((name, password)) = (!has(AUTHORIZATION)).then(credentials).flatten() {
            request = request.basic_auth(name, password);
        }
        let has_body = self.data.is_some() || own_body.is_some();
        if has_body && !has(CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, FORM);
        }
        for (name, value) in headers {
            request = request.header(name.clone(), value.clone());
        }
        match (own_body, &self.data) {
            (Some(bytes), _) => request.body(bytes),
            (None, Some(Data::Bytes(bytes))) => request.body(bytes.clone()),
            (None, Some(Data::File(path))) => request.file(path),
            (None, None) => request,
        }
    }
}

impl RequestSettings {
    /// Returns the name and the password for a URL: those of `--user` or, if the URL has none, those of its host
    /// in the netrc file.
    fn credentials(&self, url: &str) -> Option<(&str, &str)> {
        if let Some(user) = &self.user {
            return Some(user.split_once(':').unwrap_or((user, "")));
        }
        let netrc = self.netrc.as_ref()?;
        let url = Url::parse(url).ok()?;
        let has_own = !url.username().is_empty() || url.password().is_some();
        let entry = netrc.hosts.get(url.host_str()?);
        let entry = entry
            .or_else(|| netrc.hosts.get("default"))
            .filter(|_| !has_own)?;
        Some((&entry.login, &entry.password))
    }
}

/// Reads the file `$NETRC` or `~/.netrc`.
fn read_netrc() -> Result<Netrc, CliError> {
    // `Netrc::new` ignores a variable that names a missing file.
    let netrc = match env::var_os("NETRC") {
        Some(path) => Netrc::from_file(Path::new(&path)),
        None => Netrc::new(),
    };
    netrc.map_err(|error| match error {
        netrc::Error::Io(error) => CliError::usage(format_args!(
            "cannot read the file $NETRC or ~/.netrc: {error}"
        )),
        // The message contains a word of the file, which may be a password.
        netrc::Error::Parsing { parser, filename } => {
            let text = parser.to_string();
            let line = text.rsplit_once("(line ").map_or("", |(_, line)| line);
            let line = line.trim_end_matches(')');
            CliError::usage(format_args!(
                "cannot read {filename}: line {line} is not valid"
            ))
        }
    })
}

/// The request body that `-d` specifies.
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
