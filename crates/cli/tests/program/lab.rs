//! Tests of `inflight lab list`, `inflight lab run` and `inflight lab summary`.

use std::fs;
use std::path::Path;

use crate::program::{finish, program, run};

/// Returns the lines of a file of records, without comments and the header line.
fn record_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "incomplete line: {text}");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.skip(1).map(str::to_owned).collect()
}

#[test]
fn the_list_shows_each_experiment_and_its_rounds() {
    let help = run(["lab", "--help"]).stdout;
    assert!(help.contains("\n  inflight lab run"), "{help}");
    assert!(
        !help.contains("worker"),
        "the help lists a hidden command: {help}"
    );
    let ran = run(["lab", "list"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    for text in ["\ngather\n", "quick: ", "full: ", " rounds\n", "?\n"] {
        assert!(format!("\n{}", ran.stdout).contains(text), "{text}");
    }
}

#[test]
fn an_invalid_command_line_is_a_usage_error_and_nothing_is_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.csv");
    let file = path.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["weather"], "the experiments are gather, sequential"),
        (&["blockers", "--rounds", "0"], "--rounds"),
        (&["blockers", "--rounds", "-1"], "--rounds"),
        (&["blockers", "--effort", "some"], "quick"),
        (&["blockers", "--resume"], "cannot be used with"),
        (&["--resume"], "no run to resume"),
    ];
    for (args, text) in cases {
        let args = [&["lab", "run", "--records", file], *args].concat();
        let ran = run(&args);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(text), "{args:?}: {}", ran.stderr);
    }
    assert!(!path.exists());
    let ran = run([
        "lab",
        "worker",
        "--experiment",
        "weather",
        "--contender",
        "x",
        "--origin",
        "x",
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("weather"), "{ran:?}");
}

#[test]
fn a_run_is_recorded_with_a_description_of_the_machine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("folder").join("records.csv");
    let file = path.to_str().unwrap();
    let ran = run(["lab", "run", "blockers", "--rounds", "1", "--records", file]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains(file), "{ran:?}");
    let text = fs::read_to_string(&path).unwrap();
    for key in [
        "run",
        "cpu",
        "cores",
        "kernel",
        "rustc",
        "version of tokio",
        "effort",
        "seed",
    ] {
        assert!(text.contains(&format!("# {key}: ")), "{key}");
    }
    let rows = record_lines(&path);
    for contender in ["tokio", "smol", "async-std"] {
        let row_part = format!(",blockers,{contender},");
        assert!(
            rows.iter().any(|row| row.contains(&row_part)),
            "{contender}"
        );
    }
    let again = run(["lab", "run", "--resume", "--records", file]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("is finished"), "{again:?}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_finished_turns_and_the_rest_can_be_resumed() {
    use rustix::process::{Pid, Signal, kill_process};

    use crate::program::wait_for;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.csv");
    let file = path.to_str().unwrap();
    let args = ["lab", "run", "blockers", "--rounds", "3", "--records", file];
    let child = program(args).spawn().unwrap();
    // Waits until the first round has been recorded.
    wait_for(|| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.contains(",blockers,").then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.stdout.contains("--resume"), "{ran:?}");
    let before = record_lines(&path);
    let ran = run(["lab", "run", "--resume", "--records", file]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let all = record_lines(&path);
    assert_eq!(all[..before.len()], before);
    assert!(all.len() > before.len());
}

const RECORDS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/records/amd-epyc-2-cores.csv"
);

#[test]
fn a_summary_prints_sentences_and_tables_and_writes_all_figures() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("folder").join("all.md");
    let out = path.to_str().unwrap();
    let ran = run(["lab", "summary", "--records", RECORDS, "--out", out]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    for text in [
        "1. A blocking call of 100 ms",
        "2. Of the cells, ",
        "3. This run cannot tell ",
        out,
    ] {
        assert!(ran.stdout.contains(text), "{text}: {}", ran.stdout);
    }
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .contains("**gather: time until the last page")
    );
    // The last run in the file measured system calls only.
    let last = run([
        "lab",
        "summary",
        "--last-run",
        "--records",
        RECORDS,
        "--out",
        out,
    ]);
    assert!(
        last.stdout.contains("did not measure a blocking call"),
        "{last:?}"
    );
}

#[test]
fn a_summary_without_measurements_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.csv");
    fs::write(&path, "# run: r\n").unwrap();
    let ran = run(["lab", "summary", "--records", path.to_str().unwrap()]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains("no finished measurements"), "{ran:?}");
}

#[test]
fn a_missing_tool_is_named_with_what_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let records = directory.path().join("records.csv");
    let args = [
        "lab",
        "run",
        "blocking",
        "--rounds",
        "1",
        "--records",
        records.to_str().unwrap(),
    ];
    let command = |has_python: bool| {
        if has_python {
            fs::write(directory.path().join("python3"), "").unwrap();
        }
        let mut command = program(args);
        command
            .env("PATH", directory.path())
            .env("INFLIGHT_PEERS", directory.path().join("peers"));
        finish(command.spawn().unwrap())
    };
    let without = command(false);
    let expected = "is left out: python3 is not on the PATH: on Debian, apt-get install python3 python3-venv; then run \
                    `just peers`";
    let line = without
        .stderr
        .lines()
        .find(|line| line.starts_with("aiohttp (in gather, "));
    assert!(
        line.is_some_and(|line| line.ends_with(expected)),
        "{without:?}"
    );
    let with = command(true);
    assert!(
        with.stderr
            .contains("is left out: it is not prepared: run `just peers`"),
        "{with:?}"
    );
}
