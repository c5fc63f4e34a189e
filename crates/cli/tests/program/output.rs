//! Tests of the files that `gather --output` writes.

use std::fs;
use std::path::Path;

use inflight_origin::script::{Script, ScriptedServer};
use inflight_origin::{Origin, payload};

use crate::program::{ProgramOutput, backends, finish, kinds, run};

/// Returns the names of the files in a directory, including hidden ones and without the manifest.
pub(crate) fn file_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut file_names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "manifest.jsonl")
        .collect();
    file_names.sort();
    file_names
}

#[test]
fn each_body_is_in_a_file_named_by_its_index() {
    let origin = Origin::start().unwrap();
    let truncating_server = ScriptedServer::with_script(
        Script::new()
            .read_request()
            .send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n{}",
                "x".repeat(400_000)
            ))
            .close(),
    )
    .unwrap();
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("to/pages");
        let ran = run([
            "gather",
            "--backend",
            backend,
            "--output",
            pages.to_str().unwrap(),
            "--fail-status",
            &origin.url("/page/1"),
            &origin.url("/bytes/1000000?seed=9"),
            "nonsense",
            &origin.url("/bytes/0"),
            &origin.url("/status/404"),
            &truncating_server.url("/"),
        ]);
        assert_eq!(
            kinds(&ran.records()),
            ["ok", "ok", "invalid_url", "ok", "status", "incomplete"],
            "{backend}"
        );
        // Failed requests leave no file, not even a partial one.
        assert_eq!(
            file_names(&pages),
            ["000000", "000001", "000003"],
            "{backend}"
        );
        assert_eq!(
            fs::read(pages.join("000000")).unwrap(),
            payload::page(1).as_bytes()
        );
        assert_eq!(
            fs::read(pages.join("000001")).unwrap(),
            payload::bytes(1_000_000, 9)
        );
        assert_eq!(fs::read(pages.join("000003")).unwrap(), b"");
        assert_eq!(ran.code, Some(1));
    }
}

#[test]
fn an_invalid_directory_is_an_error_before_any_request() {
    let origin = Origin::start().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for output in [
        path.to_owned(),
        format!("{path}/below"),
        "/dev/null/x".to_owned(),
    ] {
        let ran = run(["gather", "--output", &output, &origin.url("/page/1")]);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        assert!(
            ran.stderr
                .starts_with(&format!("error: cannot write to {output}: ")),
            "{ran:?}"
        );
    }
    assert_eq!(origin.stats().requests, 0);
}

#[cfg(unix)]
#[test]
fn files_have_the_default_mode() {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let usual = directory.path().join("usual");
    fs::write(&usual, "").unwrap();
    let ran = run([
        "gather",
        "--output",
        directory.path().to_str().unwrap(),
        &origin.url("/page/1"),
    ]);
    assert_eq!(ran.code, Some(0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&directory.path().join("000000")), mode(&usual));
}

/// Runs the program with a limit of 64 KiB for each file, as on a disk that is almost full.
#[cfg(unix)]
fn run_with_file_limit<'a>(args: impl IntoIterator<Item = &'a str>) -> ProgramOutput {
    let script = "ulimit -f 64; exec \"$0\" \"$@\"";
    let shell = std::process::Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_inflight")])
        .env("NO_PROXY", "*")
        .args(args)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    finish(shell.unwrap())
}

#[cfg(unix)]
#[test]
fn a_body_that_does_not_fit_on_the_disk_fails_and_leaves_no_file() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let (small, large) = (origin.url("/bytes/1000"), origin.url("/bytes/1000000"));
    let ran = run_with_file_limit(["gather", "--output", path, &small, &large, &small]);
    assert_eq!(kinds(&ran.records()), ["ok", "io", "ok"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(file_names(directory.path()), ["000000", "000002"]);

    let file = directory.path().join("body");
    let ran = run_with_file_limit(["get", "-o", file.to_str().unwrap(), &large]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!ran.stderr.is_empty());
    assert_eq!(file_names(directory.path()), ["000000", "000002"]);
}

/// The limit on the size of a file has the same effect as a full disk.
#[cfg(unix)]
#[test]
fn results_that_do_not_fit_on_the_disk_end_with_a_whole_line() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let results = directory.path().join("results.jsonl");
    let journal = directory.path().join("journal.jsonl");
    let script = "ulimit -f 8; exec \"$0\" gather \"$@\" >> \"$RESULTS\"";
    for (target, options) in [
        (&results, &[][..]),
        (&journal, &["--journal", journal.to_str().unwrap()]),
    ] {
        let urls: Vec<_> = (0..200)
            .map(|n| origin.url(&format!("/page/{n}")))
            .collect();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_inflight")])
            .args(options)
            .args(&urls);
        command
            .env("NO_PROXY", "*")
            .env("XDG_CONFIG_HOME", "/nonexistent");
        let stdout = if target == &results {
            target.as_path()
        } else {
            Path::new("/dev/null")
        };
        let ran = command.env("RESULTS", stdout).output().unwrap();
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert!(stderr.contains("File too large"), "{stderr}");
        let text = fs::read_to_string(target).unwrap();
        assert!(text.len() > 1000 && text.ends_with("}\n"), "{}", text.len());
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}
