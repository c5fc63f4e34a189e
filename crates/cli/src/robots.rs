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
use inflight::http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use inflight::url::Url;
use inflight::{Body, Error, ErrorKind, Session};
use robotxt::{BYTE_LIMIT, Robots};

use crate::output::{Failure, host_of};

/// The error kind of a URL that the rules disallow.
const DISALLOWED: &str = "disallowed";

/// How many redirects a request for robots.txt follows. RFC 9309, 2.3.1.2, recommends at least five.
const MAX_REDIRECTS: usize = 10;

/// A header that marks requests for robots.txt, also after a redirect to another path. [`RobotsClient`] removes it.
const RULES_MARK: HeaderName = HeaderName::from_static("inflight-robots-txt");

/// The rules of all hosts of a run. Clones share them.
#[derive(Clone)]
pub(crate) struct RobotsRules(Arc<RobotsState>);

struct RobotsState {
    user_agent: HeaderValue,
    /// The name of this program in the groups of robots.txt.
    product: String,
    /// The longest Crawl-delay that a host may request.
    max_delay: Duration,
    hosts: Mutex<HashMap<String, RulesFuture>>,
}

type RulesFuture = Shared<BoxFuture<'static, Arc<HostRules>>>;

/// The rules of one host.
enum HostRules {
    Rules(Robots),
    /// All URLs of the host are refused, for this reason.
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
        is_transient: false,
    }
}

impl RobotsRules {
    /// `user_agent` is the User-Agent of the requests for robots.txt. `max_delay` is the longest Crawl-delay that a
    /// host may request.
    pub(crate) fn new(user_agent: HeaderValue, max_delay: Duration) -> Self {
        let text = String::from_utf8_lossy(user_agent.as_bytes());
        let is_product = |c: char| c.is_ascii_alphabetic() || c == '-' || c == '_';
        let end = text.find(|c| !is_product(c)).unwrap_or(text.len());
        Self(Arc::new(RobotsState {
            product: text[..end].to_owned(),
            user_agent,
            max_delay,
            hosts: Mutex::default(),
        }))
    }

    /// Checks whether the rules allow a URL. Fetches the rules of its host first if they are unknown.
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

    /// Returns the Crawl-delay of a host, or zero if it has none. Returns `None` if the rules are unknown.
    pub(crate) fn crawl_delay(&self, host: &str) -> Option<Duration> {
        let hosts = self.hosts();
        match &**hosts.get(host)?.peek()? {
            HostRules::Rules(robots) => Some(robots.crawl_delay().unwrap_or_default()),
            HostRules::Refused(_) => Some(Duration::ZERO),
        }
    }

    /// Checks whether the rules allow a URL. Returns `None` if the rules of its host are unknown.
    fn check_known(&self, url: &Url) -> Option<Result<(), Failure>> {
        Some(self.hosts().get(&host_of(url))?.peek()?.check(url))
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, RulesFuture>> {
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches the rules of a host, and makes the session obey their Crawl-delay.
async fn fetch(state: &RobotsState, session: &Session, url: &Url) -> HostRules {
    let robots_url = robots_url(url);
    let robots = match receive(state, session, &robots_url).await {
        Ok(Received::Text(text)) => Robots::parse(&text, &*state.product),
        Ok(Received::Unavailable) => Robots::allow_all(),
        Ok(Received::ServerError(status)) => {
            let message =
                format!("robots.txt has the status {status}, so the host permits nothing");
            return HostRules::Refused(disallowed(message));
        }
        // A crawler may treat such a robots.txt as unavailable (RFC 9309, 2.3.1.2).
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

async fn receive(state: &RobotsState, session: &Session, url: &Url) -> Result<Received, Error> {
    let request = session
        .get(url)
        .header(USER_AGENT, state.user_agent.clone());
    let request = request.header(RULES_MARK, HeaderValue::from_static("1"));
    let mut response = request.max_redirects(MAX_REDIRECTS).send().await?;
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

/// A client that sends a request only if the rules allow its URL. Also checks requests that follow a redirect.
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
        match self.rules.check_known(&url) {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => Err(RobotsError::Refused(failure)),
            None => Err(RobotsError::Unknown(Box::new(RedirectedRequest {
                url,
                method: request.method().clone(),
                headers: request.headers().clone(),
                has_body: !request.body().is_empty(),
            }))),
        }
    }
}

impl Fetch for RobotsClient {
    async fn fetch(&self, mut request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let is_for_rules = request.headers_mut().remove(&RULES_MARK).is_some();
        let checked = if is_for_rules {
            Ok(())
        } else {
            self.check(&request)
        };
        match checked {
            Ok(()) => self.client.fetch(request).await,
            // The session does not retry this kind.
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

/// A request that follows a redirect and was not sent. The session has already removed the headers that the new
/// host must not receive.
#[derive(Debug, Clone)]
pub(crate) struct RedirectedRequest {
    pub(crate) url: Url,
    pub(crate) method: http::Method,
    pub(crate) headers: HeaderMap,
    pub(crate) has_body: bool,
}

/// Why [`RobotsClient`] did not send a request.
#[derive(Debug)]
pub(crate) enum RobotsError {
    Refused(Failure),
    /// A redirect leads to a host whose rules are unknown. A request without a body can continue when the rules are
    /// known.
    Unknown(Box<RedirectedRequest>),
}

impl RobotsError {
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Refused(failure) => failure.clone(),
            Self::Unknown(_) => disallowed(self.to_string()),
        }
    }

    /// Returns the reason, if the client did not send the request.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        error.source()?.downcast_ref()
    }
}

impl fmt::Display for RobotsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(failure) => f.write_str(&failure.message),
            Self::Unknown(request) => write!(
                f,
                "a redirect leads to {}, whose robots.txt is unknown: request that URL itself",
                host_of(&request.url)
            ),
        }
    }
}

impl StdError for RobotsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_the_start_of_the_user_agent() {
        let rules = |agent| {
            let agent = HeaderValue::from_static(agent);
            RobotsRules::new(agent, Duration::MAX).0.product.clone()
        };
        assert_eq!(rules("inflight/0.1.0"), "inflight");
        assert_eq!(rules("My_Bot-x (+http://a/)"), "My_Bot-x");
    }

    #[test]
    fn the_rules_are_at_the_root_of_the_host() {
        let url = Url::parse("http://me:secret@host:8080/a/b?c#d").unwrap();
        assert_eq!(robots_url(&url).as_str(), "http://host:8080/robots.txt");
    }
}
