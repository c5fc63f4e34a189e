//! Groups records by experiment, metric, contender and point, without discarded turns.
//!
//! A point is a value of the experiment's variable. A turn is one measurement of one contender at one point.
//! An A/A pair consists of two contenders with the same program, so their difference is noise.

use std::collections::{BTreeMap, BTreeSet};

use crate::experiment::DUPLICATE_SUFFIX;
use crate::record::{Row, Run};
use crate::stats::{Estimate, Rounds, ratios, smallest_difference};

/// The results of one experiment in one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExperimentResults {
    /// The experiment's name.
    pub experiment: String,
    /// The ID of the run.
    pub run: String,
    /// The samples, in the order in which they first occur.
    pub samples: Vec<Sample>,
    /// The turns that were discarded.
    pub discarded: DiscardedTurns,
}

/// The values of one metric of one contender at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub metric: String,
    /// The unit of the values.
    pub unit: String,
    /// The contender's name.
    pub contender: String,
    /// The point.
    pub x: f64,
    /// The value of the metric in each round, without discarded turns.
    pub rounds: Rounds,
}

/// The discarded turns of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscardedTurns {
    /// The number of discarded turns.
    pub turns: usize,
    /// The number of all turns.
    pub total: usize,
    /// The number of discarded turns for each kind of reason. The kind is the part of the reason before the
    /// first colon.
    pub reasons: BTreeMap<String, usize>,
}

impl Sample {
    /// Returns the values in the order of the rounds.
    pub fn values(&self) -> Vec<f64> {
        self.rounds.values().copied().collect()
    }

    /// Returns the median and its confidence interval.
    pub fn estimate(&self) -> Option<Estimate> {
        Estimate::new(&self.values())
    }

    /// Returns whether the contender is the second of an A/A pair.
    pub fn is_duplicate(&self) -> bool {
        self.contender.ends_with(DUPLICATE_SUFFIX)
    }
}

impl ExperimentResults {
    /// Groups the rows of one experiment in one run.
    fn from_rows(run: &str, experiment: &str, rows: &[&Row]) -> Self {
        let mut samples: Vec<Sample> = Vec::new();
        let mut places: BTreeMap<(&str, &str, u64), usize> = BTreeMap::new();
        let mut turns = BTreeSet::new();
        let mut discarded = BTreeMap::new();
        for row in rows {
            let turn = (row.round, row.turn, &row.contender, row.x.to_bits());
            turns.insert((turn, &row.discard_reason));
            // A discarded row also creates a sample, so that samples are in the order of the turns.
            let key = (&*row.metric, &*row.contender, row.x.to_bits());
            let place = *places.entry(key).or_insert_with(|| {
                samples.push(Sample {
                    metric: row.metric.clone(),
                    unit: row.unit.clone(),
                    contender: row.contender.clone(),
                    x: row.x,
                    rounds: Rounds::new(),
                });
                samples.len() - 1
            });
            if !row.discard_reason.is_empty() {
                let kind = row
                    .discard_reason
                    .split(':')
                    .next()
                    .unwrap_or_default()
                    .trim();
                discarded.insert((turn, &row.discard_reason), kind.to_owned());
                continue;
            }
            samples[place].rounds.insert(row.round, row.value);
        }
        samples.retain(|sample| !sample.rounds.is_empty());
        let mut reasons = BTreeMap::new();
        for kind in discarded.values() {
            *reasons.entry(kind.clone()).or_insert(0) += 1;
        }
        Self {
            experiment: experiment.to_owned(),
            run: run.to_owned(),
            samples,
            discarded: DiscardedTurns {
                turns: discarded.len(),
                total: turns.len(),
                reasons,
            },
        }
    }

    /// Returns the names of the metrics, in the order in which they first occur.
    pub fn metrics(&self) -> Vec<&str> {
        distinct(self.samples.iter().map(|sample| &*sample.metric))
    }

    /// Returns the contenders of a metric in the order in which they first occur, without the second
    /// of an A/A pair.
    pub fn contenders(&self, metric: &str) -> Vec<&str> {
        let of_metric = self
            .of_metric(metric)
            .filter(|sample| !sample.is_duplicate());
        distinct(of_metric.map(|sample| &*sample.contender))
    }

    /// Returns the points of a metric in ascending order.
    pub fn points(&self, metric: &str) -> Vec<f64> {
        let mut points: Vec<f64> = self.of_metric(metric).map(|sample| sample.x).collect();
        points.sort_by(f64::total_cmp);
        points.dedup();
        points
    }

    /// Returns all samples of a metric.
    pub fn of_metric<'a>(&'a self, metric: &str) -> impl Iterator<Item = &'a Sample> {
        let samples = self.samples.iter();
        samples.filter(move |sample| sample.metric == metric)
    }

    /// Returns the sample of a contender at a point.
    pub fn get(&self, metric: &str, contender: &str, x: f64) -> Option<&Sample> {
        self.samples.iter().find(|sample| {
            sample.metric == metric && sample.contender == contender && sample.x == x
        })
    }

    /// Returns the ratio of the contender `of` to the contender `to`. It is the median of the ratios of the
    /// individual rounds.
    pub fn ratio(&self, metric: &str, of: &str, to: &str, x: f64) -> Option<Estimate> {
        let (of, to) = (self.get(metric, of, x)?, self.get(metric, to, x)?);
        Estimate::new(&ratios(&of.rounds, &to.rounds))
    }

    /// Returns the factor that a ratio of two contenders must exceed to be claimed as a difference. See
    /// [`smallest_difference`].
    pub fn smallest_difference(&self, metric: &str) -> Option<f64> {
        let samples = self.of_metric(metric);
        let pairs = samples.filter_map(|duplicate| {
            let name = duplicate.contender.strip_suffix(DUPLICATE_SUFFIX)?;
            let first = self.get(metric, name, duplicate.x)?;
            Some(ratios(&duplicate.rounds, &first.rounds))
        });
        smallest_difference(pairs)
    }

    /// Returns the largest number of rounds of any sample.
    pub fn rounds(&self) -> usize {
        let rounds = self.samples.iter().map(|sample| sample.rounds.len());
        rounds.max().unwrap_or(0)
    }
}

/// Returns the latest results of each experiment: those of the last run that has a valid turn of the
/// experiment. Experiments are in the order in which they first occur. Run IDs are start times, so they sort
/// by time. A resumed run has one ID and counts as one run.
pub fn latest_results(runs: &[Run]) -> Vec<ExperimentResults> {
    let mut names: Vec<&str> = Vec::new();
    let mut rows: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for run in runs {
        for row in &run.rows {
            if !names.contains(&&*row.experiment) {
                names.push(&row.experiment);
            }
            let of = rows.entry((&row.experiment, &run.id)).or_default();
            of.push(row);
        }
    }
    let last = |name: &&str| {
        let of_name = rows.iter().rev().filter(|((of, _), _)| of == name);
        let mut measured =
            of_name.map(|((_, run), rows)| ExperimentResults::from_rows(run, name, rows));
        measured.find(|measured| !measured.samples.is_empty())
    };
    names.iter().filter_map(last).collect()
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: &str, experiment: &str, contender: &str, round: u32, value: f64) -> Row {
        Row {
            run: run.into(),
            experiment: experiment.into(),
            contender: contender.into(),
            x: 1.0,
            round,
            turn: 0,
            metric: "time".into(),
            value,
            unit: "ms".into(),
            answered: 1,
            discard_reason: String::new(),
            other_cores: None,
        }
    }

    fn run(id: &str, rows: Vec<Row>) -> Run {
        Run {
            id: id.into(),
            rows,
            ..Run::default()
        }
    }

    #[test]
    fn discarded_turns_are_counted_and_not_used() {
        let mut bad = row("r", "pages", "a", 0, 900.0);
        bad.discard_reason = "origin late: p99 12.0 ms, bound 10.0 ms".into();
        let rows = vec![bad, row("r", "pages", "a", 0, 100.0)];
        let measured = latest_results(&[run("r", rows)]);
        assert_eq!(measured[0].samples[0].values(), [100.0]);
        let discarded = &measured[0].discarded;
        assert_eq!((discarded.turns, discarded.total), (1, 2));
        assert_eq!(discarded.reasons["origin late"], 1);
    }

    #[test]
    fn the_last_run_of_each_experiment_is_used() {
        let runs = [
            run("2", vec![row("2", "pages", "a", 0, 2.0)]),
            run(
                "1",
                vec![
                    row("1", "pages", "a", 0, 1.0),
                    row("1", "other", "a", 0, 1.0),
                ],
            ),
            // Run 2 was resumed, so the file has a second part of it.
            run("2", vec![row("2", "pages", "a", 1, 3.0)]),
        ];
        let measured = latest_results(&runs);
        assert_eq!(measured.len(), 2);
        assert_eq!(measured[0].samples[0].values(), [2.0, 3.0]);
        assert_eq!(
            (&*measured[1].experiment, &*measured[1].run),
            ("other", "1")
        );
    }

    #[test]
    fn the_second_of_an_aa_pair_is_not_a_contender() {
        let rows = (0..3).flat_map(|round| {
            let value = 100.0 + f64::from(round);
            [
                row("r", "pages", "a", round, value),
                row("r", "pages", "a (again)", round, value * 1.01),
            ]
        });
        let measured = &latest_results(&[run("r", rows.collect())])[0];
        assert_eq!(measured.contenders("time"), ["a"]);
        let smallest = measured.smallest_difference("time").unwrap();
        assert!((smallest - 1.01).abs() < 1e-9);
        assert_eq!(measured.smallest_difference("size"), None);
    }
}
