//! A client that returns scripted responses, for tests of programs that use inflight.
//!
//! A [`Mock`] has rules. Each rule has a condition ([`When`]) and a [`Reply`]. The mock uses the first rule
//! that applies to a request. A rule applies once unless it is [`repeated`](When::repeated), so several
//! rules with the same condition form a sequence of replies. The mock records the requests.
//!
//! On the virtual runtime, time passes only when no task can run. So a test that waits for one minute takes
//! no real time:
//!
//! ```
//! use std::time::Duration;
//!
//! use inflight_core::{BlockOn, Error, Retry, Session};
//! use inflight_mock::{Mock, Reply, When};
//! use inflight_virtual::Virtual;
//!
//! /// The function under test.
//! async fn price(session: &Session) -> Result<String, Error> {
//!     session.get("http://shop.test/price").text().await
//! }
//!
//! let runtime = Virtual::new();
//! let mock = Mock::new(runtime.clone());
//! mock.on(When::get("/price"), Reply::status(503).header("retry-after", "60"));
//! mock.on(When::get("/price"), Reply::text("12"));
//!
//! let session = mock.session().retry(Retry::new(1)).build()?;
//! assert_eq!(runtime.block_on(price(&session))?, "12");
//! assert_eq!(runtime.elapsed(), Duration::from_secs(60));
//! mock.assert_all_used();
//! # Ok::<(), Error>(())
//! ```

mod reply;
mod when;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use inflight_core::bytes::Bytes;
use inflight_core::http::{HeaderMap, Method, Request, Response, Uri};
use inflight_core::{
    Body, Capabilities, Error, ErrorKind, Fetch, Runtime, Session, SessionBuilder, Support,
};

pub use reply::Reply;
pub use when::When;

/// A client that returns the replies of its rules. Clones share the rules and the recorded requests.
#[derive(Clone)]
pub struct Mock(Arc<Shared>);

struct Shared {
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<RecordedRequest>,
    unexpected: Vec<String>,
}

struct Rule {
    when: When,
    reply: Reply,
    is_used: bool,
}

/// A request that the mock received.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// The URI.
    pub uri: Uri,
    /// The headers, including those that the session added.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The length of the body, if it was known before the mock read the body. `None` for a stream of unknown
    /// length.
    pub declared_length: Option<u64>,
}

impl RecordedRequest {
    /// Returns the body as text. Replaces bytes that are not UTF-8 with U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the body is not JSON.
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("the body of {self} is not JSON: {error}"),
        }
    }

    /// Returns the value of a header, or `None` if the header is missing or its value is not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Display for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.uri)
    }
}

impl Mock {
    /// Returns a mock without rules. The mock delays replies with the timer of `runtime`.
    pub fn new(runtime: impl Runtime) -> Self {
        Self(Arc::new(Shared {
            runtime: Arc::new(runtime),
            state: Mutex::default(),
        }))
    }

    /// Adds a rule.
    pub fn on(&self, when: When, reply: Reply) {
        self.lock().rules.push(Rule {
            when,
            reply,
            is_used: false,
        });
    }

    /// Returns a builder for a session that uses this mock as its client.
    pub fn session(&self) -> SessionBuilder {
        let mock = self.clone();
        Session::builder(move |_| {
            let runtime = mock.0.runtime.clone();
            Ok((mock, runtime))
        })
    }

    /// Returns the requests so far, in the order of their arrival. Each redirect and each retry counts as a
    /// request.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    /// Checks that every rule was used, and that a rule applied to every request. A repeated rule may be
    /// unused.
    ///
    /// # Panics
    ///
    /// Panics if a rule was not used or no rule applied to a request. The message lists the unused rules and
    /// the requests without a rule.
    #[track_caller]
    pub fn assert_all_used(&self) {
        let problems = {
            let state = self.lock();
            let unused = state.rules.iter();
            let unused = unused.filter(|rule| !rule.is_used && !rule.when.is_repeated);
            let unused = unused.map(|rule| format!("not used: {}", rule.when));
            let unexpected = state.unexpected.iter();
            let unexpected = unexpected.map(|request| format!("no rule for: {request}"));
            unused.chain(unexpected).collect::<Vec<_>>()
        };
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = &self.0.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the request and returns the reply of the first rule that applies to it.
    fn reply_to(&self, request: &RecordedRequest) -> Result<Reply, Error> {
        let state = &mut *self.lock();
        state.requests.push(request.clone());
        let mut rules = state.rules.iter_mut();
        match rules.find(|rule| rule.can_be_used() && rule.when.applies_to(request)) {
            Some(rule) => {
                rule.is_used = true;
                Ok(rule.reply.clone())
            }
            None => {
                state.unexpected.push(request.to_string());
                Err(Error::new(ErrorKind::Unsupported)
                    .with_context(no_rule_message(request, &state.rules)))
            }
        }
    }
}

impl Rule {
    fn can_be_used(&self) -> bool {
        self.when.is_repeated || !self.is_used
    }
}

/// Returns the error message for a request to which no rule applies. The message lists all rules.
fn no_rule_message(request: &RecordedRequest, rules: &[Rule]) -> String {
    let mut message = format!("the mock has no rule for {request}");
    if rules.is_empty() {
        message.push_str(": it has no rules");
        return message;
    }
    message.push_str("; its rules are");
    for rule in rules {
        message.push_str(match rule.can_be_used() {
            true => "\n  ",
            false => "\n  (used) ",
        });
        message.push_str(&rule.when.to_string());
    }
    message
}

impl Fetch for Mock {
    async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let declared_length = body.len();
        let body = body.collect(u64::MAX).await?;
        let request = RecordedRequest {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            declared_length,
        };
        let reply = self.reply_to(&request)?;
        reply.send(request, self.0.runtime.clone()).await
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("inflight-mock");
        capabilities.proxies = Support::No("a mock opens no connections through a proxy");
        capabilities.proxied_whole = capabilities.proxies;
        capabilities.proxy_faults = capabilities.proxies;
        capabilities.connection_events = Support::No("a mock opens no connections");
        capabilities.address_guard = Support::No("a mock connects to no addresses");
        capabilities
    }
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.lock().rules.len();
        write!(f, "Mock({rules} rules)")
    }
}
