//! The syntax of `Set-Cookie` (RFC 6265bis, 5.6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::session::cookies::date::parse_date;

/// The longest lifetime of a cookie: 400 days (RFC 6265bis, 5.5).
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(400 * 86_400);

/// The most bytes of a name and its value together.
const MAX_PAIR: usize = 4096;

/// The most bytes of an attribute's value. A longer attribute is ignored.
pub(super) const MAX_ATTRIBUTE: usize = 1024;

/// The content of a `Set-Cookie` header. If an attribute occurs several times, the last one counts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// When the cookie expires. `None` if it lasts as long as its jar.
    pub(super) expires: Option<SystemTime>,
    /// The value of `Domain` without a leading dot. May be empty.
    pub(super) domain: Option<&'a [u8]>,
    /// The value of `Path`, which may lack the leading slash.
    pub(super) path: Option<&'a [u8]>,
    pub(super) is_secure: bool,
    /// Whether the cookie has the attribute `SameSite=None`.
    pub(super) is_cross_site: bool,
}

impl<'a> SetCookie<'a> {
    /// Parses a header that arrived at the time `now`. Returns `None` if the jar has to ignore
    /// the header.
    pub(super) fn parse(header: &'a [u8], now: SystemTime) -> Option<Self> {
        let mut parts = header.split(|byte| *byte == b';');
        let (name, value) = match split_pair(parts.next()?) {
            (name, Some(value)) => (name, value),
            // The cookie has no name.
            (value, None) => (&b""[..], value),
        };
        if has_control_characters(header) || !is_valid_pair(name, value) {
            return None;
        }
        let mut cookie = Self {
            name,
            value,
            ..Self::default()
        };
        let (mut max_age, mut expires) = (None, None);
        for part in parts {
            let (name, value) = split_pair(part);
            let value = value.unwrap_or_default();
            let is_named = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if value.len() > MAX_ATTRIBUTE {
                continue;
            } else if is_named("max-age") {
                max_age = end_of_max_age(value, now).or(max_age);
            } else if is_named("expires") {
                expires = parse_date(value).or(expires);
            } else if is_named("domain") {
                cookie.domain = Some(value.strip_prefix(b".").unwrap_or(value));
            } else if is_named("path") {
                cookie.path = Some(value);
            } else if is_named("secure") {
                cookie.is_secure = true;
            } else if is_named("samesite") {
                cookie.is_cross_site = value.eq_ignore_ascii_case(b"none");
            }
        }
        cookie.expires = max_age.or(expires).map(|end| end.min(now + MAX_LIFETIME));
        Some(cookie)
    }
}

/// Returns whether a cookie may have this name and value.
pub(super) fn is_valid_pair(name: &[u8], value: &[u8]) -> bool {
    let length = name.len() + value.len();
    let has_controls = has_control_characters(name) || has_control_characters(value);
    (1..=MAX_PAIR).contains(&length) && !has_controls
}

/// Returns whether a saved cookie may have this path.
pub(super) fn is_valid_path(path: &[u8]) -> bool {
    path.starts_with(b"/") && !has_control_characters(path)
}

/// Returns whether the text has control characters. Tabs do not count, because they are white space.
fn has_control_characters(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// Splits at the first `=`, and removes the white space around both parts.
fn split_pair(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (text[..at].trim_ascii(), Some(text[at + 1..].trim_ascii())),
        None => (text.trim_ascii(), None),
    }
}

/// Returns the time at which a `Max-Age` ends, if its value is a whole number.
fn end_of_max_age(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.len() < value.len() || digits.iter().all(|digit| *digit == b'0') {
        return Some(UNIX_EPOCH);
    }
    // A number that is too large for the type is also larger than the limit.
    let seconds = str::from_utf8(digits).ok()?.parse();
    let age = seconds.map_or(MAX_LIFETIME, Duration::from_secs);
    Some(now + age.min(MAX_LIFETIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The time at which all headers in these tests arrive.
    fn now() -> SystemTime {
        at(1_000_000_000)
    }

    fn parse(header: &str) -> Option<SetCookie<'_>> {
        SetCookie::parse(header.as_bytes(), now())
    }

    fn pair(header: &str) -> Option<(&str, &str)> {
        let cookie = parse(header)?;
        let text = |bytes| str::from_utf8(bytes).unwrap();
        Some((text(cookie.name), text(cookie.value)))
    }

    #[test]
    fn only_white_space_around_names_and_values_is_removed() {
        for (header, expected) in [
            ("a=b", ("a", "b")),
            (" \ta b \t=\t c  d\t ; x", ("a b", "c  d")),
            ("a=b=c", ("a", "b=c")),
            ("a=", ("a", "")),
            ("=b", ("", "b")),
            ("b", ("", "b")),
            ("a=\"b; c\"", ("a", "\"b")),
            ("a=%20\\", ("a", "%20\\")),
        ] {
            assert_eq!(pair(header), Some(expected), "{header:?}");
        }
    }

    #[test]
    fn empty_cookies_and_control_characters_are_refused() {
        for header in ["", "=", " = ;", "; a=b", "\t"] {
            assert_eq!(pair(header), None, "{header:?}");
        }
        for byte in 0..=255 {
            let is_refused = matches!(byte, 0..=8 | 10..=31 | 127);
            for header in [
                [b'a', byte, b'c', b'=', b'1'],
                [b'a', b'=', b'1', byte, b'2'],
                [b'a', b'=', b';', b'x', byte],
            ] {
                let cookie = SetCookie::parse(&header, now());
                assert_eq!(cookie.is_none(), is_refused, "{header:?}");
            }
        }
    }

    #[test]
    fn a_name_and_its_value_have_at_most_4096_bytes() {
        assert!(parse(&format!("abc={}", "v".repeat(4093))).is_some());
        assert!(parse(&format!("abc={}", "v".repeat(4094))).is_none());
        assert!(parse(&format!("{}=", "n".repeat(4096))).is_some());
        assert!(parse(&format!("{}=", "n".repeat(4097))).is_none());
        assert!(parse(&format!("a=1; x={}", "v".repeat(5000))).is_some());
    }

    #[test]
    fn an_attribute_of_more_than_1024_bytes_is_ignored() {
        let (longest, longer) = ("p".repeat(1024), "p".repeat(1025));
        let header = format!("a=1; Path={longest}; Path={longer}");
        assert_eq!(parse(&header).unwrap().path, Some(longest.as_bytes()));
        let header = format!("a=1; Secure={longer}");
        assert!(!parse(&header).unwrap().is_secure);
    }

    #[test]
    fn names_of_attributes_may_have_any_case_and_white_space_around_them() {
        let header = "a=1;DOMAIN=.B.test;\tpath = /p ; sEcUrE=no;samesite=NONE; HttpOnly; x=y;;";
        let cookie = parse(header).unwrap();
        let expected = SetCookie {
            name: b"a",
            value: b"1",
            expires: None,
            domain: Some(b"B.test"),
            path: Some(b"/p"),
            is_secure: true,
            is_cross_site: true,
        };
        assert_eq!(cookie, expected);
    }

    #[test]
    fn the_last_of_several_attributes_counts() {
        let header = "a=1; Domain=b; Path=/c; SameSite=None; Domain=; Path=d; SameSite=Lax";
        let cookie = parse(header).unwrap();
        assert_eq!(cookie.domain, Some(&b""[..]));
        assert_eq!(cookie.path, Some(&b"d"[..]));
        assert!(!cookie.is_cross_site);
    }

    #[test]
    fn max_age_takes_precedence_over_expires_and_both_are_limited() {
        let limit = Some(now() + Duration::from_secs(34_560_000));
        let date = "Expires=Sun, 09 Sep 2001 01:46:50 GMT";
        for (attributes, expected) in [
            (date, Some(at(1_000_000_010))),
            ("Max-Age=5", Some(at(1_000_000_005))),
            ("Max-Age=0", Some(at(0))),
            ("Max-Age=00", Some(at(0))),
            ("Max-Age=-5", Some(at(0))),
            ("Max-Age=34560000", limit),
            ("Max-Age=34560001", limit),
            ("Max-Age=99999999999999999999999", limit),
            ("Expires=Fri, 31 Dec 9999 23:59:59 GMT", limit),
            (
                "Max-Age=5; Expires=Fri, 31 Dec 9999 23:59:59 GMT",
                Some(at(1_000_000_005)),
            ),
            ("Max-Age=5; Max-Age=6", Some(at(1_000_000_006))),
            // An invalid attribute does not replace a valid one.
            ("Max-Age=5; Max-Age=soon", Some(at(1_000_000_005))),
            (
                "Expires=Sun, 09 Sep 2001 01:46:50 GMT; Expires=soon",
                Some(at(1_000_000_010)),
            ),
            ("Expires=soon", None),
        ] {
            let header = format!("a=1; {attributes}");
            assert_eq!(parse(&header).unwrap().expires, expected, "{attributes}");
        }
        for invalid in ["", "-", "+5", "5.0", "5,3", "--5", "\"5\"", "5 6", "five"] {
            let header = format!("a=1; Max-Age={invalid}; {date}");
            let expected = Some(at(1_000_000_010));
            assert_eq!(parse(&header).unwrap().expires, expected, "{invalid}");
        }
    }
}
