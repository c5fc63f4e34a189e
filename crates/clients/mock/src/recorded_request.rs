//! A request that the mock received.

use std::fmt;

use inflight_core::bytes::Bytes;
use inflight_core::http::{HeaderMap, Method, Uri};

/// A request that the mock received.
///
/// ```
/// use inflight_mock::{Mock, Reply, When};
/// # use inflight_core::{BlockOn, Error};
/// # use inflight_virtual::Virtual;
/// # let runtime = Virtual::new();
/// # let mock = Mock::new(runtime.clone());
///
/// mock.on(When::post("/orders"), Reply::status(201));
/// let session = mock.session().header("x-key", "7").build()?;
/// runtime.block_on(session.post("http://shop.test/orders").form(&[("apples", 3)]).send())?;
///
/// let request = &mock.requests()[0];
/// assert_eq!(request.to_string(), "POST http://shop.test/orders");
/// assert_eq!(request.header("x-key"), Some("7"));
/// assert_eq!(request.text(), "apples=3");
/// # Ok::<(), Error>(())
/// ```
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
