//! The findings and the tables of the report, as Markdown.

use super::figures::View;
use super::table::{TableCell, measured_metrics, tables};
use super::titles;
use super::{NOISE_HEAD, Report};
use crate::data::ExperimentResults;
use crate::factors::Spread;
use crate::markdown::{self, MarkerError, escaped};

impl Report {
    /// Replaces the text between the markers of a page. The rest of the page does not change.
    ///
    /// # Errors
    ///
    /// If the page has no markers or an invalid marker.
    pub fn fill(&self, page: &str) -> Result<String, MarkerError> {
        markdown::fill(page, "lab", |name| self.markdown(name))
    }

    /// Returns the text for a marker: the name of an experiment, such as `gather`, for its tables; `gather:titles` for
    /// the titles of its charts; or `findings`, `effects` or `noise`.
    pub fn markdown(&self, name: &str) -> Option<String> {
        match name {
            "findings" => Some(self.findings()),
            "effects" => Some(self.effects()),
            "noise" => Some(self.noise_table()),
            _ => match name.strip_suffix(":titles") {
                Some(name) => self.experiment_titles(name),
                None => self.experiment_tables(name),
            },
        }
    }

    /// Describes the runs, and the commands that made the results.
    fn provenance(&self, experiments: &str) -> String {
        let command = self.command_for(experiments).replace('\n', " && ");
        let runs = escaped(&self.run_descriptions().join(" "));
        format!("{runs} Made by `{command}`.")
    }

    fn findings(&self) -> String {
        let mut text = String::new();
        for info in self.experiments() {
            let finding = self.finding(info);
            let finding = finding.unwrap_or_else(|| "not measured in these records".to_owned());
            text += &format!("- `{}`: {}\n", info.name, escaped(&finding));
        }
        format!("{text}\n{}", self.provenance(""))
    }

    /// Lists, for each experiment with a heat map, how much the runtime and the client matter.
    fn effects(&self) -> String {
        let head = EFFECTS_HEAD.map(str::to_owned);
        let rows: Vec<Vec<String>> = self
            .experiments()
            .filter_map(|info| {
                Some(View {
                    info,
                    results: self.results_of(&info.name)?,
                })
            })
            .filter_map(|view| effects_of(&view))
            .collect();
        let table = match rows.is_empty() {
            true => "No experiment in these records has all nine cells.\n".to_owned(),
            false => markdown::table(&head, &rows),
        };
        format!("{table}\n{}", self.provenance(""))
    }

    fn noise_table(&self) -> String {
        let table = markdown::table(&NOISE_HEAD.map(str::to_owned), &self.noise_rows());
        format!("{table}\n{}", self.provenance(""))
    }

    /// Lists the titles of an experiment's charts, without the first one.
    fn experiment_titles(&self, name: &str) -> Option<String> {
        let info = self.experiments().find(|info| info.name == name)?;
        let Some(results) = self.results_of(name) else {
            return Some(not_measured(name));
        };
        let figures = View { info, results }.figures();
        let titles = figures.iter().skip(1);
        let titles: String = titles
            .map(|figure| format!("- {}\n", escaped(&figure.title)))
            .collect();
        Some(format!("{titles}\n{}", self.experiment_provenance(results)))
    }

    fn experiment_provenance(&self, results: &ExperimentResults) -> String {
        format!(
            "{} Made by `{}`; {}.",
            escaped(&self.run_description(&results.run)),
            self.command_for(&results.experiment).replace('\n', " && "),
            titles::describe_discarded(results)
        )
    }

    fn experiment_tables(&self, name: &str) -> Option<String> {
        let info = self.experiments().find(|info| info.name == name)?;
        let Some(results) = self.results_of(name) else {
            return Some(not_measured(name));
        };
        let mut text = String::new();
        for table in tables(info, results) {
            let rows: Vec<Vec<String>> = table
                .rows
                .iter()
                .map(|row| {
                    let cells = row.cells.iter().map(cell_text);
                    std::iter::once(row.name.clone()).chain(cells).collect()
                })
                .collect();
            text += &format!(
                "\n{}:\n\n{}",
                table.caption,
                markdown::table(&table.head, &rows)
            );
        }
        text += &format!("\n{}", self.experiment_provenance(results));
        Some(text)
    }
}

fn not_measured(name: &str) -> String {
    format!("`{name}` is not measured in these records.")
}

/// The head of the table that shows how much the runtime and the client matter.
const EFFECTS_HEAD: [&str; 5] = [
    "Experiment",
    "Measured",
    "Largest factor between runtimes",
    "Largest factor between clients",
    "Noise",
];

fn effects_of(view: &View<'_>) -> Option<Vec<String>> {
    let metric = *measured_metrics(view.info, view.results).first()?;
    let x = view.heat_map_point(metric)?;
    let spreads = view.spreads(metric, x)?;
    let factor = |spread: &Spread| {
        let factor = titles::format_ratio(spread.factor);
        format!("{factor} ({} to {})", spread.lowest, spread.highest)
    };
    let at = match view.describe_point(x) {
        at if at.is_empty() => at,
        at => format!(" ({at})"),
    };
    Some(vec![
        view.info.name.clone(),
        format!("{}{at}", metric.label),
        factor(spreads.between_runtimes()),
        factor(spreads.between_clients()),
        titles::format_smallest(view.results.smallest_difference(&metric.name)),
    ])
}

fn cell_text(cell: &TableCell) -> String {
    match &cell.interval {
        Some(interval) => format!("{} ({interval})", cell.text),
        None => cell.text.clone(),
    }
}
