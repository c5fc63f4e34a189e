//! Files that `gather --output` writes.

use std::fs;
use std::path::Path;

use inflight_origin::script::{Script, Scripted};
use inflight_origin::{Origin, payload};

use crate::program::{Ran, backends, finish, kinds, run};

/// The names in a directory, hidden ones too.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn each_body_is_in_a_file_named_by_its_index() {
    let origin = Origin::start().unwrap();
    let short = Scripted::same(
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
            &short.url("/"),
        ]);
        assert_eq!(
            kinds(&ran.records()),
            ["ok", "ok", "invalid_url", "ok", "status", "incomplete"],
            "{backend}"
        );
        // Nothing else: no failure, and no half of a body.
        assert_eq!(names(&pages), ["000000", "000001", "000003"], "{backend}");
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
fn a_directory_that_is_none_is_found_out_before_any_request() {
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
fn files_have_the_mode_of_any_new_file() {
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

/// A disk with little room left: no file may grow beyond 64 KiB.
#[cfg(unix)]
fn cramped<'a>(args: impl IntoIterator<Item = &'a str>) -> Ran {
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
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
fn a_disk_that_is_full_fails_what_does_not_fit_and_leaves_nothing_of_it() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let (small, large) = (origin.url("/bytes/1000"), origin.url("/bytes/1000000"));
    let ran = cramped(["gather", "--output", path, &small, &large, &small]);
    assert_eq!(kinds(&ran.records()), ["ok", "io", "ok"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(names(directory.path()), ["000000", "000002"]);

    let file = directory.path().join("body");
    let ran = cramped(["get", "-o", file.to_str().unwrap(), &large]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!ran.stderr.is_empty());
    assert_eq!(names(directory.path()), ["000000", "000002"]);
}
