//! What was seen: raw records, one line for each metric of each turn, kept as CSV beside what the
//! machine was.
//!
//! A file holds any number of runs. Each begins with comment lines, `# key: value`, that describe
//! its environment; the first of them is `# run: ID`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// One metric of one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The run: when it began, as `2026-11-25T02:10:00Z`.
    pub run: String,
    /// [`Experiment::name`](crate::experiment::Experiment::name).
    pub experiment: String,
    /// [`Contender::name`](crate::experiment::Contender::name).
    pub contender: String,
    /// The variable's value; 0 where there is none.
    pub x: f64,
    /// The round, from 0. Turns of one round are compared with each other.
    pub round: u32,
    /// The place in the round, from 0: contenders alternate, and what comes first differs.
    pub turn: u32,
    /// [`Metric::name`](crate::experiment::Metric::name).
    pub metric: String,
    /// The value, in `unit`.
    pub value: f64,
    /// The metric's unit.
    pub unit: String,
    /// Answers that were verified in this turn.
    pub answered: u64,
    /// Why the round is not counted: the origin was busy or late. Empty where it is.
    pub thrown: String,
}

/// What a run ran on, by name: `cpu`, `cores`, `kernel`, `rustc`, versions, limits.
pub type Environment = BTreeMap<String, String>;

/// A run and where it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// [`Row::run`].
    pub id: String,
    /// The machine and the programs.
    pub environment: Environment,
    /// In the order in which they were measured.
    pub rows: Vec<Row>,
}

const RUN: &str = "run";

/// A run's machine and date as a sentence, by its [`Run::id`].
pub fn place(run: &str, environment: &Environment) -> String {
    let get = |key: &str| environment.get(key);
    let day = run.split('T').next().unwrap_or(run);
    let mut place = Vec::new();
    place.extend(get("cpu").cloned());
    place.extend(get("cores").map(|cores| format!("{cores} cores")));
    place.extend(get("memory").cloned());
    if let (Some(system), Some(kernel)) = (get("system"), get("kernel")) {
        place.push(format!("{system} {kernel}"));
    }
    if place.is_empty() {
        place.push("a machine that the records do not describe".to_owned());
    }
    format!("Measured on {day} on {}.", place.join(", "))
}

/// Writes the comment lines that begin a run, and the columns' names.
///
/// # Errors
///
/// When it cannot be written.
pub fn begin(mut out: impl Write, id: &str, environment: &Environment) -> io::Result<()> {
    writeln!(out, "# {RUN}: {id}")?;
    for (key, value) in environment {
        // A line break in a value would begin a row.
        let value = value.replace(['\n', '\r'], " ");
        writeln!(out, "# {key}: {value}")?;
    }
    writeln!(out, "{}", COLUMNS.join(","))
}

const COLUMNS: [&str; 11] = [
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
];

/// Writes rows, without the columns' names.
///
/// # Errors
///
/// When they cannot be written.
pub fn write(out: impl Write, rows: &[Row]) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(out);
    for row in rows {
        writer.serialize(row).map_err(io::Error::other)?;
    }
    writer.flush()
}

/// Reads every run of a file.
///
/// # Errors
///
/// When it cannot be read, or a line is no row: the message says which.
pub fn read(mut from: impl Read) -> io::Result<Vec<Run>> {
    let mut text = String::new();
    from.read_to_string(&mut text)?;
    let mut runs: Vec<Run> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let bad = |what: &dyn std::fmt::Display| {
            let message = format!("line {}: {what}", number + 1);
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        if let Some(comment) = line.strip_prefix("# ") {
            let (key, value) = comment
                .split_once(": ")
                .ok_or_else(|| bad(&"a comment is `# key: value`"))?;
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
        if line.is_empty() || line == COLUMNS.join(",") {
            continue;
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(line.as_bytes());
        let row: Row = match reader.deserialize().next() {
            Some(row) => row.map_err(|error| bad(&error))?,
            None => return Err(bad(&"no row")),
        };
        let run = runs
            .last_mut()
            .filter(|run| run.id == row.run)
            .ok_or_else(|| bad(&"a row of a run that has not begun"))?;
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
            experiment: "gather".into(),
            contender: "a, \"b\"".into(),
            x: 100.0,
            round: 1,
            turn: 2,
            metric: "wall".into(),
            value,
            unit: "ms".into(),
            answered: 100,
            thrown: String::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let environment = Environment::from([("cpu".to_owned(), "two\nlines".to_owned())]);
        let mut file = Vec::new();
        begin(&mut file, &row(0.0).run, &environment).unwrap();
        write(&mut file, &[row(1.5), row(0.1 + 0.2)]).unwrap();
        // A second run in the same file.
        begin(&mut file, "later", &Environment::new()).unwrap();
        let runs = read(file.as_slice()).unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0].rows, [row(1.5), row(0.1 + 0.2)]);
        assert_eq!(runs[0].environment["cpu"], "two lines");
        assert_eq!((runs[1].id.as_str(), runs[1].rows.len()), ("later", 0));
    }

    #[test]
    fn a_bad_line_is_named() {
        let mut file = Vec::new();
        begin(&mut file, "r", &Environment::new()).unwrap();
        file.extend(b"r,gather,x\n");
        let error = read(file.as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 3: "), "{error}");
    }
}
