//! The condition of a rule.

use std::fmt;
use std::sync::Arc;

use inflight_core::http::Method;

use crate::RecordedRequest;

type Predicate = Arc<dyn Fn(&RecordedRequest) -> bool + Send + Sync>;

/// The condition of a rule. The rule applies to a request that satisfies all requirements of the condition.
#[derive(Clone)]
#[must_use = "a condition does nothing until it is passed to `Mock::on`"]
pub struct When {
    description: String,
    predicates: Vec<Predicate>,
    pub(crate) is_repeated: bool,
}

impl When {
    /// Matches every request.
    pub fn any() -> Self {
        Self::new("any request".to_owned())
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
    /// assert_eq!(When::request(Method::PUT, "/page").to_string(), "PUT /page");
    /// ```
    pub fn request(method: Method, url: impl Into<String>) -> Self {
        let url = url.into();
        Self::new(format!("{method} {url}"))
            .with_predicate(move |request| request.method == method && has_url(request, &url))
    }

    /// Matches GET requests to this URL: see [`request`](Self::request).
    pub fn get(url: impl Into<String>) -> Self {
        Self::request(Method::GET, url)
    }

    /// Matches POST requests to this URL: see [`request`](Self::request).
    pub fn post(url: impl Into<String>) -> Self {
        Self::request(Method::POST, url)
    }

    /// Also requires a header with this value. The header may have other values in addition.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.description += &format!(" with {name}: {value}");
        self.with_predicate(move |request| {
            let mut values = request.headers.get_all(&name).iter();
            values.any(|actual| *actual == *value)
        })
    }

    /// Also requires this text as the whole body.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.description += &format!(" with the body {text:?}");
        self.with_predicate(move |request| text == request.body)
    }

    /// Also requires that `predicate` returns `true`.
    pub fn matches(
        mut self,
        predicate: impl Fn(&RecordedRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.description += " if a function returns true";
        self.with_predicate(predicate)
    }

    /// Lets the rule apply any number of times, including zero. By default, a rule applies once.
    pub fn repeated(mut self) -> Self {
        self.is_repeated = true;
        self
    }

    fn new(description: String) -> Self {
        Self {
            description,
            predicates: Vec::new(),
            is_repeated: false,
        }
    }

    fn with_predicate(
        mut self,
        predicate: impl Fn(&RecordedRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicates.push(Arc::new(predicate));
        self
    }

    pub(crate) fn applies_to(&self, request: &RecordedRequest) -> bool {
        self.predicates.iter().all(|predicate| predicate(request))
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
