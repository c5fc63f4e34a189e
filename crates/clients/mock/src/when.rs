//! The condition of a rule.

use std::fmt;
use std::sync::Arc;

use inflight_core::http::Method;

use crate::Recorded;

type Predicate = Arc<dyn Fn(&Recorded) -> bool + Send + Sync>;

/// The condition of a rule. The rule applies to requests that satisfy all parts of the condition.
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
    /// A URL that begins with a slash is a path. It matches on every host, and with every query unless it
    /// contains a query.
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
            .matches_if(move |request| request.method == method && has_url(request, &url))
    }

    /// Matches GET requests to this URL: see [`request`](Self::request).
    pub fn get(url: impl Into<String>) -> Self {
        Self::request(Method::GET, url)
    }

    /// Matches POST requests to this URL: see [`request`](Self::request).
    pub fn post(url: impl Into<String>) -> Self {
        Self::request(Method::POST, url)
    }

    /// Also requires this header, with this value among its values.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.description += &format!(" with {name}: {value}");
        self.matches_if(move |request| {
            let mut values = request.headers.get_all(&name).iter();
            values.any(|given| *given == *value)
        })
    }

    /// Also requires this text as the whole body.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.description += &format!(" with the body {text:?}");
        self.matches_if(move |request| text == request.body)
    }

    /// Also requires that the function returns `true`.
    pub fn matches(
        mut self,
        predicate: impl Fn(&Recorded) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.description += " if a function returns true";
        self.matches_if(predicate)
    }

    /// Allows the rule to be used any number of times, including none. Default once.
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

    fn matches_if(mut self, predicate: impl Fn(&Recorded) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Arc::new(predicate));
        self
    }

    pub(crate) fn applies_to(&self, request: &Recorded) -> bool {
        self.predicates.iter().all(|predicate| predicate(request))
    }
}

fn has_url(request: &Recorded, url: &str) -> bool {
    let uri = &request.uri;
    match (url.starts_with('/'), url.contains('?')) {
        (false, _) => *uri == *url,
        (true, true) => uri.path_and_query().is_some_and(|given| given == url),
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
