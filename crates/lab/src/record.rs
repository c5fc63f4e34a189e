//! Raw records as CSV: one line for each metric of each turn.
//!
//! A file holds any number of runs. Each run begins with comment lines, `# key: value`, that describe
//! its environment. The first of them is `# run: ID`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// The value of one metric in one turn, which is one measurement of one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The ID of the run: its start time, such as `2026-11-25T02:10:00Z`.
    pub run: String,
    /// [`Experiment::name`](crate::experiment::Experiment::name).
    pub experiment: String,
    /// [`Contender::name`](crate::experiment::Contender::name).
    pub contender: String,
    /// The value of the experiment's variable, or 0 if there is no variable.
    pub x: f64,
    /// The round, from 0. Turns of the same round are compared with each other.
    pub round: u32,
    /// The contender's position in the round, from 0.
    pub turn: u32,
    /// [`Metric::name`](crate::experiment::Metric::name).
    pub metric: String,
    /// The value, in `unit`.
    pub value: f64,
    /// The metric's unit.
    pub unit: String,
    /// The number of responses that were verified in this turn.
    pub answered: u64,
    /// Why the turn was discarded, for example because the server was late. Empty if the turn was not
    /// discarded. The CSV column is named `thrown`.
    pub discard_reason: String,
    /// The number of cores that other programs used during the turn, including the time that the hypervisor took.
    /// `None` if the system does not report it, and in older records. The CSV column is named `others`.
    #[serde(default)]
    pub other_cores: Option<f64>,
}

/// The environment of a run, by key: `cpu`, `cores`, `kernel`, `rustc`, versions, limits.
pub type Environment = BTreeMap<String, String>;

/// A run and its environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// [`Row::run`].
    pub id: String,
    /// The machine and the versions of the programs.
    pub environment: Environment,
    /// The rows, in the order in which they were measured.
    pub rows: Vec<Row>,
}

const RUN: &str = "run";

/// The key of the comment that ends a run. Its value is [`FINISHED`] or [`INTERRUPTED`]. A run that was killed has
/// no such comment, and neither have runs of older programs.
pub const END: &str = "end";
/// All turns of the run were measured.
pub const FINISHED: &str = "finished";
/// Ctrl-C interrupted the run.
pub const INTERRUPTED: &str = "interrupted";

/// Returns a sentence with the date and the machine of a run. `run` is a [`Run::id`].
pub fn describe_run(run: &str, environment: &Environment) -> String {
    let get = |key: &str| environment.get(key);
    let day = run.split('T').next().unwrap_or(run);
    let mut parts = Vec::new();
    parts.extend(get("cpu").cloned());
    parts.extend(get("cores").map(|cores| format!("{cores} cores")));
    parts.extend(get("memory").cloned());
    if let (Some(system), Some(kernel)) = (get("system"), get("kernel")) {
        parts.push(format!("{system} {kernel}"));
    }
    if parts.is_empty() {
        parts.push("a machine that the records do not describe".to_owned());
    }
    format!("Measured on {day} on {}.", parts.join(", "))
}

/// Writes the comment lines that describe a run, and the header line.
///
/// # Errors
///
/// If writing fails.
pub fn write_header(mut out: impl Write, id: &str, environment: &Environment) -> io::Result<()> {
    writeln!(out, "# {RUN}: {id}")?;
    for (key, value) in environment {
        writeln!(out, "# {key}: {}", on_one_line(value))?;
    }
    writeln!(out, "{}", COLUMNS.join(","))
}

/// Returns the text with spaces in place of line breaks. Each line of a file is a row or a comment.
fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

const COLUMNS: [&str; 12] = [
    "run",
    "experiment",
    "contender",
    "x",
    "round",
    "turn",
    "metric",
    "value",
    "unit",
    "answered",
    "thrown",
    "others",
];

/// Returns whether a line has the names of the columns. Older records have no column `others`.
fn is_header(line: &str) -> bool {
    let without_others = &COLUMNS[..COLUMNS.len() - 1];
    line == COLUMNS.join(",") || line == without_others.join(",")
}

/// Adds a line to the description of the last run in a file.
///
/// # Errors
///
/// If writing fails.
pub fn write_comment(mut out: impl Write, key: &str, value: &str) -> io::Result<()> {
    writeln!(out, "# {key}: {}", on_one_line(value))
}

/// Writes rows, without the header line. A line break in a text becomes a space.
///
/// # Errors
///
/// If writing fails.
pub fn write_rows(out: impl Write, rows: &[Row]) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(out);
    for row in rows {
        let mut row = row.clone();
        for text in [
            &mut row.run,
            &mut row.experiment,
            &mut row.contender,
            &mut row.metric,
            &mut row.unit,
            &mut row.discard_reason,
        ] {
            *text = on_one_line(text);
        }
        writer.serialize(row).map_err(io::Error::other)?;
    }
    writer.flush()
}

/// Reads all runs of a file.
///
/// # Errors
///
/// If reading fails, or if a line is not a valid row. The message contains the line number.
pub fn read(mut from: impl Read) -> io::Result<Vec<Run>> {
    let mut text = String::new();
    from.read_to_string(&mut text)?;
    let mut runs: Vec<Run> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let invalid = |reason: &dyn std::fmt::Display| {
            let message = format!("line {}: {reason}", number + 1);
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        if let Some(comment) = line.strip_prefix("# ") {
            let (key, value) = comment
                .split_once(": ")
                .ok_or_else(|| invalid(&"a comment must have the form `# key: value`"))?;
            if key == RUN {
                runs.push(Run {
                    id: value.to_owned(),
                    ..Run::default()
                });
            } else if let Some(run) = runs.last_mut() {
                run.environment.insert(key.to_owned(), value.to_owned());
            }
            continue;
        }
        if line.is_empty() || is_header(line) {
            continue;
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(line.as_bytes());
        let row: Row = match reader.deserialize().next() {
            Some(row) => row.map_err(|error| invalid(&error))?,
            None => return Err(invalid(&"not a row")),
        };
        let run = runs
            .last_mut()
            .filter(|run| run.id == row.run)
            .ok_or_else(|| invalid(&"the row's run is not that of the last `# run:` line"))?;
        run.rows.push(row);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f64) -> Row {
        Row {
            run: "2026-11-25T02:10:00Z".into(),
            experiment: "pages".into(),
            contender: "a, \"b\"".into(),
            x: 100.0,
            round: 1,
            turn: 2,
            metric: "time".into(),
            value,
            unit: "ms".into(),
            answered: 100,
            discard_reason: String::new(),
            other_cores: Some(0.25),
        }
    }

    #[test]
    fn written_records_are_read_back() {
        let environment = Environment::from([("cpu".to_owned(), "two\nlines".to_owned())]);
        let mut file = Vec::new();
        write_header(&mut file, &row(0.0).run, &environment).unwrap();
        write_rows(&mut file, &[row(1.5), row(0.1 + 0.2)]).unwrap();
        // A second run in the same file.
        write_header(&mut file, "later", &Environment::new()).unwrap();
        let runs = read(file.as_slice()).unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0].rows, [row(1.5), row(0.1 + 0.2)]);
        assert_eq!(runs[0].environment["cpu"], "two lines");
        assert_eq!((runs[1].id.as_str(), runs[1].rows.len()), ("later", 0));
    }

    #[test]
    fn line_breaks_in_texts_become_spaces() {
        let mut written = row(1.0);
        written.discard_reason = "late:\r\n5 ms".into();
        let mut file = Vec::new();
        write_header(&mut file, &written.run, &Environment::new()).unwrap();
        write_rows(&mut file, &[written]).unwrap();
        write_comment(&mut file, END, "interrupted\ntwice").unwrap();
        let runs = read(file.as_slice()).unwrap();
        assert_eq!(runs[0].rows[0].discard_reason, "late:  5 ms");
        assert_eq!(runs[0].environment[END], "interrupted twice");
    }

    #[test]
    fn records_without_the_load_of_the_machine_can_be_read() {
        let old = "# run: r\nrun,experiment,contender,x,round,turn,metric,value,unit,answered,thrown\n\
                   r,pages,a,100,1,2,time,1.5,ms,100,\n";
        let runs = read(old.as_bytes()).unwrap();
        assert_eq!(runs[0].rows.len(), 1);
        assert_eq!(runs[0].rows[0].other_cores, None);
    }

    #[test]
    fn an_error_contains_the_line_number() {
        let mut file = Vec::new();
        write_header(&mut file, "r", &Environment::new()).unwrap();
        file.extend(b"r,pages,x\n");
        let error = read(file.as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 3: "), "{error}");
    }
}
