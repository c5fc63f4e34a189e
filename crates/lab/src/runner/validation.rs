//! Checks the measurement of a turn, and decides whether the turn is discarded. The origin is the test
//! server.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use inflight_origin::Stats;

use crate::experiment::Experiment;
use crate::worker::Measurement;

/// The bounds for the origin. If the origin exceeds a bound, the runner discards the round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OriginBounds {
    /// The maximum of the 99th percentile of the lateness of delayed responses, in microseconds.
    pub late_us: u64,
    /// The increase of this maximum for each request that was in flight at the peak, in microseconds. More
    /// requests allow more lateness, because one thread writes all responses.
    pub late_us_each: u64,
    /// The maximum share of one core that the origin uses in a turn with delayed responses. In a turn without
    /// delayed responses, the origin may use any share.
    pub busy: f64,
}

impl Default for OriginBounds {
    fn default() -> Self {
        Self {
            late_us: 10_000,
            late_us_each: 60,
            busy: 0.9,
        }
    }
}

/// Writes the bounds in the form in which the records contain them.
impl fmt::Display for OriginBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "origin late by {} us and {} us for each in flight, or busy for {} of a core",
            self.late_us, self.late_us_each, self.busy
        )
    }
}

/// Parses the output of [`fmt::Display`].
impl FromStr for OriginBounds {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text
            .split(' ')
            .filter(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let mut next = || numbers.next().unwrap_or_default().parse::<f64>();
        Ok(Self {
            late_us: next()? as u64,
            late_us_each: next()? as u64,
            busy: next()?,
        })
    }
}

impl OriginBounds {
    /// Describes the bound that the origin violated in a turn, if it violated one.
    pub(super) fn violation(&self, stats: &Stats, took: Duration) -> Option<String> {
        let delays = &stats.delays;
        if delays.count == 0 {
            return None;
        }
        if delays.early > 0 {
            return Some(format!("origin early: {} delays", delays.early));
        }
        let bound = self.late_us + self.late_us_each * stats.peak_in_flight;
        if delays.p99 > bound {
            let ms = |us: u64| us as f64 / 1e3;
            let (late, bound) = (ms(delays.p99), ms(bound));
            return Some(format!(
                "origin late: p99 {late:.1} ms, bound {bound:.1} ms"
            ));
        }
        let busy = stats.cpu.as_secs_f64() / took.as_secs_f64();
        (busy > self.busy).then(|| format!("origin busy: {busy:.2} of a core, bound {}", self.busy))
    }
}

/// Checks that a measurement is valid for its experiment.
pub(super) fn check_measurement(
    experiment: &Experiment,
    measurement: &Measurement,
    stats: &Stats,
) -> Result<(), String> {
    if measurement.answered > stats.requests {
        return Err(format!(
            "the worker reported {} responses, but the origin received {} requests",
            measurement.answered, stats.requests
        ));
    }
    for (name, value) in &measurement.metrics {
        if !experiment.metrics.iter().any(|metric| metric.name == name) {
            return Err(format!("{} has no metric {name:?}", experiment.name));
        }
        if !value.is_finite() || *value < 0.0 {
            return Err(format!("{name} is {value}"));
        }
    }
    let first = experiment.metrics.first();
    match first.filter(|first| !measurement.metrics.contains_key(first.name)) {
        Some(missing) => Err(format!("the metric {} is missing", missing.name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(p99: u64, early: u64, in_flight: u64, cpu_ms: u64) -> Stats {
        let stats = serde_json::json!({
            "connections_accepted": 1, "connections_open": 1, "connections_closed": 0,
            "requests": 10, "in_flight": 0, "peak_in_flight": in_flight, "aborted": 0,
            "cpu": Duration::from_millis(cpu_ms), "cpu_scope": "threads",
            "delays": {"count": 10, "early": early, "p50": 1, "p99": p99, "max": p99},
        });
        serde_json::from_value(stats).unwrap()
    }

    #[test]
    fn an_early_late_or_busy_origin_is_reported() {
        let bounds = OriginBounds::default();
        let violation = |stats| bounds.violation(&stats, Duration::from_millis(100));
        assert_eq!(violation(stats(9_000, 0, 1, 5)), None);
        // With a thousand requests in flight, the responses may be later.
        assert_eq!(violation(stats(60_000, 0, 1000, 5)), None);
        for (bad, word) in [
            (stats(60_000, 0, 1, 5), "late"),
            (stats(0, 1, 1, 5), "early"),
            (stats(0, 0, 1, 95), "busy"),
        ] {
            assert!(violation(bad).is_some_and(|reason| reason.contains(word)));
        }
    }

    #[test]
    fn displayed_bounds_can_be_parsed() {
        for bounds in [
            OriginBounds::default(),
            OriginBounds {
                late_us: 0,
                late_us_each: 7,
                busy: 1.0,
            },
        ] {
            assert_eq!(bounds.to_string().parse(), Ok(bounds));
        }
    }
}
