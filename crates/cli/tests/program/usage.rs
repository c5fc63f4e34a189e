//! Tests of usage errors, which are reported before any request is sent, and of the help.

use std::fs;

use inflight_origin::Origin;

use crate::program::run;

#[test]
fn an_invalid_command_line_is_a_usage_error_with_a_message() {
    let origin = Origin::start().unwrap();
    let url = &*origin.url("/page/1");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["fetch"], "unrecognized subcommand"),
        (&["gather"], "--input"),
        (&["get"], "<URL>"),
        (&["gather", "--limit", "0", url], "at least 1"),
        (&["gather", "--limit", "-1", url], "--limit"),
        (&["gather", "--limit", "many", url], "--limit"),
        (&["gather", "--workers", "0", url], "at least 1"),
        (&["gather", "--workers", "1000000", url], "at most"),
        (&["get", "--workers", "0", url], "at least 1"),
        (&["origin", "--workers", "0"], "at least 1"),
        (&["gather", "--timeout", "0s", url], "longer than zero"),
        (&["gather", "--timeout", "5x", url], "300ms, 5s or 2m"),
        (&["gather", "--timeout=-5s", url], "--timeout"),
        (
            &["gather", "--connect-timeout", "0ms", url],
            "longer than zero",
        ),
        (&["gather", "--deadline", "0s", url], "longer than zero"),
        (&["gather", "--max-body", "lots", url], "--max-body"),
        (&["gather", "--format", "xml", url], "jsonl"),
        (&["gather", "--progress", "maybe", url], "always"),
        (
            &["gather", "--backend", "curl", url],
            "unknown backend \"curl\": use one of tokio",
        ),
        (
            &["gather", "--input", "/nowhere/urls", url],
            "cannot read /nowhere/urls",
        ),
        (&["gather", "--input", path, url], "is a directory"),
        (&["get", "-o", path, url], "cannot write"),
        (
            &["get", "-o", "/nowhere/page", url],
            "cannot write /nowhere/page: No such file",
        ),
        (&["get", "-H", "no colon", url], "Name: value"),
        (&["get", "-H", "a b: c", url], "header name"),
        (&["get", "-X", "GE T", url], "not a valid HTTP method"),
        (
            &["get", "-d", "@/nowhere/data", url],
            "cannot read /nowhere/data",
        ),
        (&["origin", "--listen", "nowhere"], "--listen"),
        (&["completions", "csh"], "fish"),
        (&["man", "gather", "run"], "no command `gather run`"),
        (&["man", "--output", "/nowhere"], "/nowhere"),
        (&["stalls"], "standard output is not a terminal"),
        (&["stalls", "--runtime", "threads"], "async-std"),
        (&["stalls", "--delay", "5m"], "at most 30s"),
        (&["stalls", "--url", url, "--delay", "1s"], "--delay"),
        // The port is already in use.
        (
            &[
                "origin",
                "--listen",
                url.trim_start_matches("http://")
                    .trim_end_matches("/page/1"),
            ],
            "cannot listen",
        ),
        (&["gather", "--retries", "some", url], "--retries"),
        (&["gather", "--per-host", "0", url], "--per-host"),
        (&["gather", "--rate", "0/s", url], "at least 1/s"),
        (&["gather", "--rate", "20/m", url], "as 20 or 20/s"),
        (&["get", "--read-timeout", "0s", url], "--read-timeout"),
        (&["get", "-C", url], "--output <FILE>"),
        (&["get", "-C", "-o", "-", url], "a regular file: -o FILE"),
        (&["get", "-C", "-o", "page", "-d", "a=1", url], "--data"),
        (&["get", "-C", "-o", "page", "-i", url], "--include"),
        // Only `gather` has limits for several requests.
        (&["get", "--per-host", "1", url], "unexpected argument"),
    ];
    for (args, text) in cases {
        let ran = run(*args);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(text), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(origin.stats().requests, 0);
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
}

#[cfg(feature = "ureq")]
#[test]
fn the_workers_option_is_a_usage_error_with_the_backend_ureq() {
    let ran = run([
        "gather",
        "--backend",
        "ureq",
        "--workers",
        "2",
        "http://127.0.0.1/",
    ]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("worker threads"), "{ran:?}");
}

#[test]
fn help_shows_an_example_of_each_command() {
    for command in ["get", "gather", "origin", "backends", "completions", "man"] {
        let ran = run([command, "--help"]);
        assert_eq!(ran.code, Some(0));
        assert!(
            ran.stdout.contains(&format!("\n  inflight {command}")),
            "{}",
            ran.stdout
        );
    }
    let ran = run(["--version"]);
    assert_eq!(
        ran.stdout,
        format!("inflight {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn an_invalid_command_line_shows_no_credentials() {
    for arguments in [
        &[
            "get",
            "-H",
            "Authorization Bearer secret",
            "http://127.0.0.1:1/",
        ][..],
        &[
            "get",
            "-H",
            "Author ization: Bearer secret",
            "http://127.0.0.1:1/",
        ],
        &["get", "http://a/", "http://me:secret@b/"],
        &["get", "--resolve", "http://me:secret@b/", "http://a/"],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
}
