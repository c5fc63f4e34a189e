//! `--robots`: the rules of robots.txt (RFC 9309).
//!
//! The first job of a host fetches the rules before its own URL. The session's client checks each request again,
//! because a redirect may lead to another URL.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use inflight::backend::{AnyClient, Capabilities, Fetch};
use inflight::http;
use inflight::url::Url;
use inflight::{Body, Error, ErrorKind, Session};
use robotxt::{BYTE_LIMIT, Robots};

use crate::output::Failure;

/// The kind of a URL that the rules refuse.
const DISALLOWED: &str = "disallowed";

/// The rules of all hosts of a run. Clones share them.
#[derive(Clone)]
pub(crate) struct RobotsRules(Arc<RobotsState>);

struct RobotsState {
    /// The name of this program in the groups of robots.txt.
    product: String,
    /// The longest delay that a host may ask for.
    max_delay: Duration,
    hosts: Mutex<HashMap<String, RulesFuture>>,
}

type RulesFuture = Shared<BoxFuture<'static, Arc<HostRules>>>;

/// The rules of one host.
enum HostRules {
    Rules(Robots),
    /// The host permits nothing, for this reason.
    Refused(Failure),
}

impl HostRules {
    fn check(&self, url: &Url) -> Result<(), Failure> {
        match self {
            Self::Rules(robots) if robots.is_url_allowed(url) => Ok(()),
            Self::Rules(_) => Err(disallowed("robots.txt disallows the URL")),
            Self::Refused(failure) => Err(failure.clone()),
        }
    }
}

fn disallowed(message: impl Into<String>) -> Failure {
    Failure {
        kind: DISALLOWED,
        phase: None,
        message: message.into(),
    }
}

impl RobotsRules {
    /// `user_agent` is the value of the header. `max_delay` is the longest Crawl-delay that a host may have.
    pub(crate) fn new(user_agent: &str, max_delay: Duration) -> Self {
        let is_product = |c: char| c.is_ascii_alphabetic() || c == '-' || c == '_';
        let end = user_agent.find(|c| !is_product(c));
        let product = &user_agent[..end.unwrap_or(user_agent.len())];
        Self(Arc::new(RobotsState {
            product: product.to_owned(),
            max_delay,
            hosts: Mutex::default(),
        }))
    }

    /// Checks a URL. Fetches the rules of its host first if they are unknown.
    pub(crate) async fn check(&self, session: &Session, url: &Url) -> Result<(), Failure> {
        let rules = {
            let mut hosts = self.hosts();
            let rules = hosts.entry(host_of(url)).or_insert_with(|| {
                let (state, session, url) = (self.0.clone(), session.clone(), url.clone());
                async move { Arc::new(fetch(&state, &session, &url).await) }
                    .boxed()
                    .shared()
            });
            rules.clone()
        };
        rules.await.check(url)
    }

    /// Returns the Crawl-delay of a host, or zero if it has none. `None` if the rules are unknown.
    pub(crate) fn crawl_delay(&self, host: &str) -> Option<Duration> {
        let hosts = self.hosts();
        match &**hosts.get(host)?.peek()? {
            HostRules::Rules(robots) => Some(robots.crawl_delay().unwrap_or_default()),
            HostRules::Refused(_) => Some(Duration::ZERO),
        }
    }

    /// Checks a URL. Returns `None` if the rules of its host are unknown.
    fn check_known(&self, url: &Url) -> Option<Result<(), Failure>> {
        Some(self.hosts().get(&host_of(url))?.peek()?.check(url))
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, RulesFuture>> {
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the scheme, host and port of a URL.
fn host_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Fetches the rules of a host. Makes the session obey their Crawl-delay.
async fn fetch(state: &RobotsState, session: &Session, url: &Url) -> HostRules {
    let robots_url = robots_url(url);
    let robots = match receive(session, &robots_url).await {
        Ok(Received::Text(text)) => Robots::parse(&text, &*state.product),
        Ok(Received::Unavailable) => Robots::allow_all(),
        Ok(Received::ServerError(status)) => {
            let message =
                format!("robots.txt has the status {status}, so the host permits nothing");
            return HostRules::Refused(disallowed(message));
        }
        // RFC 9309, 2.3.1.2.
        Err(error) if error.kind() == ErrorKind::TooManyRedirects => Robots::allow_all(),
        Err(error) => {
            let mut failure = Failure::from(&error);
            failure.message = format!("robots.txt: {}", failure.message);
            return HostRules::Refused(failure);
        }
    };
    let delay = robots.crawl_delay().unwrap_or_default();
    if delay > state.max_delay {
        return HostRules::Refused(disallowed(format!(
            "robots.txt asks for {} s between two requests, which is longer than --timeout",
            delay.as_secs_f64()
        )));
    }
    if !delay.is_zero() {
        session.set_host_interval(&robots_url, delay);
    }
    HostRules::Rules(robots)
}

fn robots_url(url: &Url) -> Url {
    let mut url = url.clone();
    // Both calls fail only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_path("/robots.txt");
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// A response to the request for robots.txt (RFC 9309, 2.3.1).
enum Received {
    Text(Vec<u8>),
    /// The status is neither a success nor a server error.
    Unavailable,
    ServerError(http::StatusCode),
}

async fn receive(session: &Session, url: &Url) -> Result<Received, Error> {
    let mut response = session.get(url).send().await?;
    let status = response.status();
    if status.is_server_error() {
        return Ok(Received::ServerError(status));
    }
    if !status.is_success() {
        return Ok(Received::Unavailable);
    }
    let mut text = Vec::new();
    while text.len() <= BYTE_LIMIT
        && let Some(chunk) = response.chunk().await?
    {
        text.extend_from_slice(&chunk);
    }
    Ok(Received::Text(text))
}

/// A client that checks the URL of each request, also after redirects.
pub(crate) struct RobotsClient {
    client: AnyClient,
    rules: RobotsRules,
}

impl RobotsClient {
    pub(crate) fn new(client: AnyClient, rules: RobotsRules) -> Self {
        Self { client, rules }
    }

    fn check(&self, request: &http::Request<Body>) -> Result<(), RobotsError> {
        let Ok(url) = Url::parse(&request.uri().to_string()) else {
            return Ok(());
        };
        if url.path() == "/robots.txt" {
            return Ok(());
        }
        match self.rules.check_known(&url) {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => Err(RobotsError::Refused(failure)),
            None => Err(RobotsError::Unknown(url)),
        }
    }
}

impl Fetch for RobotsClient {
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        match self.check(&request) {
            Ok(()) => self.client.fetch(request).await,
            // A kind that is not retried.
            Err(error) => Err(Error::new(ErrorKind::InvalidRequest).with_source(error)),
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn ended(&self) -> inflight::backend::BoxFuture<'static, ()> {
        self.client.ended()
    }
}

/// Why [`RobotsClient`] did not send a request.
#[derive(Debug)]
pub(crate) enum RobotsError {
    Refused(Failure),
    /// A redirect leads to a host whose rules are unknown. The request can be repeated when they are known.
    Unknown(Url),
}

impl RobotsError {
    /// Returns the reason, if the client did not send the request.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        error.source()?.downcast_ref()
    }
}

impl fmt::Display for RobotsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(failure) => f.write_str(&failure.message),
            Self::Unknown(_) => f.write_str("the rules of the host in robots.txt are unknown"),
        }
    }
}

impl StdError for RobotsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_the_start_of_the_user_agent() {
        let rules = |agent| RobotsRules::new(agent, Duration::MAX).0.product.clone();
        assert_eq!(rules("inflight/0.1.0"), "inflight");
        assert_eq!(rules("My_Bot-x (+http://a/)"), "My_Bot-x");
    }

    #[test]
    fn the_rules_are_at_the_root_of_the_host() {
        let url = Url::parse("http://me:secret@host:8080/a/b?c#d").unwrap();
        assert_eq!(robots_url(&url).as_str(), "http://host:8080/robots.txt");
    }
}
