//! Two records side by side: what became slower or faster, of the same machine or of another.
//!
//! What all contenders of an experiment share is the machine's or the origin's, and told once for
//! all of them; a contender is marked for what is its own. A mark takes three things: the interval
//! of the ratio leaves out 1, the ratio exceeds [`NEAR`] and the smallest difference that the A/A
//! pairs of both records allow, and both still hold when the common part is taken out.

use std::fmt::{self, Display, Formatter};

use crate::data::{Measured, Sample};
use crate::experiment::Better;
use crate::stats::{Estimate, LEVEL, may_claim, median};
use crate::text::{count, figure};

/// All that both records have.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// By experiment and metric.
    pub groups: Vec<Group>,
    /// Experiments, contenders and points that only one of them has.
    pub alone: Vec<String>,
}

/// One metric of one experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The experiment.
    pub experiment: String,
    /// The metric.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// What the contenders have in common: the median of their ratios.
    pub common: Option<f64>,
    /// What is the smallest difference that can be claimed, as a factor.
    pub smallest: Option<f64>,
    /// Each contender at each point.
    pub rows: Vec<Compared>,
}

/// One contender at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Who.
    pub contender: String,
    /// Where.
    pub x: f64,
    /// The median in the first.
    pub before: f64,
    /// The median in the second.
    pub after: f64,
    /// The second as a ratio to the first.
    pub ratio: Option<Estimate>,
    /// What it means.
    pub verdict: Verdict,
}

/// What a ratio means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No difference that can be claimed.
    Alike,
    /// A difference, and all of the experiment has it.
    Common,
    /// A difference of its own, for the better.
    Better,
    /// A difference of its own, for the worse.
    Worse,
    /// A difference of its own; nobody said which direction is better.
    Different,
    /// One round, no A/A pair, or a value of zero: nothing is claimed.
    Unknown,
}

/// What shares a common part: with fewer, one contender's own would be taken for it.
const ENOUGH: usize = 4;

/// What is nearer than this is alike, however small the difference that an A/A pair allows. A pair
/// is measured within one run; where the code of a process and its memory come to lie, and how
/// tasks happen to be scheduled, moves a figure from one run to the next by as much. It matters for
/// figures that hardly vary within a run, as counts do, or a wall time that is made of delays.
pub const NEAR: f64 = 1.02;

/// Compares what two records have of the same experiments. `better` is asked by experiment and
/// metric.
pub fn compare(
    before: &[Measured],
    after: &[Measured],
    better: impl Fn(&str, &str) -> Option<Better>,
) -> Comparison {
    let mut comparison = Comparison {
        groups: Vec::new(),
        alone: Vec::new(),
    };
    let mut both = Vec::new();
    for a in before {
        let Some(b) = after.iter().find(|b| b.experiment == a.experiment) else {
            let name = &a.experiment;
            comparison.alone.push(format!("{name}: only in the first"));
            continue;
        };
        // A trace is one round of events, and not a measurement that is repeated.
        if a.trace || b.trace || a.rounds().max(b.rounds()) < 2 {
            let name = &a.experiment;
            comparison.alone.push(format!("{name}: one round"));
            continue;
        }
        lone(&mut comparison.alone, a, b, "first");
        lone(&mut comparison.alone, b, a, "second");
        for metric in a.metrics() {
            both.push((a, b, metric, pairs(a, b, metric)));
        }
    }
    // One in twenty intervals leaves out the truth: of four hundred figures, twenty would be marked
    // for nothing.
    let figures: usize = both.iter().map(|(.., pairs)| pairs.len()).sum();
    let level = 1.0 - (1.0 - LEVEL) / figures.max(1) as f64;
    for (a, b, metric, pairs) in both {
        let smallest = [a, b].map(|side| side.smallest_difference(metric));
        let smallest = smallest.into_iter().flatten().reduce(f64::max);
        let smallest = smallest.map(|smallest| smallest.max(NEAR));
        let better = better(&a.experiment, metric);
        let group = group(&a.experiment, metric, &pairs, (level, smallest), better);
        comparison.groups.extend(group);
    }
    for b in after {
        if !before.iter().any(|a| a.experiment == b.experiment) {
            let name = &b.experiment;
            comparison.alone.push(format!("{name}: only in the second"));
        }
    }
    comparison
}

fn lone(alone: &mut Vec<String>, of: &Measured, other: &Measured, which: &str) {
    for sample in &of.samples {
        if other
            .get(&sample.metric, &sample.contender, sample.x)
            .is_none()
        {
            alone.push(format!(
                "{}: {} of {}{} only in the {which}",
                of.experiment,
                sample.metric,
                sample.contender,
                at(sample.x)
            ));
        }
    }
}

/// A metric's figures that both have.
fn pairs<'a>(a: &'a Measured, b: &'a Measured, metric: &str) -> Vec<(&'a Sample, &'a Sample)> {
    a.of_metric(metric)
        .filter_map(|before| Some((before, b.get(metric, &before.contender, before.x)?)))
        .collect()
}

fn group(
    experiment: &str,
    metric: &str,
    pairs: &[(&Sample, &Sample)],
    (level, smallest): (f64, Option<f64>),
    better: Option<Better>,
) -> Option<Group> {
    let unit = pairs.first()?.0.unit.clone();
    let mut rows: Vec<Compared> = pairs
        .iter()
        .filter_map(|(before, after)| {
            let (was, is) = (before.values(), after.values());
            Some(Compared {
                contender: before.contender.clone(),
                x: before.x,
                before: median(&was)?,
                after: median(&is)?,
                ratio: Estimate::of_ratio(&is, &was, level),
                verdict: Verdict::Unknown,
            })
        })
        .collect();
    let ratios: Vec<f64> = rows
        .iter()
        .filter_map(|row| Some(row.ratio?.value))
        .collect();
    let common = median(&ratios).filter(|_| ratios.len() >= ENOUGH);
    for row in &mut rows {
        row.verdict = verdict(row.ratio, common, smallest, better);
    }
    Some(Group {
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
    let own = Estimate {
        value: ratio.value / common,
        low: ratio.low / common,
        high: ratio.high / common,
        ..ratio
    };
    if !may_claim(&ratio, smallest) {
        return Verdict::Alike;
    }
    if !may_claim(&own, smallest) {
        return Verdict::Common;
    }
    match better {
        None => Verdict::Different,
        Some(Better::Lower) if own.value < 1.0 => Verdict::Better,
        Some(Better::Higher) if own.value > 1.0 => Verdict::Better,
        Some(_) => Verdict::Worse,
    }
}

impl Comparison {
    /// The contenders with a difference of their own.
    pub fn marked(&self) -> impl Iterator<Item = (&Group, &Compared)> {
        let rows = |group| std::iter::repeat(group).zip(Group::rows(group));
        self.groups.iter().flat_map(rows).filter(|(_, row)| {
            matches!(
                row.verdict,
                Verdict::Better | Verdict::Worse | Verdict::Different
            )
        })
    }
}

impl Group {
    fn rows(&self) -> &[Compared] {
        &self.rows
    }

    /// Whether what all have in common may be told as a difference.
    pub fn common_is_seen(&self) -> bool {
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

/// A table for each group, and at the end what is marked.
impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            group.fmt(f)?;
            writeln!(f)?;
        }
        for alone in &self.alone {
            writeln!(f, "not compared: {alone}")?;
        }
        let marked: Vec<_> = self.marked().collect();
        let compared: usize = self.groups.iter().map(|group| group.rows.len()).sum();
        writeln!(f, "{} of {compared} differ on their own", marked.len())?;
        for (group, row) in marked {
            let Group {
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

impl Display for Group {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.experiment, self.metric)?;
        match self.smallest {
            Some(smallest) => write!(f, ": nothing is claimed below {smallest:.3} x")?,
            None => write!(
                f,
                ": there are not two rounds of an A/A pair, so nothing is claimed"
            )?,
        }
        if let Some(common) = self.common.filter(|_| self.common_is_seen()) {
            write!(f, "; all together {common:.3} x")?;
        }
        writeln!(f)?;
        let who: Vec<String> = self
            .rows
            .iter()
            .map(|row| row.contender.clone() + &at(row.x))
            .collect();
        let width = who.iter().map(|who| who.chars().count()).max().unwrap_or(0);
        for (row, who) in self.rows.iter().zip(who) {
            let (before, after) = (
                figure(row.before, &self.unit),
                figure(row.after, &self.unit),
            );
            let ratio = match row.ratio {
                Some(Estimate {
                    value, low, high, ..
                }) => format!("{value:.3} x ({low:.3} to {high:.3})"),
                None => "no ratio to or of zero".to_owned(),
            };
            let line = format!(
                "  {who:width$}  {before:>12}  {after:>12}  {ratio:26}  {}",
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
        x => format!(" at {}", count(x)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Thrown;

    /// Ten rounds with two per cent of noise.
    fn record(seed: u64, slower: &[(&str, f64, f64)]) -> Vec<Measured> {
        record_of(10, 0.02, seed, slower)
    }

    /// Thirteen cells and the first again at three points, and whole rounds that are slow.
    fn record_of(rounds: u32, noise: f64, seed: u64, slower: &[(&str, f64, f64)]) -> Vec<Measured> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut samples = Vec::new();
        let slow: Vec<f64> = (0..rounds).map(|_| 1.0 + 0.02 * random.f64()).collect();
        for n in 0..14 {
            let contender = match n {
                13 => format!("cell 0{}", crate::experiment::AGAIN),
                n => format!("cell {n}"),
            };
            for x in [1.0, 10.0, 100.0] {
                let planted = slower
                    .iter()
                    .find(|(who, at, _)| *who == contender && *at == x);
                let factor = planted.map_or(1.0, |(_, _, factor)| *factor);
                let value =
                    |slow: &f64| (100.0 + x) * factor * slow * (1.0 + noise * (random.f64() - 0.5));
                samples.push(Sample {
                    metric: "wall".into(),
                    unit: "ms".into(),
                    rounds: (0..).zip(slow.iter().map(value)).collect(),
                    contender: contender.clone(),
                    x,
                    answered: 1,
                });
            }
        }
        vec![Measured {
            experiment: "gather".into(),
            run: seed.to_string(),
            samples,
            thrown: Thrown::default(),
            trace: false,
        }]
    }

    fn lower(_: &str, _: &str) -> Option<Better> {
        Some(Better::Lower)
    }

    #[test]
    fn two_runs_of_the_same_are_alike() {
        for seed in 0..24 {
            let (rounds, noise) = [(2, 0.3), (4, 0.3), (10, 0.02)][seed as usize % 3];
            let [before, after] =
                [seed, seed + 100].map(|seed| record_of(rounds, noise, seed, &[]));
            let comparison = compare(&before, &after, lower);
            assert_eq!(comparison.marked().count(), 0, "{comparison}");
            assert!(comparison.alone.is_empty());
        }
    }

    #[test]
    fn a_planted_slowdown_is_found_and_nothing_else() {
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
    fn what_hardly_varies_is_marked_for_no_less_than_two_per_cent() {
        let steady = |factor: f64| {
            let mut record = record(5, &[]);
            for sample in &mut record[0].samples {
                let own = if sample.contender == "cell 7" {
                    factor
                } else {
                    1.0
                };
                sample
                    .rounds
                    .values_mut()
                    .for_each(|value| *value = 40.0 * own);
            }
            record
        };
        for (factor, marked) in [(1.0, 0), (1.019, 0), (1.021, 3), (0.97, 3)] {
            let comparison = compare(&steady(1.0), &steady(factor), lower);
            assert_eq!(comparison.marked().count(), marked, "{comparison}");
        }
    }

    #[test]
    fn what_all_share_is_told_once() {
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
        assert!(comparison.groups[0].common_is_seen());
        assert!(
            comparison.groups[0]
                .rows
                .iter()
                .all(|row| row.verdict == Verdict::Common)
        );
        assert!(comparison.to_string().contains("all together 1."));
    }

    #[test]
    fn without_a_pair_nothing_is_claimed() {
        let mut before = record(1, &[]);
        let mut after = record(2, &[("cell 7", 10.0, 2.0)]);
        for side in [&mut before, &mut after] {
            side[0].samples.retain(|sample| !sample.is_again());
        }
        let comparison = compare(&before, &after, lower);
        assert_eq!(comparison.marked().count(), 0);
        assert!(comparison.to_string().contains("nothing is claimed"));
    }

    #[test]
    fn what_only_one_has_is_named() {
        let mut after = record(2, &[]);
        after[0]
            .samples
            .retain(|sample| sample.contender != "cell 3");
        let comparison = compare(&record(1, &[]), &after, lower);
        assert_eq!(comparison.alone.len(), 3);
        assert!(comparison.alone[0].contains("cell 3 at 1 only in the first"));
    }
}
