//! The report: findings, charts and tables, as one page of HTML without external resources, and the
//! same tables as Markdown.
//!
//! In reading order: `experiment_info` describes an experiment, `figures` selects its charts,
//! `titles` computes the titles of charts, `series_style` selects colours, and `table` builds tables. `page` and
//! `markdown` assemble the report. The crate `inflight-charts` draws the charts.

mod experiment_info;
mod figures;
mod markdown;
mod page;
mod series_style;
mod table;
mod titles;

use std::collections::{BTreeMap, BTreeSet};

use crate::data::{ExperimentResults, latest_results};
use crate::record::{self, Environment, Run};

pub use experiment_info::{ExperimentInfo, MetricInfo, VariableInfo};
use figures::View;

/// The head of the table that lists, for each metric, the smallest difference that the report can claim.
const NOISE_HEAD: [&str; 5] = [
    "Experiment",
    "Metric",
    "Smallest difference that can be claimed",
    "Rounds",
    "Discarded",
];

/// The report of the latest results of each experiment.
#[derive(Clone, Debug)]
pub struct Report {
    experiments: Vec<ExperimentInfo>,
    results: Vec<ExperimentResults>,
    environments: BTreeMap<String, Environment>,
}

impl Report {
    /// Creates a report of the last run of each experiment. `experiments` are the known experiments, in
    /// the order of the report. The report lists a known experiment without records as not measured.
    /// Experiments that occur only in the records follow, without a description.
    pub fn new(runs: &[Run], experiments: impl IntoIterator<Item = ExperimentInfo>) -> Self {
        let mut results = latest_results(runs);
        let mut experiments: Vec<ExperimentInfo> = experiments.into_iter().collect();
        for one in &mut results {
            let name = &one.experiment;
            let known = experiments.iter_mut().find(|info| info.name == *name);
            if let Some(info) = known {
                info.arrange(one);
                info.drop_beaten_limits(one);
            } else {
                let info = ExperimentInfo::from_records(one);
                info.arrange(one);
                experiments.push(info);
            }
        }
        let used = |run: &&Run| results.iter().any(|one| one.run == run.id);
        let mut environments = BTreeMap::new();
        for run in runs.iter().filter(used) {
            let environment: &mut Environment = environments.entry(run.id.clone()).or_default();
            environment.extend(run.environment.clone());
        }
        Self {
            experiments,
            results,
            environments,
        }
    }

    /// Returns whether there are no results.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// Returns the names of the experiments without results.
    pub fn missing(&self) -> Vec<&str> {
        let experiments = self.experiments();
        let missing = experiments.filter(|info| self.results_of(&info.name).is_none());
        missing.map(|info| &*info.name).collect()
    }

    fn experiments(&self) -> impl Iterator<Item = &ExperimentInfo> {
        self.experiments.iter()
    }

    fn results_of(&self, name: &str) -> Option<&ExperimentResults> {
        self.results
            .iter()
            .find(|results| results.experiment == name)
    }

    /// Returns the results in the order of the report.
    fn all(&self) -> impl Iterator<Item = &ExperimentResults> {
        self.experiments()
            .filter_map(|info| self.results_of(&info.name))
    }

    fn environments(&self) -> impl Iterator<Item = (&str, &Environment)> {
        self.environments
            .iter()
            .map(|(run, environment)| (&**run, environment))
    }

    /// Returns the rows of the table that lists, for each metric, the smallest difference that the report can
    /// claim. The rows do not include the head, [`NOISE_HEAD`].
    fn noise_rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for results in self.all() {
            let discarded = &results.discarded;
            for metric in results.metrics() {
                rows.push(vec![
                    results.experiment.clone(),
                    metric.to_owned(),
                    titles::format_smallest(results.smallest_difference(metric)),
                    results.rounds().to_string(),
                    format!("{} of {} turns", discarded.turns, discarded.total),
                ]);
            }
        }
        rows
    }

    /// Returns the title of an experiment's first chart.
    fn finding(&self, info: &ExperimentInfo) -> Option<String> {
        let results = self.results_of(&info.name)?;
        let figures = View { info, results }.figures();
        figures.into_iter().next().map(|figure| figure.title)
    }

    /// Returns the first chart of each experiment that has results, as HTML elements, by the name of the experiment.
    pub fn main_charts(&self) -> Vec<(String, String)> {
        let main_chart = |info: &ExperimentInfo| {
            let results = self.results_of(&info.name)?;
            let figure = View { info, results }.figures().into_iter().next()?;
            Some((info.name.clone(), figure.drawn().html()))
        };
        self.experiments().filter_map(main_chart).collect()
    }

    fn run_description(&self, run: &str) -> String {
        let unknown = Environment::new();
        record::describe_run(run, self.environments.get(run).unwrap_or(&unknown))
    }

    /// Returns the distinct descriptions of all runs.
    fn run_descriptions(&self) -> Vec<String> {
        let mut descriptions: Vec<String> = Vec::new();
        for run in self.environments.keys() {
            let description = self.run_description(run);
            if !descriptions.contains(&description) {
                descriptions.push(description);
            }
        }
        descriptions
    }

    /// Returns the commands that reproduce an experiment, or all experiments if the name is empty.
    fn command_for(&self, name: &str) -> String {
        let runs = self
            .all()
            .filter(|one| name.is_empty() || one.experiment == name);
        let effort = |results: &ExperimentResults| {
            let environment = self.environments.get(&results.run)?;
            (environment.get("effort")? == "full").then_some(" --effort full")
        };
        let efforts: BTreeSet<&str> = runs.map(|one| effort(one).unwrap_or_default()).collect();
        let name = match name {
            "" => String::new(),
            name => format!(" {name}"),
        };
        let mut command = String::new();
        for effort in efforts {
            command += &format!("inflight lab run{name}{effort}\n");
        }
        command + "inflight lab report"
    }
}
