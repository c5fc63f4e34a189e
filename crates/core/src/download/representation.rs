//! The representation that a partial file belongs to, and the responses that may continue it (RFC 9110,
//! sections 13.1.5 and 14).
//!
//! A *representation* is one version of the bytes of a resource. Bytes of two representations must never be
//! mixed in a file. A strong validator identifies a representation.

use std::time::Duration;

use http::header::{
    CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::message::body::Body;
use crate::message::header::parse_header;

/// By how much `Date` must exceed `Last-Modified`. Both may come from different clocks, and the resource may
/// change twice in a second (RFC 9110, 8.8.2.2).
const MIN_AGE: Duration = Duration::from_secs(60);

/// What identifies a representation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Representation {
    /// The URL of the request, without credentials.
    pub(crate) url: String,
    /// A strong validator, as the value of `If-Range`: an entity tag or a date. `None` if the server sent none.
    pub(crate) validator: Option<String>,
    /// The length in bytes, if it is known.
    pub(crate) total: Option<u64>,
}

impl Representation {
    /// Returns the representation of a response with the whole body.
    pub(crate) fn of(url: String, head: &HeaderMap, total: Option<u64>) -> Self {
        Self {
            url,
            validator: strong_validator(head).map(str::to_owned),
            total,
        }
    }

    /// Returns the fields of a request for the bytes from `position`, which asks for them only if the resource
    /// still has this representation.
    pub(crate) fn range_from(
        &self,
        position: u64,
    ) -> Result<[(HeaderName, HeaderValue); 2], Error> {
        Ok([
            parse_header(RANGE, format!("bytes={position}-"))?,
            parse_header(IF_RANGE, self.validator.as_deref().unwrap_or_default())?,
        ])
    }

    /// Returns whether the validators of a response show another representation. The server may leave them
    /// out, because it has compared the `If-Range`.
    fn contradicts(&self, head: &HeaderMap) -> bool {
        let Some(validator) = self.validator.as_deref() else {
            return true;
        };
        let name = match validator.starts_with('"') {
            true => ETAG,
            false => LAST_MODIFIED,
        };
        let sent = head.get(name);
        sent.is_some_and(|sent| sent.as_bytes() != validator.as_bytes())
    }
}

/// Returns the strong validator of a response: a strong `ETag`, or a `Last-Modified` that is strong by RFC
/// 9110, 8.8.2.2. A date is not used next to an entity tag, not even next to a weak one (13.1.5).
fn strong_validator(head: &HeaderMap) -> Option<&str> {
    let only = |name: HeaderName| {
        let mut values = head.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    if head.contains_key(ETAG) {
        let tag = only(ETAG)?;
        let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
        return (!opaque.contains('"')).then_some(tag);
    }
    let modified = only(LAST_MODIFIED)?;
    let date = |text| httpdate::parse_http_date(text).ok();
    let age = date(only(DATE)?)?.duration_since(date(modified)?).ok()?;
    (age >= MIN_AGE).then_some(modified)
}

/// The meaning of a response for a partial file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeReply {
    /// The whole representation, which may be another one.
    Whole,
    /// The bytes of the same representation from the end of the partial file to `end`.
    Part { end: u64, total: Option<u64> },
    /// The partial file is complete.
    Complete,
    /// The response does not continue the partial file.
    Mismatch,
    /// The response is not about the bytes, for example a 404.
    Other,
}

impl RangeReply {
    /// Classifies a response. `partial` is the representation of the partial file and the position that the
    /// request asked for, or `None` if the request asked for the whole.
    pub(crate) fn classify(
        response: &Response<Body>,
        partial: Option<(&Representation, u64)>,
    ) -> Self {
        let head = response.headers();
        match (response.status(), partial) {
            (StatusCode::OK, _) => Self::Whole,
            (StatusCode::PARTIAL_CONTENT, Some((known, position))) => {
                part(head, response.body().len(), known, position).unwrap_or(Self::Mismatch)
            }
            (StatusCode::PARTIAL_CONTENT, None) => Self::Mismatch,
            // If the `If-Range` does not match, the server must ignore the `Range` (13.1.5). So the status
            // also confirms the validator.
            (StatusCode::RANGE_NOT_SATISFIABLE, Some((known, position))) => {
                let range = ContentRange::of(head);
                let is_whole = range == Some(ContentRange::Unsatisfied(position))
                    && known.total.is_none_or(|total| total == position);
                match is_whole && !known.contradicts(head) {
                    true => Self::Complete,
                    false => Self::Mismatch,
                }
            }
            _ => Self::Other,
        }
    }
}

/// Returns the part of a response with the status 206. `None` if it does not continue the partial file.
fn part(
    head: &HeaderMap,
    len: Option<u64>,
    known: &Representation,
    position: u64,
) -> Option<RangeReply> {
    let is_multipart = head.get(CONTENT_TYPE).is_some_and(|media| {
        let media = media.as_bytes().to_ascii_lowercase();
        media.starts_with(b"multipart/byteranges")
    });
    let ContentRange::Bytes { first, last, total } = ContentRange::of(head)? else {
        return None;
    };
    let end = last.checked_add(1)?;
    let fits = match (known.total, total) {
        (Some(known), Some(total)) => known == total,
        (Some(known), None) => end <= known,
        (None, _) => true,
    };
    let continues = !is_multipart
        && first == position
        && fits
        && len.is_none_or(|len| len == end - first)
        && !known.contradicts(head);
    continues.then_some(RangeReply::Part {
        end,
        total: known.total.or(total),
    })
}

/// The value of `Content-Range` (RFC 9110, 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentRange {
    /// `bytes 5-9/20` or `bytes 5-9/*`.
    Bytes {
        first: u64,
        last: u64,
        total: Option<u64>,
    },
    /// `bytes */20`.
    Unsatisfied(u64),
}

impl ContentRange {
    /// Returns the `Content-Range` of a response. `None` if there is none, several, or an invalid one.
    fn of(head: &HeaderMap) -> Option<Self> {
        let mut values = head.get_all(CONTENT_RANGE).iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value)
    }

    fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        if range == "*" {
            return Some(Self::Unsatisfied(number(total)?));
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let total = match total {
            "*" => None,
            total => Some(number(total)?),
        };
        let is_valid = first <= last && total.is_none_or(|total| last < total);
        is_valid.then_some(Self::Bytes { first, last, total })
    }
}

/// Parses a number of digits alone. `parse` also accepts a sign.
fn number(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = [(&'static str, &'static str)];

    fn head(fields: &Fields) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let mut head = HeaderMap::new();
        for (name, value) in fields {
            head.append(name, value);
        }
        head
    }

    #[test]
    fn only_a_strong_entity_tag_or_an_old_date_is_a_strong_validator() {
        const MODIFIED: &str = "Tue, 01 Jul 2025 10:00:00 GMT";
        const A_MINUTE_LATER: &str = "Tue, 01 Jul 2025 10:01:00 GMT";
        const TOO_SOON: &str = "Tue, 01 Jul 2025 10:00:59 GMT";
        let old = [("last-modified", MODIFIED), ("date", A_MINUTE_LATER)];
        let cases: &[(&Fields, Option<&str>)] = &[
            (&[("etag", "\"a\"")], Some("\"a\"")),
            (&[("etag", "\"\"")], Some("\"\"")),
            (&[("etag", "W/\"a\"")], None),
            (&[("etag", "a")], None),
            (&[("etag", "\"")], None),
            (&[("etag", "\"a\", \"b\"")], None),
            (&[("etag", "\"a\""), ("etag", "\"b\"")], None),
            (&old, Some(MODIFIED)),
            (&[("etag", "W/\"a\""), old[0], old[1]], None),
            (&[old[0], ("date", TOO_SOON)], None),
            (
                &[("last-modified", A_MINUTE_LATER), ("date", MODIFIED)],
                None,
            ),
            (&[old[0]], None),
            (&[("last-modified", "yesterday"), old[1]], None),
            (&[], None),
        ];
        for (fields, validator) in cases {
            assert_eq!(strong_validator(&head(fields)), *validator, "{fields:?}");
        }
    }

    #[test]
    fn a_content_range_is_parsed_strictly() {
        let range = |first, last, total| Some(ContentRange::Bytes { first, last, total });
        let cases = [
            ("bytes 5-9/20", range(5, 9, Some(20))),
            ("BYTES 0-0/1", range(0, 0, Some(1))),
            ("bytes 5-9/*", range(5, 9, None)),
            ("bytes */20", Some(ContentRange::Unsatisfied(20))),
            ("bytes */*", None),
            ("bytes 9-5/20", None),
            ("bytes 5-20/20", None),
            ("bytes +5-9/20", None),
            ("bytes -9/20", None),
            ("bytes 5-/20", None),
            ("bytes 5-9", None),
            ("bytes=5-9/20", None),
            ("lines 5-9/20", None),
            ("bytes 5-99999999999999999999/*", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(ContentRange::parse(value), expected, "{value}");
        }
        let two = head(&[
            ("content-range", "bytes 5-9/20"),
            ("content-range", "bytes 5-9/20"),
        ]);
        assert_eq!(ContentRange::of(&two), None);
    }

    fn reply(status: u16, body: &'static str, fields: &Fields, total: Option<u64>) -> RangeReply {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = head(fields);
        let known = Representation {
            url: "http://host/".to_owned(),
            validator: Some("\"a\"".to_owned()),
            total,
        };
        RangeReply::classify(&response, Some((&known, 5)))
    }

    #[test]
    fn only_the_next_bytes_of_the_same_representation_continue_a_file() {
        let part = |end, total| RangeReply::Part { end, total };
        let of_20 = ("content-range", "bytes 5-9/20");
        let open = ("content-range", "bytes 5-9/*");
        assert_eq!(reply(206, "56789", &[of_20], Some(20)), part(10, Some(20)));
        assert_eq!(reply(206, "56789", &[of_20], None), part(10, Some(20)));
        assert_eq!(reply(206, "56789", &[open], Some(20)), part(10, Some(20)));
        assert_eq!(reply(206, "56789", &[open], None), part(10, None));
        let same_tag = [of_20, ("etag", "\"a\"")];
        assert_eq!(reply(206, "56789", &same_tag, Some(20)), part(10, Some(20)));

        let mismatches: [(&str, &Fields, Option<u64>); 8] = [
            ("56789", &[], Some(20)),
            ("456789", &[("content-range", "bytes 4-9/20")], Some(20)),
            ("6789", &[("content-range", "bytes 6-9/20")], Some(20)),
            ("5678", &[of_20], Some(20)),
            ("56789", &[of_20], Some(21)),
            ("56789", &[open], Some(9)),
            ("56789", &[of_20, ("etag", "\"b\"")], Some(20)),
            (
                "56789",
                &[of_20, ("content-type", "Multipart/ByteRanges; boundary=b")],
                Some(20),
            ),
        ];
        for (body, fields, total) in mismatches {
            assert_eq!(
                reply(206, body, fields, total),
                RangeReply::Mismatch,
                "{body} {fields:?}"
            );
        }
    }

    #[test]
    fn a_range_behind_the_end_confirms_a_file_of_the_same_length() {
        let end = ("content-range", "bytes */5");
        assert_eq!(reply(416, "", &[end], Some(5)), RangeReply::Complete);
        assert_eq!(reply(416, "", &[end], None), RangeReply::Complete);
        let other_tag = [end, ("etag", "\"b\"")];
        for (fields, total) in [
            (&[][..], Some(5)),
            (&[("content-range", "bytes */4")], Some(5)),
            (&[end], Some(6)),
            (&other_tag, Some(5)),
        ] {
            assert_eq!(reply(416, "", fields, total), RangeReply::Mismatch);
        }
    }

    #[test]
    fn without_a_range_only_the_whole_is_expected() {
        let mut response = Response::new(Body::from("56789"));
        let mut classify = |status| {
            *response.status_mut() = status;
            RangeReply::classify(&response, None)
        };
        assert_eq!(classify(StatusCode::OK), RangeReply::Whole);
        assert_eq!(classify(StatusCode::PARTIAL_CONTENT), RangeReply::Mismatch);
        assert_eq!(
            classify(StatusCode::RANGE_NOT_SATISFIABLE),
            RangeReply::Other
        );
        assert_eq!(classify(StatusCode::NO_CONTENT), RangeReply::Other);
        assert_eq!(classify(StatusCode::NOT_FOUND), RangeReply::Other);
    }
}
