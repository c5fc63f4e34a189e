//! The report: what was found, with pictures, as one page of HTML that needs no network, and the
//! same tables as Markdown.
//!
//! In reading order: `subject` is an experiment as the report knows it, `figures` which pictures it
//! has and `titles` what they say, `plot` draws them, `table` has the same figures as text; `page`
//! and `markdown` put them together. `markup`, `scale` and `look` are what all of them use.

mod figures;
mod look;
mod markdown;
mod markup;
mod page;
mod plot;
mod scale;
mod subject;
mod table;
mod titles;

use std::collections::{BTreeMap, BTreeSet};

use crate::data::{Measured, latest};
use crate::record::{self, Environment, Run};

use figures::View;
pub use markdown::MarkerError;
pub use subject::{Axis, Measure, Subject};

/// In which order experiments are told: what waiting is, what blocking does, what it costs. Others
/// follow as they come.
const ORDER: [&str; 19] = [
    "timeline",
    "gather",
    "sequential",
    "bounded",
    "heartbeat",
    "blocking",
    "blockers",
    "dose",
    "offload",
    "lookup",
    "overhead",
    "allocations",
    "syscalls",
    "rate",
    "threads",
    "session",
    "straggler",
    "cancel",
    "large",
];

/// What was measured, ready to be told.
#[derive(Clone, Debug)]
pub struct Report {
    subjects: Vec<Subject>,
    measured: Vec<Measured>,
    environments: BTreeMap<String, Environment>,
}

impl Report {
    /// Of these runs: of each experiment the last run that has it. `subjects` are the experiments
    /// that there are; those that no run has are told as not measured, and those that only the
    /// records have are told as they are.
    pub fn new(runs: &[Run], subjects: impl IntoIterator<Item = Subject>) -> Self {
        let mut measured = latest(runs);
        let mut subjects: Vec<Subject> = subjects.into_iter().collect();
        for one in &mut measured {
            let name = &one.experiment;
            let known = subjects.iter().find(|subject| subject.name == *name);
            if let Some(subject) = known {
                subject.arrange(one);
            } else {
                let subject = Subject::from_records(one);
                subject.arrange(one);
                subjects.push(subject);
            }
        }
        let place = |subject: &Subject| {
            let mut order = ORDER.iter();
            order
                .position(|name| *name == subject.name)
                .unwrap_or(ORDER.len())
        };
        subjects.sort_by_key(place);
        let used = |run: &&Run| measured.iter().any(|one| one.run == run.id);
        let mut environments = BTreeMap::new();
        for run in runs.iter().filter(used) {
            let environment: &mut Environment = environments.entry(run.id.clone()).or_default();
            environment.extend(run.environment.clone());
        }
        Self {
            subjects,
            measured,
            environments,
        }
    }

    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        self.measured.is_empty()
    }

    /// The experiments that no run has.
    pub fn missing(&self) -> Vec<&str> {
        let subjects = self.subjects();
        let missing = subjects.filter(|subject| self.measured(&subject.name).is_none());
        missing.map(|subject| &*subject.name).collect()
    }

    fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.iter()
    }

    fn measured(&self, name: &str) -> Option<&Measured> {
        self.measured
            .iter()
            .find(|measured| measured.experiment == name)
    }

    /// In the order in which they are told.
    fn all(&self) -> impl Iterator<Item = &Measured> {
        self.subjects()
            .filter_map(|subject| self.measured(&subject.name))
    }

    fn environments(&self) -> impl Iterator<Item = (&str, &Environment)> {
        self.environments
            .iter()
            .map(|(run, environment)| (&**run, environment))
    }

    /// The first title of an experiment's pictures.
    fn finding(&self, subject: &Subject) -> Option<String> {
        let measured = self.measured(&subject.name)?;
        let figures = View { subject, measured }.figures();
        figures.into_iter().next().map(|figure| figure.title)
    }

    fn place_of(&self, run: &str) -> String {
        let unknown = Environment::new();
        record::place(run, self.environments.get(run).unwrap_or(&unknown))
    }

    /// The machines and dates of all runs, each once.
    fn places(&self) -> Vec<String> {
        let mut places: Vec<String> = Vec::new();
        for run in self.environments.keys() {
            let place = self.place_of(run);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// The commands that make an experiment's figures; of all where the name is empty.
    fn command_for(&self, name: &str) -> String {
        let runs = self
            .all()
            .filter(|one| name.is_empty() || one.experiment == name);
        let effort = |measured: &Measured| {
            let environment = self.environments.get(&measured.run)?;
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
