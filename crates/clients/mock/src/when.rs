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
    method: Option<Method>,
    url: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    predicate: Option<Predicate>,
    pub(crate) is_repeated: bool,
}

impl When {
    /// Matches every request.
    pub fn any() -> Self {
        Self {
            method: None,
            url: None,
            headers: Vec::new(),
            body: None,
            predicate: None,
            is_repeated: false,
        }
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
        Self {
            method: Some(method),
            url: Some(url.into()),
            ..Self::any()
        }
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
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Also requires this text as the whole body.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// Also requires that the function returns `true`.
    pub fn matches(
        mut self,
        predicate: impl Fn(&Recorded) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// Allows the rule to be used any number of times, including none. Default once.
    pub fn repeated(mut self) -> Self {
        self.is_repeated = true;
        self
    }

    pub(crate) fn may_be_unused(&self) -> bool {
        self.is_repeated
    }

    pub(crate) fn applies_to(&self, request: &Recorded) -> bool {
        let values = |name: &str| {
            let values = request.headers.get_all(name);
            values
                .iter()
                .map(|value| value.as_bytes())
                .collect::<Vec<_>>()
        };
        self.method
            .as_ref()
            .is_none_or(|method| *method == request.method)
            && self.url.as_ref().is_none_or(|url| is_of(url, request))
            && self
                .headers
                .iter()
                .all(|(name, value)| values(name).contains(&value.as_bytes()))
            && self.body.as_ref().is_none_or(|body| *body == request.body)
            && self.predicate.as_ref().is_none_or(|is_so| is_so(request))
    }
}

fn is_of(url: &str, request: &Recorded) -> bool {
    let uri = &request.uri;
    match (url.starts_with('/'), url.contains('?')) {
        (false, _) => *uri == *url,
        (true, true) => uri.path_and_query().is_some_and(|own| own.as_str() == url),
        (true, false) => uri.path() == url,
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.method, &self.url) {
            (Some(method), Some(url)) => write!(f, "{method} {url}")?,
            _ => f.write_str("any request")?,
        }
        for (name, value) in &self.headers {
            write!(f, " with {name}: {value}")?;
        }
        if let Some(body) = &self.body {
            write!(f, " with the body {body:?}")?;
        }
        if self.predicate.is_some() {
            f.write_str(" if a function returns true")?;
        }
        Ok(())
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "When({self})")
    }
}
