//! Tests of the requests that `RequestBuilder` builds, and of `Response::text` and `json`.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method, Request};
use inflight_core::{Body, Error, ErrorKind, RequestBuilder, Response, Session, SessionBuilder};
use serde::Serialize;
use support::{lock, responding, run};

/// Sends a request, and returns it as the client received it, or the error of the session.
fn capture(
    build: impl FnOnce(SessionBuilder) -> SessionBuilder,
    make_request: impl FnOnce(&Session) -> RequestBuilder,
) -> Result<Request<Body>, Error> {
    let seen: Arc<Mutex<Option<Request<Body>>>> = Arc::default();
    let record = seen.clone();
    let builder = responding(move |request| {
        *lock(&record) = Some(request);
        http::Response::new(Body::empty())
    });
    let session = build(builder.decompress(false)).build().unwrap();
    run(make_request(&session).send())?;
    Ok(lock(&seen).take().unwrap())
}

fn capture_default(
    make_request: impl FnOnce(&Session) -> RequestBuilder,
) -> Result<Request<Body>, Error> {
    capture(|builder| builder, make_request)
}

fn uri(make_request: impl FnOnce(&Session) -> RequestBuilder) -> String {
    capture_default(make_request).unwrap().uri().to_string()
}

// ---------------------------------------------------------------------------------------
// Queries.

#[test]
fn query_pairs_are_appended_and_escaped() {
    for (url, expected) in [
        ("http://h/", "http://h/?a=1&b=2"),
        ("http://h", "http://h/?a=1&b=2"),
        ("http://h/?c=3", "http://h/?c=3&a=1&b=2"),
        ("http://h/?c=%20", "http://h/?c=%20&a=1&b=2"),
        ("http://h/p#fragment", "http://h/p?a=1&b=2"),
        ("http://me:secret@h/", "http://h/?a=1&b=2"),
    ] {
        let uri = uri(|session| session.get(url).query(&[("a", 1), ("b", 2)]));
        assert_eq!(uri, expected, "{url}");
    }
    let odd = [("k e&y", "= ?#/+é%"), ("", "")];
    let uri = uri(|session| session.get("http://h/").query(&odd));
    let escaped = "k+e%26y=%3D+%3F%23%2F%2B%C3%A9%25&=";
    assert_eq!(uri, format!("http://h/?{escaped}"));
}

#[test]
fn pairs_of_several_queries_are_combined() {
    #[derive(Serialize)]
    struct Search<'a> {
        q: &'a str,
        page: Option<u32>,
        exact: bool,
    }
    let search = Search {
        q: "two words",
        page: None,
        exact: true,
    };
    let map = BTreeMap::from([("x", 'y')]);
    let uri = uri(|session| session.get("http://h/").query(&search).query(&map));
    assert_eq!(uri, "http://h/?q=two+words&exact=true&x=y");
}

#[test]
fn an_empty_query_does_not_change_the_url() {
    let none: [(&str, &str); 0] = [];
    for url in ["http://h/", "http://h/?", "http://h/?a=1"] {
        assert_eq!(uri(|session| session.get(url).query(&none)), url);
    }
}

#[test]
fn a_query_works_with_a_base_url_and_with_credentials() {
    let base = |builder: SessionBuilder| builder.base_url("http://h/a/b/");
    let request = capture(base, |session| session.get("c?d=e").query(&[("f", "g")]));
    assert_eq!(request.unwrap().uri(), "http://h/a/b/c?d=e&f=g");

    let make_request = |session: &Session| session.get("http://me:pw@h/").query(&[("a", "b")]);
    let request = capture_default(make_request).unwrap();
    assert_eq!(request.headers()["authorization"], "Basic bWU6cHc=");
}

#[test]
fn a_query_that_is_not_a_list_of_pairs_is_an_invalid_request() {
    let result = capture_default(|session| session.get("http://h/").query(&"text"));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidRequest);
    // If the URL is also invalid, the error of the URL is returned, because it came first.
    let result = capture_default(|session| session.get("ftp://h/").query(&"text"));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidUrl);
}

// ---------------------------------------------------------------------------------------
// Methods and headers.

#[test]
fn each_function_of_a_session_sends_its_method() {
    type SendWith = fn(&Session, &'static str) -> RequestBuilder;
    let functions: [(Method, SendWith); 7] = [
        (Method::GET, |session, url| session.get(url)),
        (Method::HEAD, |session, url| session.head(url)),
        (Method::POST, |session, url| session.post(url)),
        (Method::PUT, |session, url| session.put(url)),
        (Method::PATCH, |session, url| session.patch(url)),
        (Method::DELETE, |session, url| session.delete(url)),
        (Method::OPTIONS, |session, url| session.options(url)),
    ];
    for (method, function) in functions {
        let request = capture_default(|session| function(session, "http://h/")).unwrap();
        assert_eq!(request.method(), method);
    }
}

#[test]
fn headers_replace_headers_of_the_same_name() {
    let mut headers = HeaderMap::new();
    headers.append("x-list", 1.into());
    headers.append("x-list", 2.into());
    headers.insert("x-default", 3.into());
    let defaults = |builder: SessionBuilder| {
        let builder = builder.header("x-default", "session");
        builder.header("x-other", "session")
    };
    let request = capture(defaults, |session| {
        let request = session.get("http://h/").header("x-list", "0");
        request.header("x-kept", "0").headers(headers)
    });
    let request = request.unwrap();
    let values = |name: &str| {
        let values = request.headers().get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(values("x-list"), ["1", "2"]);
    assert_eq!(values("x-kept"), ["0"]);
    assert_eq!(values("x-default"), ["3"]);
    assert_eq!(values("x-other"), ["session"]);
}

// ---------------------------------------------------------------------------------------
// Credentials.

#[test]
fn credentials_are_sent_and_not_printed() {
    for (make_request, expected) in [
        (
            (|session| session.get("http://h/").basic_auth("me", "päss:"))
                as fn(&Session) -> RequestBuilder,
            "Basic bWU6cMOkc3M6",
        ),
        (
            |session| session.get("http://h/").basic_auth("", ""),
            "Basic Og==",
        ),
        (
            |session| session.get("http://h/").bearer_auth("to.ken"),
            "Bearer to.ken",
        ),
        (
            |session| session.get("http://a:b@h/").bearer_auth("to.ken"),
            "Bearer to.ken",
        ),
        (
            |session| {
                let request = session.get("http://h/").header("authorization", "old");
                request.basic_auth("me", "").bearer_auth("to.ken")
            },
            "Bearer to.ken",
        ),
    ] {
        let default = |builder: SessionBuilder| builder.header("authorization", "default");
        let request = capture(default, make_request).unwrap();
        let values: Vec<_> = request.headers().get_all("authorization").iter().collect();
        assert_eq!(values, [expected]);
        assert!(values[0].is_sensitive());
        assert!(!format!("{:?}", request.headers()).contains(expected));
    }
}

#[test]
fn the_error_of_invalid_credentials_does_not_show_them() {
    let requests: [fn(&Session) -> RequestBuilder; 2] = [
        |session| session.get("http://h/").basic_auth("secret:", "secret"),
        |session| session.get("http://h/").bearer_auth("secret\n"),
    ];
    for make_request in requests {
        let error = capture_default(make_request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(!format!("{error:?} {error}").contains("secret"));
    }
}

// ---------------------------------------------------------------------------------------
// Text.

fn text(content_type: Option<&str>, bytes: &'static [u8]) -> Result<String, Error> {
    let content_type = content_type.map(str::to_owned);
    let session = responding(move |_| {
        let mut response = http::Response::new(Body::from(bytes));
        if let Some(content_type) = &content_type {
            let value = content_type.parse().unwrap();
            response.headers_mut().insert("content-type", value);
        }
        response
    });
    run(session.build().unwrap().get("http://h/").text())
}

#[test]
fn text_is_decoded_with_its_charset() {
    for (content_type, bytes, expected) in [
        (None, "Ærø".as_bytes(), "Ærø"),
        (Some("text/html"), "Ærø".as_bytes(), "Ærø"),
        (Some("text/html; charset=UTF-8"), "Ærø".as_bytes(), "Ærø"),
        (Some("text/html; charset=iso-8859-1"), b"\xc6r\xf8", "Ærø"),
        (
            Some("text/html; charset=\"Shift_JIS\""),
            b"\x93\xfa\x96\x7b",
            "日本",
        ),
        (Some("text/html;charset=KOI8-R"), b"\xed\xc9\xd2", "Мир"),
        (Some("text/html; charset=gbk"), b"\xc4\xe3\xba\xc3", "你好"),
        (Some("text/plain; charset=utf-16le"), b"h\0i\0", "hi"),
        (Some("no media type; charset=koi8-r"), b"\xed", "М"),
        (Some("text/html; charset=us-ascii"), b"", ""),
        // The Encoding Standard does not define these charsets, so the text is decoded as UTF-8.
        (Some("text/html; charset=utf8mb4"), "Ærø".as_bytes(), "Ærø"),
        (Some("text/html; charset="), b"text", "text"),
    ] {
        assert_eq!(
            text(content_type, bytes).unwrap(),
            expected,
            "{content_type:?}"
        );
    }
}

#[test]
fn a_byte_order_mark_overrides_the_charset_and_is_removed() {
    for (bytes, expected) in [
        ("\u{feff}Ærø".as_bytes(), "Ærø"),
        (b"\xff\xfeh\0i\0", "hi"),
        (b"\xfe\xff\0h\0i", "hi"),
        ("\u{feff}".as_bytes(), ""),
    ] {
        for content_type in [
            None,
            Some("text/html; charset=koi8-r"),
            Some("a/b; charset=klingon"),
        ] {
            assert_eq!(text(content_type, bytes).unwrap(), expected);
        }
    }
}

#[test]
fn malformed_text_and_forbidden_charsets_are_decode_errors() {
    for (content_type, bytes, expected) in [
        (None, &b"\xc6r\xf8"[..], "UTF-8"),
        (Some("text/html; charset=utf-8"), b"\xff", "UTF-8"),
        (Some("text/html; charset=shift_jis"), b"\x93", "Shift_JIS"),
        (Some("text/html; charset=utf-16le"), b"a", "UTF-16LE"),
        (Some("text/html; charset=klingon"), b"\xff", "UTF-8"),
        // The Encoding Standard maps this charset to the replacement decoder, for safety.
        (
            Some("text/html; charset=iso-2022-kr"),
            b"text",
            "iso-2022-kr",
        ),
        (None, b"\xff\xfea", "UTF-16LE"),
    ] {
        let error = text(content_type, bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{content_type:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.url(), Some("http://h/"));
    }
}

#[test]
fn json_ignores_a_byte_order_mark_and_the_charset() {
    for bytes in ["[1]", "\u{feff}[1]"] {
        let response = http::Response::builder()
            .header("content-type", "application/json; charset=utf-16")
            .body(Body::from(bytes))
            .unwrap();
        let numbers = run(Response::from(response).json::<Vec<u8>>());
        assert_eq!(numbers.unwrap(), [1]);
    }
}
