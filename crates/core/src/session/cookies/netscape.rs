//! Cookies in the format of Netscape's `cookies.txt`: a line of seven fields for each cookie.

use std::io::BufRead;
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Host;

use crate::error::{Error, ErrorKind};
use crate::session::cookies::cookie::Cookie;
use crate::session::cookies::parse::{MAX_LIFETIME, is_valid_pair, is_valid_path};
use crate::session::cookies::read_error;

/// The first line. Some programs refuse a file without it.
const FIRST_LINE: &[u8] = b"# Netscape HTTP Cookie File\n";

/// The prefix of a cookie that scripts may not read. Other lines that start with `#` are comments.
const HTTP_ONLY: &[u8] = b"#HttpOnly_";

/// What is wrong with a line. It contains no text of the line, which may be confidential.
type Fault = &'static str;

/// Reads the cookies of a file at the time `now`.
pub(super) fn read_cookies(
    reader: impl BufRead,
    now: SystemTime,
) -> impl Iterator<Item = Result<Cookie, Error>> {
    let lines = (1_u64..).zip(reader.split(b'\n'));
    lines.filter_map(move |(number, line)| match line {
        Ok(line) => {
            let cookie = parse_line(&line, now).transpose()?;
            Some(cookie.map_err(|fault| invalid_line(number, fault)))
        }
        Err(error) => Some(Err(read_error(error))),
    })
}

/// Returns the content of a file with the cookies that the format can express. A tab separates fields, so
/// the format cannot express a cookie with a tab.
pub(super) fn format_cookies<'a>(cookies: impl IntoIterator<Item = &'a Cookie>) -> Vec<u8> {
    let lines = cookies.into_iter().filter_map(format_line);
    [FIRST_LINE.to_vec()]
        .into_iter()
        .chain(lines)
        .flatten()
        .collect()
}

fn invalid_line(number: u64, fault: Fault) -> Error {
    let context = format!("cannot load the cookies: line {number}: {fault}");
    Error::new(ErrorKind::Io).with_context(context)
}

/// Returns the cookie of a line, or `None` if the line is blank or a comment.
fn parse_line(line: &[u8], now: SystemTime) -> Result<Option<Cookie>, Fault> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(HTTP_ONLY).unwrap_or(line);
    if line.starts_with(b"#") || line.trim_ascii().is_empty() {
        return Ok(None);
    }
    parse_cookie(line, now).map(Some)
}

fn parse_cookie(line: &[u8], now: SystemTime) -> Result<Cookie, Fault> {
    let mut fields: Vec<_> = line.split(|byte| *byte == b'\t').collect();
    // Editors may remove the tab before an empty value.
    if fields.len() == 6 {
        fields.push(b"");
    }
    let [domain, subdomains, path, secure, expires, name, value] = fields[..] else {
        return Err("expected seven fields that are separated by tabs");
    };
    if !is_valid_path(path) {
        return Err(
            "the third field is not a path that starts with a slash, or contains a control character",
        );
    }
    if !is_valid_pair(name, value) {
        return Err("the name and the value are empty, too long or contain a control character");
    }
    Ok(Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        domain: parse_domain(domain).ok_or("the first field is not a domain")?,
        is_host_only: !parse_bool(subdomains).ok_or("the second field is not TRUE or FALSE")?,
        // As in `Set-Cookie`, a path that is not UTF-8 applies to no request.
        path: String::from_utf8_lossy(path).into_owned(),
        is_secure: parse_bool(secure).ok_or("the fourth field is not TRUE or FALSE")?,
        expires: parse_expires(expires, now).ok_or("the fifth field is not a time in seconds")?,
    })
}

/// Returns a domain as the host of a URL contains it.
fn parse_domain(field: &[u8]) -> Option<String> {
    let field = str::from_utf8(field).ok()?;
    let domain = field.strip_prefix('.').unwrap_or(field);
    if let Ok(address) = domain.parse::<Ipv6Addr>() {
        return Some(Host::<String>::Ipv6(address).to_string());
    }
    // wget appends a port, but cookies do not depend on the port.
    let host = match domain.rsplit_once(':') {
        Some((host, port)) if is_number(port) => host,
        _ => domain,
    };
    Some(Host::parse(host).ok()?.to_string())
}

fn parse_bool(field: &[u8]) -> Option<bool> {
    let is = |other: &str| field.eq_ignore_ascii_case(other.as_bytes());
    (is("TRUE") || is("FALSE")).then(|| is("TRUE"))
}

/// Returns when a cookie expires, or `Some(None)` for a session cookie.
fn parse_expires(field: &[u8], now: SystemTime) -> Option<Option<SystemTime>> {
    // Python's `MozillaCookieJar` writes an empty field for a session cookie.
    if field.is_empty() {
        return Some(None);
    }
    let field = str::from_utf8(field).ok()?;
    // Browsers have times with fractions of a second, and some extensions write the fractions.
    let (seconds, fraction) = field.split_once('.').unwrap_or((field, "0"));
    if !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    if seconds.bytes().all(|digit| digit == b'0') {
        return Some(None);
    }
    // A number that is too large for the type is also larger than the limit.
    let seconds = seconds.parse().map_or(Duration::MAX, Duration::from_secs);
    let (end, limit) = (UNIX_EPOCH.checked_add(seconds), now + MAX_LIFETIME);
    Some(Some(end.map_or(limit, |end| end.min(limit))))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn format_line(cookie: &Cookie) -> Option<Vec<u8>> {
    let fields = [
        format_domain(cookie).as_bytes(),
        format_bool(!cookie.is_host_only),
        cookie.path.as_bytes(),
        format_bool(cookie.is_secure),
        format_expires(cookie.expires).as_bytes(),
        &cookie.name,
        &cookie.value,
    ]
    .map(<[u8]>::to_vec);
    let has_tab = fields.iter().flatten().any(|byte| *byte == b'\t');
    (!has_tab).then(|| [&fields.join(&b'\t')[..], b"\n"].concat())
}

fn format_domain(cookie: &Cookie) -> String {
    let domain = &cookie.domain;
    if let Some(address) = domain.strip_prefix('[') {
        // curl expects no brackets.
        return address.trim_end_matches(']').to_owned();
    }
    // Python requires the dot of a domain with subdomains. A reader removes one dot, so a host that starts
    // with a dot needs another one.
    let has_dot = !cookie.is_host_only || domain.starts_with('.');
    format!("{}{domain}", if has_dot { "." } else { "" })
}

fn format_bool(value: bool) -> &'static [u8] {
    if value { b"TRUE" } else { b"FALSE" }
}

fn format_expires(expires: Option<SystemTime>) -> String {
    let seconds = expires.and_then(|end| end.duration_since(UNIX_EPOCH).ok());
    seconds.unwrap_or_default().as_secs().to_string()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use url::Url;

    use super::*;
    use crate::session::cookies::CookieJar;
    use crate::session::cookies::store::CookieStore;

    /// The time at which all tests with a fixed time read and write files.
    fn now() -> SystemTime {
        at(1_000_000_000)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn read(file: &[u8]) -> Vec<Cookie> {
        read_cookies(file, now()).collect::<Result<_, _>>().unwrap()
    }

    /// Returns the file with the cookies that were set.
    fn file_after(cookies: &[(&str, &str)]) -> String {
        let mut store = CookieStore::default();
        for (cookie, by) in cookies {
            store.set(cookie.as_bytes(), &url(by), now());
        }
        String::from_utf8(format_cookies(store.cookies(now()))).unwrap()
    }

    fn sent(jar: &CookieJar, to: &str) -> Vec<u8> {
        let header = jar.header(&url(to));
        header.map_or_else(Vec::new, |value| value.as_bytes().to_owned())
    }

    #[test]
    fn a_file_has_a_line_for_each_cookie_in_the_order_of_their_creation() {
        let file = file_after(&[
            ("z=1; Path=/", "http://www.example.org/a/b"),
            ("theme=dark; Max-Age=60", "http://www.example.org/a/b"),
            ("a=; Domain=example.org; Secure", "https://www.example.org/"),
            ("nameless", "http://[2001:db8::7]:8080/"),
            ("a=1; HttpOnly", "http://127.0.0.1/"),
            ("dot=1", "http://.example.org/"),
        ]);
        let lines = [
            "# Netscape HTTP Cookie File",
            "www.example.org\tFALSE\t/\tFALSE\t0\tz\t1",
            "www.example.org\tFALSE\t/a\tFALSE\t1000000060\ttheme\tdark",
            ".example.org\tTRUE\t/\tTRUE\t0\ta\t",
            "2001:db8::7\tFALSE\t/\tFALSE\t0\t\tnameless",
            "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\t1",
            "..example.org\tFALSE\t/\tFALSE\t0\tdot\t1",
        ];
        assert_eq!(file, lines.map(|line| format!("{line}\n")).concat());
    }

    #[test]
    fn cookies_with_tabs_are_not_written() {
        let page = "http://example.org/";
        let set = ["a\tb=1", "b=1\t2", "c=1; Path=/\t/a", "d=1"];
        let file = file_after(&set.map(|cookie| (cookie, page)));
        let expected = "# Netscape HTTP Cookie File\nexample.org\tFALSE\t/\tFALSE\t0\td\t1\n";
        assert_eq!(file, expected);
    }

    #[test]
    fn a_jar_saves_session_cookies_and_no_expired_cookies() {
        let (jar, page) = (CookieJar::new(), "http://example.org/");
        for cookie in ["login=1", "theme=dark; Max-Age=60", "old=1; Max-Age=0"] {
            jar.set(cookie, &url(page));
        }
        let mut file = Vec::new();
        jar.save_netscape(&mut file).unwrap();
        let loaded = CookieJar::load_netscape(&file[..]).unwrap();
        assert_eq!(sent(&loaded, page), b"login=1; theme=dark");
        assert_eq!(sent(&loaded, "http://www.example.org/"), b"");
        let mut again = Vec::new();
        loaded.save_netscape(&mut again).unwrap();
        assert_eq!(again, file);
    }

    #[test]
    fn a_file_of_curl_is_loaded() {
        let jar = CookieJar::load_netscape(
            &b"# Netscape HTTP Cookie File\n\
            # https://curl.se/docs/http-cookies.html\n\
            # This file was generated by libcurl! Edit at your own risk.\n\
            \n\
            #HttpOnly_.example.org\tTRUE\t/a/\tTRUE\t4102444800\tdom\t2\n\
            www.example.org\tFALSE\t/\tFALSE\t0\traw\t\xe9\n\
            www.example.org\tFALSE\t/a/\tFALSE\t4102444800\tempty\t\n\
            www.example.org\tFALSE\t/a/\tFALSE\t946684800\told\t1\n\
            ::1\tFALSE\t/\tFALSE\t0\tsix\t6\n"[..],
        )
        .unwrap();
        for (to, expected) in [
            (
                "https://www.example.org/a/b",
                &b"dom=2; empty=; raw=\xe9"[..],
            ),
            ("http://www.example.org/a/b", b"empty=; raw=\xe9"),
            ("https://example.org/a/b", b"dom=2"),
            ("https://other.example.org/a/b", b"dom=2"),
            ("http://below.www.example.org/", b""),
            ("http://[::1]:8080/", b"six=6"),
        ] {
            assert_eq!(sent(&jar, to), expected, "{to}");
        }
    }

    #[test]
    fn a_file_of_a_browser_extension_is_loaded() {
        let jar = CookieJar::load_netscape(
            &b"# Netscape HTTP Cookie File\r\n\
            # This is a generated file!  Do not edit.\r\n\
            \r\n\
            .example.org\tTRUE\t/\tTRUE\t4102444800.608693\t__Secure-ID\tg.a000=\r\n\
            example.org\tFALSE\t/\ttrue\t0\t__Host-session\t1\r\n\
            .example.org\tTRUE\t/\tFALSE\t1893456000000\tlocale\ten-GB\r\n\
            .example.org\tTRUE\t/\tFALSE\t0\tempty\r\n\
            \t\r\n\
            .org\tTRUE\t/\tFALSE\t0\tsuffix\t1\r\n\
            localhost\tFALSE\t/\tFALSE\t0\tlast\t1"[..],
        )
        .unwrap();
        for (to, expected) in [
            (
                "https://example.org/",
                "__Secure-ID=g.a000=; __Host-session=1; locale=en-GB; empty=",
            ),
            ("http://www.example.org/", "locale=en-GB; empty="),
            ("http://example.com/", ""),
            ("http://other.org/", ""),
            ("http://localhost/", "last=1"),
        ] {
            assert_eq!(sent(&jar, to), expected.as_bytes(), "{to}");
        }
    }

    #[test]
    fn domains_are_read_as_urls_contain_them() {
        for (domain, expected) in [
            (".example.org", "example.org"),
            ("EXAMPLE.org.", "example.org."),
            ("bücher.example", "xn--bcher-kva.example"),
            ("localhost:8080", "localhost"),
            ("[::1]:8080", "[::1]"),
            ("[2001:DB8::0:7]", "[2001:db8::7]"),
            ("2001:DB8::0:7", "[2001:db8::7]"),
            ("192.0.2.7", "192.0.2.7"),
            // This is an address, and not a parent of other addresses.
            ("0.2.7", "0.2.0.7"),
        ] {
            assert_eq!(parse_domain(domain.as_bytes()).unwrap(), expected);
        }
        for domain in [
            "",
            ".",
            "a b",
            "example.org/",
            "user@example.org",
            "[::1",
            ":80",
        ] {
            assert_eq!(parse_domain(domain.as_bytes()), None, "{domain}");
        }
        assert_eq!(parse_domain(b"\xe9.example"), None);
    }

    #[test]
    fn expiry_times_are_whole_seconds_and_limited() {
        let limit = Some(now() + MAX_LIFETIME);
        for (field, expected) in [
            ("", None),
            ("0", None),
            ("00.0", None),
            ("1", Some(at(1))),
            ("1000000060.999", Some(at(1_000_000_060))),
            ("1034560000", limit),
            ("1034560001", limit),
            ("9223372036854775808", limit),
            ("99999999999999999999999", limit),
        ] {
            assert_eq!(
                parse_expires(field.as_bytes(), now()),
                Some(expected),
                "{field}"
            );
        }
        for field in ["-1", "+1", "1.", ".5", "1.2.3", "1e9", " 1", "never", "ü"] {
            assert_eq!(parse_expires(field.as_bytes(), now()), None, "{field}");
        }
        assert_eq!(parse_expires(b"\xe9", now()), None);
    }

    #[test]
    fn an_error_has_the_number_of_the_line_and_no_confidential_text() {
        let too_long = format!("a.test\tTRUE\t/\tTRUE\t0\tname\tsecret{}", "v".repeat(4096));
        for (line, fault) in [
            ("secret", "seven fields"),
            ("a.test TRUE / TRUE 0 name secret", "seven fields"),
            ("a.test\tTRUE\t/\tTRUE\tsecret", "seven fields"),
            ("a.test\tTRUE\t/\tTRUE\t0\tname\tsecret\t", "seven fields"),
            (
                "secret secret\tTRUE\t/\tTRUE\t0\tname\tsecret",
                "first field",
            ),
            ("a.test\tsecret\t/\tTRUE\t0\tname\tsecret", "second field"),
            ("a.test\tTRUE\tsecret\tTRUE\t0\tname\tsecret", "third field"),
            (
                "a.test\tTRUE\t/\rsecret\tTRUE\t0\tname\tsecret",
                "third field",
            ),
            ("a.test\tTRUE\t/\tsecret\t0\tname\tsecret", "fourth field"),
            ("a.test\tTRUE\t/\tTRUE\tsecret\tname\tsecret", "fifth field"),
            (
                "a.test\tTRUE\t/\tTRUE\t0\tname\tsec\rret",
                "the name and the value",
            ),
            (
                "a.test\tTRUE\t/\tTRUE\t0\tsecret\u{0}\t",
                "the name and the value",
            ),
            ("a.test\tTRUE\t/\tTRUE\t0\t\t", "the name and the value"),
            (&too_long, "the name and the value"),
        ] {
            let file = format!(
                "# Netscape HTTP Cookie File\n\na.test\tTRUE\t/\tTRUE\t0\ta\tsecret\n{line}\n"
            );
            let error = CookieJar::load_netscape(file.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            let message = error.to_string();
            assert!(message.contains("line 4"), "{message}");
            assert!(message.contains(fault), "{message}");
            assert!(!format!("{error:?} {error:#}").contains("ret"), "{error:?}");
            assert!(error.source().is_none());
        }
    }

    const PAGES: [&str; 8] = [
        "http://example.org/",
        "https://www.example.org/a/b",
        "https://a.example.org./",
        "http://xn--bcher-kva.example/",
        "http://localhost/a",
        "http://127.0.0.1/",
        "http://[2001:db8::7]/",
        "http://a..b/",
    ];

    const ATTRIBUTES: [&[u8]; 16] = [
        b"Domain=example.org",
        b"Domain=example.org.",
        b"Domain=127.0.0.1",
        b"Domain=[2001:db8::7]",
        b"Domain=..b",
        b"Path=/",
        b"Path=/ a\xe9#=",
        b"Path=/\t/a",
        b"Max-Age=0",
        b"Max-Age=1",
        b"Max-Age=999999999",
        b"Expires=Sun, 09 Sep 2001 02:00:00 GMT",
        b"Secure",
        b"HttpOnly",
        b"SameSite=None",
        b"",
    ];

    /// A header in the syntax of `Set-Cookie` whose name and value may contain all bytes.
    fn any_header() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![30 => b' '..=b'~', 30 => 128..=u8::MAX, 1 => any::<u8>()];
        let pair = vec(byte, 1..12);
        let attributes = vec(select(&ATTRIBUTES[..]), 0..5);
        (pair, attributes).prop_map(|(pair, attributes)| {
            let parts = [&pair[..]].into_iter().chain(attributes);
            parts.collect::<Vec<_>>().join(&b';')
        })
    }

    proptest! {
        #[test]
        fn reading_returns_the_written_cookies(
            headers in vec((any_header(), select(&PAGES[..])), 0..20),
        ) {
            let mut store = CookieStore::default();
            for (header, page) in &headers {
                store.set(header, &url(page), now());
            }
            let cookies = store.cookies(now());
            let file = format_cookies(cookies.iter().copied());
            let has_tab = |text: &[u8]| text.contains(&b'\t');
            let written: Vec<_> = cookies
                .into_iter()
                .filter(|cookie| {
                    ![&cookie.name, &cookie.value, cookie.path.as_bytes()].into_iter().any(has_tab)
                })
                .cloned()
                .collect();
            prop_assert_eq!(read(&file), written);
        }

        #[test]
        fn no_file_causes_a_panic(file in vec(any::<u8>(), 0..200)) {
            for cookie in read_cookies(&file[..], now()) {
                prop_assert!(cookie.is_err() || file.contains(&b'\t'));
            }
        }
    }
}
