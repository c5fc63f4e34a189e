//! Tests of the program with a low limit on file descriptors. They run only on Linux, where all addresses in
//! 127.0.0.0/8 belong to this machine.

use std::process::{Command, Stdio};

use inflight::Cell;
use inflight_origin::{Options, Origin};
use serde_json::Value;

use crate::program::{ProgramOutput, finish, records};

/// Runs the program with a limit on file descriptors.
fn run_with_descriptors(descriptors: usize, args: &[&str]) -> ProgramOutput {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_inflight"))
        .args(args)
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}

/// Returns the cells (a runtime and a client, such as `smol/hyper`) that use the connection pool of
/// `inflight-net`.
fn pooled_cells() -> impl Iterator<Item = String> {
    Cell::compiled()
        .filter(|cell| matches!(cell.client(), "hyper" | "surf"))
        .map(|cell| cell.to_string())
}

fn gather(descriptors: usize, cell: &str, urls: &[String]) -> Vec<Value> {
    let mut args = vec![
        "gather",
        "--backend",
        cell,
        "--limit",
        "20",
        "--summary",
        "none",
        "--format",
        "jsonl",
    ];
    args.extend(urls.iter().map(String::as_str));
    let ran = run_with_descriptors(descriptors, &args);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{cell}");
    records(&ran.stdout)
}

#[test]
fn idle_connections_are_closed_to_free_descriptors_for_other_hosts() {
    let options = Options {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Options::default()
    };
    let origin = Origin::bind(options).unwrap();
    let port = origin.addr().port();
    let urls: Vec<_> = (0..250)
        .map(|n| format!("http://127.0.1.{}:{port}/bytes/12", n + 1))
        .collect();
    for cell in pooled_cells() {
        // Fewer descriptors than hosts.
        let records = gather(80, &cell, &urls);
        assert_eq!(records.len(), urls.len(), "{cell}");
    }
}

#[test]
fn many_requests_need_few_descriptors() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/bytes/12");
    let urls = vec![url; 500];
    for cell in pooled_cells() {
        let records = gather(64, &cell, &urls);
        assert_eq!(records.len(), urls.len(), "{cell}");
    }
}

#[test]
fn with_too_few_descriptors_a_request_succeeds_or_its_error_mentions_ulimit() {
    let origin = Origin::start().unwrap();
    let url = origin.url("/bytes/12");
    for cell in Cell::compiled() {
        let cell = cell.to_string();
        let ran = run_with_descriptors(8, &["get", "--backend", &cell, "-o", "/dev/null", &url]);
        match ran.code {
            Some(0) => {}
            Some(1 | 2) => assert!(ran.stderr.contains("ulimit -n"), "{cell}: {ran:?}"),
            _ => panic!("{cell}: {ran:?}"),
        }
    }
}
