//! Writes the rules as a page of the book.

use std::fmt::{self, Write as _};

use inflight_core::Capabilities;

use crate::cases::cases;
use crate::rule::{Deviation, DeviationEffect, Rule};

/// A Markdown page with the rules for responses that a server may send, and the deviations of each client. It
/// is generated from the cases that check the rules.
///
/// ```
/// use inflight_conformance::Verdicts;
/// use inflight_core::{Capabilities, Support};
///
/// let mut old = Capabilities::all("a client of 2019");
/// old.rare_forms = Support::No("it reads no folded values");
/// let mut page = Verdicts::new();
/// page.add("old", old);
/// assert!(page.to_string().contains("it reads no folded values"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Verdicts {
    clients: Vec<(String, Capabilities)>,
}

impl Verdicts {
    /// Creates a page without clients.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a client under this name.
    pub fn add(&mut self, client: impl Into<String>, capabilities: Capabilities) {
        self.clients.push((client.into(), capabilities));
    }
}

/// Returns every rule with its number on the page.
fn rules() -> Vec<(usize, &'static Rule)> {
    (1..)
        .zip(cases().iter().filter_map(|case| case.rule))
        .collect()
}

const HEAD: &str = "\
# What we accept from a server

<!-- Written by `just verdicts` from crates/conformance/src/cases/verdicts.rs: change it there. -->

A server may be old, broken or hostile, and a proxy in between may parse its response differently than we do.
So there is one verdict for each thing that HTTP/1.1 forbids or leaves open, and it is the same with every
client: a success with a certain body, or an error of a certain kind. Where RFC 9112 leaves a choice, we take
the stricter side, unless a widely used server needs the other.

`protocol` means that the response is invalid, `incomplete` that it ended early. In both cases, and where the
column *connection* has *closed*, the connection carries no other request. The body that a client returns is
never longer and never shorter than the body that the server has framed.

Each row is a case of the suite and runs on every cell: `just conformance --case verdicts::`.
";

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        let mut topic = "";
        for (number, rule) in rules() {
            if rule.topic != topic {
                topic = rule.topic;
                let (first, rest) = topic.split_at(1);
                writeln!(f, "\n## {}{rest}\n", first.to_uppercase())?;
                writeln!(f, "|   | response | verdict | connection | source |")?;
                writeln!(f, "|--:|----------|---------|------------|--------|")?;
            }
            let connection = match rule.keeps_connection() {
                true => "kept",
                false => "closed",
            };
            let (promise, reason) = (rule.promise, rule.reason.unwrap_or_default());
            let (verdict, source) = (rule.verdict(), rule.source);
            let what = format!("{promise} {reason}");
            let what = what.trim_end();
            writeln!(
                f,
                "| {number} | {what} | {verdict} | {connection} | {source} |"
            )?;
        }
        self.write_others(f)?;
        self.write_deviations(f)
    }
}

impl Verdicts {
    /// Writes the cases on framing that need more than one exchange.
    fn write_others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## Further rules\n")?;
        for case in cases().iter().filter(|case| case.group == "framing") {
            let lacking = self.clients.iter().filter(|(_, capabilities)| {
                let support = case.support(capabilities);
                !support.is_yes()
            });
            let lacking: Vec<&str> = lacking.map(|(client, _)| &**client).collect();
            let except = match lacking.is_empty() {
                true => String::new(),
                false => format!(" Except {}: see below.", lacking.join(", ")),
            };
            writeln!(f, "- {}{except}", case.promise)?;
        }
        Ok(())
    }

    fn write_deviations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\n## Deviations of clients\n\n\
             Some deviations are deep in the libraries. Each client declares them in its `Capabilities`, with \
             the risk.\n",
        )?;
        for (client, capabilities) in &self.clients {
            writeln!(f, "\n### {client}\n")?;
            let mut deviations: Vec<(Deviation, Vec<usize>)> = Vec::new();
            for (number, rule) in rules() {
                let Some(deviation) = rule.deviation(capabilities) else {
                    continue;
                };
                let known = deviations.iter_mut().find(|(known, _)| *known == deviation);
                match known {
                    Some((_, numbers)) => numbers.push(number),
                    None => deviations.push((deviation, vec![number])),
                }
            }
            if deviations.is_empty() {
                writeln!(f, "None.")?;
            }
            for (deviation, numbers) in deviations {
                let (reason, rows) = (sentence(deviation.reason), listed(&numbers));
                let effect = match deviation.effect {
                    DeviationEffect::Unchecked => "the result is not defined".to_owned(),
                    DeviationEffect::Kept => "the connection may be reused".to_owned(),
                    DeviationEffect::Kind(kind) => format!("the error may be `{kind}`"),
                };
                writeln!(f, "- {reason} For {rows} {effect}.")?;
            }
        }
        Ok(())
    }
}

/// Returns a reason as a sentence. Names of libraries keep their lower case.
fn sentence(reason: &str) -> String {
    format!("{}.", reason.trim_end_matches('.'))
}

/// Returns `row 1`, or `rows 1, 2 and 3`.
fn listed(numbers: &[usize]) -> String {
    let mut text = match numbers.len() {
        1 => "row ".to_owned(),
        _ => "rows ".to_owned(),
    };
    for (index, number) in numbers.iter().enumerate() {
        let between = match index {
            0 => "",
            _ if index + 1 == numbers.len() => " and ",
            _ => ", ",
        };
        // Writing to a string does not fail.
        let _ = write!(text, "{between}{number}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use inflight_core::Support;

    #[test]
    fn each_deviation_is_listed_once_with_its_rows() {
        assert_eq!(listed(&[3]), "row 3");
        assert_eq!(listed(&[3, 4]), "rows 3 and 4");
        assert_eq!(listed(&[3, 4, 9]), "rows 3, 4 and 9");

        let mut page = Verdicts::new();
        page.add("whole", Capabilities::all("whole"));
        let mut lacking = Capabilities::all("lacking");
        lacking.strict_chunks = Support::No("it guesses");
        page.add("lacking", lacking);
        let text = page.to_string();
        assert!(text.contains("### whole\n\nNone.\n"), "{text}");
        assert_eq!(text.matches("it guesses. For rows ").count(), 1, "{text}");
    }
}
