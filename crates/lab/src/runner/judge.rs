//! Whether a turn counts.

use std::time::Duration;

use inflight_origin::Stats;

use crate::experiment::Experiment;
use crate::worker::Answer;

/// How late the origin's delays may be, at the 99th percentile, in microseconds: a timer's share,
/// and for each answer that was due at once the time that one thread needs to write it.
const LATE_US: u64 = 10_000;
/// See [`LATE_US`].
const LATE_US_EACH: u64 = 60;

/// The share of one core that the origin may use in a turn whose answers are delayed. Where they
/// are not, it works as fast as it is asked, and no share is too large.
const BUSY: f64 = 0.9;

/// Why the origin's part in a turn was not as it should be.
pub(super) fn origin(stats: &Stats, took: Duration) -> Option<String> {
    let delays = &stats.delays;
    if delays.count == 0 {
        return None;
    }
    if delays.early > 0 {
        return Some(format!("origin early: {} delays", delays.early));
    }
    let bound = LATE_US + LATE_US_EACH * stats.peak_in_flight;
    if delays.p99 > bound {
        let ms = |us: u64| us as f64 / 1e3;
        let (late, bound) = (ms(delays.p99), ms(bound));
        return Some(format!(
            "origin late: p99 {late:.1} ms, bound {bound:.1} ms"
        ));
    }
    let busy = stats.cpu.as_secs_f64() / took.as_secs_f64();
    (busy > BUSY).then(|| format!("origin busy: {busy:.2} of a core, bound {BUSY}"))
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
