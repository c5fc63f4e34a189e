//! The report as one page of HTML, which loads no external resources.

use inflight_charts::Element;

use super::experiment_info::ExperimentInfo;
use super::figures::{Figure, View};
use super::table::{Table, TableCell, tables};
use super::titles;
use super::{NOISE_HEAD, Report};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

impl Report {
    /// Renders the report as HTML.
    pub fn html(&self) -> String {
        let sections: Vec<Element> = self.experiments().map(|info| self.section(info)).collect();
        let head = Element::new("head")
            .child(Element::new("meta").with("charset", "utf-8"))
            .child(
                Element::new("meta")
                    .with("name", "viewport")
                    .with("content", "width=device-width, initial-scale=1"),
            )
            .child(
                Element::new("meta")
                    .with("name", "color-scheme")
                    .with("content", "light dark"),
            )
            .child(Element::new("title").text("inflight: what waiting costs"))
            .child(
                Element::new("link")
                    .with("rel", "icon")
                    .with("href", "data:,"),
            )
            .child(Element::new("style").raw(inflight_charts::STYLE).raw(STYLE));
        let body = Element::new("body")
            .child(self.header())
            .child(
                Element::new("main")
                    .children(sections)
                    .child(self.noise_section())
                    .child(self.environment_section()),
            )
            .child(
                Element::new("div")
                    .with("id", "tip")
                    .with("role", "status")
                    .with("hidden", "hidden"),
            )
            .child(Element::new("script").raw(SCRIPT));
        let html = Element::new("html")
            .with("lang", "en")
            .child(head)
            .child(body);
        format!("<!DOCTYPE html>\n{html}\n")
    }

    fn header(&self) -> Element {
        let mut header = Element::new("header")
            .child(Element::new("h1").text("What waiting costs"))
            .child(Element::with_class("p", "lede").text(
                "The costs of runtimes, HTTP clients and blocking calls. Where there is a physical limit, the charts show it.",
            ));
        for description in self.run_descriptions() {
            header.add(Element::with_class("p", "lede").text(description));
        }
        let mut list = Element::new("ol");
        for info in self.experiments() {
            let link = Element::new("a").with("href", format!("#{}", anchor(&info.name)));
            let item = match self.finding(info) {
                Some(finding) => Element::new("li").child(link.text(finding)),
                None => Element::with_class("li", "missing")
                    .child(link.text(&info.title))
                    .text(": not measured in these records"),
            };
            list.add(item.text(" ").child(Element::new("code").text(&info.name)));
        }
        header.child(
            Element::new("nav")
                .with("aria-label", "Findings")
                .child(Element::new("h2").text("Findings"))
                .child(list),
        )
    }

    fn section(&self, info: &ExperimentInfo) -> Element {
        let mut section = Element::new("section")
            .with("id", anchor(&info.name))
            .child(Element::with_class("p", "kicker").text(&info.name))
            .child(Element::new("h2").text(&info.title))
            .child(Element::with_class("p", "question").text(&info.question));
        let Some(results) = self.results_of(&info.name) else {
            let missing =
                Element::with_class("p", "missing").text("Not measured in these records.");
            return section.child(missing).child(self.command(info));
        };
        let view = View { info, results };
        let tables = tables(info, results);
        let mut metrics_with_table = Vec::new();
        for figure in view.figures() {
            let is_repeat = metrics_with_table.contains(&figure.metric);
            section.add(html_figure(&figure, &tables, is_repeat));
            metrics_with_table.push(figure.metric);
        }
        let run_description = self.run_description(&results.run);
        section
            .child(Element::with_class("p", "facts").text(format!(
                "Verified: {}. {}. {run_description}",
                info.verification,
                super::table::capitalize(&titles::describe_discarded(results)),
            )))
            .child(self.command(info))
    }

    fn command(&self, info: &ExperimentInfo) -> Element {
        Element::new("pre").child(Element::new("code").text(self.command_for(&info.name)))
    }

    /// Renders the table that lists, for each metric, the smallest difference that the report can claim.
    fn noise_section(&self) -> Element {
        let rows = self.noise_rows().into_iter().map(|row| {
            let mut cells = row.into_iter();
            let experiment = cells.next().unwrap_or_default();
            Element::new("tr")
                .child(row_head(&experiment))
                .children(cells.map(|text| Element::new("td").text(text)))
        });
        let table = Element::new("table")
            .child(head(&NOISE_HEAD))
            .child(Element::new("tbody").children(rows));
        Element::new("section")
            .with("id", "noise")
            .child(Element::with_class("p", "kicker").text("A/A"))
            .child(Element::new("h2").text("Smallest differences"))
            .child(Element::with_class("p", "question").text(
                "In each experiment, the first contender runs twice, under two names. The difference \
                 between the two is noise, so the report claims no smaller difference. The table shows how \
                 far the interval of their ratio extends from 1, at the point where it extends farthest. \
                 Discarded turns, in which the test server was early, late or busy, do not count.",
            ))
            .child(Element::with_class("div", "scroll words").child(table))
    }

    fn environment_section(&self) -> Element {
        let mut section = Element::new("section")
            .with("id", "environment")
            .child(Element::with_class("p", "kicker").text("environment"))
            .child(Element::new("h2").text("Environment"));
        for (run, environment) in self.environments() {
            let rows = environment.iter().map(|(key, value)| {
                Element::new("tr")
                    .child(row_head(key))
                    .child(Element::new("td").text(value))
            });
            let experiments: Vec<&str> = self
                .all()
                .filter(|results| results.run == run)
                .map(|results| &*results.experiment)
                .collect();
            section.add(
                Element::new("details")
                    .child(
                        Element::new("summary").text(format!("{run}: {}", experiments.join(", "))),
                    )
                    .child(
                        Element::with_class("div", "scroll words").child(
                            Element::new("table").child(Element::new("tbody").children(rows)),
                        ),
                    ),
            );
        }
        section.child(Element::with_class("p", "facts").text(
            "The book's pages on methodology and bias describe what the experiments measure and which \
             contenders the design of the experiments favours.",
        ))
    }
}

/// Renders a figure: its title, a wide and a narrow chart, the caption and the table. If `is_repeat`, an
/// earlier figure has the same table, and a printed page does not repeat the table.
fn html_figure(figure: &Figure, tables: &[Table], is_repeat: bool) -> Element {
    let mut html = Element::new("figure")
        .with("id", &figure.id)
        .child(Element::new("h3").text(&figure.title));
    let drawings = figure.drawn();
    html = html.children(drawings.drawings());
    html.add(Element::with_class("figcaption", "how").text(&figure.caption));
    let tables = tables
        .iter()
        .filter(|table| table.metrics.contains(&figure.metric));
    html.child(
        Element::with_class("details", if is_repeat { "again" } else { "table" })
            .child(Element::new("summary").text("Table"))
            .children(tables.map(html_table)),
    )
}

fn head(names: &[impl AsRef<str>]) -> Element {
    let cells = names
        .iter()
        .map(|name| Element::new("th").with("scope", "col").text(name.as_ref()));
    Element::new("thead").child(Element::new("tr").children(cells))
}

fn row_head(text: &str) -> Element {
    Element::new("th").with("scope", "row").text(text)
}

fn html_table(table: &Table) -> Element {
    let rows = table.rows.iter().map(|row| {
        Element::new("tr")
            .child(row_head(&row.name))
            .children(row.cells.iter().map(html_cell))
    });
    // A scrollable element must be focusable with the keyboard.
    Element::with_class("div", "scroll")
        .with("tabindex", 0)
        .with("role", "region")
        .with("aria-label", &table.caption)
        .child(
            Element::new("table")
                .child(Element::new("caption").text(&table.caption))
                .child(head(&table.head))
                .child(Element::new("tbody").children(rows)),
        )
}

/// Renders a cell. Its `data-` attributes contain the source of the value, for checks against the records.
fn html_cell(cell: &TableCell) -> Element {
    let mut td = Element::new("td");
    if let Some(source) = &cell.source {
        td = td
            .with("data-metric", &source.metric)
            .with("data-contender", &source.contender)
            .with("data-x", source.x)
            .with("data-value", source.value);
    }
    td = td.text(&cell.text);
    match &cell.interval {
        Some(interval) => td.child(Element::new("small").text(interval)),
        None => td,
    }
}

fn anchor(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("of-{}", name.chars().map(letter).collect::<String>())
}
