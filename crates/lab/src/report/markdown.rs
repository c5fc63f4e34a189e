//! The findings and the tables of the report, as Markdown.

use super::figures::View;
use super::table::{TableCell, tables};
use super::titles;
use super::{NOISE_HEAD, Report};
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

    /// Returns the text for a marker: the name of an experiment, `findings`, `effects` or `noise`.
    pub fn markdown(&self, name: &str) -> Option<String> {
        match name {
            "findings" => Some(self.findings()),
            "effects" => Some(self.effects()),
            "noise" => Some(self.noise_table()),
            _ => self.experiment_tables(name),
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

    fn effects(&self) -> String {
        let mut text = String::new();
        for info in self.experiments() {
            let Some(results) = self.results_of(&info.name) else {
                continue;
            };
            let view = View { info, results };
            let Some(separation) = view.separation() else {
                continue;
            };
            let at = match view.describe_point(separation.x) {
                at if at.is_empty() => String::new(),
                at => format!(" ({at})"),
            };
            let label = info.metrics.first().map_or("", |metric| &metric.label);
            let rest = separation
                .describe_residual()
                .map_or(String::new(), |rest| format!(" {rest}"));
            text += &format!(
                "- `{}`, {label}{at}: {}\n",
                info.name,
                escaped(&(separation.sentence() + &rest))
            );
        }
        if text.is_empty() {
            text = "No experiment in these records has all nine cells.\n".to_owned();
        }
        format!("{text}\n{}", self.provenance(""))
    }

    fn noise_table(&self) -> String {
        let table = markdown::table(&NOISE_HEAD.map(str::to_owned), &self.noise_rows());
        format!("{table}\n{}", self.provenance(""))
    }

    fn experiment_tables(&self, name: &str) -> Option<String> {
        let info = self.experiments().find(|info| info.name == name)?;
        let Some(results) = self.results_of(name) else {
            return Some(format!("`{name}` is not measured in these records."));
        };
        let view = View { info, results };
        let mut text = String::new();
        if let Some(finding) = self.finding(info) {
            text += &format!("**{}.**\n", escaped(finding.trim_end_matches('.')));
        }
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
        let first = info.metrics.first().map_or("", |metric| &metric.name);
        let command = self.command_for(name).replace('\n', " && ");
        text += &format!(
            "\n{} Made by `{command}`; {}; {}.",
            escaped(&self.run_description(&results.run)),
            view.describe_threshold(first),
            titles::describe_discarded(results)
        );
        Some(text)
    }
}

fn cell_text(cell: &TableCell) -> String {
    match &cell.interval {
        Some(interval) => format!("{} ({interval})", cell.text),
        None => cell.text.clone(),
    }
}
