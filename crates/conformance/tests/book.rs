//! Checks that the book's page of rules for server responses is up to date with the suite.

use std::path::Path;
use std::process::Command;

#[test]
fn page_of_verdicts_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/verdicts.md");
    let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verdicts.md");
    let program = Command::new(env!("CARGO_BIN_EXE_inflight-conformance"))
        .arg("--verdicts")
        .arg(&written)
        .status();
    assert!(program.unwrap().success());

    let (page, written) = [page, written]
        .map(|path| std::fs::read_to_string(path).unwrap())
        .into();
    assert!(
        page == written,
        "docs/src/verdicts.md is out of date: run `just verdicts`"
    );
}
