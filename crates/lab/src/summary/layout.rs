//! Tables of the summary, as text for a terminal and as Markdown.

use crate::markdown;

/// The maximum width of a line in a terminal, in columns.
pub const WIDTH: usize = 100;

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SummaryTable {
    /// What the table shows, with the unit.
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<SummaryCell>>,
    /// The number of leading columns that hold names. The other columns hold figures.
    pub(crate) names: usize,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SummaryCell {
    pub(crate) text: String,
    pub(crate) mark: Option<Mark>,
    /// Whether the machine was busy during the measurement.
    pub(crate) is_disturbed: bool,
}

/// How a figure compares with the best one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The best figure.
    Best,
    /// A figure that the run cannot tell from the best one, or a ratio that it cannot tell from 1.
    Tied,
}

impl SummaryCell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Returns the marks: `best`, `=`, `!` or a combination of them.
    fn marks(&self) -> String {
        let mark = self.mark.map(|mark| match mark {
            Mark::Best => "best",
            Mark::Tied => "=",
        });
        let disturbed = self.is_disturbed.then_some("!");
        mark.into_iter()
            .chain(disturbed)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Returns the text with its marks.
    pub(crate) fn marked_text(&self) -> String {
        format!("{} {}", self.text, self.marks())
            .trim_end()
            .to_owned()
    }
}

/// Explains intervals, and the marks that occur in the tables.
pub(crate) fn legend<'a>(tables: impl IntoIterator<Item = &'a SummaryTable>) -> Vec<&'static str> {
    let (mut best, mut tied, mut disturbed) = (false, false, false);
    let rows = tables.into_iter().flat_map(|table| &table.rows);
    for cell in rows.flatten() {
        best |= cell.mark == Some(Mark::Best);
        tied |= cell.mark == Some(Mark::Tied);
        disturbed |= cell.is_disturbed;
    }
    let lines = [
        (true, "a (b to c): the median and its 95 % interval"),
        (
            best,
            "best: the best figure of those that the table compares",
        ),
        (
            tied,
            "=: this run cannot tell this figure from the best one, or this ratio from 1",
        ),
        (
            disturbed,
            "!: the machine was busy during this measurement, so the figure may be wrong",
        ),
    ];
    lines
        .into_iter()
        .filter(|(occurs, _)| *occurs)
        .map(|(_, line)| line)
        .collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

impl SummaryTable {
    /// Formats the table for a terminal: the title and the aligned columns. Figures are aligned to the right.
    pub(crate) fn text(&self) -> String {
        let columns: Vec<Column> = (0..self.head.len()).map(|n| self.column(n)).collect();
        let line = |cells: Vec<String>| cells.join("  ").trim_end().to_owned() + "\n";
        let mut text = wrapped(&self.title);
        text += &line(
            columns
                .iter()
                .zip(&self.head)
                .map(|(column, head)| column.pad(head))
                .collect(),
        );
        let rules = columns.iter().map(|column| column.width);
        let rule = rules.sum::<usize>() + 2 * columns.len().saturating_sub(1);
        text += &format!("{}\n", "-".repeat(rule));
        for row in &self.rows {
            text += &line(
                columns
                    .iter()
                    .zip(row)
                    .map(|(column, cell)| column.cell(cell))
                    .collect(),
            );
        }
        text
    }

    fn column(&self, n: usize) -> Column {
        let cells = || self.rows.iter().filter_map(|row| row.get(n));
        let figure = cells().map(|cell| width(&cell.text)).max().unwrap_or(0);
        let marks = cells().map(|cell| width(&cell.marks())).max().unwrap_or(0);
        let body = figure + if marks > 0 { 1 + marks } else { 0 };
        Column {
            is_name: n < self.names,
            figure,
            body,
            width: body.max(width(&self.head[n])),
        }
    }

    /// Formats the table as Markdown, with the title in bold.
    pub(crate) fn markdown(&self) -> String {
        let rows = self.rows.iter();
        let rows: Vec<Vec<String>> = rows
            .map(|row| row.iter().map(SummaryCell::marked_text).collect())
            .collect();
        let title = markdown::escaped(&self.title);
        format!("**{title}**\n\n{}", markdown::table(&self.head, &rows))
    }
}

/// The widths of a column.
struct Column {
    is_name: bool,
    /// The width of the figures without marks.
    figure: usize,
    /// The width of the figures with their marks.
    body: usize,
    width: usize,
}

impl Column {
    fn pad(&self, text: &str) -> String {
        let width = self.width;
        match self.is_name {
            true => format!("{text:<width$}"),
            false => format!("{text:>width$}"),
        }
    }

    fn cell(&self, cell: &SummaryCell) -> String {
        if self.is_name {
            return self.pad(&cell.marked_text());
        }
        let (figure, body) = (self.figure, self.body);
        let text = format!("{:>figure$} {}", cell.text, cell.marks());
        self.pad(&format!("{:<body$}", text.trim_end()))
    }
}

/// Breaks text into lines of at most [`WIDTH`] columns, each with a line break. A unit stays with its number.
pub(crate) fn wrapped(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if is_unit(word) => *last += &format!(" {word}"),
            _ => words.push(word.to_owned()),
        }
    }
    let mut lines = String::new();
    let mut line = String::new();
    for word in &words {
        if !line.is_empty() && width(&line) + 1 + width(word) > WIDTH {
            lines += &line;
            lines.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &line + "\n"
}

/// Returns whether a word is a unit, perhaps with punctuation.
fn is_unit(word: &str) -> bool {
    let unit = word.trim_matches(|c: char| c.is_ascii_punctuation());
    ["µs", "ms", "s", "KB", "%"].contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_aligned_and_marks_follow_them() {
        let cell = |text: &str, mark, is_disturbed| SummaryCell {
            text: text.into(),
            mark,
            is_disturbed,
        };
        let table = SummaryTable {
            title: "CPU time, in µs".into(),
            head: ["cell", "cpu"].map(str::to_owned).to_vec(),
            rows: vec![
                vec![
                    SummaryCell::new("a"),
                    cell("9.5 µs", Some(Mark::Best), false),
                ],
                vec![
                    SummaryCell::new("bcdef"),
                    cell("11.4 µs", Some(Mark::Tied), true),
                ],
                vec![SummaryCell::new("g"), cell("120 µs", None, false)],
            ],
            names: 1,
        };
        assert_eq!(
            table.text(),
            "CPU time, in µs\n\
             cell            cpu\n\
             -------------------\n\
             a       9.5 µs best\n\
             bcdef  11.4 µs = !\n\
             g       120 µs\n"
        );
        assert_eq!(legend([&table]).len(), 4);
        let markdown = table.markdown();
        assert!(markdown.contains("| bcdef | 11.4 µs = ! |"), "{markdown}");
    }

    #[test]
    fn text_is_broken_at_spaces() {
        let text = wrapped(&"word ".repeat(50));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(text.split_whitespace().count(), 50);
        assert_eq!(wrapped("short"), "short\n");
        let long = wrapped(&format!("{} 11.4 µs, and more", "x".repeat(93)));
        assert!(long.contains("\n11.4 µs, and more"), "{long}");
    }
}
