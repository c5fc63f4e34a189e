//! Where the body of a message ends, which heads are refused, and when a connection can be reused.
//!
//! These rules are the same for every client.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Version};

use crate::error::{Error, ErrorKind};
use crate::message::body::Body;

/// The largest number of interim responses (1xx) before a final response, for clients that have no
/// limit of their own.
///
/// ```
/// use inflight_core::{Error, ErrorKind, MAX_INTERIM_RESPONSES};
///
/// /// Checks the number of interim responses that the client has read.
/// fn check_interim(count: usize) -> Result<(), Error> {
///     match count {
///         0..=MAX_INTERIM_RESPONSES => Ok(()),
///         _ => Err(Error::new(ErrorKind::Protocol).with_context("too many interim responses")),
///     }
/// }
/// # assert!(check_interim(64).is_ok() && check_interim(65).is_err());
/// ```
pub const MAX_INTERIM_RESPONSES: usize = 64;

/// The largest number of fields in a head. Servers send far fewer. A head with more fields is probably
/// an attempt to exhaust the memory.
const MAX_FIELDS: usize = 100;

/// The largest total size of the field names and values in a head, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Where the body of a response ends (RFC 9112, section 6.3).
///
/// ```
/// use inflight_core::{Framing, http};
///
/// let head = http::Response::builder().header("content-length", "5").body(())?;
/// assert_eq!(Framing::of_response(&head, false)?, Framing::Length(5));
/// // The response to a HEAD request has no body.
/// assert_eq!(Framing::of_response(&head, true)?, Framing::NoBody);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The response has no body.
    NoBody,
    /// The body has this number of bytes, which is not 0.
    Length(u64),
    /// The body ends with its last chunk.
    Chunked,
    /// The body ends with the connection or, in HTTP/2, with the stream.
    UntilClose,
}

impl Framing {
    /// Returns the framing of a response, for clients that do not determine it themselves.
    /// `is_head_request` is `true` for the response to a HEAD request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the session would refuse the head.
    pub fn of_response<B>(response: &Response<B>, is_head_request: bool) -> Result<Self, Error> {
        let fields = FramingFields::of(response)?;
        let status = response.status();
        let has_no_body = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        Ok(match fields {
            _ if is_head_request || has_no_body => Self::NoBody,
            FramingFields {
                is_chunked: true, ..
            } => Self::Chunked,
            FramingFields {
                length: Some(0), ..
            } => Self::NoBody,
            FramingFields {
                length: Some(length),
                ..
            } => Self::Length(length),
            FramingFields { length: None, .. } => Self::UntilClose,
        })
    }
}

/// Refuses a head that is ambiguous or too large.
///
/// Clients differ in their strictness. This check makes the result the same for all of them.
pub(crate) fn check_head<B>(response: &Response<B>) -> Result<(), Error> {
    FramingFields::of(response).map(drop)
}

/// The values of the header fields that determine where the body of a response ends.
#[derive(Default)]
struct FramingFields {
    length: Option<u64>,
    is_chunked: bool,
}

impl FramingFields {
    /// Reads the fields of a response. Fails if the session must refuse the head. Loops over the
    /// fields only once, because every response is checked.
    fn of<B>(response: &Response<B>) -> Result<Self, Error> {
        // A 101 accepts an `Upgrade` (RFC 9110, 15.2.2), which no client here sends.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(head_error("a 101 (Switching Protocols) without an upgrade"));
        }
        if response.headers().len() > MAX_FIELDS {
            return Err(head_error("more than 100 header fields"));
        }
        let mut bytes = 0;
        let mut fields = Self::default();
        let mut length = None;
        for (name, value) in response.headers() {
            bytes += name.as_str().len() + value.len();
            if name == CONTENT_LENGTH {
                // Equal values in several fields are accepted. A list in one field (`5, 5`) is refused, as
                // RFC 9112, 6.3 allows.
                if length.replace(value).is_some_and(|other| other != value) {
                    return Err(head_error("two different values of Content-Length"));
                }
                fields.length = content_length(value);
                if fields.length.is_none() {
                    return Err(head_error("the Content-Length is not a number"));
                }
            } else if name == TRANSFER_ENCODING {
                fields.add_coding(value, response.version())?;
            }
        }
        if bytes > MAX_BYTES {
            return Err(head_error("header fields of more than 64 KiB"));
        }
        Ok(fields)
    }

    /// Adds a transfer coding. Fails if the coding is not `chunked`, or is applied twice. On
    /// HTTP/1.0, a transfer coding indicates faulty framing (RFC 9112, 6.1).
    fn add_coding(&mut self, coding: &HeaderValue, version: Version) -> Result<(), Error> {
        let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || std::mem::replace(&mut self.is_chunked, true) {
            return Err(head_error("a transfer coding other than a single chunked"));
        }
        if version < Version::HTTP_11 {
            return Err(head_error("a transfer coding on HTTP/1.0"));
        }
        Ok(())
    }
}

/// Parses a `Content-Length`. Returns `None` if the value has other characters than digits, or if the
/// number is too large.
pub(crate) fn content_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    let has_only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    has_only_digits.then(|| digits.parse().ok()).flatten()
}

/// Returns whether the connection of this response must not be reused: the response closes the
/// connection (RFC 9112, 9.3), the head has both a `Content-Length` and a `Transfer-Encoding` (RFC 9112,
/// 6.3), or the session will refuse the head.
///
/// A client needs this function if it may return a connection to its pool before the session has
/// checked the response. For HTTP/2, the function returns `false`, because a response over HTTP/2 does
/// not affect the connection.
///
/// ```
/// use inflight_core::{http, retires_connection};
///
/// let response = http::Response::builder().header("content-length", "5");
/// assert!(!retires_connection(&response.body(())?));
/// let response = http::Response::builder()
///     .header("content-length", "5")
///     .header("transfer-encoding", "chunked");
/// assert!(retires_connection(&response.body(())?));
/// let response = http::Response::builder().header("connection", "close");
/// assert!(retires_connection(&response.body(())?));
/// # Ok::<(), http::Error>(())
/// ```
pub fn retires_connection<B>(response: &Response<B>) -> bool {
    if response.version() >= Version::HTTP_2 {
        return false;
    }
    let has_option = |expected: &str| {
        let values = response.headers().get_all(CONNECTION).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case(expected))
    };
    has_option("close")
        || response.version() < Version::HTTP_11 && !has_option("keep-alive")
        || FramingFields::of(response)
            .map_or(true, |fields| fields.length.is_some() && fields.is_chunked)
}

/// Sets the header fields that determine where the body of a request ends. Clients send these fields
/// unchanged.
///
/// The body determines the length. A `Content-Length` of the caller is used only if the body's
/// length is unknown. For POST, PUT and PATCH, a length of 0 is sent too (RFC 9110, section 8.6).
pub(crate) fn frame_request(request: &mut Request<Body>) {
    let expects_body = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    );
    let length = request.body().len();
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    match (length, headers.get(CONTENT_LENGTH)) {
        (Some(0), None) if !expects_body => {}
        (Some(length), _) => drop(headers.insert(CONTENT_LENGTH, length.into())),
        (None, Some(stated)) if content_length(stated).is_none() => {
            headers.remove(CONTENT_LENGTH);
        }
        (None, _) => {}
    }
}

fn head_error(context: &'static str) -> Error {
    Error::new(ErrorKind::Protocol).with_context(context)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check_fields(version: Version, fields: &[(&str, &str)]) -> Result<(), ErrorKind> {
        let mut response = Response::builder().version(version);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        check_head(&response.body(()).unwrap()).map_err(|error| error.kind())
    }

    fn is_accepted(fields: &[(&str, &str)]) -> bool {
        match check_fields(Version::HTTP_11, fields) {
            Ok(()) => true,
            Err(kind) => {
                assert_eq!(kind, ErrorKind::Protocol);
                false
            }
        }
    }

    #[test]
    fn lengths_must_be_digits_and_equal() {
        for lengths in [&["5"][..], &["5", "5"], &["05"], &["18446744073709551615"]] {
            let fields: Vec<_> = lengths.iter().map(|l| ("content-length", *l)).collect();
            assert!(is_accepted(&fields), "{lengths:?}");
        }
        for lengths in [
            &[""][..],
            &["+5"],
            &["-5"],
            &["5, 5"],
            &["5 "],
            &["18446744073709551616"],
            &["5", "6"],
            &["5", "05"],
            &["0", "5"],
        ] {
            let fields: Vec<_> = lengths.iter().map(|l| ("content-length", *l)).collect();
            assert!(!is_accepted(&fields), "{lengths:?}");
        }
    }

    #[test]
    fn only_a_single_chunked_coding_is_accepted() {
        let coding = "transfer-encoding";
        assert!(is_accepted(&[(coding, "Chunked")]));
        assert!(is_accepted(&[(coding, "chunked"), ("content-length", "5")]));
        for value in ["", "gzip", "gzip, chunked", "chunked, chunked", "identity"] {
            assert!(!is_accepted(&[(coding, value)]), "{value:?}");
        }
        assert!(!is_accepted(&[(coding, "chunked"), (coding, "chunked")]));
        let old = check_fields(Version::HTTP_10, &[(coding, "chunked")]);
        assert_eq!(old, Err(ErrorKind::Protocol));
        assert!(check_fields(Version::HTTP_2, &[]).is_ok());
    }

    fn framing(status: u16, is_head_request: bool, fields: &[(&str, &str)]) -> Framing {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Framing::of_response(&response.body(()).unwrap(), is_head_request).unwrap()
    }

    #[test]
    fn response_framing_follows_rfc_9112() {
        let five = ("content-length", "5");
        let chunked = ("transfer-encoding", "Chunked");
        assert_eq!(framing(200, false, &[five]), Framing::Length(5));
        assert_eq!(framing(200, false, &[five, five]), Framing::Length(5));
        assert_eq!(framing(200, false, &[five, chunked]), Framing::Chunked);
        assert_eq!(framing(200, false, &[]), Framing::UntilClose);
        let zero = ("content-length", "0");
        assert_eq!(framing(200, false, &[zero]), Framing::NoBody);
        assert_eq!(framing(200, true, &[five]), Framing::NoBody);
        assert_eq!(framing(200, true, &[chunked]), Framing::NoBody);
        for status in [103, 204, 304] {
            assert_eq!(framing(status, false, &[five]), Framing::NoBody);
        }
    }

    #[test]
    fn a_close_option_and_http_1_0_retire_the_connection() {
        let retires = |version, connection: &str| {
            let response = Response::builder().version(version);
            let response = response.header(CONNECTION, connection).body(()).unwrap();
            retires_connection(&response)
        };
        assert!(retires(Version::HTTP_11, "upgrade, Close"));
        assert!(!retires(Version::HTTP_11, "closed"));
        assert!(!retires(Version::HTTP_2, "close"));
        assert!(retires(Version::HTTP_10, ""));
        assert!(!retires(Version::HTTP_10, "Keep-Alive"));
    }

    fn framed(method: Method, body: Body, stated: Option<&str>) -> Option<String> {
        let mut request = Request::builder().method(method);
        if let Some(stated) = stated {
            request = request.header(CONTENT_LENGTH, stated);
        }
        let mut request = request
            .header(TRANSFER_ENCODING, "gzip")
            .body(body)
            .unwrap();
        frame_request(&mut request);
        assert!(!request.headers().contains_key(TRANSFER_ENCODING));
        let length = request.headers().get(CONTENT_LENGTH)?;
        Some(length.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_body_determines_the_length_of_a_request() {
        let stream = || Body::from_stream(futures_util::stream::empty::<Result<Bytes, Error>>());
        let length = |method: &Method, body, stated| framed(method.clone(), body, stated);
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            assert_eq!(length(&method, Body::empty(), None).as_deref(), Some("0"));
        }
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS] {
            assert_eq!(length(&method, Body::empty(), None), None);
        }
        let get = &Method::GET;
        assert_eq!(length(get, Body::from("four"), None).as_deref(), Some("4"));
        let overruled = length(get, Body::from("four"), Some("9"));
        assert_eq!(overruled.as_deref(), Some("4"));
        let overruled = length(get, Body::empty(), Some("9"));
        assert_eq!(overruled.as_deref(), Some("0"));
        assert_eq!(length(get, stream(), None), None);
        assert_eq!(length(get, stream(), Some("9")).as_deref(), Some("9"));
        assert_eq!(length(get, stream(), Some("+9")), None);
    }

    #[test]
    fn large_heads_are_refused() {
        assert!(is_accepted(&[("x", "y"); MAX_FIELDS]));
        assert!(!is_accepted(&[("x", "y"); MAX_FIELDS + 1]));
        let long = "v".repeat(MAX_BYTES - 1);
        assert!(is_accepted(&[("x", &long)]));
        assert!(!is_accepted(&[("xx", &long)]));
    }

    #[test]
    fn status_101_is_refused() {
        let response = Response::builder().status(101).body(()).unwrap();
        assert_eq!(
            check_head(&response).unwrap_err().kind(),
            ErrorKind::Protocol
        );
    }
}
