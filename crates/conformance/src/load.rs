//! The option `--load`: sends many requests to one server and counts the results. The script
//! `servers/servers.py` uses this option.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use inflight::connect::{Proxies, Proxy};
use inflight::http::{Method, StatusCode};
use inflight::{BlockOn, Cell, JobErrorKind, gather};
use serde_json::json;

/// The timeout of a request. It is longer than a server under load needs to respond.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The requests to send.
pub(crate) struct Load<'a> {
    /// The URL of a request is this URL, a slash and the number of the request.
    pub(crate) base: &'a str,
    pub(crate) method: Method,
    pub(crate) requests: usize,
    /// How many requests are in flight at once.
    pub(crate) limit: usize,
    pub(crate) proxy: Option<&'a str>,
    pub(crate) root_certificate: Option<&'a Path>,
}

impl Load<'_> {
    /// Sends the requests with a cell (a runtime with a client), without retries. Returns the
    /// counts of responses and errors as a line of JSON.
    pub(crate) fn run(&self, cell: Cell) -> Result<String, Box<dyn Error>> {
        let backend = cell.start(None)?;
        let mut builder = backend.builder().timeout(TIMEOUT);
        if let Some(proxy) = self.proxy {
            builder = builder.proxies(Proxies::all(Proxy::new(proxy)?));
        }
        if let Some(path) = self.root_certificate {
            builder = builder.add_root_certificate(&std::fs::read(path)?);
        }
        let session = builder.build()?;
        let jobs = (0..self.requests).map(|number| {
            let request = session.request(self.method.clone(), format!("{}/{number}", self.base));
            let request = match self.method {
                Method::POST => request.body(format!("request {number}")),
                _ => request,
            };
            async move {
                let response = request.send().await?.error_for_status()?;
                let status = response.status();
                response.bytes().await?;
                Ok::<StatusCode, inflight::Error>(status)
            }
        });
        let gathered = backend.block_on(gather(jobs).limit(self.limit).settled());
        let mut answered = 0;
        let mut lost = BTreeMap::<&str, usize>::new();
        let mut examples = Vec::new();
        for result in gathered.results {
            let Err(error) = result else {
                answered += 1;
                continue;
            };
            let (kind, text) = match error.into_kind() {
                JobErrorKind::Failed(error) => (error.kind().as_str(), format!("{error:?}")),
                other => ("job", format!("{other:?}")),
            };
            *lost.entry(kind).or_default() += 1;
            if examples.len() < 3 {
                examples.push(text);
            }
        }
        Ok(json!({
            "cell": cell.to_string(),
            "answered": answered,
            "lost": lost,
            "examples": examples,
        })
        .to_string())
    }
}
