//! The condition of a rule.

use std::fmt;
use std::sync::Arc;

use inflight_core::http::Method;

use crate::recorded_request::RecordedRequest;

/// The maximum number of characters of a request's body in a message.
const MAX_BODY_CHARS: usize = 200;

/// A requirement of a condition. Returns why a request does not satisfy it.
type Requirement = Arc<dyn Fn(&RecordedRequest) -> Result<(), String> + Send + Sync>;

/// The condition of a rule. The rule applies to a request that satisfies all requirements of the condition.
///
/// ```
/// use inflight_mock::{Mock, Reply, When};
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
///
/// let has_key = When::post("/orders").header("x-key", "7");
/// mock.on(has_key.matches(|request| request.text().len() < 100), Reply::status(201));
/// mock.on(When::any().repeated(), Reply::status(404));
///
/// let session = mock.session().build()?;
/// let post = || session.post("http://shop.test/orders").header("x-key", "7").body("apples");
/// assert_eq!(runtime.block_on(post().send())?.status(), 201);
/// // The first rule applied once.
/// assert_eq!(runtime.block_on(post().send())?.status(), 404);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a condition does nothing until it is passed to a method of `Mock`"]
pub struct When {
    description: String,
    requirements: Vec<Requirement>,
    times: Option<usize>,
}

impl When {
    /// Matches every request.
    pub fn any() -> Self {
        Self::new("any request".to_owned())
    }

    /// Matches requests with any method to this URL: see [`request`](Self::request).
    pub fn any_method(url: impl Into<String>) -> Self {
        let url = url.into();
        Self::new(format!("any method to {url}")).url(url)
    }

    /// Matches requests with this method to this URL.
    ///
    /// A URL that begins with a slash is a path. A path matches on every host. A path without a query matches
    /// every query.
    ///
    /// ```
    /// use inflight_core::http::Method;
    /// use inflight_mock::When;
    ///
    /// assert_eq!(When::request(Method::TRACE, "/page").to_string(), "TRACE /page");
    /// ```
    pub fn request(method: Method, url: impl Into<String>) -> Self {
        let url = url.into();
        let condition = Self::new(format!("{method} {url}"));
        let condition = condition.require(move |request| match request.method == method {
            true => Ok(()),
            false => Err("another method".to_owned()),
        });
        condition.url(url)
    }

    /// Matches GET requests to this URL: see [`request`](Self::request).
    pub fn get(url: impl Into<String>) -> Self {
        Self::request(Method::GET, url)
    }

    /// Matches HEAD requests to this URL: see [`request`](Self::request).
    pub fn head(url: impl Into<String>) -> Self {
        Self::request(Method::HEAD, url)
    }

    /// Matches POST requests to this URL: see [`request`](Self::request).
    pub fn post(url: impl Into<String>) -> Self {
        Self::request(Method::POST, url)
    }

    /// Matches PUT requests to this URL: see [`request`](Self::request).
    pub fn put(url: impl Into<String>) -> Self {
        Self::request(Method::PUT, url)
    }

    /// Matches PATCH requests to this URL: see [`request`](Self::request).
    pub fn patch(url: impl Into<String>) -> Self {
        Self::request(Method::PATCH, url)
    }

    /// Matches DELETE requests to this URL: see [`request`](Self::request).
    pub fn delete(url: impl Into<String>) -> Self {
        Self::request(Method::DELETE, url)
    }

    /// Matches OPTIONS requests to this URL: see [`request`](Self::request).
    pub fn options(url: impl Into<String>) -> Self {
        Self::request(Method::OPTIONS, url)
    }

    /// Also requires a header with this value. The header may have other values in addition.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.description += &format!(" with {name}: {value}");
        self.require(move |request| {
            let values = || request.headers.get_all(&name).iter();
            if values().any(|actual| *actual == *value) {
                return Ok(());
            }
            let values: Vec<_> = values()
                .map(|actual| String::from_utf8_lossy(actual.as_bytes()))
                .collect();
            Err(match values.is_empty() {
                true => format!("no header {name}"),
                false => format!("{name}: {}", values.join(", ")),
            })
        })
    }

    /// Also requires this text as the whole body.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.description += &format!(" with the body {text:?}");
        self.require(move |request| match text == request.body {
            true => Ok(()),
            false => {
                let actual = request.text();
                let start: String = actual.chars().take(MAX_BODY_CHARS).collect();
                let rest = match start.len() < actual.len() {
                    true => "…",
                    false => "",
                };
                Err(format!("the body is {start:?}{rest}"))
            }
        })
    }

    /// Also requires that `predicate` returns `true`.
    pub fn matches(
        mut self,
        predicate: impl Fn(&RecordedRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.description += " if a function returns true";
        self.require(move |request| match predicate(request) {
            true => Ok(()),
            false => Err("the function returned false".to_owned()),
        })
    }

    /// Lets the rule apply `n` times. [`Mock::assert_all_used`](crate::Mock::assert_all_used) checks that the
    /// rule was used this often. Default 1.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0.
    #[track_caller]
    pub fn times(mut self, n: usize) -> Self {
        assert!(
            n > 0,
            "a rule that applies 0 times has no effect; check the number with `assert_request_count`"
        );
        self.times = Some(n);
        self
    }

    /// Lets the rule apply any number of times, including zero. By default, a rule applies once.
    pub fn repeated(mut self) -> Self {
        self.times = None;
        self
    }

    fn new(description: String) -> Self {
        Self {
            description,
            requirements: Vec::new(),
            times: Some(1),
        }
    }

    fn url(self, url: String) -> Self {
        self.require(move |request| match has_url(request, &url) {
            true => Ok(()),
            false => Err("another URL".to_owned()),
        })
    }

    fn require(
        mut self,
        requirement: impl Fn(&RecordedRequest) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.requirements.push(Arc::new(requirement));
        self
    }

    /// Returns how often the rule applies at most, or `None` if it is repeated.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.times
    }

    /// Returns why the first requirement that the request does not satisfy fails.
    pub(crate) fn check(&self, request: &RecordedRequest) -> Result<(), String> {
        let mut requirements = self.requirements.iter();
        requirements.try_for_each(|requirement| requirement(request))
    }

    pub(crate) fn applies_to(&self, request: &RecordedRequest) -> bool {
        self.check(request).is_ok()
    }
}

fn has_url(request: &RecordedRequest, url: &str) -> bool {
    let uri = &request.uri;
    match (url.starts_with('/'), url.contains('?')) {
        (false, _) => *uri == *url,
        (true, true) => uri.path_and_query().is_some_and(|actual| actual == url),
        (true, false) => uri.path() == url,
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "When({self})")
    }
}
