//! `inflight backends`: lists the backends, their versions and their capabilities.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use inflight::Cell;
use inflight::backend::{Capabilities, Support};
use serde::Serialize;

use crate::args;
use crate::exit::{CliError, ExitStatus, print_output};
use crate::format::Format;
use crate::output::{describe, json_line};
use crate::versions;

/// A backend and the capabilities of its client.
struct Row {
    cell: Cell,
    /// The capabilities, or the error if the backend does not start. `None` if it is not compiled in.
    start_result: Option<Result<Capabilities, String>>,
}

impl Row {
    fn capabilities(&self) -> Option<&Capabilities> {
        self.start_result.as_ref()?.as_ref().ok()
    }

    fn error(&self) -> Option<&str> {
        Some(self.start_result.as_ref()?.as_ref().err()?)
    }
}

pub(crate) fn run(args: &args::Backends) -> Result<ExitStatus, CliError> {
    let rows = Cell::ALL.map(|cell| Row {
        cell,
        start_result: cell.is_compiled().then(|| start(cell)),
    });
    let text = match args.format {
        Format::Jsonl => jsonl(&rows).map_err(|error| CliError::stdout(&error))?,
        Format::Table => tables(&rows),
    };
    print_output(&text)?;
    Ok(match rows.iter().any(|row| row.error().is_some()) {
        true => ExitStatus::Failed,
        false => ExitStatus::Success,
    })
}

fn start(cell: Cell) -> Result<Capabilities, String> {
    cell.start(None)
        .and_then(|backend| backend.session())
        .map(|session| session.capabilities().clone())
        .map_err(|error| describe(&error))
}

/// Returns the Cargo features that add a backend: one feature if the backend has a short name, otherwise
/// a feature for the runtime and a feature for the client.
fn features(cell: Cell) -> Vec<&'static str> {
    match cell.short_name() {
        Some(name) => vec![name],
        None => cell.features().to_vec(),
    }
}

/// The JSON object that `--format jsonl` prints for a backend.
#[derive(Serialize)]
struct BackendRecord<'a> {
    backend: String,
    name: Option<&'static str>,
    runtime: &'static str,
    client: &'static str,
    features: Vec<&'static str>,
    compiled: bool,
    versions: BTreeMap<&'static str, &'static str>,
    error: Option<&'a str>,
    #[serde(flatten)]
    client_details: Option<ClientRecord>,
}

/// The fields of a [`BackendRecord`] that describe the client. They are missing if the backend is not
/// compiled in or does not start.
#[derive(Serialize)]
struct ClientRecord {
    library: &'static str,
    supports: BTreeMap<String, bool>,
    /// The reason for each capability that is not supported.
    reasons: BTreeMap<String, &'static str>,
    ceilings: Vec<Ceiling>,
    added_headers: &'static [&'static str],
}

/// A limit on the concurrency of a backend.
#[derive(Serialize)]
struct Ceiling {
    at_most: usize,
    what: &'static str,
}

fn jsonl(rows: &[Row]) -> io::Result<String> {
    rows.iter()
        .map(|row| {
            json_line(&BackendRecord {
                backend: row.cell.to_string(),
                name: row.cell.short_name(),
                runtime: row.cell.runtime(),
                client: row.cell.client(),
                features: features(row.cell),
                compiled: row.start_result.is_some(),
                versions: match row.start_result {
                    Some(_) => versions::of(row.cell).collect(),
                    None => BTreeMap::new(),
                },
                error: row.error(),
                client_details: row.capabilities().map(ClientRecord::from),
            })
        })
        .collect()
}

impl From<&Capabilities> for ClientRecord {
    fn from(capabilities: &Capabilities) -> Self {
        let key = |name: &str| name.replace([' ', '-'], "_");
        let supports = capabilities.supports();
        let with_reason = |(name, support): (&str, Support)| Some((key(name), support.reason()?));
        Self {
            library: capabilities.library,
            supports: supports
                .map(|(name, support)| (key(name), support.is_yes()))
                .into(),
            reasons: supports.into_iter().filter_map(with_reason).collect(),
            ceilings: capabilities
                .ceilings
                .iter()
                .map(|ceiling| Ceiling {
                    at_most: ceiling.at_most,
                    what: ceiling.description,
                })
                .collect(),
            added_headers: capabilities.added_headers,
        }
    }
}

/// Formats three tables: the backends that are compiled in, the capabilities of their clients, and the
/// backends that are not compiled in.
fn tables(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut compiled = vec![
        ["BACKEND", "NAME", "VERSIONS", "LIMITS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut missing = Vec::new();
    for Row { cell, start_result } in rows {
        let name = cell.short_name().unwrap_or("-").to_owned();
        match start_result {
            Some(Ok(capabilities)) => {
                let ceilings: Vec<String> = capabilities
                    .ceilings
                    .iter()
                    .map(|ceiling| format!("at most {} {}", ceiling.at_most, ceiling.description))
                    .collect();
                let versions: Vec<String> = versions::of(*cell)
                    .map(|(package, version)| format!("{package} {version}"))
                    .collect();
                compiled.push(vec![
                    cell.to_string(),
                    name,
                    versions.join(", "),
                    if ceilings.is_empty() {
                        "none".to_owned()
                    } else {
                        ceilings.join("; ")
                    },
                ]);
            }
            Some(Err(error)) => {
                compiled.push(vec![
                    cell.to_string(),
                    name,
                    format!("does not start: {error}"),
                ]);
            }
            None => missing.push(vec![format!("  {cell}"), features(*cell).join(" and ")]),
        }
    }
    if compiled.len() > 1 {
        push_aligned(&mut text, &compiled);
        push_capabilities(&mut text, rows);
    }
    if !missing.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str("Backends that are not compiled in, and the features that add them:\n");
        push_aligned(&mut text, &missing);
    }
    text
}

/// Appends a table of capabilities with a column for each client. Backends with the same client share a
/// column if their capabilities are equal.
fn push_capabilities(text: &mut String, rows: &[Row]) {
    let mut columns: Vec<(String, &Capabilities)> = Vec::new();
    for Row { cell, start_result } in rows {
        let Some(Ok(capabilities)) = start_result else {
            continue;
        };
        let is_same = |other: &Capabilities| {
            other.library == capabilities.library
                && other.supports() == capabilities.supports()
                && other.added_headers == capabilities.added_headers
        };
        if columns.iter().any(|(_, other)| is_same(other)) {
            continue;
        }
        let client = cell.client().to_owned();
        let is_taken = columns.iter().any(|(title, _)| *title == client);
        columns.push((
            if is_taken { cell.to_string() } else { client },
            capabilities,
        ));
    }

    let mut reasons: Vec<&'static str> = Vec::new();
    let mut table = vec![vec!["CAPABILITY".to_owned()]];
    table[0].extend(columns.iter().map(|(title, _)| title.clone()));
    let names = columns.first().map(|(_, first)| first.supports());
    for (n, (name, _)) in names.into_iter().flatten().enumerate() {
        let mut row = vec![name.to_owned()];
        for (_, capabilities) in &columns {
            let (_, support) = capabilities.supports()[n];
            row.push(match support {
                Support::Yes => "yes".to_owned(),
                Support::No(reason) => format!("no ({})", footnote_number(&mut reasons, reason)),
            });
        }
        table.push(row);
    }
    text.push('\n');
    push_aligned(text, &table);
    let mut notes: Vec<String> = columns
        .iter()
        .filter(|(_, capabilities)| !capabilities.added_headers.is_empty())
        .map(|(title, capabilities)| {
            let headers = capabilities.added_headers.join(", ");
            format!("{title} adds headers of its own: {headers}")
        })
        .collect();
    let numbered = reasons.iter().zip(1..);
    notes.extend(numbered.map(|(reason, n)| format!("({n}) {reason}")));
    if !notes.is_empty() {
        let _ = writeln!(text, "\n{}", notes.join("\n"));
    }
}

/// Returns the number of the footnote with this reason, counted from 1. Adds the footnote if it is new.
fn footnote_number(reasons: &mut Vec<&'static str>, reason: &'static str) -> usize {
    let known = reasons.iter().position(|other| *other == reason);
    1 + known.unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    })
}

/// Appends rows as a table. Its columns are aligned and two spaces apart.
fn push_aligned(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|n| {
            // The last field of a row does not widen its column.
            let inner = rows.iter().filter(|row| row.len() > n + 1);
            inner.map(|row| row[n].chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (field, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{field:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut text = String::new();
        let rows = [["a", "long", "x"], ["longer", "b", ""]];
        push_aligned(&mut text, &rows.map(|row| row.map(str::to_owned).to_vec()));
        assert_eq!(text, "a       long  x\nlonger  b\n");
    }

    #[test]
    fn equal_reasons_share_a_footnote() {
        let mut reasons = Vec::new();
        let numbers = ["a", "b", "a"].map(|reason| footnote_number(&mut reasons, reason));
        assert_eq!(numbers, [1, 2, 1]);
        assert_eq!(reasons, ["a", "b"]);
    }
}
