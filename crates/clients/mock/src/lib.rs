//! A client that answers from a script: for tests of programs that use inflight.
//!
//! A [`Mock`] has rules. Each says [`When`] it applies and what the [`Reply`] is. It is used once
//! unless it is [`repeated`](When::repeated), in the order in which the rules were given, so a
//! list of rules is a sequence of answers too. The mock keeps what it was asked.
//!
//! On the virtual runtime, whose time passes when nothing else is left to do, what waits for a
//! minute is tested in no time:
//!
//! ```
//! use std::time::Duration;
//!
//! use inflight_core::{BlockOn, Error, Retry, Session};
//! use inflight_mock::{Mock, Reply, When};
//! use inflight_virtual::Virtual;
//!
//! /// What is to be tested.
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
use inflight_core::http::request::Parts;
use inflight_core::http::{HeaderMap, Method, Request, Response, Uri};
use inflight_core::{
    Body, Capabilities, Error, ErrorKind, Fetch, Runtime, Session, SessionBuilder, Support,
};

pub use reply::Reply;
pub use when::When;

/// A client that answers from its rules. Clones share them.
#[derive(Clone)]
pub struct Mock(Arc<Shared>);

struct Shared {
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<Recorded>,
    unexpected: Vec<String>,
}

struct Rule {
    when: When,
    reply: Reply,
    used: usize,
}

/// A request that the mock was sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Where to.
    pub uri: Uri,
    /// Its headers, those of the session among them.
    pub headers: HeaderMap,
    /// The whole of its body.
    pub body: Bytes,
    /// How long its body said it would be, before it was read: `None` for a stream, which HTTP/1.1
    /// sends in chunks.
    pub announced: Option<u64>,
}

impl Recorded {
    fn new(parts: &Parts, body: Bytes, announced: Option<u64>) -> Self {
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            body,
            announced,
        }
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not: a test should fail then.
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("the body of {self} is not JSON: {error}"),
        }
    }

    /// A header's value, if it is there and is ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.uri)
    }
}

impl Mock {
    /// A mock without rules. The delays of its replies are `runtime`'s.
    pub fn new(runtime: impl Runtime) -> Self {
        Self(Arc::new(Shared {
            runtime: Arc::new(runtime),
            state: Mutex::default(),
        }))
    }

    /// Adds a rule.
    pub fn on(&self, when: When, reply: Reply) {
        let mut state = self.lock();
        state.rules.push(Rule {
            when,
            reply,
            used: 0,
        });
    }

    /// A session over this mock, to be built with the policy that is tested.
    pub fn session(&self) -> SessionBuilder {
        let mock = self.clone();
        Session::builder(move |_| {
            let runtime = mock.0.runtime.clone();
            Ok((mock, runtime))
        })
    }

    /// What it was asked so far, in this order, redirects and retries one by one.
    pub fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.clone()
    }

    /// Checks that every rule was used as often as it says, and that nothing came without a rule.
    ///
    /// # Panics
    ///
    /// If that is not so; the message lists what is missing and what was too much.
    #[track_caller]
    pub fn assert_all_used(&self) {
        let faults = {
            let state = self.lock();
            let left = state.rules.iter().filter(|rule| rule.is_missed());
            let left = left.map(|rule| format!("never asked for: {}", rule.when));
            let unexpected = state.unexpected.iter();
            let unexpected = unexpected.map(|request| format!("no rule for: {request}"));
            left.chain(unexpected).collect::<Vec<_>>()
        };
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = &self.0.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply_to(&self, request: Recorded) -> Result<Reply, Error> {
        let mut state = self.lock();
        let state = &mut *state;
        let rule = state
            .rules
            .iter_mut()
            .find(|rule| rule.can_be_used() && rule.when.applies_to(&request));
        let reply = match rule {
            Some(rule) => {
                rule.used += 1;
                Ok(rule.reply.clone())
            }
            None => {
                state.unexpected.push(request.to_string());
                Err(Error::new(ErrorKind::Unsupported)
                    .with_context(no_rule(&request, &state.rules)))
            }
        };
        state.requests.push(request);
        reply
    }
}

impl Rule {
    fn can_be_used(&self) -> bool {
        self.when.is_repeated || self.used == 0
    }

    fn is_missed(&self) -> bool {
        self.used == 0 && !self.when.may_be_unused()
    }
}

/// A message from which a test can be mended.
fn no_rule(request: &Recorded, rules: &[Rule]) -> String {
    let mut message = format!("the mock has no rule for {request}");
    if rules.is_empty() {
        message.push_str(": it has none at all");
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
        let announced = body.len();
        let body = body.collect(u64::MAX).await?;
        let request = Recorded::new(&parts, body, announced);
        let reply = self.reply_to(request.clone())?;
        reply.give(&request, &self.0.runtime).await
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("inflight-mock");
        capabilities.proxies = Support::No("a mock has no connections to make through a proxy");
        capabilities.proxied_whole = capabilities.proxies;
        capabilities.proxy_faults = capabilities.proxies;
        capabilities.connection_events = Support::No("a mock has no connections");
        capabilities.address_guard = Support::No("a mock has no addresses to guard");
        capabilities
    }
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.lock().rules.len();
        write!(f, "Mock({rules} rules)")
    }
}
