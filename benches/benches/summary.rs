//! The last step of `just bench`: one table of what was measured, its limit, and their ratio; and
//! the same figures side by side, a row for each cell and for each runtime.
//!
//! `-- --readme FILE` writes them between the markers of that file.
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
    let everything = table(&everything(&rows));
    let by_cell = table(&side_by_side(&rows, "cell", &BY_CELL));
    let stalls = table(&side_by_side(&stalls(&rows), "runtime", &STALLS));
    let ratios: Vec<Figure> = rows.into_iter().filter(|row| row.unit == "x").collect();
    let ratios = table(&self::everything(&ratios));
    println!("{everything}\n{by_cell}\n{stalls}");
    let mut arguments = std::env::args().skip_while(|argument| argument != "--readme");
    if let (Some(_), Some(path)) = (arguments.next(), arguments.next()) {
        let text = std::fs::read_to_string(&path)?;
        let (before, rest) = text
            .split_once(BEGIN)
            .ok_or("the file has no begin marker")?;
        let (_, after) = rest.split_once(END).ok_or("the file has no end marker")?;
        let block = format!(
            "{BEGIN}\n\n{by_cell}\nThe largest gap of a heartbeat of 1 ms, on one worker, while a page \
             of 100 ms is fetched:\n\n{stalls}\nWhat the session and `gather` add to a client, in CPU:\n\n\
             {ratios}\n<details><summary>Everything that was measured</summary>\n\n{everything}\n\
             </details>\n\n{END}"
        );
        std::fs::write(&path, format!("{before}{block}{after}"))?;
    }
    Ok(())
}

/// A column of a table with a row for each cell or runtime: its title, and what the figures in
/// it say was done.
type Column = (&'static str, &'static str);

const BY_CELL: [Column; 5] = [
    (
        "100 pages of 100 ms (limit 100 ms)",
        "100 pages of 100 ms, gathered",
    ),
    (
        "5,000 pages of 2 s (limit 2 s)",
        "5000 pages of 2 s at once, none lost",
    ),
    ("memory for each", "memory for each request in flight"),
    (
        "time for a page without delay",
        "time for each request, by cell",
    ),
    ("CPU", "CPU for each request, by cell"),
];

const STALLS: [Column; 4] = [
    ("nothing is fetched", "nothing is fetched"),
    ("ureq inside the task", "ureq inside the task"),
    ("ureq on the blocking pool", "ureq on the blocking pool"),
    ("hyper", "hyper"),
];

/// The stalls of one worker, as (runtime, how) in place of (what, both).
fn stalls(rows: &[Figure]) -> Vec<Figure> {
    let one = rows
        .iter()
        .filter(|row| row.what.ends_with("heartbeat, 1 worker"));
    one.filter_map(|row| {
        let (runtime, how) = row.who.split_once(": ")?;
        Some(Figure {
            what: how.to_owned(),
            who: runtime.to_owned(),
            ..row.clone()
        })
    })
    .collect()
}

fn side_by_side(rows: &[Figure], who: &str, columns: &[Column]) -> Vec<Vec<String>> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if columns.iter().any(|(_, what)| row.what == *what) && !names.contains(&&*row.who) {
            names.push(&row.who);
        }
    }
    let mut cells = vec![vec![who.to_owned()]];
    cells[0].extend(columns.iter().map(|(title, _)| (*title).to_owned()));
    for name in names {
        let figure = |(_, what): &Column| {
            let mut of = rows.iter().filter(|row| row.who == name);
            let row = of.find(|row| row.what == *what);
            row.map_or(String::new(), |row| {
                format!("{} {}", number(row.measured), row.unit)
            })
        };
        let mut row = vec![name.to_owned()];
        row.extend(columns.iter().map(figure));
        cells.push(row);
    }
    cells
}

/// Every figure, those of one kind together.
fn everything(rows: &[Figure]) -> Vec<Vec<String>> {
    let head = ["what", "who", "measured", "limit", "ratio"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    let mut kinds: Vec<&str> = Vec::new();
    for row in rows {
        if !kinds.contains(&&*row.what) {
            kinds.push(&row.what);
        }
    }
    for kind in kinds {
        let mut what = kind;
        for row in rows.iter().filter(|row| row.what == kind) {
            cells.push(line(std::mem::take(&mut what), row));
        }
    }
    cells
}

fn line(what: &str, row: &Figure) -> Vec<String> {
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
    vec![
        what.to_owned(),
        row.who.clone(),
        format!("{} {}{spread}", number(row.measured), row.unit),
        limit,
        ratio,
    ]
}

/// A Markdown table that reads as plain text too.
fn table(cells: &[Vec<String>]) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
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
