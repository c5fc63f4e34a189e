//! Tests that a report of synthetic records is complete, well formed and self-contained, and that it
//! shows the values of the records.

mod synthetic;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use inflight_lab::markdown::MarkerError;
use inflight_lab::record;
use inflight_lab::report::{ExperimentInfo, Report};
use inflight_lab::stats::median;
use roxmltree::{Document, Node};

fn experiments() -> Vec<ExperimentInfo> {
    let mut experiments = synthetic::experiments();
    experiments.extend(synthetic::unmeasured());
    experiments
}

fn report() -> Report {
    Report::new(&[synthetic::records()], experiments())
}

/// Parses the page as XML, which is stricter than HTML.
fn parse(html: &str) -> Document<'_> {
    let body = html.strip_prefix("<!DOCTYPE html>").unwrap();
    Document::parse(body).unwrap()
}

fn elements<'a>(document: &'a Document<'_>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document
        .descendants()
        .filter(move |node| node.has_tag_name(name))
}

fn has_class(node: &Node<'_, '_>, class: &str) -> bool {
    let classes = node.attribute("class").unwrap_or_default();
    classes.split(' ').any(|one| one == class)
}

#[test]
fn every_chart_has_data_and_a_name() {
    let html = report().html();
    let document = parse(&html);
    let mut ids = HashSet::new();
    for node in document.descendants() {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id.to_owned()), "duplicate id {id}");
        }
    }
    let mut charts = 0;
    for svg in elements(&document, "svg") {
        charts += 1;
        assert_eq!(svg.attribute("role"), Some("img"));
        for id in svg.attribute("aria-labelledby").unwrap().split(' ') {
            assert!(ids.contains(id), "{id}");
        }
        let id = svg.attribute("id").unwrap();
        let shapes = ["circle", "rect", "path", "polygon"];
        let data = svg.descendants().filter(|node| has_class(node, "datum"));
        let mut count = 0;
        for datum in data {
            count += 1;
            assert!(
                datum
                    .attribute("aria-label")
                    .is_some_and(|label| label.len() > 5)
            );
            let drawn = |node: &Node<'_, '_>| {
                shapes.contains(&node.tag_name().name()) && !has_class(node, "hit-area")
            };
            assert!(datum.descendants().any(|node| drawn(&node)), "{id}");
        }
        assert!(count > 0, "{id} shows nothing");
        for node in svg.descendants() {
            for attribute in node.attributes() {
                assert!(
                    !attribute.value().contains("NaN") && !attribute.value().contains("inf"),
                    "{id}: {node:?}"
                );
            }
        }
    }
    // Each figure has a wide and a narrow chart.
    assert!(charts >= 2 * 12, "{charts}");
    assert_eq!(elements(&document, "figure").count() * 2, charts);
    for figure in elements(&document, "figure") {
        let details = figure.children().find(|node| node.has_tag_name("details"));
        let details = details.expect("each figure should have a table");
        assert!(details.descendants().any(|node| node.has_tag_name("td")));
    }
}

#[test]
fn the_tables_show_the_medians_of_the_records() {
    let run = synthetic::records();
    let mut values: BTreeMap<(String, String, String, String), Vec<f64>> = BTreeMap::new();
    for row in run.rows.iter().filter(|row| row.discard_reason.is_empty()) {
        let key = (
            row.experiment.clone(),
            row.metric.clone(),
            row.contender.clone(),
            row.x.to_string(),
        );
        values.entry(key).or_default().push(row.value);
    }
    let html = report().html();
    let document = parse(&html);
    let mut found = HashSet::new();
    for td in elements(&document, "td").filter(|td| td.has_attribute("data-value")) {
        let section = td
            .ancestors()
            .find(|node| node.has_tag_name("section"))
            .unwrap();
        let experiment = section
            .attribute("id")
            .unwrap()
            .strip_prefix("of-")
            .unwrap();
        let attribute_of = |name: &str| td.attribute(name).unwrap().to_owned();
        let key = (
            experiment.to_owned(),
            attribute_of("data-metric"),
            attribute_of("data-contender"),
            attribute_of("data-x"),
        );
        let expected = median(&values[&key]).unwrap();
        let shown: f64 = attribute_of("data-value").parse().unwrap();
        assert!((shown - expected).abs() <= 1e-9 * expected.abs(), "{key:?}");
        assert!(td.text().unwrap().chars().any(|c| c.is_ascii_digit()));
        found.insert(key);
    }
    assert_eq!(found, values.into_keys().collect());
}

#[test]
fn the_page_loads_no_resources() {
    let html = report().html();
    assert!(!html.contains("http://") && !html.contains("https://"));
    assert!(!html.contains("@import") && !html.contains("url("));
    let document = parse(&html);
    for node in document.descendants() {
        assert_eq!(node.attribute("src"), None);
        if let Some(link) = node.attribute("href") {
            assert!(link.starts_with('#') || link == "data:,", "{link}");
            if let Some(id) = link.strip_prefix('#') {
                assert!(
                    document
                        .descendants()
                        .any(|node| node.attribute("id") == Some(id)),
                    "{id}"
                );
            }
        }
    }
}

#[test]
fn hostile_names_are_escaped() {
    let hostile = "</svg></table><script src=\"http://x\">alert('&')</script>|`*\u{7}";
    let mut run = synthetic::records();
    for row in &mut run.rows {
        if row.contender == "aiohttp" {
            row.contender = hostile.to_owned();
        }
        if row.experiment == "later" {
            row.experiment = hostile.to_owned();
        }
    }
    run.environment.insert("cpu".into(), hostile.into());
    let report = Report::new(&[run], experiments());
    let html = report.html();
    let document = parse(&html);
    assert_eq!(elements(&document, "script").count(), 1);
    assert!(html.contains("&lt;/svg&gt;"));
    let markdown = report.markdown("gather").unwrap();
    assert!(!markdown.contains("<script"), "{markdown}");
    let lines: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    let bars = |line: &&str| line.matches('|').count() - line.matches("\\|").count();
    let bars: HashSet<usize> = lines.iter().map(bars).collect();
    assert_eq!(bars.len(), 1, "{markdown}");
}

#[test]
fn experiments_without_records_are_reported_as_not_measured() {
    let report = report();
    let html = report.html();
    for name in ["session", "large"] {
        let section = html.split(&format!("id=\"of-{name}\"")).nth(1).unwrap();
        let section = section.split("</section>").next().unwrap();
        assert!(
            section.contains("Not measured in these records."),
            "{section}"
        );
        assert!(!section.contains("<svg"));
        let markdown = report.markdown(name).unwrap();
        assert_eq!(
            markdown,
            format!("`{name}` is not measured in these records.")
        );
    }
    let nothing = Report::new(&[], experiments());
    assert!(nothing.is_empty());
    assert_eq!(nothing.html().matches("<svg").count(), 0);
}

#[test]
fn findings_and_effects_are_computed_from_the_records() {
    let report = report();
    let findings = report.markdown("findings").unwrap();
    for known in [
        "`rate`: Latency at the 99th percentile, by requests a second: first above twice the value at 500/s: async-std/surf",
        "`later`: Size, by x. At 1: ",
        "`session`: not measured in these records",
        "Measured on 2026-11-25 on A synthetic processor, 2 cores",
    ] {
        assert!(findings.contains(known), "{known}\n{findings}");
    }
    let effects = report.markdown("effects").unwrap();
    let row = effects
        .lines()
        .find(|line| line.contains("CPU for each request"));
    let row = row.expect("the table should have a row for the heat map");
    // In the synthetic records, async-std costs 1.5 times as much as tokio, and surf 5.5 times as much as hyper.
    assert!(row.contains("| 1.5"), "{row}");
    assert!(
        row.contains("/hyper to ") && row.contains("/surf) "),
        "{row}"
    );
}

#[test]
fn markers_are_filled_and_other_text_is_unchanged() {
    let report = report();
    let page = "# Title\n\n<!-- lab:begin gather -->\nold\n<!-- lab:end gather -->\n\ntext\n\
                <!-- lab:begin noise --><!-- lab:end noise -->\nend\n";
    let filled = report.fill(page).unwrap();
    assert!(
        filled.starts_with("# Title\n\n<!-- lab:begin gather -->\n\nTime until the last page, ")
    );
    assert!(filled.ends_with("<!-- lab:end noise -->\nend\n"));
    assert!(filled.contains("\n\ntext\n") && !filled.contains("\nold\n"));
    assert!(filled.contains("limit: the page's delay"));
    assert!(filled.contains("inflight lab run gather && inflight lab report"));
    assert_eq!(
        report.fill(&filled).unwrap(),
        filled,
        "filling is idempotent"
    );

    let titles = report.fill("<!-- lab:begin gather:titles --><!-- lab:end gather:titles -->");
    assert!(
        titles
            .unwrap()
            .contains("\n- CPU time of the client, by pages at once. At 1: ")
    );

    assert_eq!(report.fill("text"), Err(MarkerError::None("lab".into())));
    let open = "<!-- lab:begin gather -->\n";
    assert_eq!(report.fill(open), Err(MarkerError::Open("gather".into())));
    let unknown = "<!-- lab:begin x --><!-- lab:end x -->";
    assert_eq!(report.fill(unknown), Err(MarkerError::Unknown("x".into())));
}

#[test]
fn a_report_can_have_one_contender_and_one_round() {
    let mut builder = synthetic::RecordBuilder::new();
    for info in synthetic::experiments() {
        for metric in &info.metrics {
            builder.row(
                &info.name,
                "tokio/hyper",
                1.0,
                0,
                (&metric.name, &metric.unit),
                0.0,
            );
        }
    }
    let report = Report::new(&[builder.run()], experiments());
    let html = report.html();
    let document = parse(&html);
    assert!(elements(&document, "svg").count() > 0);
    assert!(!html.contains("NaN"));
    assert!(
        report
            .markdown("effects")
            .unwrap()
            .contains("No experiment")
    );
}

/// Checks the report in a browser with `docs/check_report.py`.
#[test]
fn the_report_passes_the_browser_checks() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lab-report");
    fs::create_dir_all(&folder).unwrap();
    let run = synthetic::records();
    let mut csv = Vec::new();
    record::write_header(&mut csv, &run.id, &run.environment).unwrap();
    record::write_rows(&mut csv, &run.rows).unwrap();
    let (page, records) = (folder.join("report.html"), folder.join("records.csv"));
    fs::write(&page, report().html()).unwrap();
    fs::write(&records, csv).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/check_report.py");
    let Ok(checked) = Command::new("python3")
        .arg(&script)
        .arg(&page)
        .arg(&records)
        .output()
    else {
        print_note("skipped: python3 is not installed");
        return;
    };
    let (out, errors) = (
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr),
    );
    // The script prints a note if there is no browser.
    print_note(&format!("{out}{errors}"));
    assert!(checked.status.success());
}

#[allow(clippy::print_stderr, reason = "reports skipped checks")]
fn print_note(text: &str) {
    eprintln!("{text}");
}
