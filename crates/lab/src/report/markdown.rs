//! Inserts the tables as Markdown between markers in a page.

use std::fmt;

use super::Report;
use super::figures::View;
use super::table::{TableCell, tables};
use super::titles;
use crate::text::number;

const BEGIN: &str = "<!-- lab:begin ";
const END: &str = "<!-- lab:end ";
const CLOSE: &str = " -->";

/// The reason why a page cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkerError {
    /// The page has no markers.
    None,
    /// A begin marker has no end marker. Contains its name.
    Open(String),
    /// A name is unknown.
    Unknown(String),
}

impl fmt::Display for MarkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "the page has no marker `{BEGIN}NAME{CLOSE}`"),
            Self::Open(name) => write!(f, "`{BEGIN}{name}{CLOSE}` has no `{END}{name}{CLOSE}`"),
            Self::Unknown(name) => write!(
                f,
                "unknown name {name:?}: a name is that of an experiment, `findings`, `effects` or \
                 `noise`"
            ),
        }
    }
}

impl std::error::Error for MarkerError {}

impl Report {
    /// Replaces the text between the markers of a page. The other text does not change.
    ///
    /// # Errors
    ///
    /// If the page has no markers or an invalid one.
    pub fn fill(&self, page: &str) -> Result<String, MarkerError> {
        let mut out = String::new();
        let mut rest = page;
        while let Some(at) = rest.find(BEGIN) {
            let after = &rest[at + BEGIN.len()..];
            let open = || MarkerError::Open(after.lines().next().unwrap_or_default().to_owned());
            let (name, _) = after.split_once(CLOSE).ok_or_else(open)?;
            let end = format!("{END}{name}{CLOSE}");
            let closed = after
                .find(&end)
                .ok_or_else(|| MarkerError::Open(name.to_owned()))?;
            let text = self
                .markdown(name)
                .ok_or_else(|| MarkerError::Unknown(name.to_owned()))?;
            out += &rest[..at];
            out += &format!("{BEGIN}{name}{CLOSE}\n\n{}\n\n{end}", text.trim());
            rest = &after[closed + end.len()..];
        }
        if out.is_empty() {
            return Err(MarkerError::None);
        }
        Ok(out + rest)
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

    /// Describes the runs and the command.
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
            let Some(measured) = self.measured(&info.name) else {
                continue;
            };
            let view = View { info, measured };
            let Some(separation) = view.separation() else {
                continue;
            };
            let at = match view.at(separation.x) {
                at if at.is_empty() => String::new(),
                at => format!(" ({at})"),
            };
            let what = info.metrics.first().map_or("", |metric| &metric.what);
            let rest = separation
                .residual()
                .map_or(String::new(), |rest| format!(" {rest}"));
            text += &format!(
                "- `{}`, {what}{at}: {}\n",
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
        let mut rows = Vec::new();
        for measured in self.all() {
            for metric in measured.metrics() {
                rows.push(vec![
                    measured.experiment.clone(),
                    metric.to_owned(),
                    titles::smallest(measured.smallest_difference(metric)),
                    number(measured.rounds() as f64),
                    format!(
                        "{} of {} turns",
                        measured.discarded.turns, measured.discarded.total
                    ),
                ]);
            }
        }
        let head = [
            "experiment",
            "metric",
            "smallest difference",
            "rounds",
            "thrown away",
        ];
        format!(
            "{}\n{}",
            aligned(&head.map(str::to_owned), &rows),
            self.provenance("")
        )
    }

    fn experiment_tables(&self, name: &str) -> Option<String> {
        let info = self.experiments().find(|info| info.name == name)?;
        let Some(measured) = self.measured(name) else {
            return Some(format!("`{name}` is not measured in these records."));
        };
        let view = View { info, measured };
        let mut text = String::new();
        if let Some(finding) = self.finding(info) {
            text += &format!("**{}.**\n", escaped(finding.trim_end_matches('.')));
        }
        for table in tables(info, measured) {
            let rows: Vec<Vec<String>> = table
                .rows
                .iter()
                .map(|row| {
                    let cells = row.cells.iter().map(cell_text);
                    std::iter::once(row.name.clone()).chain(cells).collect()
                })
                .collect();
            text += &format!("\n{}:\n\n{}", table.caption, aligned(&table.head, &rows));
        }
        let first = info.metrics.first().map_or("", |metric| &metric.name);
        let command = self.command_for(name).replace('\n', " && ");
        text += &format!(
            "\n{} Made by `{command}`; {}; {}.",
            escaped(&self.run_description(&measured.run)),
            view.threshold(first),
            titles::discarded(measured)
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

/// Formats a Markdown table with aligned columns.
fn aligned(head: &[String], rows: &[Vec<String>]) -> String {
    let all: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().map(Vec::as_slice))
        .map(|row| {
            row.iter()
                .map(|cell| escaped(cell).replace('|', "\\|"))
                .collect()
        })
        .collect();
    let width = |n: usize| {
        all.iter()
            .map(|row| row[n].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for (n, row) in all.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            text += &format!("| {cell:width$} ");
        }
        text += "|\n";
        if n == 0 {
            for width in &widths {
                text += &format!("|{}", "-".repeat(width + 2));
            }
            text += "|\n";
        }
    }
    text
}

/// Escapes text for Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '&' => out += "&amp;",
            '*' | '`' | '[' | ']' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
