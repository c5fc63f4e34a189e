//! The last step of `just bench`: one table of what was measured, its limit, and their ratio.
//!
//! `-- --readme FILE` writes it between the markers of that file.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::fmt::Write;
use std::process::ExitCode;

use inflight_benches::figures::{self, Figure};

const BENCHMARKS: [&str; 4] = ["hundred_pages", "stall", "overhead", "in_flight"];
const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("summary: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut rows = Vec::new();
    for benchmark in BENCHMARKS {
        let figures = figures::load(benchmark)?;
        if figures.is_empty() {
            eprintln!("summary: `{benchmark}` has not run");
        }
        rows.extend(figures);
    }
    let table = table(&rows);
    println!("{table}");
    let mut arguments = std::env::args().skip_while(|argument| argument != "--readme");
    if let (Some(_), Some(path)) = (arguments.next(), arguments.next()) {
        let text = std::fs::read_to_string(&path)?;
        let (before, rest) = text
            .split_once(BEGIN)
            .ok_or("the file has no begin marker")?;
        let (_, after) = rest.split_once(END).ok_or("the file has no end marker")?;
        let block = format!("{BEGIN}\n\n{table}\n{END}");
        std::fs::write(&path, format!("{before}{block}{after}"))?;
    }
    Ok(())
}

/// A Markdown table that reads as plain text too.
fn table(rows: &[Figure]) -> String {
    let mut cells = vec![["what", "who", "measured", "limit", "ratio"].map(str::to_owned)];
    let mut last = "";
    for row in rows {
        let (from, to) = row.from_to;
        let spread = if from == to {
            String::new()
        } else {
            format!(" ({} to {})", number(from), number(to))
        };
        let (limit, ratio) = match &row.limit {
            // A ratio already is one.
            Some(limit) if row.unit == "x" => (limit.what.clone(), number(row.measured)),
            Some(limit) => (
                format!("{} {}, {}", number(limit.value), row.unit, limit.what),
                number(row.measured / limit.value),
            ),
            None => (String::new(), String::new()),
        };
        let what = if row.what == last { "" } else { &row.what };
        last = &row.what;
        cells.push([
            what.to_owned(),
            row.who.clone(),
            format!("{} {}{spread}", number(row.measured), row.unit),
            limit,
            ratio,
        ]);
    }
    let widths: Vec<usize> = (0..5)
        .map(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (index, row) in cells.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
