use std::fmt;

use crate::run::{CaseResult, Outcome};

/// The results of several backends as a table, with a row for each case and a column for each backend.
///
/// `Display` prints readable Markdown: the table with the counts, the reasons of skipped cases, and the
/// failures in full.
#[derive(Debug, Clone, Default)]
pub struct Report {
    columns: Vec<(String, Vec<CaseResult>)>,
}

impl Report {
    /// Creates an empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column with the results of a backend.
    pub fn add(&mut self, backend: impl Into<String>, results: Vec<CaseResult>) {
        self.columns.push((backend.into(), results));
    }

    /// Returns whether any case failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let mut results = self.columns.iter().flat_map(|(_, results)| results);
        results.any(|result| matches!(result.outcome, Outcome::Failed(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes = Notes(Vec::new());
        let rows = self.rows(&mut notes);
        write_table(f, &rows)?;

        writeln!(
            f,
            "\nok: the case passed; **FAIL**: the case failed; empty: the case did not run."
        )?;
        if !notes.0.is_empty() {
            writeln!(
                f,
                "A number: the case was skipped, for the reason with this number.\n"
            )?;
            for (number, reason) in (1..).zip(&notes.0) {
                writeln!(f, "{number}. {reason}")?;
            }
        }
        self.write_failures(f)
    }
}

impl Report {
    /// Returns the rows of the table: a head, a row for each case, and a row of counts.
    fn rows(&self, notes: &mut Notes) -> Vec<Vec<String>> {
        let mut head = vec!["property".to_owned()];
        head.extend(self.columns.iter().map(|(name, _)| name.clone()));
        let mut rows = vec![head];

        // Backends may have run different cases.
        let mut cases: Vec<(&str, &str)> = Vec::new();
        for result in self.columns.iter().flat_map(|(_, results)| results) {
            let case = (result.case.group, result.case.name);
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        for (group, name) in cases {
            let mut row = vec![format!("{group}::{name}")];
            row.extend(self.columns.iter().map(|(_, results)| {
                let result = results
                    .iter()
                    .find(|result| (result.case.group, result.case.name) == (group, name));
                match result.map(|result| &result.outcome) {
                    None => String::new(),
                    Some(Outcome::Passed) => "ok".to_owned(),
                    Some(Outcome::Skipped(reason)) => notes.number(reason).to_string(),
                    Some(Outcome::Failed(_)) => "**FAIL**".to_owned(),
                }
            }));
            rows.push(row);
        }

        let mut counts = vec!["passed, skipped, failed".to_owned()];
        counts.extend(self.columns.iter().map(|(_, results)| count(results)));
        rows.push(counts);
        rows
    }

    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_failures() {
            return Ok(());
        }
        writeln!(f, "\n## Failures\n")?;
        for (name, results) in &self.columns {
            for result in results {
                if let Outcome::Failed(why) = &result.outcome {
                    let case = result.case;
                    writeln!(f, "- {name}, {}::{}: {why}", case.group, case.name)?;
                    writeln!(f, "  (promised: {})", case.promise)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the numbers of passed, skipped and failed cases.
fn count(results: &[CaseResult]) -> String {
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for result in results {
        match result.outcome {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(_) => skipped += 1,
            Outcome::Failed(_) => failed += 1,
        }
    }
    format!("{passed}, {skipped}, {failed}")
}

/// Writes the table with padded columns, so that its source is readable.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            write!(f, "| {cell:width$} ")?;
        }
        writeln!(f, "|")?;
        if index == 0 {
            for width in &widths {
                write!(f, "|{:-<1$}", "", width + 2)?;
            }
            writeln!(f, "|")?;
        }
    }
    Ok(())
}

/// The reasons of skipped cases, each listed once.
struct Notes(Vec<&'static str>);

impl Notes {
    /// Returns the number of a reason in the list, counted from 1. Adds the reason if it is new.
    fn number(&mut self, reason: &'static str) -> usize {
        let at = self.0.iter().position(|known| *known == reason);
        at.unwrap_or_else(|| {
            self.0.push(reason);
            self.0.len() - 1
        }) + 1
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cases;

    fn result(index: usize, outcome: Outcome) -> CaseResult {
        CaseResult {
            case: &cases()[index],
            outcome,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn reasons_are_listed_once_and_failures_in_full() {
        let mut report = Report::new();
        report.add(
            "a/b",
            vec![
                result(0, Outcome::Passed),
                result(1, Outcome::Skipped("it is too old")),
                result(2, Outcome::Skipped("it is too old")),
            ],
        );
        assert!(!report.has_failures());
        let failed = Outcome::Failed("got 1, wanted 2".to_owned());
        report.add("c/d", vec![result(1, Outcome::Passed), result(2, failed)]);
        assert!(report.has_failures());

        let text = report.to_string();
        assert_eq!(text.matches("it is too old").count(), 1);
        assert!(
            text.contains("1, 2, 0") && text.contains("1, 0, 1"),
            "{text}"
        );
        let failure = format!(
            "- c/d, {}::{}: got 1, wanted 2",
            cases()[2].group,
            cases()[2].name
        );
        assert!(text.contains(&failure), "{text}");
        let width = text.lines().next().unwrap().len();
        let table = text.lines().take_while(|line| line.starts_with('|'));
        assert!(table.into_iter().all(|line| line.len() == width), "{text}");
    }
}
