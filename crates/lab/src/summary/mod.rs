//! The summary of a run, in which `just bench` ends: three sentences, and the tables on which they rest.
//!
//! `answer` computes the sentences, `tables` the tables, and `ranking` compares contenders. `disturbance` finds the
//! figures that were measured while the machine was busy. `layout` formats tables.

mod answer;
mod disturbance;
mod layout;
mod ranking;
mod tables;

use crate::data::{self, ExperimentResults};
use crate::peers;
use crate::record::{self, Run};
use crate::{experiments, markdown};

pub use answer::Answer;
use disturbance::Disturbances;
pub use layout::WIDTH;
use layout::{SummaryTable, legend, wrapped};
use tables::Measured;

/// The summary of the latest results of each experiment in some runs.
pub struct Summary {
    answer: Answer,
    warnings: Vec<String>,
    stalls: Option<SummaryTable>,
    costs: Option<SummaryTable>,
    cells: Option<SummaryTable>,
    ratios: Option<SummaryTable>,
    everything: Vec<SummaryTable>,
    provenance: String,
}

impl Summary {
    /// Summarizes runs. Returns `None` if they have no results.
    pub fn new(runs: &[Run]) -> Option<Self> {
        let results = data::latest_results(runs);
        if results.is_empty() {
            return None;
        }
        let disturbances = Disturbances::new(runs, &results);
        let measured = Measured {
            results: &results,
            disturbances: &disturbances,
        };
        let mut warnings: Vec<String> = disturbances.warning().into_iter().collect();
        warnings.extend(interruption(runs, &results));
        warnings.extend(absent_peers(runs));
        Some(Self {
            answer: Answer::new(measured, unmeasured(runs, &results)),
            warnings,
            stalls: tables::stalls(measured),
            costs: tables::costs(measured),
            cells: tables::cells(measured),
            ratios: tables::ratios(measured),
            everything: tables::everything(measured),
            provenance: provenance(runs, &results),
        })
    }

    /// Returns the sentences.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    fn tables(&self) -> impl Iterator<Item = &SummaryTable> {
        [&self.stalls, &self.costs, &self.cells, &self.ratios]
            .into_iter()
            .flatten()
    }

    /// Returns the sentences, the warnings and the tables, for a terminal with [`WIDTH`] columns.
    pub fn text(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (number, sentence) in (1..).zip(self.answer.sentences()) {
            parts.push(wrapped(&format!("{number}. {sentence}")));
        }
        parts.extend(self.warnings.iter().map(|warning| wrapped(warning)));
        parts.extend(self.tables().map(SummaryTable::text));
        let legend: String = legend(self.tables()).into_iter().map(wrapped).collect();
        parts.push(legend + &wrapped(&self.provenance));
        parts.join("\n")
    }

    /// Returns all figures as Markdown: a table for each metric at each point.
    pub fn everything(&self) -> String {
        self.markdown_of(&self.everything)
    }

    /// Returns the Markdown of a block: `answer`, `stalls`, `costs`, `cells`, `ratios` or `everything`. Returns `None`
    /// if there is no such block.
    pub fn markdown(&self, block: &str) -> Option<String> {
        Some(match block {
            "answer" => {
                let sentences = self.answer.sentences().into_iter().zip(1..);
                let items = sentences
                    .map(|(sentence, n)| format!("{n}. {}\n", markdown::escaped(sentence)));
                items.collect::<String>() + "\n" + &self.provenance
            }
            "stalls" => self.markdown_of(&self.stalls),
            "costs" => self.markdown_of(&self.costs),
            "cells" => self.markdown_of(&self.cells),
            "ratios" => self.markdown_of(&self.ratios),
            "everything" => self.everything(),
            _ => return None,
        })
    }

    /// Returns tables as Markdown, with the legend and the provenance.
    fn markdown_of<'a>(&self, tables: impl IntoIterator<Item = &'a SummaryTable> + Copy) -> String {
        let mut parts: Vec<String> = tables.into_iter().map(SummaryTable::markdown).collect();
        let legend = legend(tables).join("; ");
        if !legend.is_empty() {
            parts.push(format!("Legend: {}.\n", markdown::escaped(&legend)));
        }
        // The provenance contains code in backticks.
        parts.push(self.provenance.clone());
        parts.join("\n")
    }
}

/// Returns the runs whose results are shown.
fn shown<'a>(runs: &'a [Run], results: &'a [ExperimentResults]) -> impl Iterator<Item = &'a Run> {
    runs.iter()
        .filter(|run| results.iter().any(|one| one.run == run.id))
}

/// Returns the experiments that the last run was to measure and that have no results.
fn unmeasured(runs: &[Run], results: &[ExperimentResults]) -> Vec<String> {
    let planned = runs
        .last()
        .and_then(|run| run.environment.get("experiments"));
    let planned = planned.map_or("", String::as_str).split(' ');
    let names: Vec<String> = planned
        .filter(|name| experiments::find(name).is_some())
        .filter(|name| results.iter().all(|one| one.experiment != *name))
        .map(str::to_owned)
        .collect();
    match names.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "anything about {}, which it did not measure",
            answer::list(names)
        )],
    }
}

/// Reports a run that ended early.
fn interruption(runs: &[Run], results: &[ExperimentResults]) -> Option<String> {
    let last = runs.last()?;
    let planned = last.environment.get("experiments")?.split(' ').count();
    let begun = results.iter().filter(|one| one.run == last.id).count();
    let is_interrupted = last
        .environment
        .get(record::END)
        .is_some_and(|end| end == record::INTERRUPTED);
    is_interrupted.then(|| {
        format!(
            "The run was interrupted. It has results of {begun} of {planned} experiments. `just bench-resume` measures \
             the rest."
        )
    })
}

/// Reports the contenders in other languages that were left out because they are not installed.
fn absent_peers(runs: &[Run]) -> Option<String> {
    let environment = &runs.last()?.environment;
    let is_absent = |key: &str| environment.get(key).is_some_and(|value| value == "absent");
    let absent = peers::all().iter().map(|peer| peer.name);
    let absent: Vec<String> = absent
        .filter(|name| is_absent(&format!("peer.{name}")))
        .map(str::to_owned)
        .collect();
    (!absent.is_empty()).then(|| {
        format!(
            "Left out, because they are not installed: {}. `just peers` installs them or prints which tools are missing.",
            answer::list(absent)
        )
    })
}

/// Describes the machine and the runs whose results are shown.
fn provenance(runs: &[Run], results: &[ExperimentResults]) -> String {
    let mut machines: Vec<(String, Vec<String>)> = Vec::new();
    for run in shown(runs, results) {
        let machine = record::describe_run(&run.id, &run.environment);
        let command = command(run);
        match machines.iter_mut().find(|(known, _)| *known == machine) {
            Some((_, commands)) if commands.contains(&command) => {}
            Some((_, commands)) => commands.push(command),
            None => machines.push((machine, vec![command])),
        }
    }
    let sentences = machines
        .into_iter()
        .map(|(machine, commands)| format!("{machine} Made by {}.", answer::list(commands)));
    sentences.collect::<Vec<_>>().join(" ")
}

/// Returns the command that made a run.
fn command(run: &Run) -> String {
    let get = |key| run.environment.get(key).map_or("", String::as_str);
    let names: Vec<&str> = get("experiments").split(' ').collect();
    let mut all = experiments::all().iter();
    let names = match all.all(|experiment| names.contains(&experiment.name)) {
        true => String::new(),
        false => format!(" {}", names.join(" ")),
    };
    format!("`inflight lab run{names} --effort {}`", get("effort"))
}
