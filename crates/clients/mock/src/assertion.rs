//! The messages of failed assertions.

use std::fmt::Write as _;

use inflight_core::http::Method;

use crate::recorded_request::RecordedRequest;
use crate::when::When;

/// Parses a method and a URL, such as `GET /page`.
#[track_caller]
pub(crate) fn parse_request(text: &str) -> When {
    let parts = text.split_once(' ');
    let parts = parts.and_then(|(method, url)| Some((method.parse::<Method>().ok()?, url)));
    match parts {
        Some((method, url)) => When::request(method, url),
        None => panic!("{text:?} is not a method and a URL, such as \"GET /page\""),
    }
}

/// Returns the differences between the expected and the received requests, one request a line. Returns `None`
/// if there are none.
pub(crate) fn difference(expected: &[When], received: &[RecordedRequest]) -> Option<String> {
    let common = common_lengths(expected, received);
    if expected.len() == received.len() && common[0][0] == expected.len() {
        return None;
    }
    let mut lines = String::new();
    let (mut i, mut j) = (0, 0);
    loop {
        match (expected.get(i), received.get(j)) {
            (Some(when), Some(request)) if when.applies_to(request) => {
                let _ = write!(lines, "\n    {request}");
                (i, j) = (i + 1, j + 1);
            }
            (Some(when), next) if next.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                let _ = write!(lines, "\n  - {when}");
                i += 1;
            }
            (_, Some(request)) => {
                let _ = write!(lines, "\n  + {request}");
                j += 1;
            }
            (_, None) => return Some(lines),
        }
    }
}

/// Returns the table of the longest common subsequence. The entry `[i][j]` is the length for `expected[i..]`
/// and `received[j..]`.
fn common_lengths(expected: &[When], received: &[RecordedRequest]) -> Vec<Vec<usize>> {
    let mut lengths = vec![vec![0; received.len() + 1]; expected.len() + 1];
    for (i, when) in expected.iter().enumerate().rev() {
        for (j, request) in received.iter().enumerate().rev() {
            lengths[i][j] = match when.applies_to(request) {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    lengths
}
