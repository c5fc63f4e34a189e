//! An experiment as the report knows it: from its definition where there is one, else from the
//! records alone.

use std::collections::BTreeMap;

use crate::data::Measured;
use crate::experiment::{Better, Experiment, Limit};

/// An experiment's words, and its limits.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// A heading.
    pub title: String,
    /// What it asks.
    pub question: String,
    /// How each answer is checked.
    pub verified: String,
    /// What is varied.
    pub variable: Option<Axis>,
    /// What is measured; the first decides.
    pub metrics: Vec<Measure>,
    /// Who takes part, in the order in which they are told. The runner's order is another in each
    /// round.
    pub contenders: Vec<String>,
    /// Whether it is a trace: its points are events, and it is told of one round.
    pub trace: bool,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Whether it spans magnitudes.
    pub logarithmic: bool,
}

/// A metric.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Its name in the records.
    pub name: String,
    /// What it is.
    pub what: String,
    /// Its unit.
    pub unit: String,
    /// Which direction is better, where somebody said so.
    pub better: Option<Better>,
    /// What cannot be beaten.
    pub limit: Option<Limit>,
}

impl From<&Experiment> for Subject {
    fn from(experiment: &Experiment) -> Self {
        Self {
            name: experiment.name.to_owned(),
            title: experiment.title.to_owned(),
            question: experiment.question.to_owned(),
            verified: experiment.verified.to_owned(),
            variable: experiment.variable.map(|variable| Axis {
                name: variable.name.to_owned(),
                unit: variable.unit.to_owned(),
                logarithmic: variable.logarithmic,
            }),
            metrics: experiment
                .metrics
                .iter()
                .map(|metric| Measure {
                    name: metric.name.to_owned(),
                    what: metric.what.to_owned(),
                    unit: metric.unit.to_owned(),
                    better: Some(metric.better),
                    limit: metric.limit,
                })
                .collect(),
            contenders: (experiment.contenders)()
                .into_iter()
                .map(|contender| contender.name)
                .collect(),
            trace: experiment.work.trace,
        }
    }
}

impl Subject {
    /// What the records tell by themselves.
    pub fn from_records(measured: &Measured) -> Self {
        let name = &measured.experiment;
        let metrics = measured.metrics();
        let varied = metrics
            .iter()
            .any(|metric| measured.points(metric) != [0.0]);
        Self {
            name: name.clone(),
            title: name.clone(),
            question: "The records have it; this program has no definition of it.".to_owned(),
            verified: "unknown".to_owned(),
            variable: varied.then(|| Axis {
                name: "x".to_owned(),
                unit: String::new(),
                logarithmic: false,
            }),
            metrics: metrics
                .into_iter()
                .map(|metric| Measure {
                    name: metric.to_owned(),
                    what: metric.to_owned(),
                    unit: measured
                        .of_metric(metric)
                        .next()
                        .map(|sample| sample.unit.clone())
                        .unwrap_or_default(),
                    better: None,
                    limit: None,
                })
                .collect(),
            contenders: Vec::new(),
            trace: false,
        }
    }

    /// Puts what was measured into the order of the contenders: those that nobody named come after
    /// the others, by name, and the second of an A/A pair last. Of a trace it leaves each contender
    /// its first round.
    pub fn arrange(&self, measured: &mut Measured) {
        measured.trace = self.trace;
        if self.trace {
            first_round(measured);
        }
        measured.samples.sort_by_cached_key(|sample| {
            let mut known = self.contenders.iter();
            let place = known.position(|name| *name == sample.contender);
            let named = place.unwrap_or(self.contenders.len());
            let other = place.map_or(sample.contender.clone(), |_| String::new());
            (sample.is_again(), named, other, sample.x.to_bits())
        });
    }

    /// The metric with this name.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

impl Measure {
    /// The limit at a point, if it is one.
    pub fn limit_at(&self, x: f64) -> Option<f64> {
        let limit = self.limit.as_ref()?;
        Some((limit.at)(x)).filter(|limit| limit.is_finite())
    }
}

/// Events of two rounds would be a heart that beats twice as fast.
fn first_round(measured: &mut Measured) {
    let mut first: BTreeMap<String, u32> = BTreeMap::new();
    for sample in &measured.samples {
        for round in sample.rounds.keys() {
            let known = first.entry(sample.contender.clone()).or_insert(*round);
            *known = (*known).min(*round);
        }
    }
    for sample in &mut measured.samples {
        let first = first.get(&sample.contender);
        sample.rounds.retain(|round, _| Some(round) == first);
    }
    measured.samples.retain(|sample| !sample.rounds.is_empty());
}
