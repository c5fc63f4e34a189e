//! The dates of the attribute `Expires` (RFC 6265bis, 5.1.1).

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// The days from the start of year 1 to the start of 1970.
const DAYS_BEFORE_1970: u64 = 719_162;

/// Returns the time that a date denotes. The fields may have any order and almost any separator, and
/// the time zone is always UTC. A time before 1970 becomes the start of 1970.
pub(super) fn parse_date(text: &[u8]) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|byte| is_delimiter(*byte)) {
        // A token sets the first unset field that it fits, and no other field.
        let _ = set_once(&mut time, || time_of_day(token))
            || set_once(&mut day, || leading_number(token, 1..=2))
            || set_once(&mut month, || month_index(token))
            || set_once(&mut year, || leading_number(token, 2..=4));
    }
    let ([hour, minute, second], day, month) = (time?, day?, month?);
    let year = match year? {
        year @ 0..=69 => year + 2000,
        year @ 70..=99 => year + 1900,
        year => year,
    };
    if year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_year_1(year, month, day)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = seconds.saturating_sub(DAYS_BEFORE_1970 * 86_400);
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~')
}

fn set_once<T>(field: &mut Option<T>, parse: impl FnOnce() -> Option<T>) -> bool {
    if field.is_some() {
        return false;
    }
    *field = parse();
    field.is_some()
}

/// Returns the number at the start of a token if it has a permitted number of digits.
fn leading_number(token: &[u8], digits: RangeInclusive<usize>) -> Option<u64> {
    let count = token
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = token[..count].iter();
    digits
        .contains(&count)
        .then(|| number.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Returns the hour, the minute and the second of a token such as `9:05:00`.
fn time_of_day(token: &[u8]) -> Option<[u64; 3]> {
    let mut fields = token.splitn(3, |byte| *byte == b':');
    let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
    // Other characters may follow the number of seconds, but not the hour or the minute.
    if !hour.iter().chain(minute).all(u8::is_ascii_digit) {
        return None;
    }
    let number = |field| leading_number(field, 1..=2);
    Some([number(hour)?, number(minute)?, number(second)?])
}

fn month_index(token: &[u8]) -> Option<usize> {
    let name = token.get(..3)?;
    MONTHS
        .iter()
        .position(|month| name.eq_ignore_ascii_case(month.as_bytes()))
}

/// Returns the days from the start of year 1 to a date, if the date exists.
fn days_since_year_1(year: u64, month: usize, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if is_leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=lengths[month]).contains(&day) {
        return None;
    }
    let past = year - 1;
    let months: u64 = lengths[..month].iter().sum();
    Some(past * 365 + past / 4 - past / 100 + past / 400 + months + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let time = parse_date(text.as_bytes())?;
        Some(time.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn dates_in_all_forms_denote_the_same_time() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 1994 08:49:37 GMT+0200 (Eastern European Standard Time)",
            "08:49:37 1994 nOVEMBER 6th",
            "6/nov/94/8:49:37.5",
            "\"6\tNov 94 08:49:37\"",
            "Sun, 06 Nov 1994 08:49:37 +0500",
            "6 Nov 94 08:49:37 7 Dec 95 09:50:38",
        ] {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn the_calendar_has_leap_years_and_centuries() {
        for (text, expected) in [
            ("1 Jan 1970 00:00:00", Some(0)),
            ("29 Feb 2000 00:00:00", Some(951_782_400)),
            ("28 Feb 2100 23:59:59", Some(4_107_542_399)),
            ("1 Mar 2100 00:00:00", Some(4_107_542_400)),
            ("31 Dec 9999 23:59:59", Some(253_402_300_799)),
            ("29 Feb 2100 00:00:00", None),
            ("29 Feb 2023 00:00:00", None),
            ("31 Apr 2024 00:00:00", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn years_of_two_digits_are_from_1970_to_2069() {
        assert_eq!(seconds("1 Jan 70 00:00:00"), seconds("1 Jan 1970 00:00:00"));
        assert_eq!(seconds("1 Jan 99 00:00:00"), seconds("1 Jan 1999 00:00:00"));
        assert_eq!(seconds("1 Jan 00 00:00:00"), seconds("1 Jan 2000 00:00:00"));
        assert_eq!(seconds("1 Jan 69 00:00:00"), seconds("1 Jan 2069 00:00:00"));
        assert!(seconds("1 Jan 2000 00:00:00") < seconds("1 Jan 2069 00:00:00"));
    }

    #[test]
    fn years_before_1970_become_the_start_of_1970() {
        assert_eq!(seconds("31 Dec 1969 23:59:59"), Some(0));
        assert_eq!(seconds("1 Jan 1601 00:00:00"), Some(0));
        assert_eq!(seconds("31 Dec 1600 23:59:59"), None);
    }

    #[test]
    fn incomplete_and_impossible_dates_are_refused() {
        for text in [
            "",
            "0",
            "-1",
            "Session",
            "Nov 1994 08:49:37",
            "6 1994 08:49:37",
            "6 Nov 08:49:37",
            "6 Nov 1994",
            "6 Nov 1994 08:49",
            "6 Nov 1994 08: 49:37",
            "6 Nov 1994 008:49:37",
            "6 Nov 1994 08h:49:37",
            "6 Nov 1994 08:49m:37",
            "6 Nov 19945 08:49:37",
            "0 Nov 1994 08:49:37",
            "32 Nov 1994 08:49:37",
            "6 No 1994 08:49:37",
            "6 Nov 1994 24:00:00",
            "6 Nov 1994 08:60:00",
            "6 Nov 1994 08:49:60",
            // The first time of day counts, although its hour is impossible.
            "6 Nov 1994 91:22:33 08:49:37",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
