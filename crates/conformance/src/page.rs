//! Writes the rules as a page of the book.

use std::fmt::{self, Write as _};

use inflight_core::Capabilities;

use crate::cases::cases;
use crate::rule::{Deviation, DeviationEffect, Rule};

/// A Markdown page with the rules for responses that a server may send, and the deviations of each client. It
/// is generated from the cases that check the rules.
///
/// ```
/// use inflight_conformance::VerdictsPage;
/// use inflight_core::{Capabilities, Support};
///
/// let mut old = Capabilities::all("a client of 2019");
/// old.rare_forms = Support::No("it reads no folded values");
/// let mut page = VerdictsPage::new();
/// page.add("old", old);
/// assert!(page.to_string().contains("it reads no folded values"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct VerdictsPage {
    clients: Vec<(String, Capabilities)>,
}

impl VerdictsPage {
    /// Creates a page without clients.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a client: its name and its capabilities.
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

A server may be old, broken or hostile, and a proxy on the path may parse a response differently than we do.
Therefore each kind of response that HTTP/1.1 forbids or leaves open has one verdict: a success with a given
body, or an error of a given kind. The verdict is the same with every client. Where RFC 9112 leaves a choice,
the verdict is the stricter option, unless a widely used server needs the other option.

The verdict `protocol` means that the response is invalid, and `incomplete` that it ended early. A connection
that is *closed* carries no other request, and a connection that is *kept* may carry the next request. An
accepted body is exactly as long as the response declares.

Each row is a case of the conformance suite, which runs with every runtime and client:
`just conformance --case verdicts::`.
";

impl fmt::Display for VerdictsPage {
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
            let label = format!("{promise} {reason}");
            let label = label.trim_end();
            writeln!(
                f,
                "| {number} | {label} | {verdict} | {connection} | {source} |"
            )?;
        }
        self.write_framing_cases(f)?;
        self.write_deviations(f)
    }
}

impl VerdictsPage {
    /// Writes the cases on framing that are not rules.
    fn write_framing_cases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## Other cases on framing\n")?;
        for case in cases().iter().filter(|case| case.group == "framing") {
            let lacking = self.clients.iter().filter(|(_, capabilities)| {
                let support = case.support(capabilities);
                !support.is_yes()
            });
            let lacking: Vec<&str> = lacking.map(|(client, _)| &**client).collect();
            let except = match lacking.is_empty() {
                true => String::new(),
                false => format!(" Exception: {} (see below).", lacking.join(", ")),
            };
            writeln!(f, "- {}{except}", case.promise)?;
        }
        Ok(())
    }

    fn write_deviations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\n## Deviations of clients\n\n\
             Some HTTP libraries deviate from these rules. Each client declares its deviations and their risks in \
             its `Capabilities`.\n",
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
                let (reason, rows) = (sentence(deviation.reason), row_list(&numbers));
                let effect = match deviation.effect {
                    DeviationEffect::Unchecked => "the result is not defined".to_owned(),
                    DeviationEffect::ConnectionReused => "the connection may be reused".to_owned(),
                    DeviationEffect::OtherKind(kind) => format!("the error may be `{kind}`"),
                };
                writeln!(f, "- {reason} For {rows} {effect}.")?;
            }
        }
        Ok(())
    }
}

/// Returns a reason as a sentence. The first letter stays in lower case, because a reason may begin
/// with the name of a library.
fn sentence(reason: &str) -> String {
    format!("{}.", reason.trim_end_matches('.'))
}

/// Returns `row 1`, or `rows 1, 2 and 3`.
fn row_list(numbers: &[usize]) -> String {
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
        assert_eq!(row_list(&[3]), "row 3");
        assert_eq!(row_list(&[3, 4]), "rows 3 and 4");
        assert_eq!(row_list(&[3, 4, 9]), "rows 3, 4 and 9");

        let mut page = VerdictsPage::new();
        page.add("whole", Capabilities::all("whole"));
        let mut lacking = Capabilities::all("lacking");
        lacking.strict_chunks = Support::No("it guesses");
        page.add("lacking", lacking);
        let text = page.to_string();
        assert!(text.contains("### whole\n\nNone.\n"), "{text}");
        assert_eq!(text.matches("it guesses. For rows ").count(), 1, "{text}");
    }
}
