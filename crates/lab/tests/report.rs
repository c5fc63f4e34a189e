//! A report of made-up records: whole, well nested, true to the records, and from nowhere else.

mod synthetic;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use inflight_lab::record;
use inflight_lab::report::{MarkerError, Report, Subject};
use inflight_lab::stats::median;
use roxmltree::{Document, Node};

fn subjects() -> Vec<Subject> {
    let mut subjects = synthetic::subjects();
    subjects.extend(synthetic::unmeasured());
    subjects
}

fn report() -> Report {
    Report::new(&[synthetic::records()], subjects())
}

/// As XML, which is stricter than HTML about nesting, quotes and escapes.
fn parse(html: &str) -> Document<'_> {
    let body = html.strip_prefix("<!DOCTYPE html>").unwrap();
    Document::parse(body).unwrap()
}

fn all<'a>(document: &'a Document<'_>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document
        .descendants()
        .filter(move |node| node.has_tag_name(name))
}

fn class(node: &Node<'_, '_>, class: &str) -> bool {
    let classes = node.attribute("class").unwrap_or_default();
    classes.split(' ').any(|one| one == class)
}

#[test]
fn every_picture_shows_something_and_is_named() {
    let html = report().html();
    let document = parse(&html);
    let mut ids = HashSet::new();
    for node in document.descendants() {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
    let mut pictures = 0;
    for svg in all(&document, "svg") {
        pictures += 1;
        assert_eq!(svg.attribute("role"), Some("img"));
        for id in svg.attribute("aria-labelledby").unwrap().split(' ') {
            assert!(ids.contains(id), "{id}");
        }
        let id = svg.attribute("id").unwrap();
        let shapes = ["circle", "rect", "path", "polygon"];
        let data = svg.descendants().filter(|node| class(node, "datum"));
        let mut count = 0;
        for datum in data {
            count += 1;
            assert_eq!(datum.attribute("tabindex"), Some("0"));
            assert!(
                datum
                    .attribute("aria-label")
                    .is_some_and(|label| label.len() > 5)
            );
            let drawn = |node: &Node<'_, '_>| {
                shapes.contains(&node.tag_name().name()) && !class(node, "room")
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
    // A picture for a desk and one for a phone.
    assert!(pictures >= 2 * 15, "{pictures}");
    // Each has its table.
    assert_eq!(all(&document, "figure").count() * 2, pictures);
    for figure in all(&document, "figure") {
        let details = figure.children().find(|node| node.has_tag_name("details"));
        let details = details.expect("a table behind each picture");
        assert!(details.descendants().any(|node| node.has_tag_name("td")));
    }
}

#[test]
fn the_tables_hold_the_medians_of_the_records() {
    let run = synthetic::records();
    let mut values: BTreeMap<(String, String, String, String), Vec<f64>> = BTreeMap::new();
    for row in run.rows.iter().filter(|row| row.thrown.is_empty()) {
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
    let mut seen = HashSet::new();
    for td in all(&document, "td").filter(|td| td.has_attribute("data-value")) {
        let section = td
            .ancestors()
            .find(|node| node.has_tag_name("section"))
            .unwrap();
        let experiment = section
            .attribute("id")
            .unwrap()
            .strip_prefix("of-")
            .unwrap();
        let of = |name: &str| td.attribute(name).unwrap().to_owned();
        let key = (
            experiment.to_owned(),
            of("data-metric"),
            of("data-contender"),
            of("data-x"),
        );
        let expected = median(&values[&key]).unwrap();
        let shown: f64 = of("data-value").parse().unwrap();
        assert!((shown - expected).abs() <= 1e-9 * expected.abs(), "{key:?}");
        assert!(td.text().unwrap().chars().any(|c| c.is_ascii_digit()));
        seen.insert(key);
    }
    // Of a heartbeat's hundreds of beats the table has the longest.
    let missing = values
        .keys()
        .filter(|key| key.0 != "heartbeat" && !seen.contains(*key));
    assert_eq!(
        missing.collect::<Vec<_>>(),
        Vec::<&(String, String, String, String)>::new()
    );
    assert_eq!(seen.iter().filter(|key| key.0 == "heartbeat").count(), 4);
}

#[test]
fn nothing_is_loaded_from_anywhere() {
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
fn hostile_names_stay_names() {
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
    let report = Report::new(&[run], subjects());
    let html = report.html();
    let document = parse(&html);
    assert_eq!(all(&document, "script").count(), 1);
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
fn what_was_not_measured_is_told_and_not_made_up() {
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
    let nothing = Report::new(&[], subjects());
    assert!(nothing.is_empty());
    assert_eq!(nothing.html().matches("<svg").count(), 0);
}

#[test]
fn findings_are_computed() {
    let report = report();
    let findings = report.markdown("findings").unwrap();
    for known in [
        "`timeline`: 20 pages took 2,022 ms one after another, and 10",
        "`heartbeat`: A blocking call inside the task stopped the heart for 101 ms",
        "requests in async def takes 10,",
        "`dose`: Inside the task the gap grows by 1.0",
        "`later`: Size",
        "`session`: not measured in these records",
        "Measured on 2026-11-25 on A processor that was made up, 2 cores",
    ] {
        assert!(findings.contains(known), "{known}\n{findings}");
    }
    let effects = report.markdown("effects").unwrap();
    assert!(
        effects.contains("`overhead`, CPU for each request: Changing the runtime costs"),
        "{effects}"
    );
    assert!(effects.contains("from hyper to surf"), "{effects}");
    assert!(
        effects.contains("async-std/surf is 2"),
        "the odd cell is named: {effects}"
    );
}

#[test]
fn markers_are_filled_and_the_rest_is_left_alone() {
    let report = report();
    let page = "# Title\n\n<!-- lab:begin gather -->\nold\n<!-- lab:end gather -->\n\ntext\n\
                <!-- lab:begin noise --><!-- lab:end noise -->\nend\n";
    let filled = report.fill(page).unwrap();
    assert!(filled.starts_with("# Title\n\n<!-- lab:begin gather -->\n\n**"));
    assert!(filled.ends_with("<!-- lab:end noise -->\nend\n"));
    assert!(filled.contains("\n\ntext\n") && !filled.contains("\nold\n"));
    assert!(filled.contains("limit: the page's delay"));
    assert!(filled.contains("inflight lab run gather && inflight lab report"));
    assert_eq!(report.fill(&filled).unwrap(), filled, "it is stable");

    assert_eq!(report.fill("text"), Err(MarkerError::None));
    let open = "<!-- lab:begin gather -->\n";
    assert_eq!(report.fill(open), Err(MarkerError::Open("gather".into())));
    let unknown = "<!-- lab:begin x --><!-- lab:end x -->";
    assert_eq!(report.fill(unknown), Err(MarkerError::Unknown("x".into())));
}

#[test]
fn one_contender_in_one_round_is_a_report_too() {
    let mut maker = synthetic::Maker::new();
    for subject in synthetic::subjects() {
        for metric in &subject.metrics {
            maker.row(
                &subject.name,
                "tokio/hyper",
                1.0,
                0,
                (&metric.name, &metric.unit),
                0.0,
            );
        }
    }
    let report = Report::new(&[maker.run()], subjects());
    let html = report.html();
    let document = parse(&html);
    assert!(all(&document, "svg").count() > 0);
    assert!(!html.contains("NaN"));
    assert!(
        report
            .markdown("effects")
            .unwrap()
            .contains("No experiment")
    );
}

/// In a real browser, by the script that anybody can run on a report of their own.
#[test]
fn a_browser_shows_it_without_a_complaint() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lab-report");
    fs::create_dir_all(&folder).unwrap();
    let run = synthetic::records();
    let mut csv = Vec::new();
    record::begin(&mut csv, &run.id, &run.environment).unwrap();
    record::write(&mut csv, &run.rows).unwrap();
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
        tell("skipped: there is no python3");
        return;
    };
    let (out, complaints) = (
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr),
    );
    // It says so where it skips, as there is no browser.
    tell(&format!("{out}{complaints}"));
    assert!(checked.status.success());
}

#[allow(clippy::print_stderr, reason = "what a test skips is told")]
fn tell(text: &str) {
    eprintln!("{text}");
}
