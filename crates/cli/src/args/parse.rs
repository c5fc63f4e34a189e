//! Parsers of option values.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use inflight::http::Method;
use inflight::http::header::{HeaderName, HeaderValue};

/// The maximum that `--workers` accepts. The system may refuse to start more threads.
const MAX_WORKERS: usize = 1024;

/// The addresses of `--resolve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PinnedAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) address: IpAddr,
}

/// Parses `HOST:PORT:ADDR`. An IPv6 address may be in brackets.
pub(super) fn parse_resolve(text: &str) -> Result<PinnedAddress, String> {
    let parse = || {
        let (host, rest) = text.split_once(':')?;
        let (port, address) = rest.split_once(':')?;
        let address = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'))
            .unwrap_or(address);
        Some(PinnedAddress {
            host: host.to_ascii_lowercase(),
            port: port.parse().ok()?,
            address: address.parse().ok()?,
        })
    };
    let pinned = parse().filter(|pinned| !pinned.host.is_empty());
    pinned.ok_or_else(|| "write HOST:PORT:ADDR, such as example.com:443:127.0.0.1".to_owned())
}

pub(super) fn parse_value(text: &str) -> Result<HeaderValue, String> {
    text.parse()
        .map_err(|_| "a header value has no control characters".to_owned())
}

pub(super) fn parse_count(text: &str) -> Result<NonZeroUsize, String> {
    let n: usize = text.parse().map_err(|error| format!("{error}"))?;
    NonZeroUsize::new(n).ok_or_else(|| "must be at least 1".to_owned())
}

/// Parses a number of requests per second, such as `20` or `20/s`.
pub(super) fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let n: u32 = number
        .parse()
        .map_err(|error| format!("{error}; write a rate as 20 or 20/s"))?;
    NonZeroU32::new(n).ok_or_else(|| "must be at least 1/s".to_owned())
}

/// The shortest time between the starts of two requests to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostInterval(pub(crate) Duration);

/// Parses a number of requests per second or per minute, such as `20`, `0.2/s` or `6/m`.
pub(super) fn parse_host_rate(text: &str) -> Result<HostInterval, String> {
    let (number, period) = match (text.strip_suffix("/s"), text.strip_suffix("/m")) {
        (Some(number), _) => (number, 1.0),
        (None, Some(number)) => (number, 60.0),
        (None, None) => (text, 1.0),
    };
    let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let rate: Option<f64> = number.parse().ok().filter(|_| is_number);
    let interval = rate.and_then(|rate| Duration::try_from_secs_f64(period / rate).ok());
    match interval {
        Some(interval) if !interval.is_zero() => Ok(HostInterval(interval)),
        _ => Err("write a rate above zero as 20, 20/s, 0.2/s or 6/m".to_owned()),
    }
}

pub(super) fn parse_workers(text: &str) -> Result<NonZeroUsize, String> {
    let n = parse_count(text)?;
    if n.get() > MAX_WORKERS {
        return Err(format!("must be at most {MAX_WORKERS}"));
    }
    Ok(n)
}

/// Parses a number of seconds, such as `5` or `0.5`, or a duration with units, such as `1m 30s`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let duration = match is_number {
        true => seconds(text).ok_or_else(|| "not a number of seconds".to_owned()),
        false => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    let duration =
        duration.map_err(|error| format!("{error}; write a duration as 5, 300ms, 5s or 2m"))?;
    if duration.is_zero() {
        return Err("must be longer than zero".to_owned());
    }
    Ok(duration)
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// The longest delay that `--delay` accepts. It is shorter than the time limit for a page.
#[cfg(feature = "stalls")]
const MAX_DELAY: Duration = Duration::from_secs(30);

#[cfg(feature = "stalls")]
pub(super) fn parse_delay(text: &str) -> Result<Duration, String> {
    let delay = parse_duration(text)?;
    if delay > MAX_DELAY {
        return Err(format!("must be at most {MAX_DELAY:?}"));
    }
    Ok(delay)
}

pub(super) fn parse_method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| "not a valid HTTP method".to_owned())
}

pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write a header as 'Name: value'")?;
    let name = HeaderName::from_str(name.trim()).map_err(|error| error.to_string())?;
    let value =
        HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_of_seconds_or_has_units_and_must_not_be_zero() {
        assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in [
            "",
            "0",
            "0.0",
            "0s",
            "0ms",
            "-1",
            "-1s",
            "1.2.3",
            ".",
            "s",
            "5 5",
            "1e3",
            "inf",
            "five",
            "99999999999999999999",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(parse_count("1").map(NonZeroUsize::get), Ok(1));
        for bad in ["", "0", "-1", "1.5", "x", "99999999999999999999999"] {
            assert!(parse_count(bad).is_err(), "{bad:?}");
        }
        assert!(parse_workers("1025").is_err());
    }

    #[test]
    fn a_rate_is_a_whole_number_per_second() {
        assert_eq!(parse_rate("20/s").map(NonZeroU32::get), Ok(20));
        assert_eq!(parse_rate("20").map(NonZeroU32::get), Ok(20));
        for bad in [
            "", "0", "0/s", "-1", "-1/s", "1.5/s", "20/m", "/s", "20 /s", "20/s/s",
        ] {
            assert!(parse_rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_rate_may_be_below_one_per_second() {
        for (text, millis) in [("20", 50), ("20/s", 50), ("0.2/s", 5000), ("6/m", 10_000)] {
            let expected = HostInterval(Duration::from_millis(millis));
            assert_eq!(parse_host_rate(text), Ok(expected), "{text}");
        }
        for bad in [
            "", "0", "0/s", "-1", "1e3", "inf", "/s", "20/h", "20 /s", "1/s/s",
        ] {
            assert!(parse_host_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_of_a_host_may_be_ipv6() {
        let parsed = parse_resolve("Pages.test:8080:127.0.0.1").unwrap();
        assert_eq!((&*parsed.host, parsed.port), ("pages.test", 8080));
        assert!(parsed.address.is_loopback());
        for text in ["a:80:::1", "a:80:[::1]"] {
            assert!(parse_resolve(text).unwrap().address.is_loopback(), "{text}");
        }
        for bad in [
            "",
            "a",
            "a:80",
            "a:80:b",
            ":80:127.0.0.1",
            "a:x:127.0.0.1",
            "a:80:",
        ] {
            assert!(parse_resolve(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_header_value_may_contain_a_colon() {
        let (name, value) = parse_header("X-Time:  12:30 ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-time", &b"12:30"[..]));
        assert!(parse_header("X-Empty:").is_ok_and(|(_, value)| value.is_empty()));
        for bad in ["no colon", ": no name", "a b: c", "X: a\nb"] {
            assert!(parse_header(bad).is_err(), "{bad:?}");
        }
    }
}
