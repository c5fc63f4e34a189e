//! The stress test of the program, with few requests.

use std::process::Command;

#[test]
fn default_cells_complete_each_request_once_and_leak_nothing() {
    let cells = ["tokio", "smol", "async-std", "ureq"];
    let output = Command::new(env!("CARGO_BIN_EXE_inflight-conformance"))
        .args(cells.iter().flat_map(|cell| ["--cell", cell]))
        .args(["--stress", "300"])
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    // In the tenth round of each cell, no result is wrong.
    assert_eq!(
        stdout.matches("\n   10      0 ").count(),
        cells.len(),
        "{stdout}"
    );
}
