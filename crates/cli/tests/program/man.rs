//! Tests of `inflight man`.

use std::fs;

use crate::program::run;

fn page(command: &[&str]) -> String {
    let ran = run([&["man"], command].concat());
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    ran.stdout
}

#[test]
fn the_page_of_the_program_names_every_command_and_the_exit_status() {
    let page = page(&[]);
    assert!(page.contains("\n.TH inflight 1"), "{page}");
    for text in [
        "get",
        "gather",
        "report",
        "origin",
        "backends",
        "completions",
    ] {
        assert!(page.contains(&format!("inflight\\-{text}(1)")), "{page}");
    }
    assert!(page.contains("\n.SH NOTES\n.nf\nExit status:\n"), "{page}");
}

#[test]
fn the_page_of_a_command_describes_its_options_and_shows_examples() {
    let page = page(&["gather"]);
    assert!(page.contains("\n.TH inflight-gather 1"), "{page}");
    assert!(page.contains(r"\-\-per\-host"), "{page}");
    assert!(page.contains("inflight gather "), "{page}");
}

#[test]
fn all_pages_are_written_to_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let ran = run(["man", "--output", path]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    for (name, command) in [("inflight", &[][..]), ("inflight-get", &["get"])] {
        let file = directory.path().join(format!("{name}.1"));
        assert_eq!(fs::read_to_string(file).unwrap(), page(command));
    }
}
