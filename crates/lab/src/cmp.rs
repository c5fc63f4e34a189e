//! Compares two runs, from the same machine or from different ones.
//!
//! A change that all contenders of an experiment share comes from the machine or the origin, which is the
//! test server. This common change is reported once for all contenders.
//!
//! A contender is marked if its ratio, of the second run to the first, meets all of these conditions:
//!
//! - The interval of the ratio excludes 1.
//! - The ratio exceeds [`MIN_RATIO`] and the noise of both runs. The noise is the difference between the two
//!   contenders of an A/A pair, which have the same program.
//! - Both conditions still hold after the common change is divided out.

use std::fmt::{self, Display, Formatter};

use crate::data::{ExperimentResults, Sample};
use crate::experiment::Better;
use crate::stats::{Estimate, LEVEL, may_claim, median};
use crate::text::{format_count, format_figure};

/// A comparison of two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The comparisons by experiment and metric.
    pub groups: Vec<MetricComparison>,
    /// What was not compared, with the reason: only one run has it, or both runs have one round of it.
    pub unmatched: Vec<String>,
}

/// The comparison of one metric of one experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricComparison {
    /// The name of the experiment.
    pub experiment: String,
    /// The name of the metric.
    pub metric: String,
    /// The unit of the values.
    pub unit: String,
    /// The common change: the median of the ratios. `None` if there are too few ratios.
    pub common: Option<f64>,
    /// The smallest difference that can be claimed, as a factor.
    pub smallest: Option<f64>,
    /// The contenders at each point.
    pub rows: Vec<ContenderComparison>,
}

/// The comparison of one contender at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct ContenderComparison {
    /// The name of the contender.
    pub contender: String,
    /// The point: the value of the experiment's variable.
    pub x: f64,
    /// The median in the first run.
    pub before: f64,
    /// The median in the second run.
    pub after: f64,
    /// The ratio of the second run to the first. `None` if a median is zero.
    pub ratio: Option<Estimate>,
    /// The meaning of the ratio.
    pub verdict: Verdict,
}

/// The meaning of a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No difference that can be claimed.
    Alike,
    /// A difference that all contenders of the experiment share.
    Common,
    /// An improvement of this contender.
    Better,
    /// A regression of this contender.
    Worse,
    /// A change of this contender. It is not known which direction is better.
    Different,
    /// No claim is possible, because there is only one round, no A/A pair, or a median of zero.
    Unknown,
}

/// The minimum number of ratios for a common change. There is one ratio for each contender at each point.
/// With fewer ratios, a change of one contender could look like a common change.
const MIN_RATIOS: usize = 4;

/// The smallest ratio that is reported as a difference, even if the A/A pairs differ by less. An A/A pair
/// shows only the noise within one run. From one run to the next, memory layout and scheduling change a value
/// by up to this factor. The bound matters for values that hardly vary within a run, such as counts, or wall
/// times that consist of delays.
pub const MIN_RATIO: f64 = 1.02;

/// Compares the experiments that both runs have. `better` returns the better direction of an
/// experiment's metric.
pub fn compare(
    before: &[ExperimentResults],
    after: &[ExperimentResults],
    better: impl Fn(&str, &str) -> Option<Better>,
) -> Comparison {
    let mut comparison = Comparison {
        groups: Vec::new(),
        unmatched: Vec::new(),
    };
    let mut both = Vec::new();
    for a in before {
        let Some(b) = after.iter().find(|b| b.experiment == a.experiment) else {
            let name = &a.experiment;
            comparison
                .unmatched
                .push(format!("{name}: only in the first run"));
            continue;
        };
        if a.rounds().max(b.rounds()) < 2 {
            let name = &a.experiment;
            comparison.unmatched.push(format!("{name}: only one round"));
            continue;
        }
        push_unmatched(&mut comparison.unmatched, a, b, "first");
        push_unmatched(&mut comparison.unmatched, b, a, "second");
        for metric in a.metrics() {
            both.push((a, b, metric, matching_samples(a, b, metric)));
        }
    }
    // At 95 %, one in twenty intervals is wrong. The level is raised so that the probability of any wrong
    // interval in the whole comparison is at most 5 % (Bonferroni).
    let figures: usize = both.iter().map(|(.., pairs)| pairs.len()).sum();
    let level = 1.0 - (1.0 - LEVEL) / figures.max(1) as f64;
    for (a, b, metric, pairs) in both {
        let smallest = [a, b].map(|side| side.smallest_difference(metric));
        let smallest = smallest.into_iter().flatten().reduce(f64::max);
        let smallest = smallest.map(|smallest| smallest.max(MIN_RATIO));
        let better = better(&a.experiment, metric);
        let group = compare_metric(&a.experiment, metric, &pairs, (level, smallest), better);
        comparison.groups.extend(group);
    }
    for b in after {
        if !before.iter().any(|a| a.experiment == b.experiment) {
            let name = &b.experiment;
            comparison
                .unmatched
                .push(format!("{name}: only in the second run"));
        }
    }
    comparison
}

fn push_unmatched(
    unmatched: &mut Vec<String>,
    of: &ExperimentResults,
    other: &ExperimentResults,
    run_name: &str,
) {
    for sample in &of.samples {
        if other
            .get(&sample.metric, &sample.contender, sample.x)
            .is_none()
        {
            unmatched.push(format!(
                "{}: {} of {}{} only in the {run_name} run",
                of.experiment,
                sample.metric,
                sample.contender,
                at(sample.x)
            ));
        }
    }
}

/// Returns the samples of a metric that both runs have.
fn matching_samples<'a>(
    a: &'a ExperimentResults,
    b: &'a ExperimentResults,
    metric: &str,
) -> Vec<(&'a Sample, &'a Sample)> {
    a.of_metric(metric)
        .filter_map(|before| Some((before, b.get(metric, &before.contender, before.x)?)))
        .collect()
}

fn compare_metric(
    experiment: &str,
    metric: &str,
    pairs: &[(&Sample, &Sample)],
    (level, smallest): (f64, Option<f64>),
    better: Option<Better>,
) -> Option<MetricComparison> {
    let unit = pairs.first()?.0.unit.clone();
    let mut rows: Vec<ContenderComparison> = pairs
        .iter()
        .filter_map(|(before, after)| {
            let (before_values, after_values) = (before.values(), after.values());
            Some(ContenderComparison {
                contender: before.contender.clone(),
                x: before.x,
                before: median(&before_values)?,
                after: median(&after_values)?,
                ratio: Estimate::ratio(&after_values, &before_values, level),
                verdict: Verdict::Unknown,
            })
        })
        .collect();
    let ratios: Vec<f64> = rows
        .iter()
        .filter_map(|row| Some(row.ratio?.value))
        .collect();
    let common = median(&ratios).filter(|_| ratios.len() >= MIN_RATIOS);
    for row in &mut rows {
        row.verdict = verdict(row.ratio, common, smallest, better);
    }
    Some(MetricComparison {
        experiment: experiment.to_owned(),
        metric: metric.to_owned(),
        unit,
        common,
        smallest,
        rows,
    })
}

fn verdict(
    ratio: Option<Estimate>,
    common: Option<f64>,
    smallest: Option<f64>,
    better: Option<Better>,
) -> Verdict {
    let Some(ratio) = ratio.filter(|ratio| ratio.rounds > 1 && smallest.is_some()) else {
        return Verdict::Unknown;
    };
    let common = common.unwrap_or(1.0);
    let without_common = Estimate {
        value: ratio.value / common,
        low: ratio.low / common,
        high: ratio.high / common,
        ..ratio
    };
    if !may_claim(&ratio, smallest) {
        return Verdict::Alike;
    }
    if !may_claim(&without_common, smallest) {
        return Verdict::Common;
    }
    match better {
        None => Verdict::Different,
        Some(Better::Lower) if without_common.value < 1.0 => Verdict::Better,
        Some(Better::Higher) if without_common.value > 1.0 => Verdict::Better,
        Some(_) => Verdict::Worse,
    }
}

impl Comparison {
    /// Returns the marked contenders: those with a change that the other contenders do not share.
    pub fn marked(&self) -> impl Iterator<Item = (&MetricComparison, &ContenderComparison)> {
        let rows = self
            .groups
            .iter()
            .flat_map(|group| group.rows.iter().map(move |row| (group, row)));
        rows.filter(|(_, row)| {
            matches!(
                row.verdict,
                Verdict::Better | Verdict::Worse | Verdict::Different
            )
        })
    }
}

impl MetricComparison {
    /// Returns whether the common change exceeds the smallest difference that can be claimed.
    pub fn has_common_change(&self) -> bool {
        let (Some(common), Some(smallest)) = (self.common, self.smallest) else {
            return false;
        };
        common.max(1.0 / common) > smallest
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alike => "",
            Self::Common => "with all",
            Self::Better => "BETTER",
            Self::Worse => "WORSE",
            Self::Different => "DIFFERENT",
            Self::Unknown => "not judged",
        })
    }
}

/// Writes a table for each metric, and then the marked contenders.
impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            group.fmt(f)?;
            writeln!(f)?;
        }
        for unmatched in &self.unmatched {
            writeln!(f, "not compared: {unmatched}")?;
        }
        let marked: Vec<_> = self.marked().collect();
        let compared: usize = self.groups.iter().map(|group| group.rows.len()).sum();
        writeln!(
            f,
            "results with a change that the other contenders do not share: {} of {compared}",
            marked.len()
        )?;
        for (group, row) in marked {
            let MetricComparison {
                experiment, metric, ..
            } = group;
            let ratio = row.ratio.map_or(f64::NAN, |ratio| ratio.value);
            writeln!(
                f,
                "  {experiment} {metric}, {}{}: {ratio:.3} x, {}",
                row.contender,
                at(row.x),
                row.verdict
            )?;
        }
        Ok(())
    }
}

impl Display for MetricComparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.experiment, self.metric)?;
        match self.smallest {
            Some(smallest) => write!(f, ": nothing is claimed below {smallest:.3} x")?,
            None => write!(
                f,
                ": there are fewer than two rounds of an A/A pair, so nothing is claimed"
            )?,
        }
        if let Some(common) = self.common.filter(|_| self.has_common_change()) {
            write!(f, "; all together {common:.3} x")?;
        }
        writeln!(f)?;
        let labels: Vec<String> = self
            .rows
            .iter()
            .map(|row| row.contender.clone() + &at(row.x))
            .collect();
        let width = labels
            .iter()
            .map(|label| label.chars().count())
            .max()
            .unwrap_or(0);
        for (row, label) in self.rows.iter().zip(labels) {
            let (before, after) = (
                format_figure(row.before, &self.unit),
                format_figure(row.after, &self.unit),
            );
            let ratio = match row.ratio {
                Some(Estimate {
                    value, low, high, ..
                }) => format!("{value:.3} x ({low:.3} to {high:.3})"),
                None => "no ratio with zero".to_owned(),
            };
            let line = format!(
                "  {label:width$}  {before:>12}  {after:>12}  {ratio:26}  {}",
                row.verdict
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn at(x: f64) -> String {
    match x {
        0.0 => String::new(),
        x => format!(" at {}", format_count(x)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DiscardedTurns;

    /// Returns the results of ten rounds with 2 % noise. See `record_of`.
    fn record(seed: u64, slower: &[(&str, f64, f64)]) -> Vec<ExperimentResults> {
        record_of(10, 0.02, seed, slower)
    }

    /// Returns the results of 13 contenders at three points. The first contender is measured twice, as an
    /// A/A pair. The machine is up to 2 % slower in some rounds. `slower` lists a contender, a point and the
    /// factor by which the contender is slower at this point.
    fn record_of(
        rounds: u32,
        noise: f64,
        seed: u64,
        slower: &[(&str, f64, f64)],
    ) -> Vec<ExperimentResults> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut samples = Vec::new();
        let slow: Vec<f64> = (0..rounds).map(|_| 1.0 + 0.02 * random.f64()).collect();
        for n in 0..14 {
            let contender = match n {
                13 => format!("cell 0{}", crate::experiment::DUPLICATE_SUFFIX),
                n => format!("cell {n}"),
            };
            for x in [1.0, 10.0, 100.0] {
                let planted = slower
                    .iter()
                    .find(|(name, at, _)| *name == contender && *at == x);
                let factor = planted.map_or(1.0, |(_, _, factor)| *factor);
                let value =
                    |slow: &f64| (100.0 + x) * factor * slow * (1.0 + noise * (random.f64() - 0.5));
                samples.push(Sample {
                    metric: "time".into(),
                    unit: "ms".into(),
                    rounds: (0..).zip(slow.iter().map(value)).collect(),
                    contender: contender.clone(),
                    x,
                });
            }
        }
        vec![ExperimentResults {
            experiment: "pages".into(),
            run: seed.to_string(),
            samples,
            discarded: DiscardedTurns::default(),
        }]
    }

    fn lower(_: &str, _: &str) -> Option<Better> {
        Some(Better::Lower)
    }

    #[test]
    fn runs_that_differ_only_by_noise_are_alike() {
        for seed in 0..24 {
            let (rounds, noise) = [(2, 0.3), (4, 0.3), (10, 0.02)][seed as usize % 3];
            let [before, after] =
                [seed, seed + 100].map(|seed| record_of(rounds, noise, seed, &[]));
            let comparison = compare(&before, &after, lower);
            assert_eq!(comparison.marked().count(), 0, "{comparison}");
            assert!(comparison.unmatched.is_empty());
        }
    }

    #[test]
    fn only_a_planted_slowdown_is_found() {
        for seed in 0..16 {
            let rounds = [4, 10][seed as usize % 2];
            let before = record_of(rounds, 0.02, seed, &[]);
            let planted = record_of(rounds, 0.02, seed + 100, &[("cell 7", 10.0, 1.1)]);
            let comparison = compare(&before, &planted, lower);
            let marked: Vec<_> = comparison.marked().collect();
            assert_eq!(marked.len(), 1, "{comparison}");
            let (_, row) = marked[0];
            assert_eq!((&*row.contender, row.x), ("cell 7", 10.0));
            assert_eq!(row.verdict, Verdict::Worse);
            let back = compare(&planted, &before, lower);
            assert_eq!(back.marked().next().unwrap().1.verdict, Verdict::Better);
        }
    }

    #[test]
    fn a_change_below_two_per_cent_is_never_marked() {
        let steady = |factor: f64| {
            let mut record = record(5, &[]);
            for sample in &mut record[0].samples {
                let cell_factor = if sample.contender == "cell 7" {
                    factor
                } else {
                    1.0
                };
                sample
                    .rounds
                    .values_mut()
                    .for_each(|value| *value = 40.0 * cell_factor);
            }
            record
        };
        for (factor, marked) in [(1.0, 0), (1.019, 0), (1.021, 3), (0.97, 3)] {
            let comparison = compare(&steady(1.0), &steady(factor), lower);
            assert_eq!(comparison.marked().count(), marked, "{comparison}");
        }
    }

    #[test]
    fn a_common_change_is_reported_once() {
        let all = |factor: f64| {
            let mut record = record(3, &[]);
            for sample in &mut record[0].samples {
                sample
                    .rounds
                    .values_mut()
                    .for_each(|value| *value *= factor);
            }
            record
        };
        let comparison = compare(&record(4, &[]), &all(1.2), lower);
        assert_eq!(comparison.marked().count(), 0, "{comparison}");
        assert!(comparison.groups[0].has_common_change());
        assert!(
            comparison.groups[0]
                .rows
                .iter()
                .all(|row| row.verdict == Verdict::Common)
        );
        assert!(comparison.to_string().contains("all together 1."));
    }

    #[test]
    fn without_an_aa_pair_nothing_is_claimed() {
        let mut before = record(1, &[]);
        let mut after = record(2, &[("cell 7", 10.0, 2.0)]);
        for side in [&mut before, &mut after] {
            side[0].samples.retain(|sample| !sample.is_duplicate());
        }
        let comparison = compare(&before, &after, lower);
        assert_eq!(comparison.marked().count(), 0);
        assert!(comparison.to_string().contains("nothing is claimed"));
    }

    #[test]
    fn samples_that_only_one_run_has_are_listed() {
        let mut after = record(2, &[]);
        after[0]
            .samples
            .retain(|sample| sample.contender != "cell 3");
        let comparison = compare(&record(1, &[]), &after, lower);
        assert_eq!(comparison.unmatched.len(), 3);
        assert!(comparison.unmatched[0].contains("cell 3 at 1 only in the first run"));
    }
}
