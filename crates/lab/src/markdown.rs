//! Fills in the text between the markers of a Markdown page, and formats Markdown tables.

use std::fmt;

/// The reason why a page cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkerError {
    /// The page has no markers of the kind that was searched for. Contains the kind.
    None(String),
    /// A begin marker has no end marker. Contains the name of the begin marker.
    Open(String),
    /// A marker has an unknown name. Contains the name.
    Unknown(String),
}

impl fmt::Display for MarkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None(kind) => write!(f, "the page has no marker `<!-- {kind}:begin NAME -->`"),
            Self::Open(name) => write!(f, "the begin marker of {name:?} has no end marker"),
            Self::Unknown(name) => write!(f, "there is no text for the marker {name:?}"),
        }
    }
}

impl std::error::Error for MarkerError {}

/// Replaces the text between each pair of markers `<!-- KIND:begin NAME -->` and `<!-- KIND:end NAME -->`.
/// The rest of the page does not change. `text` returns the text for a name, or `None` if the name is unknown.
///
/// # Errors
///
/// If the page has no markers of this kind, or an invalid marker.
pub fn fill(
    page: &str,
    kind: &str,
    text: impl Fn(&str) -> Option<String>,
) -> Result<String, MarkerError> {
    const CLOSE: &str = " -->";
    let begin = format!("<!-- {kind}:begin ");
    let mut out = String::new();
    let mut rest = page;
    while let Some(at) = rest.find(&begin) {
        let after = &rest[at + begin.len()..];
        let open = || MarkerError::Open(after.lines().next().unwrap_or_default().to_owned());
        let (name, _) = after.split_once(CLOSE).ok_or_else(open)?;
        let end = format!("<!-- {kind}:end {name}{CLOSE}");
        let closed = after
            .find(&end)
            .ok_or_else(|| MarkerError::Open(name.to_owned()))?;
        let text = text(name).ok_or_else(|| MarkerError::Unknown(name.to_owned()))?;
        out += &rest[..at];
        out += &format!("{begin}{name}{CLOSE}\n\n{}\n\n{end}", text.trim());
        rest = &after[closed + end.len()..];
    }
    if out.is_empty() {
        return Err(MarkerError::None(kind.to_owned()));
    }
    Ok(out + rest)
}

/// Formats a Markdown table with aligned columns.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
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
pub fn escaped(text: &str) -> String {
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
