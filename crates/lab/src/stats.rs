//! What figures say, and how surely: medians, ratios within rounds, intervals by bootstrap, and the
//! smallest difference that can be claimed.
//!
//! Turns of one round are compared with each other and with no others, as a machine that is slow
//! for a while is slow for all of them. Nothing here assumes a distribution,
//! but for the interval of a ratio of two runs, where few rounds leave no other way.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

/// How often the rounds are drawn anew for an interval. Twice as many move no bound by more than
/// the last digit that is shown.
pub const RESAMPLES: usize = 2_000;

/// The share of intervals that hold what they estimate, if the rounds are alike.
pub const LEVEL: f64 = 0.95;

/// The same rounds give the same interval, whoever computes it and in whatever order.
const SEED: u64 = 0x5eed;

/// A value for each round that counts.
pub type Rounds = BTreeMap<u32, f64>;

/// A median and the interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
    /// Of how many rounds. With one, the interval is the value itself and says nothing; with
    /// fewer than six, it is as wide as the extremes.
    pub rounds: usize,
}

impl Estimate {
    /// Of the values, at [`LEVEL`]. `None` where there are none.
    ///
    /// ```
    /// use inflight_lab::stats::Estimate;
    ///
    /// let estimate = Estimate::of(&[103.0, 104.0, 102.0]).unwrap();
    /// assert_eq!((estimate.low, estimate.value, estimate.high), (102.0, 103.0, 104.0));
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        Self::at_level(values, LEVEL)
    }

    /// Of the values: the percentile bootstrap of their median, from [`RESAMPLES`] draws.
    pub fn at_level(values: &[f64], level: f64) -> Option<Self> {
        let sorted = sorted(values);
        let value = middle(&sorted)?;
        let mut draw = Draw::new();
        let medians = (0..RESAMPLES).map(|_| draw.median(&sorted)).collect();
        Some(Self::within(value, medians, level, sorted.len()))
    }

    /// How much larger `of` is than `to`, where their rounds have nothing to do with each other:
    /// each side is drawn anew by itself. Draws of a few rounds know nothing beyond the extremes of
    /// those, so the interval is no narrower than Student's would be.
    pub fn of_ratio(of: &[f64], to: &[f64], level: f64) -> Option<Self> {
        let (of, to) = (sorted(of), sorted(to));
        let value = ratio(middle(&of)?, middle(&to)?)?;
        let mut draw = Draw::new();
        let ratios = (0..RESAMPLES)
            .filter_map(|_| ratio(draw.median(&of), draw.median(&to)))
            .collect();
        let drawn = Self::within(value, ratios, level, of.len().min(to.len()));
        let reach = students_reach(&of, &to, level).unwrap_or(1.0);
        Some(Self {
            low: drawn.low.min(value / reach),
            high: drawn.high.max(value * reach),
            ..drawn
        })
    }

    pub(crate) fn within(value: f64, mut drawn: Vec<f64>, level: f64, rounds: usize) -> Self {
        drawn.sort_by(f64::total_cmp);
        let tail = (1.0 - level) / 2.0;
        let at = |share: f64| {
            let last = drawn.len().saturating_sub(1);
            drawn.get((share * last as f64).round() as usize).copied()
        };
        Self {
            value,
            low: at(tail).unwrap_or(value).min(value),
            high: at(1.0 - tail).unwrap_or(value).max(value),
            rounds,
        }
    }

    /// How far the interval reaches from 1, as a factor of at least 1: what a ratio of two equal
    /// things may show.
    pub fn reach(&self) -> f64 {
        self.high.max(1.0 / self.low).max(1.0)
    }

    /// Whether the interval leaves out 1.
    pub fn is_apart_from_one(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// How far an interval around the ratio of two means reaches, as a factor: Student's, of the
/// logarithms, with a variance for each side (Welch 1947). `None` where a side has one round, or
/// neither varies.
fn students_reach(of: &[f64], to: &[f64], level: f64) -> Option<f64> {
    let spread = |values: &[f64]| {
        let above_zero = values.iter().filter(|value| **value > 0.0);
        let logs: Vec<f64> = above_zero.map(|value| value.ln()).collect();
        let rounds = logs.len() as f64;
        (logs.variance() / rounds, rounds - 1.0)
    };
    let ((a, a_free), (b, b_free)) = (spread(of), spread(to));
    let sum = a + b;
    let free = sum * sum / (a * a / a_free + b * b / b_free);
    let t = StudentsT::new(0.0, 1.0, free).ok()?;
    Some((t.inverse_cdf(f64::midpoint(1.0, level)) * sum.sqrt()).exp())
}

/// The middle value, or the mean of the two middle ones. What is no number is left out.
pub fn median(values: &[f64]) -> Option<f64> {
    middle(&sorted(values))
}

/// How much larger `of` is than `to` in each round that both have.
pub fn ratios(of: &Rounds, to: &Rounds) -> Vec<f64> {
    of.iter()
        .filter_map(|(round, value)| ratio(*value, *to.get(round)?))
        .collect()
}

/// What a contender against itself shows: for each point the ratios of an A/A pair. The largest
/// reach of their intervals, as a factor of at least 1, is what any other ratio has to exceed. It
/// takes two rounds to see any noise: `None` where no point has them.
pub fn smallest_difference<'a>(pairs: impl IntoIterator<Item = &'a [f64]>) -> Option<f64> {
    pairs
        .into_iter()
        .filter(|ratios| ratios.len() > 1)
        .filter_map(|ratios| Some(Estimate::of(ratios)?.reach()))
        .reduce(f64::max)
}

/// Whether a ratio may be told as a difference: its interval leaves out 1, and it exceeds what the
/// A/A pair shows. Without an A/A pair, or with one round, nothing may be.
pub fn may_claim(ratio: &Estimate, smallest: Option<f64>) -> bool {
    let far = ratio.value.max(1.0 / ratio.value);
    ratio.rounds > 1 && ratio.is_apart_from_one() && smallest.is_some_and(|smallest| far > smallest)
}

fn ratio(of: f64, to: f64) -> Option<f64> {
    (of > 0.0 && to > 0.0).then(|| of / to)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(match sorted.len() % 2 {
        0 => f64::midpoint(sorted[half - 1], upper),
        _ => upper,
    })
}

/// Draws rounds, with replacement.
pub(crate) struct Draw(fastrand::Rng);

impl Draw {
    pub(crate) fn new() -> Self {
        Self(fastrand::Rng::with_seed(SEED))
    }

    /// As many of `n` as there are.
    pub(crate) fn indices(&mut self, n: usize) -> Vec<usize> {
        (0..n).map(|_| self.0.usize(..n)).collect()
    }

    /// The median of as many as there are: how often each is drawn tells where the middle is.
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
    fn a_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_rounds_that_both_have() {
        // The machine is twice as slow in the last round: for both.
        let mut of = rounds(&[11.0, 11.0, 11.0, 22.0]);
        let to = rounds(&[10.0, 10.0, 0.0, 20.0]);
        of.insert(9, 100.0);
        assert_eq!(ratios(&of, &to), [1.1, 1.1, 1.1]);
    }

    #[test]
    fn an_interval_of_known_rounds_is_known() {
        // The median of a draw from 1..=11 is at most 1 in 0.02 of 100, 2 in 0.7 and 3 in 5: where
        // six of eleven are, each with the chance 1/11, 2/11, 3/11.
        let values: Vec<f64> = (1..=11).map(f64::from).collect();
        let estimate = Estimate::of(&values).unwrap();
        assert_eq!(estimate.value, 6.0);
        assert_eq!((estimate.low, estimate.high), (3.0, 9.0));
        assert_eq!(estimate.rounds, 11);
        let wider = Estimate::at_level(&values, 0.999).unwrap();
        assert_eq!((wider.low, wider.high), (2.0, 10.0));
    }

    #[test]
    fn a_ratio_of_a_few_rounds_is_no_surer_than_students() {
        // Logarithms 0 and 0.02 on both sides, around 1.1 and 1: a variance of 0.0002, halved by
        // two rounds; two degrees of freedom, of which 95 % are within 4.3027.
        let of = [1.1, 1.1 * 0.02_f64.exp()];
        let to = [1.0, 0.02_f64.exp()];
        let estimate = Estimate::of_ratio(&of, &to, 0.95).unwrap();
        let reach = (4.3027 * 0.0002_f64.sqrt()).exp();
        assert!((estimate.value - 1.1).abs() < 1e-12);
        assert!((estimate.high / (1.1 * reach) - 1.0).abs() < 1e-4);
        assert!((estimate.low * reach / 1.1 - 1.0).abs() < 1e-4);
        assert!(estimate.is_apart_from_one());
        let surer = Estimate::of_ratio(&of, &to, 0.999).unwrap();
        assert!(!surer.is_apart_from_one(), "{surer:?}");
        let still = Estimate::of_ratio(&[3.0, 3.0], &[2.0, 2.0], 0.999).unwrap();
        assert_eq!((still.low, still.high), (1.5, 1.5), "nothing varies");
    }

    #[test]
    fn nothing_is_claimed_below_what_the_pair_shows() {
        let pair = [0.97, 1.0, 1.02, 1.01];
        let smallest = smallest_difference([&pair[..], &[2.0]]);
        assert_eq!(smallest, Some(1.0 / 0.97));
        let claim = |ratios: &[f64]| may_claim(&Estimate::of(ratios).unwrap(), smallest);
        assert!(claim(&[1.10, 1.12, 1.09]));
        assert!(claim(&[0.90, 0.91, 0.89]));
        assert!(!claim(&[1.02, 1.02, 1.02]), "below the smallest difference");
        assert!(!claim(&[1.10, 0.99, 1.20]), "1 is in the interval");
        assert!(!claim(&[1.10]), "one round");
        assert!(!may_claim(&Estimate::of(&[2.0, 2.0]).unwrap(), None));
        assert_eq!(smallest_difference([&[1.0][..]]), None);
    }

    #[test]
    fn most_intervals_hold_the_truth() {
        let mut random = fastrand::Rng::with_seed(1);
        let held = (0..400).filter(|_| {
            let values: Vec<f64> = (0..15).map(|_| random.f64()).collect();
            let estimate = Estimate::of(&values).unwrap();
            estimate.low <= 0.5 && 0.5 <= estimate.high
        });
        let held = held.count();
        assert!(held > 360, "{held} of 400");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_interval_is_around_its_median_and_within_the_extremes(
            values in prop::collection::vec(0.001..1e9, 1..30),
        ) {
            let estimate = Estimate::of(&values).unwrap();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            prop_assert!(least <= estimate.low && estimate.low <= estimate.value);
            prop_assert!(estimate.value <= estimate.high && estimate.high <= most);
        }

        #[test]
        fn the_order_and_the_unit_change_nothing(
            mut values in prop::collection::vec(0.001..1e6, 1..20),
        ) {
            let estimate = Estimate::of(&values).unwrap();
            values.reverse();
            prop_assert_eq!(Estimate::of(&values), Some(estimate));
            // A power of two, so that no rounding comes in.
            let doubled: Vec<f64> = values.iter().map(|value| value * 2.0).collect();
            prop_assert_eq!(Estimate::of(&doubled).unwrap().low, estimate.low * 2.0);
        }

        #[test]
        fn a_ratio_to_oneself_is_one(values in prop::collection::vec(0.001..1e6, 1..20)) {
            let rounds = rounds(&values);
            for ratio in ratios(&rounds, &rounds) {
                prop_assert_eq!(ratio, 1.0);
            }
        }

        #[test]
        fn a_slow_round_is_slow_for_both(
            values in prop::collection::vec((0.1..10.0, 1.0..9.0), 1..20),
        ) {
            let of = rounds(&values.iter().map(|(value, slow)| value * slow).collect::<Vec<_>>());
            let to = rounds(&values.iter().map(|(_, slow)| *slow).collect::<Vec<_>>());
            for (ratio, (value, _)) in ratios(&of, &to).iter().zip(&values) {
                prop_assert!((ratio / value - 1.0).abs() < 1e-12);
            }
        }
    }
}
