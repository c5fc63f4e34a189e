//! The description of an experiment in the report. It comes from the definition of the experiment, or
//! from the records if there is no definition.

use crate::data::ExperimentResults;
use crate::experiment::{Better, ChartStyle, Experiment, Limit, Target};
use crate::stats::median;

/// The share of the target that a contender must reach. In runs with many rounds, a contender that keeps up
/// misses the target by at most 0.2 %.
const TARGET_SHARE: f64 = 0.99;

/// The description of an experiment.
#[derive(Clone, Debug)]
pub struct ExperimentInfo {
    /// The name.
    pub name: String,
    /// The title, used as a heading.
    pub title: String,
    /// The question that the experiment answers.
    pub question: String,
    /// How responses are verified.
    pub verification: String,
    /// The independent variable, if there is one.
    pub variable: Option<VariableInfo>,
    /// The metrics. The first one is the primary metric.
    pub metrics: Vec<MetricInfo>,
    /// The contenders in the order of the report.
    pub contenders: Vec<String>,
    /// The contender that is a deliberate mistake. Charts leave it out, because it would dominate their
    /// scale.
    pub mistake: Option<String>,
}

/// The independent variable of an experiment.
#[derive(Clone, Debug)]
pub struct VariableInfo {
    /// The axis label.
    pub name: String,
    /// The unit.
    pub unit: String,
}

/// The description of a metric.
#[derive(Clone, Debug)]
pub struct MetricInfo {
    /// The name in the records.
    pub name: String,
    /// The axis label.
    pub label: String,
    /// The unit.
    pub unit: String,
    /// Which direction is better, if known.
    pub better: Option<Better>,
    /// The physical limit, if there is one.
    pub limit: Option<Limit>,
    /// The value that the experiment asks for, if there is one.
    pub target: Option<Target>,
    /// The time after which the experiment itself ends what it measures, in the metric's unit.
    pub timeout: Option<f64>,
    /// The style of the metric's charts.
    pub chart_style: ChartStyle,
}

impl From<&Experiment> for ExperimentInfo {
    fn from(experiment: &Experiment) -> Self {
        Self {
            name: experiment.name.to_owned(),
            title: experiment.title.to_owned(),
            question: experiment.question.to_owned(),
            verification: experiment.verification.to_owned(),
            variable: experiment.variable.map(|variable| VariableInfo {
                name: variable.name.to_owned(),
                unit: variable.unit.to_owned(),
            }),
            metrics: experiment
                .metrics
                .iter()
                .map(|metric| MetricInfo {
                    name: metric.name.to_owned(),
                    label: metric.label.to_owned(),
                    unit: metric.unit.to_owned(),
                    better: Some(metric.better),
                    limit: metric.limit,
                    target: metric.target,
                    timeout: metric.timeout,
                    chart_style: metric.chart_style,
                })
                .collect(),
            contenders: experiment
                .contenders()
                .into_iter()
                .map(|contender| contender.name)
                .collect(),
            mistake: experiment
                .execution
                .peers
                .and_then(|work| work.mistake)
                .map(str::to_owned),
        }
    }
}

impl ExperimentInfo {
    /// Creates a description from the records alone.
    pub fn from_records(results: &ExperimentResults) -> Self {
        let name = &results.experiment;
        let metrics = results.metrics();
        let varied = metrics.iter().any(|metric| results.points(metric) != [0.0]);
        Self {
            name: name.clone(),
            title: name.clone(),
            question: "This program has no definition of this experiment.".to_owned(),
            verification: "unknown".to_owned(),
            variable: varied.then(|| VariableInfo {
                name: "x".to_owned(),
                unit: String::new(),
            }),
            metrics: metrics
                .into_iter()
                .map(|metric| MetricInfo {
                    name: metric.to_owned(),
                    label: metric.to_owned(),
                    unit: results
                        .of_metric(metric)
                        .next()
                        .map(|sample| sample.unit.clone())
                        .unwrap_or_default(),
                    better: None,
                    limit: None,
                    target: None,
                    timeout: None,
                    chart_style: ChartStyle::Default,
                })
                .collect(),
            contenders: Vec::new(),
            mistake: None,
        }
    }

    /// Sorts the samples by contender, in the order of `contenders`. Other contenders follow, by name. The
    /// second contender of an A/A pair (two contenders with the same program) comes last.
    pub fn arrange(&self, results: &mut ExperimentResults) {
        results.samples.sort_by_cached_key(|sample| {
            let mut known = self.contenders.iter();
            let place = known.position(|name| *name == sample.contender);
            let named = place.unwrap_or(self.contenders.len());
            let other = place.map_or(sample.contender.clone(), |_| String::new());
            (sample.is_duplicate(), named, other, sample.x.to_bits())
        });
    }

    /// Removes each limit that a median of the results beats: then it is not a limit, and the report must not call
    /// it one.
    pub fn drop_beaten_limits(&mut self, results: &ExperimentResults) {
        for metric in &mut self.metrics {
            let beats = |x: f64, value: f64| {
                let limit = metric.limit_at(x);
                limit.is_some_and(|limit| match metric.better {
                    Some(Better::Higher) => value > limit,
                    _ => value < limit,
                })
            };
            let mut samples = results.of_metric(&metric.name);
            let is_beaten =
                samples.any(|one| median(&one.values()).is_some_and(|value| beats(one.x, value)));
            if is_beaten {
                metric.limit = None;
            }
        }
    }
}

impl MetricInfo {
    /// Returns the limit at a point, if it is finite.
    pub fn limit_at(&self, x: f64) -> Option<f64> {
        let limit = self.limit.as_ref()?;
        Some((limit.at)(x)).filter(|limit| limit.is_finite())
    }

    /// Returns the target at a point, if it is finite.
    pub fn target_at(&self, x: f64) -> Option<f64> {
        let target = self.target.as_ref()?;
        Some((target.at)(x)).filter(|target| target.is_finite())
    }

    /// Returns whether a value reaches the target at a point, within 1 %. Without a target, every value does.
    pub fn reaches_target(&self, x: f64, value: f64) -> bool {
        let target = self.target_at(x);
        target.is_none_or(|target| value >= target * TARGET_SHARE)
    }

    /// Returns whether a value is so close to the timeout that the experiment's own setting determines it.
    pub fn is_timeout(&self, value: f64) -> bool {
        self.timeout.is_some_and(|timeout| value >= 0.9 * timeout)
    }
}
