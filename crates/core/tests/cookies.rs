//! Tests of the cookie jar: the parser tests of http-state (an IETF working group for cookies), the dates of
//! `Expires`, and the order of cookies.
#![cfg(feature = "cookies")]

use std::cmp::Reverse;

use inflight_core::CookieJar;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use url::Url;

/// The cases of http-state that RFC 6265bis contradicts. Each row has the name of the case, the value of
/// `Cookie` that RFC 6265bis requires, and the section of RFC 6265bis.
const CONTRADICTED: [(&str, &str, &str); 27] = [
    // A header without `=` sets the value of a cookie without a name.
    ("0004", "foo", "5.6"),
    ("0021", "a=b; x; c=d", "5.6"),
    ("0023", "foo", "5.6"),
    ("0024", "foo", "5.6"),
    ("0025", "foo", "5.6"),
    ("0026", "foo", "5.6"),
    ("0027", "bar", "5.6"),
    ("0028", "foo", "5.6"),
    ("chromium0009", "BLAHHH", "5.6"),
    ("chromium0010", r#""BLA\"HHH""#, "5.6"),
    ("chromium0012", "ABC", "5.6"),
    ("mozilla0012", r#"test="fubar! = foo; five"#, "5.6"),
    ("mozilla0014", "six", "5.6"),
    ("mozilla0015", "seven", "5.6"),
    ("mozilla0016", "eight", "5.6"),
    ("mozilla0017", "eight; test=six", "5.6"),
    ("name0017", "a=bar", "5.6"),
    ("name0023", "foo", "5.6"),
    ("name0025", "==a=bar", "5.6"),
    ("name0028", "a", "5.6"),
    ("name0031", r#""foo"#, "5.6"),
    ("name0032", r#""foo\"bar"#, "5.6"),
    ("name0033", "aaa", "5.6"),
    // A header with a control character is ignored as a whole.
    ("disabled-chromium0022", "", "5.6"),
    ("disabled-chromium0023", "", "5.6"),
    // Paths are compared without decoding, although `%6F` means `o`.
    ("disabled-path0029", "", "5.1.4"),
    // Only the last `Domain` applies. If its value is empty, the cookie is sent only to the host that set it.
    ("optional-domain0042", "foo=bar", "5.7"),
];

/// One case of http-state. The first lines of `http-state.jsonl` explain the fields.
#[derive(Deserialize)]
struct ParserCase {
    case: String,
    set: Vec<String>,
    at: Option<String>,
    sent: String,
}

/// Replaces `{a*N}`, the notation of the file for long values, with N letters `a`.
fn expand(text: &str) -> String {
    let Some((before, run)) = text.split_once("{a*") else {
        return text.to_owned();
    };
    let (count, after) = run.split_once('}').unwrap();
    format!("{before}{}{after}", "a".repeat(count.parse().unwrap()))
}

fn cookie_header(jar: &CookieJar, url: &str) -> String {
    let Some(value) = jar.header(&url.parse().unwrap()) else {
        return String::new();
    };
    str::from_utf8(value.as_bytes()).unwrap().to_owned()
}

#[test]
fn the_parser_tests_of_http_state_pass_unless_rfc_6265bis_contradicts_them() {
    let url: Url = "http://home.example.org:8888/cookie-parser"
        .parse()
        .unwrap();
    let lines = include_str!("cookies/http-state.jsonl").lines();
    let cases: Vec<ParserCase> = lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(cases.len(), 222);
    let mut contradicted = 0;
    for case in cases {
        let jar = CookieJar::new();
        for cookie in &case.set {
            jar.set(expand(cookie), &url);
        }
        let next = case.at.as_deref().unwrap_or("/cookie-parser-result");
        let sent = cookie_header(&jar, url.join(next).unwrap().as_str());
        let expected = expand(&case.sent);
        let contradiction = CONTRADICTED.iter().find(|(name, ..)| *name == case.case);
        if let Some((name, required, section)) = contradiction {
            contradicted += 1;
            assert_eq!(sent, *required, "{name}, RFC 6265bis, {section}");
            assert_ne!(sent, expected, "RFC 6265bis does not contradict {name}");
        } else {
            assert_eq!(sent, expected, "{}", case.case);
        }
    }
    assert_eq!(contradicted, CONTRADICTED.len());
}

#[test]
fn a_cookie_is_deleted_by_a_past_date_in_any_form_or_by_max_age() {
    for (attributes, is_deleted) in [
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT", true),
        ("Expires=Thu, 01-Jan-1970 00:00:00 GMT", true),
        ("Expires=Thursday, 01-Jan-70 00:00:00 GMT", true),
        ("Expires=Thu, 01-Jan-70 00:00:00 GMT", true),
        ("Expires=Thu, 1 Jan 1970 00:00:00 GMT", true),
        ("Expires=Thu, 1-Jan-1970 00:00:00 GMT", true),
        ("Expires=Thu,01-Jan-1970 00:00:01 GMT", true),
        ("Expires=Thu, 01 Jan 1970 00:00:00 UTC", true),
        ("Expires=Thu, 01 Jan 1970 00:00:00 +0000", true),
        ("Expires=Thu, 01 Jan 1970 00:00:00", true),
        ("Expires=Thu Jan 01 1970 00:00:00 GMT", true),
        (
            "Expires=Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)",
            true,
        ),
        ("Expires=Thu Jan  1 00:00:00 1970", true),
        ("Expires=01 Jan 1970 00:00:00 GMT", true),
        ("Expires=thu, 01 jan 1970 00:00:00 gmt", true),
        ("Expires=Fri, 01 Jan 1970 00:00:00 GMT", true),
        ("Expires=Thu, 01 January 1970 00:00:00 GMT", true),
        ("Expires=Thu, 01 Jan 1970 0:00:01 GMT", true),
        (r#"Expires="Thu, 01 Jan 1970 00:00:00 GMT""#, true),
        ("Max-Age=0", true),
        ("Max-Age=-1", true),
        ("Max-Age=0; Expires=Fri, 31-Dec-2099 23:59:59 GMT", true),
        ("Expires=0", false),
        ("Expires=-1", false),
        ("Expires=", false),
        (r#"Max-Age="0""#, false),
        ("Max-Age=99999999999999999999", false),
        ("Expires=Fri, 31-Dec-9999 23:59:59 GMT", false),
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=3600", false),
    ] {
        let jar = CookieJar::new();
        let url = "http://127.0.0.1/".parse().unwrap();
        jar.set("a=1; Path=/", &url);
        jar.set(format!("a=2; Path=/; {attributes}"), &url);
        let expected = if is_deleted { "" } else { "a=2" };
        assert_eq!(cookie_header(&jar, url.as_str()), expected, "{attributes}");
    }
}

#[test]
fn a_value_is_sent_back_byte_for_byte() {
    let url = "http://example.org/".parse().unwrap();
    for value in [
        "Zürich".as_bytes(),
        b"Z\xfcrich",
        b"\xff\xfe",
        b"%C3%BC",
        br#""a b, c""#,
        b"a=b==",
        b"1, b=2",
        b"tab\tinside",
    ] {
        let jar = CookieJar::new();
        let pair = [b"city=", value].concat();
        jar.set([&pair[..], b"; Path=/; Max-Age=60"].concat(), &url);
        assert_eq!(jar.header(&url).unwrap().as_bytes(), pair);
        // A jar that is saved and loaded sends the same bytes.
        let mut saved = Vec::new();
        jar.save(&mut saved).unwrap();
        let loaded = CookieJar::load(&saved[..]).unwrap();
        assert_eq!(loaded.header(&url).unwrap().as_bytes(), pair);
    }
}

const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/a/b/"];

proptest! {
    #![proptest_config(ProptestConfig {
        // Failed cases are not saved to a file, because the output of the test shows them.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Compares the jar with a list. In the list, a cookie keeps its position when its value changes.
    #[test]
    fn cookies_are_ordered_by_length_of_path_and_then_by_creation(
        sets in vec((0..PATHS.len(), "[a-d]", any::<bool>()), 0..40),
    ) {
        let url: Url = "http://example.org/a/b/c".parse().unwrap();
        let jar = CookieJar::new();
        let mut model: Vec<((usize, String, bool), usize)> = Vec::new();
        for (value, key) in sets.into_iter().enumerate() {
            let (path, name, has_domain) = &key;
            let domain = if *has_domain { "; Domain=example.org" } else { "" };
            jar.set(format!("{name}={value}; Path={}{domain}", PATHS[*path]), &url);
            match model.iter_mut().find(|(other, _)| *other == key) {
                Some(stored) => stored.1 = value,
                None => model.push((key, value)),
            }
        }
        // The sort is stable, so cookies whose paths have the same length stay in order of creation.
        model.sort_by_key(|((path, ..), _)| Reverse(PATHS[*path].len()));
        let expected: Vec<_> = model
            .iter()
            .map(|((_, name, _), value)| format!("{name}={value}"))
            .collect();
        prop_assert_eq!(cookie_header(&jar, url.as_str()), expected.join("; "));
    }
}
