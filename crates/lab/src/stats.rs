//! Statistics: medians, ratios within rounds, bootstrap intervals, and the smallest difference that
//! can be claimed.
//!
//! A turn is one measurement of one contender. In each round, every contender has one turn. Within a run,
//! only turns of the same round are compared, because a machine that is slow for a while is slow for all
//! turns of a round.
//!
//! The functions assume no distribution, with one exception: the interval of a ratio of two runs also uses
//! Student's t, because the bootstrap of few rounds is not reliable.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

/// The number of bootstrap resamples. Doubling this number changes at most the last shown digit of a bound.
pub const RESAMPLES: usize = 2_000;

/// The confidence level of an interval.
pub const LEVEL: f64 = 0.95;

/// A fixed seed, so that the same rounds always give the same interval.
const SEED: u64 = 0x5eed;

/// The value of a metric in each round, by the number of the round. A round whose turn was discarded has no
/// value.
pub type Rounds = BTreeMap<u32, f64>;

/// A median and its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
    /// The number of rounds. With one round, the interval is the value itself. With fewer than six
    /// rounds, the interval spans all values.
    pub rounds: usize,
}

impl From<Estimate> for inflight_charts::Interval {
    fn from(
        Estimate {
            value, low, high, ..
        }: Estimate,
    ) -> Self {
        Self { value, low, high }
    }
}

impl Estimate {
    /// Estimates the median of the values at [`LEVEL`]. Returns `None` if there are no values.
    ///
    /// ```
    /// use inflight_lab::stats::Estimate;
    ///
    /// let estimate = Estimate::new(&[103.0, 104.0, 102.0]).unwrap();
    /// assert_eq!((estimate.low, estimate.value, estimate.high), (102.0, 103.0, 104.0));
    /// ```
    pub fn new(values: &[f64]) -> Option<Self> {
        Self::at_level(values, LEVEL)
    }

    /// Estimates the median of the values by the percentile bootstrap with [`RESAMPLES`] resamples.
    pub fn at_level(values: &[f64], level: f64) -> Option<Self> {
        let sorted = sorted_finite(values);
        let value = median_of_sorted(&sorted)?;
        let mut resampler = Resampler::new();
        let medians = (0..RESAMPLES).map(|_| resampler.median(&sorted)).collect();
        Some(Self::from_resamples(value, medians, level, sorted.len()))
    }

    /// Estimates the ratio of two medians, for rounds of different runs. The numerator and the denominator
    /// are resampled independently. A bootstrap interval cannot exceed the extremes of the values, so it is
    /// too narrow for a few rounds. The returned interval is therefore at least as wide as Student's.
    pub fn ratio(numerator: &[f64], denominator: &[f64], level: f64) -> Option<Self> {
        let (numerator, denominator) = (sorted_finite(numerator), sorted_finite(denominator));
        let value = ratio(
            median_of_sorted(&numerator)?,
            median_of_sorted(&denominator)?,
        )?;
        let mut resampler = Resampler::new();
        let ratios = (0..RESAMPLES)
            .filter_map(|_| ratio(resampler.median(&numerator), resampler.median(&denominator)))
            .collect();
        let resampled =
            Self::from_resamples(value, ratios, level, numerator.len().min(denominator.len()));
        let reach = students_reach(&numerator, &denominator, level).unwrap_or(1.0);
        Some(Self {
            low: resampled.low.min(value / reach),
            high: resampled.high.max(value * reach),
            ..resampled
        })
    }

    /// Returns an estimate of `value`. The interval contains the share `level` of the resampled values.
    fn from_resamples(value: f64, mut resampled: Vec<f64>, level: f64, rounds: usize) -> Self {
        resampled.sort_by(f64::total_cmp);
        let tail = (1.0 - level) / 2.0;
        let at = |share: f64| {
            let last = resampled.len().saturating_sub(1);
            resampled
                .get((share * last as f64).round() as usize)
                .copied()
        };
        Self {
            value,
            low: at(tail).unwrap_or(value).min(value),
            high: at(1.0 - tail).unwrap_or(value).max(value),
            rounds,
        }
    }

    /// Returns how far the interval extends from 1, as a factor of at least 1.
    pub fn reach(&self) -> f64 {
        self.high.max(1.0 / self.low).max(1.0)
    }

    /// Returns whether the interval excludes 1.
    pub fn excludes_one(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// Returns the half-width of Student's interval around a ratio, as a factor. The interval is computed from
/// the logarithms of the values, with separate variances of the numerator and the denominator (Welch 1947).
/// Returns `None` if one of the two has a single round, or if no value varies.
fn students_reach(numerator: &[f64], denominator: &[f64], level: f64) -> Option<f64> {
    let spread = |values: &[f64]| {
        let above_zero = values.iter().filter(|value| **value > 0.0);
        let logs: Vec<f64> = above_zero.map(|value| value.ln()).collect();
        let rounds = logs.len() as f64;
        (logs.variance() / rounds, rounds - 1.0)
    };
    let ((a, a_free), (b, b_free)) = (spread(numerator), spread(denominator));
    let sum = a + b;
    let free = sum * sum / (a * a / a_free + b * b / b_free);
    let t = StudentsT::new(0.0, 1.0, free).ok()?;
    Some((t.inverse_cdf(f64::midpoint(1.0, level)) * sum.sqrt()).exp())
}

/// Returns the middle value, or the mean of the two middle values. NaN and infinities are ignored.
pub fn median(values: &[f64]) -> Option<f64> {
    median_of_sorted(&sorted_finite(values))
}

/// Returns the ratio of the two values in each round. Rounds without two positive values are skipped.
pub fn ratios(numerator: &Rounds, denominator: &Rounds) -> Vec<f64> {
    numerator
        .iter()
        .filter_map(|(round, value)| ratio(*value, *denominator.get(round)?))
        .collect()
}

/// Returns the factor that a ratio must exceed to be claimed as a difference. `pairs` has, for each point,
/// the ratios of an A/A pair (the same program, run twice). The result is the largest
/// [`reach`](Estimate::reach) of the intervals of these ratios, or `None` if every point has fewer than two
/// rounds.
pub fn smallest_difference(pairs: impl IntoIterator<Item = Vec<f64>>) -> Option<f64> {
    pairs
        .into_iter()
        .filter(|ratios| ratios.len() > 1)
        .filter_map(|ratios| Some(Estimate::new(&ratios)?.reach()))
        .reduce(f64::max)
}

/// Returns whether a ratio may be claimed as a difference: the interval excludes 1, and the ratio or its
/// inverse exceeds `smallest`. Without an A/A pair, or with one round, no difference may be claimed.
pub fn may_claim(ratio: &Estimate, smallest: Option<f64>) -> bool {
    let distance = ratio.value.max(1.0 / ratio.value);
    ratio.rounds > 1 && ratio.excludes_one() && smallest.is_some_and(|smallest| distance > smallest)
}

fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (numerator > 0.0 && denominator > 0.0).then(|| numerator / denominator)
}

fn sorted_finite(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(match sorted.len() % 2 {
        0 => f64::midpoint(sorted[half - 1], upper),
        _ => upper,
    })
}

/// Draws rounds with replacement.
struct Resampler(fastrand::Rng);

impl Resampler {
    fn new() -> Self {
        Self(fastrand::Rng::with_seed(SEED))
    }

    /// Returns the median of one resample. Counts how often each value is drawn, which is faster than
    /// sorting the resample.
    fn median(&mut self, sorted: &[f64]) -> f64 {
        let n = sorted.len();
        let mut times = vec![0; n];
        for _ in 0..n {
            times[self.0.usize(..n)] += 1;
        }
        let at = |place: usize| {
            let mut before = 0;
            let reached = times.iter().position(|times| {
                before += times;
                before > place
            });
            reached.map_or(f64::NAN, |n| sorted[n])
        };
        match n % 2 {
            0 => f64::midpoint(at(n / 2 - 1), at(n / 2)),
            _ => at(n / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rounds(values: &[f64]) -> Rounds {
        (0..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_the_middle_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn rounds_without_two_positive_values_have_no_ratio() {
        // In the round with 22 and 20, the machine is half as fast for both.
        let mut numerator = rounds(&[11.0, 11.0, 11.0, 22.0]);
        let denominator = rounds(&[10.0, 10.0, 0.0, 20.0]);
        numerator.insert(9, 100.0);
        assert_eq!(ratios(&numerator, &denominator), [1.1, 1.1, 1.1]);
    }

    #[test]
    fn the_interval_of_eleven_rounds_has_the_computed_bounds() {
        // The median of a resample of 1..=11 is at most 1 with probability 0.02 %, at most 2 with 0.7 %
        // and at most 3 with 5 %. For this, six of the eleven draws must be at most 1, 2 or 3, which has the
        // probability 1/11, 2/11 or 3/11 in each draw.
        let values: Vec<f64> = (1..=11).map(f64::from).collect();
        let estimate = Estimate::new(&values).unwrap();
        assert_eq!(estimate.value, 6.0);
        assert_eq!((estimate.low, estimate.high), (3.0, 9.0));
        assert_eq!(estimate.rounds, 11);
        let wider = Estimate::at_level(&values, 0.999).unwrap();
        assert_eq!((wider.low, wider.high), (2.0, 10.0));
    }

    #[test]
    fn the_interval_of_a_ratio_of_few_rounds_is_as_wide_as_students() {
        // On each side, the two logarithms differ by 0.02, so the variance of their mean is 0.0001. The
        // ratio has the variance 0.0002. With two degrees of freedom, 95 % of Student's t is within 4.3027.
        let numerator = [1.1, 1.1 * 0.02_f64.exp()];
        let denominator = [1.0, 0.02_f64.exp()];
        let estimate = Estimate::ratio(&numerator, &denominator, 0.95).unwrap();
        let reach = (4.3027 * 0.0002_f64.sqrt()).exp();
        assert!((estimate.value - 1.1).abs() < 1e-12);
        assert!((estimate.high / (1.1 * reach) - 1.0).abs() < 1e-4);
        assert!((estimate.low * reach / 1.1 - 1.0).abs() < 1e-4);
        assert!(estimate.excludes_one());
        let surer = Estimate::ratio(&numerator, &denominator, 0.999).unwrap();
        assert!(!surer.excludes_one(), "{surer:?}");
        let still = Estimate::ratio(&[3.0, 3.0], &[2.0, 2.0], 0.999).unwrap();
        assert_eq!(
            (still.low, still.high),
            (1.5, 1.5),
            "the interval has no width if no value varies"
        );
    }

    #[test]
    fn a_claimed_difference_exceeds_the_difference_of_the_aa_pair() {
        let pair = [0.97, 1.0, 1.02, 1.01];
        let smallest = smallest_difference([pair.to_vec(), vec![2.0]]);
        assert_eq!(smallest, Some(1.0 / 0.97));
        let claim = |ratios: &[f64]| may_claim(&Estimate::new(ratios).unwrap(), smallest);
        assert!(claim(&[1.10, 1.12, 1.09]));
        assert!(claim(&[0.90, 0.91, 0.89]));
        assert!(!claim(&[1.02, 1.02, 1.02]), "below the smallest difference");
        assert!(!claim(&[1.10, 0.99, 1.20]), "1 is in the interval");
        assert!(!claim(&[1.10]), "one round");
        assert!(!may_claim(&Estimate::new(&[2.0, 2.0]).unwrap(), None));
        assert_eq!(smallest_difference([vec![1.0]]), None);
    }

    #[test]
    fn most_intervals_contain_the_true_median() {
        let mut random = fastrand::Rng::with_seed(1);
        let held = (0..400).filter(|_| {
            let values: Vec<f64> = (0..15).map(|_| random.f64()).collect();
            let estimate = Estimate::new(&values).unwrap();
            estimate.low <= 0.5 && 0.5 <= estimate.high
        });
        let held = held.count();
        assert!(held > 360, "{held} of 400");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_interval_contains_the_median_and_stays_within_the_extremes(
            values in prop::collection::vec(0.001..1e9, 1..30),
        ) {
            let estimate = Estimate::new(&values).unwrap();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            prop_assert!(least <= estimate.low && estimate.low <= estimate.value);
            prop_assert!(estimate.value <= estimate.high && estimate.high <= most);
        }

        #[test]
        fn an_interval_does_not_depend_on_order_or_unit(
            mut values in prop::collection::vec(0.001..1e6, 1..20),
        ) {
            let estimate = Estimate::new(&values).unwrap();
            values.reverse();
            prop_assert_eq!(Estimate::new(&values), Some(estimate));
            // A power of two, so that nothing is rounded.
            let doubled: Vec<f64> = values.iter().map(|value| value * 2.0).collect();
            prop_assert_eq!(Estimate::new(&doubled).unwrap().low, estimate.low * 2.0);
        }

        #[test]
        fn a_ratio_to_itself_is_one(values in prop::collection::vec(0.001..1e6, 1..20)) {
            let rounds = rounds(&values);
            for ratio in ratios(&rounds, &rounds) {
                prop_assert_eq!(ratio, 1.0);
            }
        }

        #[test]
        fn a_slow_round_cancels_out(
            values in prop::collection::vec((0.1..10.0, 1.0..9.0), 1..20),
        ) {
            let slowed = values.iter().map(|(value, slow)| value * slow);
            let numerator = rounds(&slowed.collect::<Vec<_>>());
            let denominator = rounds(&values.iter().map(|(_, slow)| *slow).collect::<Vec<_>>());
            for (ratio, (value, _)) in ratios(&numerator, &denominator).iter().zip(&values) {
                prop_assert!((ratio / value - 1.0).abs() < 1e-12);
            }
        }
    }
}
