//! Chapter 14 (`docs/src/tutorial/ch14.md`): choose a backend from records.
//!
//! `choose` compares the candidates by a metric, such as the CPU time of a request. Each element of `records` is the
//! CSV text of one machine. `choose` returns the backend with the smallest mean. Change `choose` so that it returns a
//! backend only if the records show that this backend needs less than each other candidate, on every machine:
//!
//! - A row is a *turn*: one measurement of one backend. A turn whose field `thrown` is not empty was discarded.
//! - The interval of a backend on a machine reaches from its smallest to its largest value.
//! - A backend with fewer than two values on a machine has no interval there.
//! - A backend needs less than another if the whole interval is below the other's interval.
//!
//! If no backend needs less than each other candidate on every machine, return `Choice::CannotTell`.

use crate::{Choice, Requirements};

/// Returns the backend that needs the least, or that the records cannot tell.
pub fn choose(requirements: &Requirements, records: &[String]) -> Choice {
    let mut best = Choice::CannotTell;
    let mut smallest = f64::INFINITY;
    for candidate in requirements.candidates {
        let values: Vec<f64> = records
            .iter()
            .flat_map(|record| values(record, requirements.metric, candidate))
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        if mean < smallest {
            smallest = mean;
            best = Choice::Backend((*candidate).to_owned());
        }
    }
    best
}

/// Returns the values of one backend on one machine. The fields of a row are
/// `contender,round,metric,value,unit,thrown`.
fn values(record: &str, metric: &str, backend: &str) -> Vec<f64> {
    let mut values = Vec::new();
    for line in record.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[0] == backend && fields[2] == metric {
            values.push(fields[3].parse().unwrap());
        }
    }
    values
}
