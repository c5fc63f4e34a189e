//! Finds the figures that were measured while the machine was busy.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::{ExperimentResults, Sample};
use crate::machine_load::BUSY_CORES;
use crate::record::{Row, Run};

/// A contender at a point of an experiment in a run: run, experiment, contender and the bits of the point.
type SampleKey = (String, String, String, u64);

/// The figures that were measured while the machine was busy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disturbances {
    disturbed: BTreeSet<SampleKey>,
    /// The number of contenders at all points of all experiments.
    total: usize,
    /// The mean number of cores that other programs used, if the records contain it.
    other_cores: Option<f64>,
}

/// The turns of a contender at a point.
#[derive(Default)]
struct Turns {
    /// [`Row::other_cores`] of the turns that were not discarded.
    other_cores: Vec<f64>,
    measured: BTreeSet<u32>,
    discarded: BTreeSet<u32>,
}

impl Turns {
    fn add(&mut self, row: &Row) {
        if row.discard_reason.is_empty() {
            self.measured.insert(row.round);
            self.other_cores.extend(row.other_cores);
        } else {
            self.discarded.insert(row.round);
        }
    }

    /// Returns whether other programs used the machine, or whether a round is missing because the server was late or
    /// busy each time.
    fn is_disturbed(&self) -> bool {
        is_busy(&self.other_cores) || !self.discarded.is_subset(&self.measured)
    }
}

/// Returns whether other programs used at least [`BUSY_CORES`], and clearly more than nothing: the mean exceeds twice its
/// standard error. In short turns, single values are inexact.
fn is_busy(other_cores: &[f64]) -> bool {
    let Some(mean) = mean(other_cores) else {
        return false;
    };
    let rounds = other_cores.len() as f64;
    let squares = other_cores.iter().map(|value| (value - mean).powi(2));
    let variance = squares.sum::<f64>() / (rounds - 1.0).max(1.0);
    mean >= BUSY_CORES && mean > 2.0 * (variance / rounds).sqrt()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

impl Disturbances {
    /// Finds the disturbed figures in `results`, whose records are in `runs`.
    pub(crate) fn new(runs: &[Run], results: &[ExperimentResults]) -> Self {
        let mut turns: BTreeMap<SampleKey, Turns> = BTreeMap::new();
        for row in runs.iter().flat_map(|run| &run.rows) {
            let mut used = results.iter();
            if used.any(|one| one.run == row.run && one.experiment == row.experiment) {
                turns
                    .entry(key(&row.run, &row.experiment, &row.contender, row.x))
                    .or_default()
                    .add(row);
            }
        }
        let all: Vec<f64> = turns
            .values()
            .flat_map(|turns| turns.other_cores.iter().copied())
            .collect();
        Self {
            total: turns.len(),
            other_cores: mean(&all),
            disturbed: turns
                .into_iter()
                .filter(|(_, turns)| turns.is_disturbed())
                .map(|(key, _)| key)
                .collect(),
        }
    }

    pub(crate) fn contains(&self, results: &ExperimentResults, sample: &Sample) -> bool {
        let key = key(
            &results.run,
            &results.experiment,
            &sample.contender,
            sample.x,
        );
        self.disturbed.contains(&key)
    }

    /// Returns a warning, if any figure was disturbed.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.disturbed.is_empty() {
            return None;
        }
        let load = match self.other_cores {
            Some(cores) if cores >= BUSY_CORES => {
                format!(" On average, other programs used {cores:.1} cores.")
            }
            _ => String::new(),
        };
        Some(format!(
            "Warning: the machine was busy during {} of {} measurements.{load} Their figures are marked with !. \
             Repeat the run when the machine is idle.",
            self.disturbed.len(),
            self.total
        ))
    }
}

fn key(run: &str, experiment: &str, contender: &str, x: f64) -> SampleKey {
    (run.into(), experiment.into(), contender.into(), x.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::latest_results;

    fn row(contender: &str, round: u32, discard_reason: &str, other_cores: f64) -> Row {
        Row {
            run: "r".into(),
            experiment: "pages".into(),
            contender: contender.into(),
            x: 1.0,
            round,
            turn: 0,
            metric: "time".into(),
            value: 100.0,
            unit: "ms".into(),
            answered: 1,
            discard_reason: discard_reason.into(),
            other_cores: Some(other_cores),
        }
    }

    #[test]
    fn figures_of_a_busy_machine_and_lost_rounds_are_disturbed() {
        let rows = vec![
            row("quiet", 0, "", 0.1),
            // The first attempt at this round was discarded. The second one succeeded.
            row("quiet", 1, "origin late", 0.9),
            row("quiet", 1, "", -0.1),
            row("busy", 0, "", 0.9),
            row("busy", 1, "", 0.8),
            // The mean is above the bound, but the values are too inexact.
            row("inexact", 0, "", 2.0),
            row("inexact", 1, "", -1.0),
            row("lost", 0, "", 0.0),
            row("lost", 1, "origin late", 0.0),
        ];
        let runs = [Run {
            id: "r".into(),
            rows,
            ..Run::default()
        }];
        let results = latest_results(&runs);
        let disturbances = Disturbances::new(&runs, &results);
        let disturbed: Vec<&str> = results[0]
            .samples
            .iter()
            .filter(|sample| disturbances.contains(&results[0], sample))
            .map(|sample| &*sample.contender)
            .collect();
        assert_eq!(disturbed, ["busy", "lost"]);
        let warning = disturbances.warning().unwrap();
        assert!(warning.contains("2 of 4 measurements"), "{warning}");
    }
}
