//! Records by what they are of: for each experiment the values of each metric, contender and point,
//! round by round, without those that were thrown away.

use std::collections::{BTreeMap, BTreeSet};

use crate::experiment::AGAIN;
use crate::record::{Row, Run};
use crate::stats::{Estimate, Rounds, ratios, smallest_difference};

/// What one run saw of one experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The experiment's name.
    pub experiment: String,
    /// The run's.
    pub run: String,
    /// In the order in which they were first seen.
    pub samples: Vec<Sample>,
    /// What does not count.
    pub thrown: Thrown,
    /// Whether its points are events of one turn: a definition says so, and not the records.
    pub trace: bool,
}

/// The values of one metric of one contender at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The contender's name.
    pub contender: String,
    /// The variable's value.
    pub x: f64,
    /// A value for each round that counts.
    pub rounds: Rounds,
    /// Answers that were verified.
    pub answered: u64,
}

/// Turns that were thrown away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thrown {
    /// How many.
    pub turns: usize,
    /// Of how many that were made.
    pub of: usize,
    /// How many for each kind of reason: what stands before its first colon.
    pub reasons: BTreeMap<String, usize>,
}

impl Sample {
    /// The values in the order of their rounds.
    pub fn values(&self) -> Vec<f64> {
        self.rounds.values().copied().collect()
    }

    /// The median and its interval.
    pub fn estimate(&self) -> Option<Estimate> {
        Estimate::of(&self.values())
    }

    /// Whether it is the second of an A/A pair.
    pub fn is_again(&self) -> bool {
        self.contender.ends_with(AGAIN)
    }
}

impl Measured {
    /// Of the rows of one run that are of one experiment.
    fn of(run: &str, experiment: &str, rows: &[&Row]) -> Self {
        let mut samples: Vec<Sample> = Vec::new();
        let mut places: BTreeMap<(&str, &str, u64), usize> = BTreeMap::new();
        let mut made = BTreeSet::new();
        let mut thrown = BTreeMap::new();
        for row in rows {
            let turn = (row.round, row.turn, &row.contender, row.x.to_bits());
            made.insert((turn, &row.thrown));
            // What was thrown takes its place too, so that the order is the one of the turns.
            let key = (&*row.metric, &*row.contender, row.x.to_bits());
            let place = *places.entry(key).or_insert_with(|| {
                samples.push(Sample {
                    metric: row.metric.clone(),
                    unit: row.unit.clone(),
                    contender: row.contender.clone(),
                    x: row.x,
                    rounds: Rounds::new(),
                    answered: 0,
                });
                samples.len() - 1
            });
            if !row.thrown.is_empty() {
                let kind = row.thrown.split(':').next().unwrap_or_default().trim();
                thrown.insert((turn, &row.thrown), kind.to_owned());
                continue;
            }
            samples[place].rounds.insert(row.round, row.value);
            samples[place].answered += row.answered;
        }
        samples.retain(|sample| !sample.rounds.is_empty());
        let mut reasons = BTreeMap::new();
        for kind in thrown.values() {
            *reasons.entry(kind.clone()).or_insert(0) += 1;
        }
        Self {
            experiment: experiment.to_owned(),
            run: run.to_owned(),
            samples,
            thrown: Thrown {
                turns: thrown.len(),
                of: made.len(),
                reasons,
            },
            trace: false,
        }
    }

    /// The names of the metrics, in the order in which they were first seen.
    pub fn metrics(&self) -> Vec<&str> {
        distinct(self.samples.iter().map(|sample| &*sample.metric))
    }

    /// The contenders of a metric in the order in which they were first seen, without the second of
    /// an A/A pair.
    pub fn contenders(&self, metric: &str) -> Vec<&str> {
        let of_metric = self.of_metric(metric).filter(|sample| !sample.is_again());
        distinct(of_metric.map(|sample| &*sample.contender))
    }

    /// The points of a metric, ascending.
    pub fn points(&self, metric: &str) -> Vec<f64> {
        let mut points: Vec<f64> = self.of_metric(metric).map(|sample| sample.x).collect();
        points.sort_by(f64::total_cmp);
        points.dedup();
        points
    }

    /// All samples of a metric.
    pub fn of_metric<'a>(&'a self, metric: &str) -> impl Iterator<Item = &'a Sample> {
        let samples = self.samples.iter();
        samples.filter(move |sample| sample.metric == metric)
    }

    /// One sample.
    pub fn get(&self, metric: &str, contender: &str, x: f64) -> Option<&Sample> {
        self.samples.iter().find(|sample| {
            sample.metric == metric && sample.contender == contender && sample.x == x
        })
    }

    /// One contender as a ratio to another, within rounds.
    pub fn ratio(&self, metric: &str, of: &str, to: &str, x: f64) -> Option<Estimate> {
        let (of, to) = (self.get(metric, of, x)?, self.get(metric, to, x)?);
        Estimate::of(&ratios(&of.rounds, &to.rounds))
    }

    /// The A/A pairs of a metric: whose, at which point, and the ratio in each round.
    pub fn pairs(&self, metric: &str) -> Vec<(&str, f64, Vec<f64>)> {
        let again = self.of_metric(metric).filter(|sample| sample.is_again());
        again
            .filter_map(|again| {
                let name = again.contender.strip_suffix(AGAIN)?;
                let first = self.get(metric, name, again.x)?;
                Some((name, again.x, ratios(&again.rounds, &first.rounds)))
            })
            .collect()
    }

    /// The smallest difference of a metric that can be claimed, as a factor: the largest over all
    /// points, so that no point's luck lowers it.
    pub fn smallest_difference(&self, metric: &str) -> Option<f64> {
        let pairs = self.pairs(metric);
        smallest_difference(pairs.iter().map(|(_, _, ratios)| &ratios[..]))
    }

    /// The most rounds that any sample has.
    pub fn rounds(&self) -> usize {
        let rounds = self.samples.iter().map(|sample| sample.rounds.len());
        rounds.max().unwrap_or(0)
    }
}

/// What was measured of each experiment, in the order in which it was first seen: from the last run
/// that has turns of it that count, as runs are named by when they began. A run that goes on under
/// its own name is one run.
pub fn latest(runs: &[Run]) -> Vec<Measured> {
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
        let mut measured = of_name.map(|((_, run), rows)| Measured::of(run, name, rows));
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
            metric: "wall".into(),
            value,
            unit: "ms".into(),
            answered: 1,
            thrown: String::new(),
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
    fn what_was_thrown_is_counted_and_not_used() {
        let mut bad = row("r", "gather", "a", 0, 900.0);
        bad.thrown = "origin late: p99 12.0 ms, bound 10.0 ms".into();
        let rows = vec![bad, row("r", "gather", "a", 0, 100.0)];
        let measured = latest(&[run("r", rows)]);
        assert_eq!(measured[0].samples[0].values(), [100.0]);
        let thrown = &measured[0].thrown;
        assert_eq!((thrown.turns, thrown.of), (1, 2));
        assert_eq!(thrown.reasons["origin late"], 1);
    }

    #[test]
    fn the_last_run_of_each_experiment_counts() {
        let runs = [
            run("2", vec![row("2", "gather", "a", 0, 2.0)]),
            run(
                "1",
                vec![
                    row("1", "gather", "a", 0, 1.0),
                    row("1", "dose", "a", 0, 1.0),
                ],
            ),
            // It goes on.
            run("2", vec![row("2", "gather", "a", 1, 3.0)]),
        ];
        let measured = latest(&runs);
        assert_eq!(measured.len(), 2);
        assert_eq!(measured[0].samples[0].values(), [2.0, 3.0]);
        assert_eq!((&*measured[1].experiment, &*measured[1].run), ("dose", "1"));
    }

    #[test]
    fn the_second_of_a_pair_is_no_contender() {
        let rows = (0..3).flat_map(|round| {
            let value = 100.0 + f64::from(round);
            [
                row("r", "gather", "a", round, value),
                row("r", "gather", "a (again)", round, value * 1.01),
            ]
        });
        let measured = &latest(&[run("r", rows.collect())])[0];
        assert_eq!(measured.contenders("wall"), ["a"]);
        let smallest = measured.smallest_difference("wall").unwrap();
        assert!((smallest - 1.01).abs() < 1e-9);
        assert_eq!(measured.smallest_difference("cpu"), None);
    }
}
