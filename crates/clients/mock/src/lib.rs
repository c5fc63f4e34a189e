#![doc = include_str!("../README.md")]
//!
//! A [`Mock`] has rules. Each rule has a condition ([`When`]) and a [`Reply`]. The mock uses the first rule
//! that applies to a request. A rule applies once unless it is [`repeated`](When::repeated), so several
//! rules with the same condition form a sequence of replies. The mock records the requests.

mod assertion;
mod recorded_request;
mod reply;
mod when;

use std::fmt::{self, Write as _};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use inflight_core::http::{Request, Response};
use inflight_core::{
    Body, Capabilities, Error, ErrorKind, Fetch, Runtime, Session, SessionBuilder, Support,
};

pub use recorded_request::RecordedRequest;
pub use reply::Reply;
pub use when::When;

/// The maximum number of unexpected requests that a message describes.
const MAX_DESCRIBED: usize = 5;

/// A client that returns the replies of its rules. Clones share the rules and the recorded requests.
///
/// Chapter [13](../../tutorial/ch13.html) of the book teaches its use.
///
/// For an example, see the [crate's documentation](crate).
///
/// # Panics
///
/// A request is unexpected if no rule applies to it. It fails with the kind
/// [`Unsupported`](ErrorKind::Unsupported). Because the code under test may ignore this error, the mock also
/// panics when its last clone is dropped. The message describes the unexpected requests, and why no rule
/// applied. The mock does not panic if the thread is already panicking, or if an earlier
/// [`assert_all_used`](Self::assert_all_used) has reported the requests.
///
/// Keep the mock until the end of the test, so that the panic fails the test. If sessions use the mock
/// after that, the mock panics when the last of them is dropped, which may happen on another thread.
///
/// To allow other requests, add a last rule such as `mock.on(When::any().repeated(), Reply::status(404))`.
#[derive(Clone)]
pub struct Mock(Arc<Handle>);

// The mutex protects the state against panics, and only the runtime's timer is used.
impl UnwindSafe for Mock {}
impl RefUnwindSafe for Mock {}

/// The state behind the clones of a mock. Sessions do not hold it, so it is dropped with the last mock.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.check_on_drop();
    }
}

struct Shared {
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<RecordedRequest>,
    /// The messages of the unexpected requests.
    unexpected: Vec<String>,
    /// Whether a panic has reported all unexpected requests.
    is_reported: bool,
}

struct Rule {
    when: When,
    reply: Reply,
    uses: usize,
}

impl Mock {
    /// Returns a mock without rules. The mock delays replies with the timer of `runtime`.
    pub fn new(runtime: impl Runtime) -> Self {
        let shared = Shared {
            runtime: Arc::new(runtime),
            state: Mutex::default(),
        };
        Self(Arc::new(Handle(Arc::new(shared))))
    }

    /// Adds a rule.
    pub fn on(&self, when: When, reply: Reply) {
        self.lock().rules.push(Rule {
            when,
            reply,
            uses: 0,
        });
    }

    /// Returns a builder for a session that uses this mock as its client.
    pub fn session(&self) -> SessionBuilder {
        let client = self.client();
        Session::builder(move |_| {
            let runtime = client.0.runtime.clone();
            Ok((client, runtime))
        })
    }

    /// Returns the requests so far, in the order of their arrival. Each redirect and each retry counts as a
    /// request.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    /// Checks that every rule was used as often as [`times`](When::times) requires, and that no request was
    /// unexpected. A [`repeated`](When::repeated) rule may be unused.
    ///
    /// # Panics
    ///
    /// Panics if the check fails. The message lists the rules that were not used often enough and the
    /// unexpected requests.
    #[track_caller]
    pub fn assert_all_used(&self) {
        let problems = {
            let mut state = self.lock();
            let mut problems: Vec<_> = state.rules.iter().filter_map(Rule::missing_uses).collect();
            problems.extend(state.report_unexpected());
            problems
        };
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    /// Checks that the mock received exactly these requests, in this order. Each is a method and a URL. The
    /// URL may be a path, as in [`When::request`].
    ///
    /// # Panics
    ///
    /// Panics if the check fails. The message is a diff: `-` marks an expected request that is missing, and
    /// `+` a received request that was not expected. Also panics if a text is not a method and a URL.
    ///
    /// ```
    /// use inflight_core::BlockOn;
    /// use inflight_mock::{Mock, Reply, When};
    /// use inflight_virtual::Virtual;
    ///
    /// let runtime = Virtual::new();
    /// let mock = Mock::new(runtime.clone());
    /// mock.on(When::get("/cart"), Reply::json(&["pen"]));
    /// mock.on(When::post("/order"), Reply::status(201));
    ///
    /// let session = mock.session().base_url("http://shop.test/").build()?;
    /// runtime.block_on(async {
    ///     session.get("cart").send().await?;
    ///     session.post("order").send().await
    /// })?;
    /// mock.assert_requests(["GET /cart", "POST /order"]);
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    #[track_caller]
    pub fn assert_requests<T: AsRef<str>>(&self, expected: impl IntoIterator<Item = T>) {
        let mut conditions = Vec::new();
        for text in expected {
            conditions.push(assertion::parse_request(text.as_ref()));
        }
        if let Some(difference) = assertion::difference(&conditions, &self.requests()) {
            panic!("the requests differ (- expected, + received):{difference}");
        }
    }

    /// Checks that exactly `n` of the received requests satisfy this condition.
    ///
    /// # Panics
    ///
    /// Panics if the check fails. The message lists all received requests.
    ///
    /// ```
    /// # use inflight_core::BlockOn;
    /// # use inflight_mock::{Mock, Reply, When};
    /// # let runtime = inflight_virtual::Virtual::new();
    /// # let mock = Mock::new(runtime.clone());
    /// # mock.on(When::any().repeated(), Reply::status(200));
    /// # let session = mock.session().build()?;
    /// # runtime.block_on(session.get("http://shop.test/cart").header("x-key", "k").send())?;
    /// mock.assert_request_count(When::get("/cart").header("x-key", "k"), 1);
    /// mock.assert_request_count(When::delete("/cart"), 0);
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    #[track_caller]
    pub fn assert_request_count(&self, when: When, n: usize) {
        let requests = self.requests();
        let is_counted = |request: &&RecordedRequest| when.applies_to(request);
        let count = requests.iter().filter(is_counted).count();
        if count != n {
            let lines: String = requests.iter().map(|line| format!("\n  {line}")).collect();
            let total = requests.len();
            panic!("expected {n} of {when}, received {count}; {total} requests in total{lines}");
        }
    }

    fn client(&self) -> Client {
        Client(self.0.0.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the request and returns the reply of the first rule that applies to it.
    fn reply_to(&self, request: &RecordedRequest) -> Result<Reply, Error> {
        let state = &mut *self.lock();
        state.requests.push(request.clone());
        let mut rules = state.rules.iter_mut();
        match rules.find(|rule| rule.check(request).is_ok()) {
            Some(rule) => {
                rule.uses += 1;
                Ok(rule.reply.clone())
            }
            None => {
                let message = no_rule_message(request, &state.rules);
                state.unexpected.push(message.clone());
                state.is_reported = false;
                Err(Error::new(ErrorKind::Unsupported).with_context(message))
            }
        }
    }

    /// Panics if there were unexpected requests that no assertion has reported.
    fn check_on_drop(&self) {
        // A panic while the thread is panicking would abort the process and hide the first message.
        if thread::panicking() {
            return;
        }
        let unexpected = {
            let mut state = self.lock();
            match state.is_reported {
                true => return,
                false => state.report_unexpected(),
            }
        };
        assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.check_on_drop();
    }
}

impl State {
    /// Returns the messages of the unexpected requests, and marks the requests as reported.
    fn report_unexpected(&mut self) -> Vec<String> {
        self.is_reported = true;
        let described = self.unexpected.iter().take(MAX_DESCRIBED);
        let mut messages: Vec<_> = described.cloned().collect();
        let more = self.unexpected.len() - messages.len();
        if more > 0 {
            messages.push(format!("{more} more requests without a rule"));
        }
        messages
    }
}

impl Rule {
    /// Returns why the rule does not apply to the request.
    fn check(&self, request: &RecordedRequest) -> Result<(), String> {
        self.when.check(request)?;
        match self.when.limit() {
            Some(1) if self.uses == 1 => Err("already used".to_owned()),
            Some(limit) if self.uses >= limit => Err(format!("already used {limit} times")),
            _ => Ok(()),
        }
    }

    /// Returns a message if the rule was not used often enough.
    fn missing_uses(&self) -> Option<String> {
        let limit = self.when.limit()?;
        let uses = self.uses;
        (uses < limit).then(|| match uses {
            0 => format!("not used: {}", self.when),
            _ => format!("used {uses} of {limit} times: {}", self.when),
        })
    }
}

/// Returns the message for an unexpected request. It lists all rules, and why each does not apply.
fn no_rule_message(request: &RecordedRequest, rules: &[Rule]) -> String {
    let mut message = format!("the mock has no rule for {request}");
    if rules.is_empty() {
        message.push_str(": it has no rules");
        return message;
    }
    message.push_str("; its rules are");
    for rule in rules {
        let _ = write!(message, "\n  {}", rule.when);
        if let Err(reason) = rule.check(request) {
            let _ = write!(message, " ({reason})");
        }
    }
    message
}

/// The client of a session. It does not keep the [`Handle`] of the mock alive.
struct Client(Arc<Shared>);

impl Fetch for Client {
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
        let reply = self.0.reply_to(&request)?;
        reply.send(request, self.0.runtime.clone()).await
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all("inflight-mock");
        capabilities.proxies = Support::No("a mock opens no connections through a proxy");
        capabilities.socks_proxies = capabilities.proxies;
        capabilities.proxied_whole = capabilities.proxies;
        capabilities.proxy_faults = capabilities.proxies;
        capabilities.connection_events = Support::No("a mock opens no connections");
        capabilities.response_during_upload =
            Support::No("a mock responds when it has the whole request");
        capabilities.unix_sockets = capabilities.connection_events;
        capabilities.unix_queue = capabilities.unix_sockets;
        capabilities.address_guard = Support::No("a mock connects to no addresses");
        capabilities
    }
}

impl Fetch for Mock {
    async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        self.client().fetch(request).await
    }

    fn capabilities(&self) -> Capabilities {
        self.client().capabilities()
    }
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.lock().rules.len();
        write!(f, "Mock({rules} rules)")
    }
}
