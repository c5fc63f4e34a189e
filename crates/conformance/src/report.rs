use std::fmt;

use crate::run::{Outcome, Verdict};

/// The verdicts for several subjects as a table, with a row for each case and a column for each subject.
///
/// `Display` prints readable Markdown: the table with the counts, the reasons of skipped cases, and the
/// failures in full.
#[derive(Debug, Clone, Default)]
pub struct Report {
    columns: Vec<(String, Vec<Verdict>)>,
}

impl Report {
    /// Creates an empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subject's column.
    pub fn add(&mut self, subject: impl Into<String>, verdicts: Vec<Verdict>) {
        self.columns.push((subject.into(), verdicts));
    }

    /// Returns whether any case failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let mut verdicts = self.columns.iter().flat_map(|(_, verdicts)| verdicts);
        verdicts.any(|verdict| matches!(verdict.outcome, Outcome::Failed(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes = Notes(Vec::new());
        let rows = self.rows(&mut notes);
        write_table(f, &rows)?;

        writeln!(f, "\nok: the case passed; **FAIL**: the case failed.")?;
        if !notes.0.is_empty() {
            writeln!(
                f,
                "A number: the case was skipped, because the client does not support it.\n"
            )?;
            for (number, reason) in (1..).zip(&notes.0) {
                writeln!(f, "{number}. {reason}")?;
            }
        }
        self.write_failures(f)
    }
}

impl Report {
    /// Returns the table as text: a head, a row for each case, and the counts.
    fn rows(&self, notes: &mut Notes) -> Vec<Vec<String>> {
        let mut head = vec!["property".to_owned()];
        head.extend(self.columns.iter().map(|(name, _)| name.clone()));
        let mut rows = vec![head];

        // Subjects may have run different cases.
        let mut cases: Vec<(&str, &str)> = Vec::new();
        for verdict in self.columns.iter().flat_map(|(_, verdicts)| verdicts) {
            let case = (verdict.case.group, verdict.case.name);
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        for (group, name) in cases {
            let mut row = vec![format!("{group}::{name}")];
            row.extend(self.columns.iter().map(|(_, verdicts)| {
                let verdict = verdicts
                    .iter()
                    .find(|verdict| (verdict.case.group, verdict.case.name) == (group, name));
                match verdict.map(|verdict| &verdict.outcome) {
                    None => String::new(),
                    Some(Outcome::Passed) => "ok".to_owned(),
                    Some(Outcome::Skipped(reason)) => notes.number(reason).to_string(),
                    Some(Outcome::Failed(_)) => "**FAIL**".to_owned(),
                }
            }));
            rows.push(row);
        }

        let mut counts = vec!["passed, skipped, failed".to_owned()];
        counts.extend(self.columns.iter().map(|(_, verdicts)| count(verdicts)));
        rows.push(counts);
        rows
    }

    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_failures() {
            return Ok(());
        }
        writeln!(f, "\n## Failures\n")?;
        for (name, verdicts) in &self.columns {
            for verdict in verdicts {
                if let Outcome::Failed(why) = &verdict.outcome {
                    let case = verdict.case;
                    writeln!(f, "- {name}, {}::{}: {why}", case.group, case.name)?;
                    writeln!(f, "  (promised: {})", case.promise)?;
                }
            }
        }
        Ok(())
    }
}

fn count(verdicts: &[Verdict]) -> String {
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for verdict in verdicts {
        match verdict.outcome {
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

    fn verdict(index: usize, outcome: Outcome) -> Verdict {
        Verdict {
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
                verdict(0, Outcome::Passed),
                verdict(1, Outcome::Skipped("it is too old")),
                verdict(2, Outcome::Skipped("it is too old")),
            ],
        );
        assert!(!report.has_failures());
        let failed = Outcome::Failed("got 1, wanted 2".to_owned());
        report.add("c/d", vec![verdict(1, Outcome::Passed), verdict(2, failed)]);
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
