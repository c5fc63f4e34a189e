//! A choice is a claim, so it needs the whole interval: on every machine, the largest value of the chosen backend is
//! below the smallest value of each other candidate. A mean hides how much the values vary, and one discarded turn
//! changes it.

use crate::{Choice, Requirements};

/// The smallest and the largest value of a backend on one machine.
type Interval = (f64, f64);

/// Returns the backend that needs the least, or that the records cannot tell.
pub fn choose(requirements: &Requirements, records: &[String]) -> Choice {
    let candidates = requirements.candidates;
    let is_best = |backend: &&&str| {
        let mut others = candidates.iter().filter(|other| other != backend);
        others.all(|other| {
            let is_below = |record: &String| is_below(record, requirements.metric, backend, other);
            records.iter().all(is_below)
        })
    };
    match candidates.iter().find(is_best) {
        Some(backend) => Choice::Backend((*backend).to_owned()),
        None => Choice::CannotTell,
    }
}

/// Returns whether a machine shows that `low` needs less than `high`.
fn is_below(record: &str, metric: &str, low: &str, high: &str) -> bool {
    let intervals = [low, high].map(|backend| interval(record, metric, backend));
    matches!(intervals, [Some((_, most)), Some((least, _))] if most < least)
}

fn interval(record: &str, metric: &str, backend: &str) -> Option<Interval> {
    let values = values(record, metric, backend);
    if values.len() < 2 {
        return None;
    }
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some((smallest, largest))
}

/// Returns the values of one backend on one machine, without discarded turns. The fields of a row are
/// `contender,round,metric,value,unit,thrown`.
fn values(record: &str, metric: &str, backend: &str) -> Vec<f64> {
    let mut values = Vec::new();
    for line in record.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[0] == backend && fields[2] == metric && fields[5].is_empty() {
            values.push(fields[3].parse().unwrap());
        }
    }
    values
}
