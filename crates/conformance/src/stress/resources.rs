//! The resources of a process, and how fast they grow.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

use super::BoxError;

/// The resources of a process at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Resources {
    pub(super) descriptors: usize,
    pub(super) threads: usize,
    /// The resident memory.
    pub(super) memory_kib: u64,
}

impl Resources {
    /// Reads the resources of this process.
    ///
    /// # Errors
    ///
    /// Fails on a system without `/proc`.
    pub(super) fn of_this_process() -> Result<Self, BoxError> {
        Self::of("self")
    }

    /// Reads the resources of the process with this id.
    ///
    /// # Errors
    ///
    /// Fails if there is no such process, and on a system without `/proc`.
    pub(super) fn of_process(id: u32) -> Result<Self, BoxError> {
        Self::of(&id.to_string())
    }

    /// Returns the larger number of each resource.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            memory_kib: self.memory_kib.max(other.memory_kib),
        }
    }

    fn of(process: &str) -> Result<Self, BoxError> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = line.and_then(|line| line.split_whitespace().next());
        Ok(Self {
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            threads: fs::read_dir(format!("/proc/{process}/task"))?.count(),
            memory_kib: memory.ok_or("no VmRSS")?.parse()?,
        })
    }
}

/// The growth of the resources per round of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) descriptors: f64,
    pub(super) threads: f64,
    pub(super) memory_kib: f64,
}

impl Growth {
    /// Fits a line to the samples of each resource. A sample has its time in rounds.
    pub(super) fn of(samples: &[(f64, Resources)]) -> Self {
        let fit = |resource: &dyn Fn(&Resources) -> f64| {
            let points: Vec<_> = samples.iter().map(|(x, all)| (*x, resource(all))).collect();
            slope(&points)
        };
        Self {
            descriptors: fit(&|all| all.descriptors as f64),
            threads: fit(&|all| all.threads as f64),
            memory_kib: fit(&|all| all.memory_kib as f64),
        }
    }

    /// Returns a message for each resource that grows faster than these bounds.
    pub(super) fn above(&self, bounds: &Self) -> Vec<String> {
        [
            ("descriptors", self.descriptors, bounds.descriptors),
            ("threads", self.threads, bounds.threads),
            ("KiB of memory", self.memory_kib, bounds.memory_kib),
        ]
        .into_iter()
        .filter(|(_, growth, bound)| growth > bound)
        .map(|(label, growth, bound)| {
            format!("{label} grow by {growth:.2} per round, more than {bound:.1}")
        })
        .collect()
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} descriptors, {:.2} threads, {:.0} KiB",
            self.descriptors, self.threads, self.memory_kib
        )
    }
}

/// Returns the slope of the line through the points, by Theil and Sen: the median of the slopes between
/// all pairs of points. A few points that are far off do not change it. Returns 0 for fewer than two
/// points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let pairs = points
        .iter()
        .enumerate()
        .flat_map(|(n, a)| points[n + 1..].iter().map(move |b| (a, b)));
    let slopes = pairs.filter(|(a, b)| a.0 != b.0);
    median(slopes.map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect()).unwrap_or(0.0)
}

/// Returns the median, or `None` if there is no value.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth_of(descriptors: impl Fn(usize) -> usize) -> f64 {
        let sample = |n| Resources {
            descriptors: descriptors(n),
            threads: 5,
            memory_kib: 1024 + n as u64,
        };
        let samples: Vec<_> = (0..7).map(|n| (n as f64, sample(n))).collect();
        let growth = Growth::of(&samples);
        assert_eq!((growth.threads, growth.memory_kib), (0.0, 1.0));
        growth.descriptors
    }

    #[test]
    fn the_slope_of_a_leak_is_found_and_single_peaks_are_not() {
        assert_eq!(growth_of(|_| 100), 0.0);
        assert_eq!(growth_of(|n| 100 + 10 * n), 10.0);
        // Two samples of seven are far off.
        assert_eq!(growth_of(|n| if n > 4 { 900 } else { 100 + n }), 1.0);
        assert_eq!(growth_of(|n| 100 + n % 2), 0.0);
    }

    #[test]
    fn growth_is_reported_only_above_its_bound() {
        let growth = |descriptors, threads, memory_kib| Growth {
            descriptors,
            threads,
            memory_kib,
        };
        let bounds = growth(0.1, 0.1, 500.0);
        assert!(growth(0.1, -3.0, 500.0).above(&bounds).is_empty());
        let messages = growth(10.0, 0.2, 501.0).above(&bounds);
        assert_eq!(messages.len(), 3);
        assert_eq!(
            messages[0],
            "descriptors grow by 10.00 per round, more than 0.1"
        );
    }
}
