//! Checks the commands of the crate's README, which also appears on crates.io.

use std::fs;

use inflight_origin::Origin;

use crate::program::{program, run};

const README: &str = include_str!("../../README.md");

/// Returns the commands of the README that begin with this text.
fn commands(start: &str) -> Vec<&'static str> {
    let commands: Vec<_> = README
        .lines()
        .filter(|line| line.starts_with(start))
        .collect();
    assert!(!commands.is_empty(), "no command begins with {start}");
    commands
}

#[test]
fn the_commands_that_send_requests_succeed() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("urls.txt"), origin.url("/page/1")).unwrap();
    for command in [commands("inflight get "), commands("inflight gather ")].concat() {
        // The README shows a public server.
        let command = command.replace("https://www.rust-lang.org/", &origin.url("/page/1"));
        let output = program(command.split_whitespace().skip(1))
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
    assert_eq!(origin.stats().requests, 2);
    let page = fs::read_to_string(directory.path().join("pages/000000")).unwrap();
    assert!(page.contains("Page 1"), "{page}");
}

#[test]
fn every_command_exists() {
    for command in commands("inflight ") {
        let name = command.split_whitespace().nth(1).unwrap();
        assert_eq!(run([name, "--help"]).code, Some(0), "{command}");
    }
}
