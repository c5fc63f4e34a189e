//! The report as one page of HTML: nothing is loaded from anywhere.

use super::Report;
use super::figures::{Figure, View};
use super::markup::El;
use super::plot::{NARROW, WIDE};
use super::subject::Subject;
use super::table::{Cell, Table, tables};
use super::titles;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        let sections: Vec<El> = self
            .subjects()
            .map(|subject| self.section(subject))
            .collect();
        let head = El::new("head")
            .child(El::new("meta").with("charset", "utf-8"))
            .child(
                El::new("meta")
                    .with("name", "viewport")
                    .with("content", "width=device-width, initial-scale=1"),
            )
            .child(
                El::new("meta")
                    .with("name", "color-scheme")
                    .with("content", "light dark"),
            )
            .child(El::new("title").text("inflight: what waiting costs"))
            .child(El::new("link").with("rel", "icon").with("href", "data:,"))
            .child(El::new("style").raw(STYLE));
        let body = El::new("body")
            .child(self.header())
            .child(
                El::new("main")
                    .children(sections)
                    .child(self.noise())
                    .child(self.ran_on()),
            )
            .child(
                El::new("div")
                    .with("id", "tip")
                    .with("role", "status")
                    .with("hidden", "hidden"),
            )
            .child(El::new("script").raw(SCRIPT));
        let html = El::new("html").with("lang", "en").child(head).child(body);
        format!("<!DOCTYPE html>\n{html}\n")
    }

    fn header(&self) -> El {
        let mut header = El::new("header")
            .child(El::new("h1").text("What waiting costs"))
            .child(El::of("p", "lede").text(
                "What a runtime costs, what an HTTP client costs, and what a blocking call costs, \
                 each beside the limit that nobody can beat.",
            ));
        for place in self.places() {
            header.add(El::of("p", "lede").text(place));
        }
        let mut list = El::new("ol");
        for subject in self.subjects() {
            let link = El::new("a").with("href", format!("#{}", anchor(&subject.name)));
            let item = match self.finding(subject) {
                Some(finding) => El::new("li").child(link.text(finding)),
                None => El::of("li", "missing")
                    .child(link.text(&subject.title))
                    .text(": not measured in these records"),
            };
            list.add(item.text(" ").child(El::new("code").text(&subject.name)));
        }
        header.child(
            El::new("nav")
                .with("aria-label", "Findings")
                .child(El::new("h2").text("What was found"))
                .child(list),
        )
    }

    fn section(&self, subject: &Subject) -> El {
        let mut section = El::new("section")
            .with("id", anchor(&subject.name))
            .with("data-trace", subject.trace)
            .child(El::of("p", "kicker").text(&subject.name))
            .child(El::new("h2").text(&subject.title))
            .child(El::of("p", "question").text(&subject.question));
        let Some(measured) = self.measured(&subject.name) else {
            let missing = El::of("p", "missing").text("Not measured in these records.");
            return section.child(missing).child(self.command(subject));
        };
        let view = View { subject, measured };
        let tables = tables(subject, measured);
        let mut printed = Vec::new();
        for figure in view.figures() {
            let again = printed.contains(&figure.metric);
            section.add(shown(&figure, &tables, again));
            printed.push(figure.metric);
        }
        let first = subject.metrics.first().map_or("", |metric| &metric.name);
        let place = self.place_of(&measured.run);
        section
            .child(El::of("p", "facts").text(format!(
                "Verified: {}. {}; {}. {place}",
                subject.verified,
                super::table::capital(&view.threshold(first)),
                titles::thrown(measured),
            )))
            .child(self.command(subject))
    }

    fn command(&self, subject: &Subject) -> El {
        El::new("pre").child(El::new("code").text(self.command_for(&subject.name)))
    }

    /// What can be seen at all.
    fn noise(&self) -> El {
        let mut table = El::new("table").child(head(&[
            "Experiment",
            "Metric",
            "Smallest difference that can be claimed",
            "Rounds",
            "Thrown away",
        ]));
        let mut body = El::new("tbody");
        for measured in self.all() {
            for (n, metric) in measured.metrics().into_iter().enumerate() {
                let smallest = titles::smallest(measured.smallest_difference(metric));
                let name = if n == 0 { &*measured.experiment } else { "" };
                let thrown = match n {
                    0 => titles::thrown(measured),
                    _ => String::new(),
                };
                let cells = [metric, &smallest, &measured.rounds().to_string(), &thrown];
                let cells = cells.map(|text| El::new("td").text(text));
                body.add(
                    El::new("tr")
                        .child(El::new("th").with("scope", "row").text(name))
                        .children(cells),
                );
            }
        }
        table.add(body);
        El::new("section")
            .with("id", "noise")
            .child(El::of("p", "kicker").text("A/A"))
            .child(El::new("h2").text("What can be seen at all"))
            .child(El::of("p", "question").text(
                "In each experiment the first contender runs twice under two names. What the two \
                 differ by is noise, and nothing smaller is claimed of anybody: the bound is the far \
                 end of the interval around their ratio, and of several points the largest. Turns in \
                 which the origin was late or busy do not count.",
            ))
            .child(El::of("div", "scroll words").child(table))
    }

    fn ran_on(&self) -> El {
        let mut section = El::new("section")
            .with("id", "environment")
            .child(El::of("p", "kicker").text("environment"))
            .child(El::new("h2").text("What it ran on"));
        for (run, environment) in self.environments() {
            let rows = environment.iter().map(|(key, value)| {
                El::new("tr")
                    .child(El::new("th").with("scope", "row").text(key))
                    .child(El::new("td").text(value))
            });
            let of: Vec<&str> = self
                .all()
                .filter(|measured| measured.run == run)
                .map(|measured| &*measured.experiment)
                .collect();
            section.add(
                El::new("details")
                    .child(El::new("summary").text(format!("{run}: {}", of.join(", "))))
                    .child(
                        El::of("div", "scroll words")
                            .child(El::new("table").child(El::new("tbody").children(rows))),
                    ),
            );
        }
        section.child(El::of("p", "facts").text(
            "What this measures, what it does not, and whom the choices favour is in the book's pages \
             on methodology and bias.",
        ))
    }
}

/// A figure: what was found, the picture for a desk and for a phone, how to read it, its table.
/// `again` where the table stands behind an earlier picture too: on paper once is enough.
fn shown(figure: &Figure, tables: &[Table], again: bool) -> El {
    let mut shown = El::new("figure")
        .with("id", &figure.id)
        .child(El::new("h3").text(&figure.title));
    for (class, width) in [("wide", WIDE), ("narrow", NARROW)] {
        let id = format!("{}-{class}", figure.id);
        let svg = figure
            .plot
            .draw(width)
            .svg(&id, &figure.title, &figure.caption);
        shown.add(El::of("div", class).child(svg));
    }
    shown.add(El::of("figcaption", "how").text(&figure.caption));
    let behind = tables
        .iter()
        .filter(|table| table.metrics.contains(&figure.metric));
    shown.child(
        El::of("details", if again { "again" } else { "table" })
            .child(El::new("summary").text("The figures as a table"))
            .children(behind.map(written)),
    )
}

fn head(names: &[impl AsRef<str>]) -> El {
    let cells = names
        .iter()
        .map(|name| El::new("th").with("scope", "col").text(name.as_ref()));
    El::new("thead").child(El::new("tr").children(cells))
}

fn written(table: &Table) -> El {
    let rows = table.rows.iter().map(|row| {
        El::new("tr")
            .child(El::new("th").with("scope", "row").text(&row.name))
            .children(row.cells.iter().map(cell))
    });
    // What scrolls has to be reached with the keyboard.
    El::of("div", "scroll")
        .with("tabindex", 0)
        .with("role", "region")
        .with("aria-label", &table.caption)
        .child(
            El::new("table")
                .child(El::new("caption").text(&table.caption))
                .child(head(&table.head))
                .child(El::new("tbody").children(rows)),
        )
}

/// The source is on it, for those who check the table against the records.
fn cell(cell: &Cell) -> El {
    let mut td = El::new("td");
    if let Some(source) = &cell.source {
        td = td
            .with("data-metric", &source.metric)
            .with("data-contender", &source.contender)
            .with("data-x", source.x)
            .with("data-value", source.value);
    }
    td = td.text(&cell.text);
    match &cell.interval {
        Some(interval) => td.child(El::new("small").text(interval)),
        None => td,
    }
}

fn anchor(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("of-{}", name.chars().map(letter).collect::<String>())
}
