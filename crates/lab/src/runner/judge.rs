//! Whether a turn counts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use inflight_origin::Stats;

use crate::experiment::Experiment;
use crate::worker::Answer;

/// What the origin may be, for a round to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// How late its delays may be, at the 99th percentile, in microseconds: a timer's share.
    pub late_us: u64,
    /// And for each answer that was due at once, as one thread writes them all.
    pub late_us_each: u64,
    /// The share of one core that it may use in a turn whose answers are delayed. Where they are
    /// not, it works as fast as it is asked, and no share is too large.
    pub busy: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            late_us: 10_000,
            late_us_each: 60,
            busy: 0.9,
        }
    }
}

/// As the records have them.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "origin late by {} us and {} us for each in flight, or busy for {} of a core",
            self.late_us, self.late_us_each, self.busy
        )
    }
}

/// What is displayed is read again.
impl FromStr for Bounds {
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

impl Bounds {
    /// Why the origin's part in a turn was not as it should be.
    pub(super) fn judge(&self, stats: &Stats, took: Duration) -> Option<String> {
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

/// Why an answer is no measurement of its experiment.
pub(super) fn answer(
    experiment: &Experiment,
    answer: &Answer,
    stats: &Stats,
) -> Result<(), String> {
    if answer.answered > stats.requests {
        return Err(format!(
            "it claims {} answers, and the origin had {} requests",
            answer.answered, stats.requests
        ));
    }
    let sets = answer.trace.iter().map(|point| &point.metrics);
    let mut sets: Vec<_> = sets.collect();
    if !experiment.work.trace {
        sets = vec![&answer.metrics];
    }
    if sets.is_empty() {
        return Err("it saw nothing".to_owned());
    }
    for metrics in sets {
        for (name, value) in metrics {
            if !experiment.metrics.iter().any(|metric| metric.name == name) {
                return Err(format!("{} has no metric {name:?}", experiment.name));
            }
            if !value.is_finite() || *value < 0.0 {
                return Err(format!("{name} is {value}"));
            }
        }
        let first = experiment.metrics.first().map(|metric| metric.name);
        if !first.is_some_and(|first| metrics.contains_key(first)) {
            return Err(format!("it did not say {}", first.unwrap_or_default()));
        }
    }
    Ok(())
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
    fn an_origin_that_was_early_late_or_busy_is_told() {
        let bounds = Bounds::default();
        let judge = |stats| bounds.judge(&stats, Duration::from_millis(100));
        assert_eq!(judge(stats(9_000, 0, 1, 5)), None);
        // A thousand answers at one instant take their time.
        assert_eq!(judge(stats(60_000, 0, 1000, 5)), None);
        for (bad, word) in [
            (stats(60_000, 0, 1, 5), "late"),
            (stats(0, 1, 1, 5), "early"),
            (stats(0, 0, 1, 95), "busy"),
        ] {
            assert!(judge(bad).is_some_and(|reason| reason.contains(word)));
        }
    }

    #[test]
    fn bounds_are_read_as_they_are_written() {
        for bounds in [
            Bounds::default(),
            Bounds {
                late_us: 0,
                late_us_each: 7,
                busy: 1.0,
            },
        ] {
            assert_eq!(bounds.to_string().parse(), Ok(bounds));
        }
    }
}
