//! Tests of `inflight lab report` and `inflight lab cmp`.

use std::fs;
use std::path::Path;

use crate::program::run;

/// Writes a file of records. Each run has ten rounds of six contenders and of the first contender again. For
/// each run, `runs` contains its ID and the factor by which `smol/isahc` is slower at a hundred pages.
fn write_records(path: &Path, runs: &[(&str, f64)]) {
    let mut text = String::new();
    for (run, slower) in runs {
        text += &format!("# run: {run}\n# cores: 2\n");
        text += "run,experiment,contender,x,round,turn,metric,value,unit,answered,thrown\n";
        let contenders = [
            "tokio/hyper",
            "tokio/isahc",
            "smol/hyper",
            "smol/isahc",
            "async-std/hyper",
            "async-std/isahc",
            "tokio/hyper (again)",
        ];
        for round in 0..10u32 {
            for (turn, contender) in contenders.iter().enumerate() {
                for x in [10, 100] {
                    // Noise of up to one per cent. It also depends on the length of the run's ID.
                    let seed = round * 7 + turn as u32 * 5 + x + run.len() as u32 * 3;
                    let noise = 1.0 + f64::from(seed % 11) / 1000.0;
                    let slowdown = if *contender == "smol/isahc" && x == 100 {
                        *slower
                    } else {
                        1.0
                    };
                    let value = 104.0 * noise * slowdown;
                    text += &format!(
                        "{run},gather,{contender},{x},{round},{turn},wall,{value},ms,{x},\n"
                    );
                }
            }
        }
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_report_is_an_html_page_and_tables_in_a_markdown_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (csv, html, md) = (
        path("records.csv"),
        path("new/report.html"),
        path("page.md"),
    );
    write_records(Path::new(&csv), &[("2026-11-25T02:10:00Z", 1.0)]);
    let page = "before\n<!-- lab:begin gather -->\nold\n<!-- lab:end gather -->\nafter\n";
    fs::write(&md, page).unwrap();
    let ran = run([
        "lab",
        "report",
        "--records",
        &csv,
        "--out",
        &html,
        "--markdown",
        &md,
    ]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    assert!(
        ran.stdout.starts_with(&format!("{md}\n{html}\n")),
        "{ran:?}"
    );
    assert!(
        ran.stdout
            .contains("not measured in these records: sequential"),
        "{ran:?}"
    );
    let report = fs::read_to_string(&html).unwrap();
    assert!(report.starts_with("<!DOCTYPE html>") && report.contains("<svg"));
    let filled = fs::read_to_string(&md).unwrap();
    assert!(
        filled.starts_with("before\n<!-- lab:begin gather -->\n"),
        "{filled}"
    );
    assert!(
        filled.contains("| smol/isahc ") && !filled.contains("\nold\n"),
        "{filled}"
    );
    assert!(filled.contains("Measured on 2026-11-25"), "{filled}");

    // With --markdown and without --out, no HTML page is written.
    let other = path("other.md");
    fs::write(&other, page).unwrap();
    let ran = run(["lab", "report", "--records", &csv, "--markdown", &other]);
    assert_eq!(ran.code, Some(0));
    assert!(!ran.stdout.contains("html"), "{ran:?}");
}

#[test]
fn unusable_records_are_a_usage_error_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (csv, html, md) = (path("records.csv"), path("report.html"), path("page.md"));
    write_records(Path::new(&csv), &[("2026-11-25T02:10:00Z", 1.0)]);
    fs::write(&md, "no markers\n").unwrap();
    fs::write(path("empty.csv"), "").unwrap();
    fs::write(path("broken.csv"), "# run: r\nr,gather\n").unwrap();
    let (missing, empty, broken) = (path("missing.csv"), path("empty.csv"), path("broken.csv"));
    let cases: &[(&[&str], &str)] = &[
        (&["--records", &missing], "missing.csv"),
        (&["--records", &empty], "no valid turns"),
        (&["--records", &broken], "line 2"),
        (&["--records", &csv, "--markdown", &md], "lab:begin"),
    ];
    for (args, text) in cases {
        let args = [&["lab", "report", "--out", &html], *args].concat();
        let ran = run(&args);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(text), "{args:?}: {}", ran.stderr);
    }
    assert!(!Path::new(&html).exists());
    assert_eq!(fs::read_to_string(&md).unwrap(), "no markers\n");
}

#[test]
fn only_the_slower_contender_is_marked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.csv");
    let runs = [
        ("2026-11-25T02", 1.0),
        ("2026-11-25T03:00Z", 1.0),
        ("2026-11-25T04", 1.1),
    ];
    write_records(&path, &runs);
    let run_argument = |run: &str| format!("{}@2026-11-25T{run}", path.display());
    let unchanged = run(["lab", "cmp", &run_argument("02"), &run_argument("03")]);
    assert_eq!((unchanged.code, &*unchanged.stderr), (Some(0), ""));
    assert!(
        unchanged
            .stdout
            .ends_with("results with a change that the other contenders do not share: 0 of 14\n"),
        "{}",
        unchanged.stdout
    );
    let slower = run(["lab", "cmp", &run_argument("02"), &run_argument("04")]);
    assert_eq!(
        slower.code,
        Some(0),
        "a difference does not change the exit status: {slower:?}"
    );
    assert!(
        slower
            .stdout
            .contains("\nresults with a change that the other contenders do not share: 1 of 14\n"),
        "{}",
        slower.stdout
    );
    let last = slower.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("  gather wall, smol/isahc at 100: 1.1"),
        "{last}"
    );
    assert!(last.ends_with("WORSE"), "{last}");

    for (name, text) in [("05", "0 runs"), ("0", "3 runs")] {
        let ran = run(["lab", "cmp", &run_argument(name), &run_argument("02")]);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains(text), "{ran:?}");
    }
}
